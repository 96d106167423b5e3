"""How the defacers do: `python -m benchmarks.defacers WORK_DIR --bids BIDS_DIR --split val --images IMAGE ...`.

Each tool runs on each head in a process of its own, whose time and peak memory are noted; then both verdicts, the brain
measures and what is left of each part of the face. Prints the tables of docs/tools.md. What WORK_DIR holds is not
computed again. Defaced images of real people stay there: it must not be shared.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.attack import brain_of, prepare
from bids_refacer.audit.nodes.verdict import OriginalMeasures, measures_after, measures_before
from bids_refacer.defacers import DEFACERS
from bids_refacer.settings import RunSettings
from bids_refacer.surfaces.skin_left import Defacing
from bids_refacer.surfaces.verdicts import (
    GRADES,
    MEASURED,
    brain_cut,
    face_left,
    grade,
    worse,
    worst_part,
)
from bids_refacer.volumes.grid import Volume
from bids_refacer.volumes.image_file import ImageError
from bids_refacer.volumes.nifti import read_scan, write_scan, write_volume

_DEFAULTS = {field.name: field.default for field in fields(RunSettings)}
FACE_LIMITS: tuple[float, ...] = _DEFAULTS["face_left_limits"]
BRAIN_LIMITS: tuple[float, ...] = _DEFAULTS["brain_cut_limits"]
HOLE_LIMITS: tuple[float, ...] = _DEFAULTS["brain_hole_limits"]
TOOLS = tuple("quickshear pydeface niimath deepdefacer spm-rule skullstrip average niimath-reface".split())


def deface_one(image: Path, folder: Path, tool: str) -> None:
    """In a process of its own: run a tool, write what it made and what it cost.

    Peak memory counts Python with the app, and the tool's largest program.
    """
    scan = read_scan(image)
    brain, alignment = prepare(scan, folder)
    started, before = time.perf_counter(), _cpu_seconds()
    with tempfile.TemporaryDirectory() as scratch:
        result = DEFACERS[tool].run(scan, brain, alignment, Path(scratch))
    seconds = time.perf_counter() - started
    peak = max(_own_peak_kb(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    target = folder / tool
    target.mkdir(exist_ok=True)
    write_scan(target / "defaced.nii.gz", scan, result.stored)
    write_volume(target / "mask.nii.gz", Volume(result.removed, scan.affine), np.uint8)
    cost = {
        "seconds": seconds,
        "cpu_seconds": _cpu_seconds() - before,
        "peak_mb": peak / 1024,
        "details": result.details,
    }
    (target / "cost.json").write_text(json.dumps(cost, default=float))


def _own_peak_kb() -> int:
    """Of this process alone: ``ru_maxrss`` would begin with what its parent had when it was forked."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def _cpu_seconds() -> float:
    """Of this process and its children; on a shared machine, wall time says more about the others."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def run_tool(image: Path, folder: Path, tool: str) -> str | None:
    """Deface in a new process, unless it was done; the error where it failed.

    The process comes from a server that has imported the app and done nothing, which saves seconds for each.
    """
    if (folder / tool / "cost.json").exists():
        return None
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["benchmarks.attack"])
    try:
        with ProcessPoolExecutor(1, mp_context=server) as pool:
            pool.submit(deface_one, image, folder, tool).result()
    except Exception as error:  # whatever a tool may raise is its row of the table
        return f"{type(error).__name__}: {error}"
    return None


def find_images(options: argparse.Namespace) -> dict[str, Path]:
    """Name of a head -> its image."""
    found = {path.name.split("_")[0]: path for path in options.images}
    if options.bids:
        with (options.bids / "participants.tsv").open() as file:
            rows = [row for row in csv.DictReader(file, delimiter="\t") if row["split"] == options.split]
        names = [row["participant_id"] for row in rows]
        found |= {name: next((options.bids / name).rglob("*_T1w.nii*")) for name in names}
    return {name: path for name, path in found.items() if not options.heads or name in options.heads}


def judge_one(image: Path, folder: Path, tool: str, measure_brain: bool) -> dict[str, Any]:
    """Figures of both verdicts, and of the brain, each kept beside the defaced image."""
    verdict, measures = folder / tool / "verdict.json", folder / tool / "brain.json"
    if not verdict.exists():
        scan, defaced = read_scan(image), read_scan(folder / tool / "defaced.nii.gz")
        removed = read_scan(folder / tool / "mask.nii.gz").stored > 0
        brain, alignment = prepare(scan, folder)
        defacing = Defacing(scan.volume, defaced.values, removed)
        left = face_left(defacing, alignment, known_of(image, folder).skin)
        lost = brain_cut(Volume(brain, scan.affine), removed)
        verdict.write_text(json.dumps({"FaceLeft": left, "BrainCut": asdict(lost)}))
    if measure_brain and not measures.exists():
        defaced = read_scan(folder / tool / "defaced.nii.gz")
        try:
            found, brain = brain_of(defaced, folder / tool), brain_of(read_scan(image), folder)
            after = asdict(measures_after(defaced.volume, found, brain))
        except ImageError:  # no brain in what is left
            after = {}
        measures.write_text(
            json.dumps({"Brain": {"original": asdict(known_of(image, folder).brain), "defaced": after}})
        )
    kept = [verdict, measures] if measure_brain else [verdict]
    return {name: value for path in kept for name, value in json.loads(path.read_text()).items()}


@lru_cache(maxsize=1)
def known_of(image: Path, folder: Path) -> OriginalMeasures:
    """Skin and brain measures of the original: found once for all tools."""
    scan = read_scan(image)
    brain, _ = prepare(scan, folder)
    return measures_before(scan.volume, brain)


def verdict_lines(rows: list[dict[str, Any]], tools: list[str]) -> list[str]:
    """The main table: passes, mean brain cut, run time, peak memory, per tool."""
    header = ("tool", "heads", "failed", "face: pass / warn / fail", "brain: the same", "brain cut % (max)")
    lines = ["| " + " | ".join([*header, "s", "CPU s", "MB"]) + " |", "|---" * 9 + "|"]
    for tool in tools:
        own = [row for row in rows if row["tool"] == tool]
        done = [row for row in own if not row["error"]]
        cuts = [row["figures"]["BrainCut"]["percent"] for row in done]
        faces = [grade(worst_part(row["figures"]["FaceLeft"])[1], FACE_LIMITS) for row in done]
        holes = [row["figures"]["BrainCut"]["hole_ml"] for row in done]
        pairs = zip(cuts, holes, strict=True)
        brains = [worse(grade(cut, BRAIN_LIMITS), grade(hole, HOLE_LIMITS)) for cut, hole in pairs]
        cells = [tool, str(len(own)), str(len(own) - len(done)), _counts(faces), _counts(brains)]
        cells.append(f"{np.mean(cuts):.3f} ({max(cuts):.3f})" if cuts else "")
        for name in ("seconds", "cpu_seconds"):
            known = [row["cost"][name] for row in done if name in row["cost"]]
            cells.append(f"{np.median(known):.0f}" if known else "")
        peaks = [row["cost"]["peak_mb"] for row in done if "peak_mb" in row["cost"]]
        cells.append(f"{max(peaks):.0f}" if peaks else "")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def part_lines(rows: list[dict[str, Any]], tools: list[str]) -> list[str]:
    """What is left of each part of the face, percent of its skin: mean over heads, and the largest."""
    lines = ["| tool | " + " | ".join(MEASURED) + " |", "|---" * (len(MEASURED) + 1) + "|"]
    for tool in tools:
        cells = [tool]
        for part in MEASURED:
            left = [row["figures"]["FaceLeft"][part] for row in rows if row["tool"] == tool and not row["error"]]
            known = [share for share in left if share is not None]
            cells.append(f"{np.mean(known):.1f} ({max(known):.0f})" if known else "n/a")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def brain_lines(rows: list[dict[str, Any]], tools: list[str]) -> list[str]:
    """Brain volume and tissue contrast in the defaced image over those in the original, and Dice of the masks."""
    lines = ["| tool | brain volume change % | Dice of masks (min) | tissue contrast change % |", "|---|---|---|---|"]
    for tool in tools:
        brains = [row["figures"]["Brain"] for row in rows if row["tool"] == tool and not row["error"]]
        brains = [brain for brain in brains if brain["defaced"]]
        if not brains:
            continue
        change = {
            name: [100 * (brain["defaced"][name] / brain["original"][name] - 1) for brain in brains]
            for name in ("volume_ml", "contrast")
        }
        dice = [brain["defaced"]["dice"] for brain in brains]
        volume, contrast = (f"{np.mean(change[name]):+.2f} ± {np.std(change[name]):.2f}" for name in change)
        lines.append(f"| {tool} | {volume} | {np.mean(dice):.4f} ({min(dice):.4f}) | {contrast} |")
    return lines


def _counts(grades: list[str | None]) -> str:
    return " / ".join(str(grades.count(word)) for word in GRADES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work_dir", type=Path)
    parser.add_argument("--bids", type=Path, help="dataset with a column `split` in participants.tsv")
    parser.add_argument("--split", default="val")
    parser.add_argument("--images", type=Path, nargs="*", default=[], help="more heads")
    parser.add_argument("--heads", nargs="+", help="some of them, by participant (default: all)")
    parser.add_argument("--tools", nargs="+", default=list(TOOLS))
    parser.add_argument("--brain-measures", action="store_true", help="also brain volume and contrast (10 s an image)")
    options = parser.parse_args()
    rows = []
    for name, image in find_images(options).items():
        folder = options.work_dir / name
        prepare(read_scan(image), folder)
        for tool in options.tools:
            row: dict[str, Any] = {"head": name, "tool": tool, "error": run_tool(image, folder, tool)}
            if not row["error"]:
                row["cost"] = json.loads((folder / tool / "cost.json").read_text())
                row["figures"] = judge_one(image, folder, tool, options.brain_measures)
                print(name, tool, worst_part(row["figures"]["FaceLeft"]), row["figures"]["BrainCut"], flush=True)
            else:
                print(name, tool, row["error"], flush=True)
            rows.append(row)
    tables = [verdict_lines(rows, options.tools), part_lines(rows, options.tools)]
    if options.brain_measures:
        tables.append(brain_lines(rows, options.tools))
    print("\n\n".join("\n".join(lines) for lines in tables))


if __name__ == "__main__":
    main()
