"""The tables that `benchmarks.attack` prints."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from bids_refacer.statistics.paired import holm, wilcoxon_paired
from bids_refacer.surfaces.region import PARTS, PLACES, REMOVED

BASELINES = ("average", "average-drawn", "average-fitted", "linear mean")
_AVERAGES = BASELINES[:3]


def print_tables(rows: list[dict]) -> None:
    """`print_table` of both regions; rows of an older benchmark have the whole face alone."""
    for part in (REMOVED, PARTS[0]):
        if any(row["part"] == part for row in rows):
            print(f"\nMASD {PLACES[part]}:\n")
            print_table(rows, part)


def print_table(rows: list[dict], part: str) -> None:
    """Mean over heads; against the average and the linear attack: mean ratio, heads that are closer, paired test."""
    face: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for row in rows:
        if row["part"] == part:
            face[row["tool"], row["image_type"]][row["participant"]] = row["masd_mm"]
    lines = []
    for (tool, kind), figures in face.items():
        heads = sorted(figures)
        values = np.array([figures[head] for head in heads])
        line: dict = {"tool": tool, "face": kind, "heads": len(heads), "MASD mm": f"{values.mean():.2f}"}
        for baseline in BASELINES:
            other = face.get((tool, baseline))
            if other and kind not in ("defaced", *_AVERAGES, baseline):
                line[baseline] = against(values, np.array([other[head] for head in heads]))
        lines.append(line)
    for baseline in BASELINES:
        tested = [line for line in lines if baseline in line and not np.isnan(line[baseline][2])]
        corrected: np.ndarray | list = holm(np.array([line[baseline][2] for line in tested])) if tested else []
        for line, p in zip(tested, corrected, strict=True):
            line[baseline] = (*line[baseline][:2], p)
    compared = " | ".join(f"/ {baseline.removesuffix(' mean')} | closer | p (Holm)" for baseline in BASELINES)
    print(f"| tool | face | heads | MASD mm | {compared} |")
    print("|---" * (4 + 3 * len(BASELINES)) + "|")
    for line in lines:
        cells = [str(line[name]) for name in ("tool", "face", "heads", "MASD mm")]
        for baseline in BASELINES:
            ratio, closer, p = line.get(baseline, (np.nan, "", np.nan))
            cells += ["" if np.isnan(ratio) else f"{ratio:.2f}", str(closer), "" if np.isnan(p) else f"{p:.2g}"]
        print("| " + " | ".join(cells) + " |")


def print_looks(rows: list[dict]) -> None:
    """Median and worst over heads of the figures of `face_quality`, the original's own beside them."""
    figures = ("loose_ml", "cavity_ml", "roughness_mm", "seam_mm")
    found: dict[tuple[str, str], list[dict]] = defaultdict(list)
    for row in rows:
        if row["part"] == "face" and row.get("looks"):
            found[row["tool"], row["image_type"]].append(row["looks"])
            if row["image_type"] == "average":
                found[row["tool"], "original"].append(row["looks_of_original"])
    print("\n| tool | face | " + " | ".join(f"{name}: median (largest)" for name in figures) + " |")
    print("|---" * (2 + len(figures)) + "|")
    for (tool, kind), looks in found.items():
        columns = (np.array([look[name] for look in looks]) for name in figures)
        cells = [f"{np.nanmedian(values):.2f} ({np.nanmax(values):.2f})" for values in columns]
        print(f"| {tool} | {kind} | " + " | ".join(cells) + " |")


def print_calibration(rows: list[dict]) -> None:
    """Share of the true face inside the intervals of the samples, mean over heads; nothing with single samples."""
    found: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    for row in rows:
        if row["part"] == "spread":
            bins = [part for part in row["bins"] if part["part"] == "face"]
            area = np.array([part["area_mm2"] for part in bins])
            squares = [[part[name] ** 2 for part in bins] for name in ("predicted_mm", "error_mm")]
            shares = [[part[name] for part in bins] for name in ("covered_50", "covered_90")]
            means = [float(np.average(values, weights=area)) for values in (*shares, *squares)]
            found[row["tool"], row["image_type"]].append([*means[:2], *np.sqrt(means[2:])])
    if found:
        print(
            "\n| tool | face | 50 % interval | 90 % interval | predicted error mm | error of the mean mm (both rms) |"
        )
        print("|---" * 6 + "|")
    for (tool, kind), figures in found.items():
        print(f"| {tool} | {kind} | " + " | ".join(f"{figure:.2f}" for figure in np.mean(figures, axis=0)) + " |")


def against(values: np.ndarray, baseline: np.ndarray) -> tuple[float, int, float]:
    """Mean ratio, number of heads closer to the truth, p of the paired Wilcoxon test (NaN under six heads)."""
    p = wilcoxon_paired(values, baseline).p_value if len(values) > 5 else np.nan
    return float((values / baseline).mean()), int((values < baseline).sum()), p
