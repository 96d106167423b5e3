"""A cohort's outputs for the group level: `python -m benchmarks.cohort BIDS_DIR WORK_DIR OUT_DIR --participants ...`.

What the participant level writes for `group` (tables, face surfaces and face maps), by the same functions, from what
`benchmarks.defacers` left in WORK_DIR: nothing is defaced, and no brain found, a second time. One
recovered face for each head and tool. No images and no pages. The result is identifiable data. Heads and tools that
are there already are passed over.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks.attack import chosen, defaced, defacing_of, head_parser, prepare
from benchmarks.defacers import judge_one
from benchmarks.gallery import add_face
from bids_refacer.audit.tables import VerdictLimits, defacing_row
from bids_refacer.dataset.descriptions.derivatives import write_datasets
from bids_refacer.dataset.details import FIGURES, DefaceDetails
from bids_refacer.dataset.images import HeadImage, find_images
from bids_refacer.dataset.names import OutputNames, dataset_table
from bids_refacer.dataset.rows.audit import DefacingRow, DistanceRow, StatusRow, subject_columns
from bids_refacer.dataset.rows.table import read_rows, write_rows
from bids_refacer.dataset.tables import write_table
from bids_refacer.defacers import DEFACERS
from bids_refacer.refacing.attack import DefacedImage
from bids_refacer.refacing.attack_level import AttackLevel, attack_at
from bids_refacer.refacing.sampling import SampleSeed, SamplingSettings
from bids_refacer.refacing.weights import AttackModel, load_model
from bids_refacer.settings import RunSettings
from bids_refacer.surfaces.face_map import map_face, write_face_map
from bids_refacer.surfaces.gifti import write_surface
from bids_refacer.surfaces.score import original_skin, score_candidates
from bids_refacer.volumes.nifti import read_scan

TOOLS = ("quickshear", "pydeface", "niimath", "skullstrip", "average")


def audit(image: HeadImage, tool: str, folder: Path, names: OutputNames, model: AttackModel) -> None:
    """Attack the image that a tool defaced, score it, write surfaces, maps, and the distances last."""
    original = read_scan(image.path)
    scan, truth = defaced(original, tool, folder), prepare(original, folder)[1]
    settings = SamplingSettings(sampler="dpmpp2m", steps=None, device=torch.device("cpu"))
    attacked = DefacedImage(scan, *prepare(scan, folder / tool))
    look = AttackLevel(replaces=DEFACERS[tool].action == "replaces", level="mask")
    _, refaced = attack_at(look, attacked, model, settings, (SampleSeed(0),), lambda *_: None)
    candidates = {
        ("defaced", None): scan.values,
        ("average", None): refaced.average * scan.slope + scan.inter,
        ("refaced", 1): refaced.samples[0] * scan.slope + scan.inter,
    }
    skin = original_skin(original.volume)
    scores = score_candidates(skin, candidates, original.grid, truth, defacing_of(original, scan))
    for key, face in scores.faces.items():
        if len(face.faces):
            write_surface(names.face_surface(tool, *key), face)
            write_face_map(names.face_map(tool, *key), map_face(face, truth))
    rows = [{**subject_columns(image, tool), **asdict(row)} for row in scores.rows]
    names.anat.mkdir(parents=True, exist_ok=True)
    write_table(names.surfacedistance(tool), "surfacedistance", rows)


def write_tables(done: list[tuple[HeadImage, str, OutputNames]], work_dir: Path, settings: RunSettings) -> None:
    """Tables of the dataset."""
    distances: list[DistanceRow] = []
    defacing: list[DefacingRow] = []
    limits = VerdictLimits.of(settings)
    for image, tool, names in done:
        figures = judge_one(image.path, work_dir / f"sub-{image.participant}", tool, measure_brain=False)
        cut = figures["BrainCut"]
        quality = {"brain_removed_ml": cut["ml"], "brain_removed_percent": cut["percent"]}
        details = {"Version": DEFACERS[tool].version(), "QualityControl": quality, FIGURES: figures}
        distances += read_rows(names.surfacedistance(tool), DistanceRow)
        defacing.append(defacing_row(subject_columns(image, tool), DefaceDetails.from_json(details), limits))
    status = [StatusRow(**subject_columns(image, tool), stage="output", status="ok") for image, tool, _ in done]
    write_rows(dataset_table(settings.layout, "surfacedistance"), DistanceRow, distances)
    write_rows(dataset_table(settings.layout, "defacing"), DefacingRow, defacing)
    write_rows(dataset_table(settings.layout, "status"), StatusRow, status)


def main() -> None:
    parser = head_parser(__doc__)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--tools", nargs="+", default=list(TOOLS))
    parser.add_argument("--model", default="default")
    options = parser.parse_args()
    settings = RunSettings(bids_dir=options.bids_dir, output_dir=options.out_dir, work_dir=options.out_dir)
    write_datasets(settings.layout, options.bids_dir)
    labels = tuple(name.removeprefix("sub-") for name in chosen(options))
    model = load_model(options.model, torch.device("cpu"))
    done = []
    for image in find_images(options.bids_dir, participants=labels, suffixes=("T1w",)).images:
        names = OutputNames.of(settings.layout, image)
        folder = options.work_dir / f"sub-{image.participant}"
        if not names.face_map(None, "original").exists():
            add_face(image.path, names, prepare(read_scan(image.path), folder)[1])
        for tool in options.tools:
            if not names.surfacedistance(tool).exists():
                audit(image, tool, folder, names, model)
                print(image.participant, tool, flush=True)
            done.append((image, tool, names))
    write_tables(done, options.work_dir, settings)


if __name__ == "__main__":
    main()
