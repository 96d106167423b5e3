"""What a person is told when something cannot be done: exceptions whose message is the whole story."""

from __future__ import annotations


class AuditProblem(ValueError):
    """One or more sentences that say what is wrong, with which file, and what to do; no traceback is needed."""


def problem_names() -> frozenset[str]:
    """Names of all such exceptions that are loaded, as tracebacks print them."""
    kinds, waiting = {AuditProblem}, [AuditProblem]
    while waiting:
        below = waiting.pop().__subclasses__()
        kinds.update(below)
        waiting += below
    return frozenset(kind.__name__ for kind in kinds)
