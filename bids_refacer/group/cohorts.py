"""Who counts: images whose defacing worked, one value for each participant, and subgroups of participants.

Images whose defacing failed say nothing about the tool's privacy when it works.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bids_refacer.dataset.image_key import ImageKey
from bids_refacer.dataset.images import participant_labels
from bids_refacer.dataset.participants import MISSING, read_participants
from bids_refacer.dataset.rows.audit import UNFINISHED, DefacingRow, StatusRow
from bids_refacer.dataset.rows.group import GroupImageRow
from bids_refacer.group.outputs import SUBJECT, GroupError, ParticipantOutputs
from bids_refacer.surfaces.verdicts import GRADES
from bids_refacer.wording import counted

_MOST = 3  # names in a sentence
GATES = ("passed", "all")
_NOT_DONE_YET = "not done yet: in work or waiting when the tables were read, or left so by a run that was killed"
BRAIN_PERCENT = 5.0  # of the brain removed: more is a failure, where the table has no verdict
FACE_MM = 1.0  # between defaced and true skin: less is a face that was left, where the table has no verdict
EVERYONE = ("all", "all")
_AGE_BANDS = ((18, "under 18"), (40, "18-39"), (60, "40-59"), (float("inf"), "60 and over"))
# columns of participants.tsv that divide participants, by their names in lower case
_COLUMNS = ("sex", "gender", "dataset", "site", "scanner", "manufacturer", "scanner_model")

Subgroup = tuple[str, str]
"""Column and value; `EVERYONE` for all."""


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """Images of one kind that passed one gate.

    Attributes
    ----------
    suffix : of the images
    gate : of `GATES`
    images : DataFrame, (participant, session, image) x (tool, image_type, part), float, mm; NaN where there is none
    headline : the part whose distances are told first
    """

    suffix: str
    gate: str
    images: pd.DataFrame
    headline: str


def gate(
    outputs: ParticipantOutputs, max_brain_percent: float | None = None, min_face_mm: float | None = None
) -> pd.DataFrame:
    """Why each defaced image is kept out, if it is.

    The verdict of the participant level decides (``fail`` keeps out, ``warn`` does not); where the table has none, or
    a limit is given, the limit does: on the percentage of the brain that was removed, and on how far (mean absolute
    surface distance of the face) the defaced skin lies from the true one.

    Returns
    -------
    DataFrame, one row for each image and tool of the distances
        `SUBJECT`, and ``reason``: a text, empty for an image that counts.
    """
    face = outputs.distances[(outputs.distances["image_type"] == "defaced") & (outputs.distances["part"] == "face")]
    rows = outputs.distances[SUBJECT].drop_duplicates().astype(str)
    rows = rows.merge(face[[*SUBJECT, "masd_mm"]].astype(dict.fromkeys(SUBJECT, str)), on=SUBJECT, how="left")
    known = {(row.participant_id, row.image, row.tool): row for row in outputs.defacing}
    defacing = [known.get(subject) for subject in rows[SUBJECT].itertuples(index=False, name=None)]
    left = _failed([row.face_verdict if row else None for row in defacing])
    cut = _failed([row.brain_verdict if row else None for row in defacing])
    if left is None or min_face_mm is not None:
        left = [distance < (FACE_MM if min_face_mm is None else min_face_mm) for distance in rows["masd_mm"]]
    if cut is None or max_brain_percent is not None:
        limit = BRAIN_PERCENT if max_brain_percent is None else max_brain_percent
        cut = [_brain_removed(row) > limit for row in defacing]
    return rows[SUBJECT].assign(reason=[_reason(*failed) for failed in zip(left, cut, strict=True)])


def _failed(verdicts: Sequence[str | None]) -> list[bool] | None:
    """Whether each image failed, by the verdicts of the participant level; None where its table has none."""
    known = {verdict for verdict in verdicts if verdict is not None}
    return [verdict == "fail" for verdict in verdicts] if known and known <= set(GRADES) else None


def _brain_removed(row: DefacingRow | None) -> float:
    """Percent of the brain; NaN, which exceeds no limit, where it is not known."""
    return float("nan") if row is None or row.brain_removed_percent is None else row.brain_removed_percent


def _reason(face_is_left: bool, brain_is_cut: bool) -> str:
    return ", ".join(word for word, failed in (("face left", face_is_left), ("brain cut", brain_is_cut)) if failed)


def image_rows(outputs: ParticipantOutputs, reasons: pd.DataFrame) -> list[GroupImageRow]:
    """Table group_images: every image and tool, whether it counts, if not why, and what to know of it.

    Parameters
    ----------
    outputs : ParticipantOutputs
    reasons : DataFrame of `gate`
    """
    known = {(row.image, row.tool): row.message for row in outputs.status if row.status == "ok"}
    rows = [
        GroupImageRow(
            participant_id=participant,
            image=image,
            tool=tool,
            state="excluded" if reason else "used",
            reason=reason or known.get((image, tool)),
        )
        for participant, image, tool, reason in reasons.itertuples(index=False)
    ]
    done = {(row.image, row.tool) for row in rows}
    rows += [
        GroupImageRow(participant_id=row.participant_id, image=row.image, tool=row.tool, **_state_of(row))
        for row in outputs.status
        if _is_without_result(row) and (row.image, row.tool) not in done
    ]
    rows += _missing_rows(reasons, rows)
    return sorted(rows, key=lambda row: (row.participant_id, row.image or "", row.tool or ""))


def _is_without_result(row: StatusRow) -> bool:
    is_other = row.status == "skipped" and row.tool is None  # an image that the run was not to audit
    return row.status != "ok" and not is_other


def _state_of(row: StatusRow) -> dict[str, str | None]:
    """State and reason of an image and tool that have no result."""
    if row.status in UNFINISHED:
        return {"state": "unfinished", "reason": _NOT_DONE_YET}
    return {"state": "failed", "reason": row.message}


def _missing_rows(reasons: pd.DataFrame, known: Sequence[GroupImageRow]) -> list[GroupImageRow]:
    """Images that have no result with a tool that others have."""
    people = dict(zip(reasons["image"], reasons["participant_id"], strict=True))
    there = {(row.image, row.tool) for row in known}
    return [
        GroupImageRow(
            participant_id=people[image], image=image, tool=tool, state="missing", reason="no result with this tool yet"
        )
        for image in sorted(people)
        for tool in sorted(reasons["tool"].unique())
        if not {(image, tool), (image, None)} & there
    ]


def cohorts(outputs: ParticipantOutputs, reasons: pd.DataFrame) -> Iterator[Cohort]:
    """Every kind of image behind every gate.

    Parameters
    ----------
    outputs : ParticipantOutputs
    reasons : DataFrame of `gate`
    """
    rows = outputs.distances[outputs.distances["image_type"] != "refaced"]
    for suffix, of_kind in rows.groupby("suffix", sort=True):
        texts = of_kind.astype(dict.fromkeys([*SUBJECT, "image_type", "part"], str))
        wide = texts.pivot(
            index=["participant_id", "image"], columns=["tool", "image_type", "part"], values="masd_mm"
        ).sort_index(axis=1)
        wide.index = pd.MultiIndex.from_tuples(
            [(participant, session_of(image), image) for participant, image in wide.index],
            names=["participant_id", "session", "image"],
        )
        kept_out = reasons[(reasons["reason"] != "") & reasons["image"].isin(wide.index.get_level_values("image"))]
        for gate in GATES:
            images = wide.copy()
            if gate == "passed":
                for tool, failed in kept_out.groupby("tool"):
                    images.loc[images.index.isin(failed["image"], level="image"), tool] = float("nan")
            yield Cohort(suffix=str(suffix), gate=gate, images=images, headline=outputs.headline)


def per_participant(images: pd.DataFrame) -> pd.DataFrame:
    """One value for each participant: images of a session are averaged, then sessions; missing ones are passed over.

    A participant with five runs is one participant, not five.
    """
    return images.groupby(level=["participant_id", "session"]).mean().groupby(level="participant_id").mean()


def session_of(image: str) -> str:
    """``ses-a`` of an image's path; empty in a dataset without sessions."""
    session = ImageKey.of(image).session
    return f"ses-{session}" if session else ""


def read_subgroups(bids_dir: Path) -> dict[str, dict[str, str]]:
    """Column -> participant -> value, from the raw dataset's participants.tsv; empty without that file.

    Raises
    ------
    DatasetError
        When the file is no table, or names a participant twice or nobody.
    """
    path = bids_dir / "participants.tsv"
    if not path.is_file():
        return {}
    table = read_participants(path, participant_labels(bids_dir))
    people: dict[str, dict[str, str]] = {}
    for row in table.rows():
        if row["participant_id"] in people:
            raise GroupError(f"{path} names {row['participant_id']} more than once: keep one row for each participant.")
        people[row["participant_id"]] = row
    found: dict[str, dict[str, str]] = {}
    for column in table.columns:
        values = {name: row[column] for name, row in people.items() if row[column] not in MISSING}
        if column.lower() == "age":
            found["age"] = {name: band for name, text in values.items() if (band := age_band(text))}
        elif column.lower() in _COLUMNS:
            found[column.lower()] = values
    return found


def subgroup_notes(bids_dir: Path, known: Sequence[str]) -> list[str]:
    """Sentences about participants.tsv: labels that are not the dataset's, and columns that divide nobody of `known`.

    Parameters
    ----------
    bids_dir : the raw dataset
    known : participants (with ``sub-``) that have results
    """
    path = bids_dir / "participants.tsv"
    if not path.is_file():
        return []
    table = read_participants(path, participant_labels(bids_dir))
    rows = [row for row in table.rows() if row["participant_id"] in known]
    notes = list(table.notes)
    if known and table.cells and not rows:
        notes += [] if notes else [f"{path.name} names none of the participants that have results: no subgroups."]
        return notes
    absent = sorted(set(known) - {row["participant_id"] for row in rows})
    if absent:
        some = ", ".join(absent[:_MOST]) + (f" and {len(absent) - _MOST} more" if len(absent) > _MOST else "")
        people = counted(len(known), "participant")
        notes.append(f"{path.name} does not name {len(absent)} of {people}, who are in no subgroup: {some}")
    for column in table.columns:
        texts = [row[column] for row in rows if row[column] not in MISSING]
        is_age = column.lower() == "age"
        if (is_age or column.lower() in _COLUMNS) and not any(not is_age or age_band(text) for text in texts):
            said = f", such as {texts[0]!r}," if texts else ""
            notes.append(f"{path.name}: the column {column} has no value{said} that makes subgroups.")
    return notes


def age_band(text: str) -> str | None:
    """Band of an age in years; None for what is no number. ``89+``, as anonymised data have it, is 89."""
    try:
        age = float(text.strip().rstrip("+"))
    except ValueError:
        return None
    return next((name for limit, name in _AGE_BANDS if age < limit), None)


def subgroup_members(subgroups: Mapping[str, Mapping[str, str]], known: list[str]) -> dict[Subgroup, list[str]]:
    """Everyone, then each value of each column that divides the participants: (column, value) -> participants."""
    members = {EVERYONE: known}
    for column, values in subgroups.items():
        present = sorted({values[name] for name in known if name in values})
        if len(present) > 1:  # one value for all divides no one
            for value in present:
                members[column, value] = [name for name in known if values.get(name) == value]
    return members
