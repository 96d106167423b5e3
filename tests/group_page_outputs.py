"""Verdicts, calibration and phenotypes of synthetic participants, beyond what the benchmarks' outputs have."""

from __future__ import annotations

from pathlib import Path

from group_runs import TOOLS
from output_folders import shareable
from recognised_people import add_descriptors

from benchmarks.synthetic_outputs import image_path
from bids_refacer.dataset.tables import write_table

LABELS = tuple(f"{number:02}" for number in range(1, 9))


def judge(output: Path, labels: tuple[str, ...] = LABELS) -> None:
    """Verdicts for every image; sub-02 failed with quickshear, sub-03 has to be looked at with niimath.

    Heads are described for recognition, too.
    """
    add_descriptors(output, labels, TOOLS)
    rows = []
    for number, label in enumerate(labels):
        for place, tool in enumerate(TOOLS):
            fail, look = (label, tool) == ("02", "quickshear"), (label, tool) == ("03", "niimath")
            row = {"participant_id": f"sub-{label}", "image": image_path(label), "tool": tool, "version": "1"}
            row |= {"face_verdict": "fail" if fail else "warn" if look else "pass", "brain_verdict": "pass"}
            row |= {
                "nose_left_percent": 33.0 if fail else 7.0 if look else 0.0,
                "removed_head_fraction": 0.1 + place / 50,
            }
            rows.append({**row, "brain_removed_percent": 0.01 * number, "run_time_s": 5.0 * (place + 1)})
    write_table(shareable(output) / "defacing.tsv", "defacing", rows)


def calibrate(output: Path) -> None:
    """Bins of the spread of the samples, the same for every image."""
    rows = [
        {
            "participant_id": f"sub-{label}",
            "image": image_path(label),
            "tool": tool,
            "part": "face",
            "bin_low_mm": low,
            "area_mm2": 100.0,
            "predicted_mm": low + 0.2,
            "error_mm": low + 0.5,
            "covered_50": 0.4,
            "covered_90": 0.8,
        }
        for label in LABELS
        for tool in TOOLS
        for low in (0, 0.5, 1)
    ]
    write_table(shareable(output) / "calibration.tsv", "calibration", rows)


def add_phenotypes(output: Path) -> None:
    """The rows of a target that is lost with pydeface and kept with others."""
    about = {"suffix": "T1w", "target": "muscle", "roi": "face", "model": "ridge", "n_participants": 8}
    figures = {"spearman_rho": 0.61, "rho_ci_low": 0.3, "rho_ci_high": 0.8, "p_permutation": 0.001}
    rows = [{**about, "image_type": "original", **figures, "rho_calibrated_low": 0.25, "rho_calibrated_high": 0.85}]
    for number, tool in enumerate(TOOLS):
        lost = {"rho_difference": 0.4, "difference_ci_low": 0.1, "difference_ci_high": 0.7, "p_holm": 0.01}
        kept = {"rho_difference": 0.05, "difference_ci_low": -0.2, "difference_ci_high": 0.3, "p_holm": 0.7}
        own = figures | {"spearman_rho": 0.21 + number / 100} | (lost if tool == "pydeface" else kept)
        rows.append({**about, "tool": tool, "image_type": "defaced", **own})
    write_table(shareable(output) / "group_phenotype.tsv", "group_phenotype", rows)
