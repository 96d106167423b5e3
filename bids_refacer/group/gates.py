"""Which defaced images count: those whose defacing failed say nothing about the tool's privacy when it works."""

from __future__ import annotations

import pandas as pd

from bids_refacer.group.outputs import SUBJECT, Audit

BRAIN_PERCENT = 5.0  # of the brain removed: more is a failure, where the table has no verdict
FACE_MM = 1.0  # between defaced and true skin: less is a face that was left, where the table has no verdict
_VERDICTS = {
    "face": ("face_left_verdict", "face_verdict", "face_left"),
    "brain": ("brain_cut_verdict", "brain_verdict", "brain_cut"),
}
_WORDS = {"pass", "warn", "fail"}


def gate(audit: Audit, max_brain_percent: float | None = None, min_face_mm: float | None = None) -> pd.DataFrame:
    """Why each defaced image is kept out, if it is.

    The verdict of the participant level decides (``fail`` keeps out, ``warn`` does not); where the table has none, or
    a limit is given, the limit does: on the percentage of the brain that was removed, and on how far (mean absolute
    surface distance of the face) the defaced skin lies from the true one.

    Returns
    -------
    DataFrame, one row for each image and tool of the distances
        `SUBJECT`, and ``reason``: a text, empty for an image that counts.
    """
    face = audit.distances[(audit.distances["image_type"] == "defaced") & (audit.distances["part"] == "face")]
    rows = audit.distances[SUBJECT].drop_duplicates().astype(str)
    rows = rows.merge(face[[*SUBJECT, "masd_mm"]].astype(dict.fromkeys(SUBJECT, str)), on=SUBJECT, how="left")
    rows = rows.merge(audit.defacing.astype(dict.fromkeys(SUBJECT, str)), on=SUBJECT, how="left")
    left, cut = _verdict(rows, "face"), _verdict(rows, "brain")
    if left is None or min_face_mm is not None:
        left = rows["masd_mm"] < (FACE_MM if min_face_mm is None else min_face_mm)
    if cut is None or max_brain_percent is not None:
        limit = BRAIN_PERCENT if max_brain_percent is None else max_brain_percent
        percent = pd.to_numeric(rows.get("brain_removed_percent", pd.Series(dtype=float)), errors="coerce")
        cut = percent.reindex(rows.index) > limit
    words = (("face left", left), ("brain cut", cut))
    reasons = [", ".join(word for word, failed in words if failed.iloc[row]) for row in range(len(rows))]
    return rows[SUBJECT].assign(reason=reasons)


def _verdict(rows: pd.DataFrame, kind: str) -> pd.Series | None:
    """Whether the participant level found a failure, where its table has a column that says so."""
    for name in _VERDICTS[kind]:
        if name in rows and set(rows[name].dropna()) <= _WORDS and rows[name].notna().any():
            return rows[name] == "fail"
    return None
