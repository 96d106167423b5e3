"""What a person is told when something cannot be done: exceptions whose message is the whole story."""

from __future__ import annotations

import errno


class AuditProblem(ValueError):
    """One or more sentences that say what is wrong, with which file, and what to do; no traceback is needed."""


NO_MEMORY = "DefaultCPUAllocator: can't allocate memory"
"""How torch says it."""
_FULL = "free some space there, or give another folder, then run again."
_REMEDIES = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: "make its file system writable, or give another folder, then run again.",
    errno.EMFILE: "raise the limit of open files (ulimit -n 1024), or use a smaller --nprocs, then run again.",
    errno.ENFILE: "use a smaller --nprocs, or ask the administrator for more open files, then run again.",
    errno.ENOMEM: "use a smaller --nprocs or --mem-gb, or give it more memory, then run again.",
}


def remedy_for(number: int | None) -> str | None:
    """What to do about an error of the operating system (`errno`); None where that is not known."""
    return _REMEDIES.get(number) if number is not None else None


def problem_names() -> frozenset[str]:
    """Names of all such exceptions that are loaded, as tracebacks print them."""
    kinds, waiting = {AuditProblem}, [AuditProblem]
    while waiting:
        below = waiting.pop().__subclasses__()
        kinds.update(below)
        waiting += below
    return frozenset(kind.__name__ for kind in kinds)
