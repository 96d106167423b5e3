"""A release from beginning to end: look, ask, write, say how it went."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bids_refacer.dataset.rows.release import ReleaseRow
from bids_refacer.environment import own_variables, prepare
from bids_refacer.files import one_writer
from bids_refacer.release.audit_results import AuditFinding, audit_finding, check_audit, private_dir
from bids_refacer.release.certificate import held_back, unchecked_lines
from bids_refacer.release.content.descriptions import MASKS
from bids_refacer.release.datalad import check_programs, save
from bids_refacer.release.errors import ReleaseError
from bids_refacer.release.inventory import Wanted, list_files
from bids_refacer.release.journal import journal_folder, read_journal
from bids_refacer.release.plan import Plan, make_plan
from bids_refacer.release.settings import ReleaseSettings
from bids_refacer.release.work import Work
from bids_refacer.wording import counted, listed
from bids_refacer.work_folder import make_private

_MOST = 20  # lines on the terminal

Say = Callable[[str], None]
Ask = Callable[[str], bool]
"""A question to a person; False where nobody is there to answer."""


def run_release(settings: ReleaseSettings, say: Say = print, ask: Ask = lambda _: False) -> int:
    """Make a release, or complete one that was stopped.

    Returns
    -------
    int
        0 when every image was released, 1 when any file was held back.

    Raises
    ------
    ReleaseError, DatasetError
        When it cannot be made: one or more sentences.
    """
    check_places(settings)
    check_audit(settings)
    if settings.datalad:
        check_programs()
    finding = audit_finding(settings)
    wanted = Wanted(include=settings.include, unchecked=settings.release_unchecked)
    found = list_files(settings.bids_dir, wanted)
    plan = make_plan(found, settings)
    if settings.dry_run:
        for line in (*finding.sentences, *_described(plan)):
            say(line)
        return 1 if any(row.action == "held back" for row in plan.withheld) else 0
    consent = _consent(finding, settings, say, ask)
    private = private_dir(settings.layout)
    make_private(private)
    folder = journal_folder(private, settings.release_dir)
    make_private(folder)
    with one_writer(folder / "lock"), _place_to_look(plan, folder / "work"):
        work = Work(settings=settings, plan=plan, folder=folder, journal=read_journal(folder))
        former = set(work.journal.entries)
        rows = work.run(finding, consent)
        if settings.datalad:
            save(settings.release_dir)
    for line in (*_summary(rows, settings, folder), *_kept_in_history(former, rows, settings.release_dir)):
        say(line)
    return 1 if any(row.action == "held back" for row in rows) else 0


@contextmanager
def _place_to_look(plan: Plan, work_dir: Path) -> Iterator[None]:
    """A private folder for what shows faces while images are looked at; removed at the end."""
    with own_variables():
        prepare(work_dir, 1)
        try:
            yield
        finally:
            shutil.rmtree(work_dir, ignore_errors=True)


def check_places(settings: ReleaseSettings) -> None:
    """Raise ReleaseError where the release would lie in, or around, the originals or the audit."""
    release = settings.release_dir.resolve()
    for name, other in (("originals", settings.bids_dir.resolve()), ("audit", settings.output_dir.resolve())):
        if release == other or release.is_relative_to(other) or other.is_relative_to(release):
            raise ReleaseError(
                f"The release {settings.release_dir} and the {name} in {other} lie in each other: give another folder."
            )
    masks = settings.bids_dir / MASKS
    if "derivatives" in settings.include and masks.exists():
        raise ReleaseError(
            f"The masks of a release go into {MASKS}, and {masks} is there already: rename that folder, or leave "
            "--include derivatives out."
        )
    if settings.release_dir.exists() and not settings.release_dir.is_dir():
        raise ReleaseError(f"The release {settings.release_dir} is a file: give a folder.")


def _consent(finding: AuditFinding, settings: ReleaseSettings, say: Say, ask: Ask) -> str:
    """Say what the audit found and have the risk accepted where there is one; a sentence for the certificate."""
    for sentence in finding.sentences:
        say(sentence)
    if finding.withstood == "yes":
        return "The tool withstood this attack; a better one may come."
    if finding.withstood != "no":
        return "It was not shown that the tool withstands an attack."
    if settings.accept_risk or ask(
        f"{settings.tool} did not withstand the attack of this audit. Release its images all the same?"
    ):
        return f"{settings.tool} did not withstand the attack of this audit; the releasers accepted the residual risk."
    raise ReleaseError(
        f"{settings.tool} did not withstand the attack of this audit, so nothing was released: take another tool, or "
        "give --i-accept-the-residual-risk."
    )


def _described(plan: Plan) -> list[str]:
    """What a release would do, for ``--dry-run``."""
    held = [row for row in plan.withheld if row.action == "held back"]
    defaced = sum(task.judged is not None for task in plan.tasks)
    lines = [f"{row.path}: would be held back. {row.reason or ''}" for row in held[:_MOST]]
    lines += [f"... and {len(held) - _MOST} more."] if held[_MOST:] else []
    return [
        *lines,
        f"{counted(defaced, 'image')} would be released defaced, {counted(len(plan.tasks) - defaced, 'other image')} "
        f"without a look for faces, {counted(len(plan.rest), 'file')} that are no images; {len(held)} held back. "
        "Nothing was written.",
    ]


def _kept_in_history(former: Collection[str], rows: Iterable[ReleaseRow], release_dir: Path) -> list[str]:
    """A warning where git keeps files that an earlier run released and this one did not."""
    gone = set(former) - {row.path for row in rows if row.action not in ("held back", "left out")}
    if not gone or not (release_dir / ".git").exists():
        return []
    return [
        f"{counted(len(gone), 'file')} of an earlier release ({listed(sorted(gone), 3)}) are withdrawn, but the "
        f"history of {release_dir} keeps them: publish a release in a new folder."
    ]


def _summary(rows: Sequence[ReleaseRow], settings: ReleaseSettings, folder: Path) -> list[str]:
    """What a person should know at the end."""
    held = held_back(rows)
    lines = [f"{counted(len(held), 'file')} held back:"] if held else []
    lines += [f"  {row.path}: {row.reason or ''}" for row in held[:_MOST]]
    lines += [f"  ... and {len(held) - _MOST} more, in release.tsv."] if held[_MOST:] else []
    lines += [f"Not looked at: {line}" for line in unchecked_lines(rows)]
    defaced = sum(row.action == "defaced" for row in rows)
    where = f"the release is in {settings.release_dir}, its certificate in release.html"
    lines.append(f"{counted(defaced, 'image')} defaced; {where}.")
    to_review = sum(row.verdict == "warn" for row in rows)
    if to_review:
        lines.append(
            f"{counted(to_review, 'image')} to look at: {folder / 'review.html'}, decide in review.tsv beside it"
        )
    return lines
