"""What each level of attack gains on replacing tools: `python -m benchmarks.attack_levels BIDS_DIR WORK_DIR`.

For each head, tool and level: the face that the attacker ends with, by its symmetric MASD (mm) to the true one. At the
level `naive` that is the replaced face itself. What WORK_DIR holds is not computed again; it may be the WORK_DIR of
`benchmarks.defacers`. It shows faces of real people: it must not be shared.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from benchmarks.attack import chosen, defaced, head_parser, prepare
from bids_refacer.refacing.attack import DefacedImage
from bids_refacer.refacing.attack_level import AttackLevel, attack_at
from bids_refacer.refacing.sampling import SampleSeed, SamplingSettings
from bids_refacer.refacing.weights import AttackModel, load_model
from bids_refacer.settings import ATTACKS
from bids_refacer.surfaces.score import score_candidates
from bids_refacer.surfaces.skin import find_skin, read_skin, write_skin
from bids_refacer.volumes.nifti import read_scan
from bids_refacer.volumes.scan import Scan

LEVELS = tuple(sorted(ATTACKS, key="naive mask secondary".split().index))


def level_rows(original: Scan, tool: str, level: str, folder: Path, model: AttackModel) -> list[dict]:
    """Rows of `surfaces.score` of the recovered face, kept in WORK_DIR/HEAD/TOOL."""
    kept = folder / tool / f"level_{model.name}_{level}.json"
    if not kept.exists():
        scan = defaced(original, tool, folder)
        brain, alignment = prepare(scan, folder / tool)
        settings = SamplingSettings(sampler="dpmpp2m", steps=None, device=torch.device("cpu"))
        image, look = DefacedImage(scan, brain, alignment), AttackLevel(replaces=True, level=level)
        scan, refaced = attack_at(look, image, model, settings, (SampleSeed(0),), lambda *_: None)
        skin = folder / "skin.npz"
        if not skin.exists():
            write_skin(skin, find_skin(original.volume))
        faces = {("recovered", None): refaced.mean * scan.slope + scan.inter}
        rows = score_candidates(read_skin(skin), faces, original.grid, prepare(original, folder)[1]).rows
        unfinished = kept.with_suffix(".part")
        unfinished.write_text(json.dumps([asdict(row) for row in rows], default=float))
        os.replace(unfinished, kept)
    return json.loads(kept.read_text())


def table(found: dict[tuple[str, str], dict[str, float]], tools: list[str]) -> list[str]:
    """MASD of the face for each tool and level, over the heads that have all levels: mean (least to most)."""
    lines = ["| tool | heads | " + " | ".join(LEVELS) + " |", "|---" * (len(LEVELS) + 2) + "|"]
    for tool in tools:
        heads = set.intersection(*(set(found.get((tool, level), {})) for level in LEVELS))
        cells = [tool, str(len(heads))]
        for level in LEVELS:
            values = np.array([found[tool, level][head] for head in sorted(heads)]) if heads else np.array([])
            cells.append(f"{values.mean():.2f} ({values.min():.2f} to {values.max():.2f})" if heads else "n/a")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    parser = head_parser(__doc__)
    parser.add_argument("--tools", nargs="+", default=["niimath-reface", "average"])
    parser.add_argument("--model", default="linear")
    options = parser.parse_args()
    names = chosen(options)
    model = load_model(options.model, torch.device("cpu"))
    found: dict[tuple[str, str], dict[str, float]] = {}
    for name in names:
        original = read_scan(next((options.bids_dir / name).rglob("*_T1w.nii*")))
        for tool in options.tools:
            for level in LEVELS:
                rows = level_rows(original, tool, level, options.work_dir / name, model)
                found.setdefault((tool, level), {})[name] = next(r["masd_mm"] for r in rows if r["part"] == "face")
                print(name, tool, level, round(found[tool, level][name], 2), flush=True)
    print("\n".join(table(found, options.tools)))


if __name__ == "__main__":
    main()
