"""Who counts: tables of images become one value for each participant, in everyone and in subgroups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bids_refacer.dataset.image_key import ImageKey
from bids_refacer.dataset.participants import MISSING, read_participants
from bids_refacer.group.outputs import SUBJECT, Audit, AuditError

GATES = ("passed", "all")
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
    """

    suffix: str
    gate: str
    images: pd.DataFrame


def cohorts(audit: Audit, reasons: pd.DataFrame) -> Iterator[Cohort]:
    """Every kind of image behind every gate.

    Parameters
    ----------
    audit : Audit
    reasons : DataFrame of `group.gates.gate`
    """
    rows = audit.distances[audit.distances["image_type"] != "refaced"]
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
            yield Cohort(suffix=str(suffix), gate=gate, images=images)


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
    table = read_participants(path)
    people: dict[str, dict[str, str]] = {}
    for row in table.rows():
        if row["participant_id"] in people:
            raise AuditError(f"{path} names {row['participant_id']} more than once: keep one row for each participant.")
        people[row["participant_id"]] = row
    found: dict[str, dict[str, str]] = {}
    for column in table.columns:
        values = {name: row[column] for name, row in people.items() if row[column] not in MISSING}
        if column.lower() == "age":
            found["age"] = {name: band for name, text in values.items() if (band := age_band(text))}
        elif column.lower() in _COLUMNS:
            found[column.lower()] = values
    return found


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
