"""Would a face-recognition program find these people? `python -m benchmarks.recognition BIDS_DIR WORK_DIR [options]`.

For each head and tool: deface, attack with each model, describe the heads as the audit does, and look them up among the
originals of all heads and of the fillers (`--fillers N`: heads of the other splits). Prints, for each recogniser, for
shape and for shape where the attack painted, the share of views with a face, rank-1 with its exact interval, mean rank
and rank-1 in a crowd of 10,000; then paired tests of the models (rank and similarity, Wilcoxon, Holm over all).

Shape is compared here by face maps of the whole head surface of 2 mm, not of the face region alone as in an audit.
What is described is kept in WORK_DIR, so that the command can be stopped and goes on where it was.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from benchmarks.attack import attack_model, chosen, defaced, fitted_to, head_parser, prepare
from bids_refacer.defacers import DEFACERS
from bids_refacer.recognition.descriptors import LIGHTS, detected, mean_descriptor
from bids_refacer.recognition.gallery import DescriptorGallery
from bids_refacer.recognition.heads import head_level, head_surface
from bids_refacer.recognition.portraits import describe_head
from bids_refacer.recognition.recognisers import Dlib, Recogniser, SFace
from bids_refacer.recognition.render import Surface
from bids_refacer.refacing.attack import DefacedImage, reface
from bids_refacer.refacing.sampling import SamplingSettings, paired_seeds
from bids_refacer.refacing.weights import AttackModel
from bids_refacer.statistics.crowd import crowd
from bids_refacer.statistics.paired import holm, wilcoxon_paired
from bids_refacer.surfaces.face_map import depth_map, halved
from bids_refacer.surfaces.face_matching import Gallery, match
from bids_refacer.surfaces.skin import SkinError
from bids_refacer.volumes.grid import Alignment, Volume
from bids_refacer.volumes.nifti import read_scan
from bids_refacer.volumes.scan import Scan

VIEWS = 6
TOWN = 10_000
KEPT_MM = 0.05  # as at the group level
SHAPES = ("shape", "shape-painted")


@dataclass(frozen=True)
class Seen:
    """A head as it was described: recogniser -> (lights, views, d), and its face map."""

    descriptors: Mapping[str, np.ndarray]
    depth: np.ndarray


class Describer:
    """Describes heads, or reads what was described before."""

    def __init__(self) -> None:
        device = torch.device("cpu")
        self.recognisers: list[Recogniser] = [Dlib(device), SFace(device)]

    def seen(self, kept: Path, image: Volume | None, alignment: Alignment, level: np.ndarray, lights: str) -> Seen:
        """The description in the file `kept`, made where it is missing; `image` may be None where it is there."""
        if not kept.exists():
            assert image is not None
            kept.parent.mkdir(parents=True, exist_ok=True)
            np.savez(kept, **self._described(kept, image, alignment, level, lights))
        with np.load(kept) as content:
            return Seen({one.name: content[one.name] for one in self.recognisers}, content["depth"])

    def _surface(self, kept: Path, image: Volume, alignment: Alignment, level: np.ndarray) -> Surface:
        """The skin, which is kept beside the description: it takes longer to paint a face than to describe it."""
        head = head_surface(image, alignment, level)
        np.savez_compressed(
            kept.with_suffix(".surface.npz"),
            points=head.points.astype(np.float32),
            triangles=head.triangles.astype(np.int32),
        )
        return head

    def _described(
        self, kept: Path, image: Volume, alignment: Alignment, level: np.ndarray, lights: str
    ) -> dict[str, np.ndarray]:
        try:
            head = self._surface(kept, image, alignment, level)
        except SkinError:
            empty = np.full((len(LIGHTS[lights]), VIEWS, 128), np.nan, dtype=np.float32)
            nothing = np.zeros((0, 3))
            return {**{one.name: empty for one in self.recognisers}, "depth": depth_map(nothing, nothing.astype(int))}
        found = describe_head(head, LIGHTS[lights], VIEWS, self.recognisers)
        return {**found, "depth": depth_map(head.points, head.triangles)}


def original(path: Path, folder: Path, describer: Describer) -> tuple[Seen, Scan, Alignment, np.ndarray]:
    """An original, described once; with what its defaced images are described by."""
    scan = read_scan(path)
    alignment = prepare(scan, folder)[1]
    level = folder / "level.npy"
    if not level.exists():
        np.save(level, head_level(scan.volume, alignment))
    known = np.load(level)
    return describer.seen(folder / "original.npz", scan.volume, alignment, known, "original"), scan, alignment, known


def faces(
    head: tuple[Seen, Scan, Alignment, np.ndarray],
    tool: str,
    folder: Path,
    models: Mapping[str, AttackModel],
    describer: Describer,
) -> Iterator[tuple[str, Seen]]:
    """Everything that is made of a head with one tool, described: kind of face, and what was seen."""
    _, scan, alignment, level = head
    place = folder / tool

    def seen(kind: str, values: np.ndarray | None) -> Seen:
        image = None if values is None else Volume(values, scan.affine)
        return describer.seen(place / f"{kind}.npz", image, alignment, level, "other")

    made = defaced(scan, tool, folder)
    yield "defaced", seen("defaced", made.values)
    for name, model in models.items():
        kinds = ["average", "average-fitted", name]
        if all((place / f"{kind}.npz").exists() for kind in kinds):
            yield from ((kind, seen(kind, None)) for kind in kinds)
            continue
        brain, own = prepare(made, place)
        refaced = reface(
            DefacedImage(made, brain, own),
            model,
            SamplingSettings(sampler="dpmpp2m", steps=None, device=torch.device("cpu")),
            seeds=paired_seeds((0,)),
            zone=DEFACERS[tool].action == "replaces",
            progress=lambda *_: None,
        )
        fitted = fitted_to(scan, made, refaced.unknown, folder)
        images = (refaced.average * made.slope + made.inter, fitted, refaced.mean * made.slope + made.inter)
        yield from ((kind, seen(kind, values)) for kind, values in zip(kinds, images, strict=True))


@dataclass(frozen=True)
class Searched:
    """How one kind of face of one tool fared: ranks, similarity to the own original, views with a face."""

    ranks: np.ndarray
    similarity: np.ndarray
    detected: float
    gallery: int

    @property
    def line(self) -> str:
        """Figures of a row of the table."""
        found = int((self.ranks <= 1).sum())
        exact = stats.binomtest(found, len(self.ranks)).proportion_ci(method="exact")
        lost = np.isnan(self.similarity)
        nearer = np.where(lost, np.nan, self.ranks - 1)
        town = crowd(nearer, self.gallery - 1, np.arange(len(nearer)), np.array([TOWN]), seed=0)
        faces_found = "  -  " if np.isnan(self.detected) else f"{self.detected:.2f}"
        return (
            f"{faces_found} | {found}/{len(self.ranks)} = {found / len(self.ranks):.2f} ({exact.low:.2f} to "
            f"{exact.high:.2f}) | {self.ranks.mean():.1f} | {100 * town.rates[0, 0]:.1f} % "
            f"({100 * town.low[0, 0]:.1f} to {100 * town.high[0, 0]:.1f})"
        )


def searched(
    name: str, gallery: Sequence[Seen], probes: Sequence[Seen], left: Sequence[Seen] | None
) -> Searched | None:
    """Look heads up by one recogniser or by shape; the own original of each has its number in the gallery."""
    own = np.arange(len(probes))
    if name in SHAPES:
        maps = np.stack([halved(one.depth) for one in probes])
        if name == "shape-painted":
            if left is None:
                return None
            with np.errstate(invalid="ignore"):
                maps[np.abs(maps - np.stack([halved(one.depth) for one in left])) < KEPT_MM] = np.nan
        found = match(maps, Gallery(np.stack([halved(one.depth) for one in gallery])), own)
        return Searched(found.ranks, -found.genuine, float("nan"), len(gallery))
    members = np.stack([mean_descriptor(one.descriptors[name][0]) for one in gallery])
    vectors = np.stack([mean_descriptor(one.descriptors[name][-1]) for one in probes])
    found = match(vectors, DescriptorGallery(members), own)
    share = float(np.mean([detected(one.descriptors[name][-1]) for one in probes]))
    similarity = np.where(np.isfinite(found.genuine), 1 - found.genuine, np.nan)
    return Searched(found.ranks, similarity, share, len(gallery))


def print_tests(rows: Mapping[tuple[str, str, str], Searched], models: Sequence[str]) -> None:
    """Paired tests of each two kinds of recovered face, for each tool and recogniser."""
    lines, p_values = [], []
    for tool, name in dict.fromkeys((tool, name) for tool, _, name in rows):
        for one, other in combinations(("average", *models), 2):
            first, second = rows.get((tool, one, name)), rows.get((tool, other, name))
            if first is None or second is None:
                continue
            for figure in ("ranks", "similarity"):
                values = getattr(first, figure), getattr(second, figure)
                both = np.isfinite(values[0]) & np.isfinite(values[1])
                if both.sum() < 2:
                    continue
                test = wilcoxon_paired(values[0][both], values[1][both])
                gain = float((values[1][both] - values[0][both]).mean())
                lines.append(f"| {tool} | {name} | {other} - {one} | {figure} | {gain:+.3f} | {both.sum()} | ")
                p_values.append(test.p_value)
    print("\n| tool | by | pair | figure | mean difference | n | p (Holm) |\n|---|---|---|---|---|---|---|")
    for line, p_value in zip(lines, holm(np.array(p_values)), strict=True):
        print(f"{line}{p_value:.3g} |")


def others(bids_dir: Path, names: Sequence[str], count: int) -> list[str]:
    """Labels of heads that only fill the gallery: those whose nose and chin are in the field of view first."""
    rows = list(csv.DictReader((bids_dir / "participants.tsv").open(), delimiter="\t"))
    rows.sort(key=lambda row: (row.get("nose_in_fov"), row.get("chin_in_fov")) != ("1", "1"))
    return [row["participant_id"] for row in rows if row["participant_id"] not in names][:count]


def main() -> None:
    parser = head_parser(__doc__)
    parser.add_argument("--tools", nargs="+", default=["quickshear", "pydeface", "niimath", "average", "skullstrip"])
    parser.add_argument("--models", nargs="+", default=["linear", "kriged", "default"])
    parser.add_argument("--fillers", type=int, default=60)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    describer, names = Describer(), chosen(options)
    models = {Path(name).name: attack_model(name) for name in options.models}
    gallery, probes = [], {}
    for name in [*names, *others(options.bids_dir, names, options.fillers)]:
        path = next((options.bids_dir / name).rglob("*_T1w.nii*"))
        head = original(path, options.work_dir / name, describer)
        gallery.append(head[0])
        for tool in options.tools if name in names else ():
            for kind, seen in faces(head, tool, options.work_dir / name, models, describer):
                probes.setdefault((tool, kind), {})[name] = seen
            print(name, tool, flush=True)
    print_tables(gallery, names, probes, list(models))


def print_tables(
    gallery: Sequence[Seen],
    names: Sequence[str],
    probes: Mapping[tuple[str, str], Mapping[str, Seen]],
    models: Sequence[str],
) -> None:
    """Print all figures; `gallery` begins with the heads of `names`."""
    print(f"{len(names)} heads among {len(gallery)}, {VIEWS} views, chance {1 / len(gallery):.3f}\n")
    print("| tool | face | by | views with a face | rank-1 (95 % exact) | mean rank | first among 10,000 |")
    print("|---|---|---|---|---|---|---|")
    by = ("dlib", "sface", *SHAPES)
    for name in by[:2]:
        ceiling = searched(name, gallery, gallery[: len(names)], None)
        print(f"| - | original, other light | {name} | {ceiling.line if ceiling else ''} |")
    rows: dict[tuple[str, str, str], Searched] = {}
    for (tool, kind), heads in probes.items():
        left = None if kind == "defaced" else [probes[tool, "defaced"][name] for name in names]
        for name in by:
            found = searched(name, gallery, [heads[one] for one in names], left)
            if found is not None:
                rows[tool, kind, name] = found
                print(f"| {tool} | {kind} | {name} | {found.line} |")
    print_tests(rows, models)


if __name__ == "__main__":
    main()
