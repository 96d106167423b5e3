"""Audit of MRI defacing: how much of the face comes back, and how much science was lost."""

# nothing may be imported here, not even __future__, that Python has not loaded yet: see `forget_current_folder`
import os
import sys

__version__ = "0.11.0"


def forget_current_folder() -> None:
    """Import nothing from the current folder, which ``python -m`` puts before everything else.

    A dataset may hold files that are called as modules are. The folder stays where this package itself lies in it.
    """
    try:
        here = os.path.realpath(os.getcwd())
    except FileNotFoundError:  # it was removed
        here = ""
    if here != os.path.realpath(os.path.join(os.path.dirname(__file__), os.pardir)):
        sys.path[:] = [entry for entry in sys.path if entry and os.path.realpath(entry) != here]


if sys.argv[:1] == ["-m"]:  # so it reads while `python -m` looks for a module of this package
    forget_current_folder()
