"""The one place that spells the names of output files.

Names follow the BIDS schema as `bids-validator-deno` (schema 1.2.7) checks it. What the schema has no name for is
listed in ``.bidsignore`` (`SHAREABLE_BIDSIGNORE`, `IDENTIFIABLE_BIDSIGNORE`): the tables of surface distances and of
status, ``CITATION.md``, surfaces and distance maps (GIFTI; derivatives have no suffix for a skin surface).

``defacemask`` allows neither ``echo`` nor ``part``: they are written into its ``desc`` label, so that the masks of two
echoes never share a name. ``mask`` allows no ``mod``: the brain mask of a T1w image is ``desc-brain``, that of a T2w
image ``desc-brainT2w``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bids_refacer.dataset.image_key import ImageKey
from bids_refacer.layout import Layout

RECORDS = ".bids_refacer"  # hidden: validators and pybids pass over it
LOGS = "logs"
SHAREABLE_BIDSIGNORE = (
    "/defacing.tsv",
    "/defacing.json",
    "/surfacedistance.tsv",
    "/surfacedistance.json",
    "*_surfacedistance.tsv",
    "*_surfacedistance.json",
    "/status.tsv",
    "/status.json",
    "/CITATION.md",
    "/CITATION.bib",
    "/figures",
    "/recognition.tsv",
    "/recognition.json",
    "/calibration.tsv",
    "/calibration.json",
    "/group_*.tsv",
    "/group_*.json",
    "/group.md",
    "/group.html",
    "/sub-*.html",
)
IDENTIFIABLE_BIDSIGNORE = (
    *("work", LOGS, "*.surf.gii", "*.shape.gii", "*_face.json", "*_distance.json"),
    *("*_facemap.npz", "*_facemap.json"),
    *("*_facialvoxels.npz", "*_facialvoxels.json"),
    *("*_descriptors.npz", "*_descriptors.json"),
    "/sub-*.html",
)

# the schema's order of entities (rules.entities), by their short names
_ORDER = (
    "sub tpl ses cohort sample task tracksys acq nuc voi ce trc stain rec dir run mod echo flip inv mt part proc hemi "
    "space split recording chunk atlas seg scale res den label desc"
).split()
_EXTENSIONS = (".nii.gz", ".nii", ".surf.gii", ".shape.gii", ".tsv", ".npz")


def tool_label(tool: str) -> str:
    """A tool's name as a BIDS label, which holds letters and digits alone: ``fsl_deface`` is ``fslDeface``."""
    first, *rest = [part for part in re.split(r"[^0-9A-Za-z]+", tool) if part]
    return first + "".join(part[0].upper() + part[1:] for part in rest)


def file_name(entities: Mapping[str, str], suffix: str, extension: str) -> str:
    """A BIDS file name from short entity names and labels, in the schema's order; unknown entities before ``desc``."""
    rank = {name: position for position, name in enumerate(_ORDER)}
    known = sorted(entities, key=lambda name: rank.get(name, rank["desc"] - 0.5))
    return "_".join([f"{name}-{entities[name]}" for name in known] + [suffix]) + extension


def sidecar_of(path: Path) -> Path:
    """The JSON sidecar of an output file. Raises ValueError for an extension that no output has."""
    for extension in _EXTENSIONS:
        if path.name.endswith(extension):
            return path.with_name(path.name.removesuffix(extension) + ".json")
    raise ValueError(f"{path} has no sidecar: outputs end in {', '.join(_EXTENSIONS)}.")


@dataclass(frozen=True, kw_only=True)
class OutputNames:
    """Paths of everything that is written for one input image.

    `entities` are those of the input (``{"sub": "01", "run": "1"}``), `suffix` is the input's (``T1w``). Samples are
    counted from 1. Nothing is created.
    """

    layout: Layout
    entities: Mapping[str, str]
    suffix: str

    @classmethod
    def of(cls, layout: Layout, image: ImageKey) -> OutputNames:
        """Names of the outputs of an image, in one output."""
        return cls(layout=layout, entities=image.entities, suffix=image.suffix)

    @property
    def anat(self) -> Path:
        """The image's folder in the shareable dataset."""
        return self.layout.shareable / self._folder()

    @property
    def identifiable_anat(self) -> Path:
        """The image's folder in the identifiable dataset."""
        return self.layout.identifiable / self._folder()

    def defaced(self, tool: str) -> Path:
        """The defaced image."""
        return self.anat / self._name(f"{tool_label(tool)}Defaced")

    def defacemask(self, tool: str) -> Path:
        """The mask of what a tool removed or replaced."""
        kept = {name: label for name, label in self.entities.items() if name not in ("echo", "part")}
        desc = tool_label(tool)
        for name in ("echo", "part"):
            if name in self.entities:
                desc += name.capitalize() + self.entities[name].capitalize()
        return self.anat / file_name({**kept, "mod": self.suffix, "desc": desc}, "defacemask", ".nii.gz")

    def brain_mask(self) -> Path:
        """The brain mask of the original image."""
        desc = "brain" if self.suffix == "T1w" else f"brain{self.suffix}"
        return self.anat / file_name({**self.entities, "desc": desc}, "mask", ".nii.gz")

    def surfacedistance(self, tool: str) -> Path:
        """The table of surface distances of one image and tool."""
        return self.anat / self._other(tool_label(tool), "surfacedistance", ".tsv")

    def record(self, tool: str) -> Path:
        """The record of this image and tool, written when they are finished (see `records`)."""
        return records_dir(self.layout) / self._folder() / self._other(tool_label(tool), "record", ".json")

    def verdict(self, tool: str) -> Path:
        """The verdict on the defaced image, written before its face is painted back, so that a failure leaves it."""
        return self.record(tool).with_name(self._other(tool_label(tool), "verdict", ".json"))

    def other_record(self, tool: str) -> Path:
        """The record of an image that was defaced with the mask of another image of its session."""
        return self.record(tool).with_name(self._other(tool_label(tool), "other", ".json"))

    def refaced(self, tool: str, sample: int) -> Path:
        """One refaced sample; identifiable."""
        return self.identifiable_anat / self._name(f"{tool_label(tool)}Refaced{sample}")

    def refaced_mean(self, tool: str) -> Path:
        """The mean image of the refaced samples; identifiable."""
        return self.identifiable_anat / self._name(f"{tool_label(tool)}RefacedMean")

    def average_face(self, tool: str) -> Path:
        """The defaced image with the registered population-average face; kept beside what it is compared with."""
        return self.identifiable_anat / self._name(f"{tool_label(tool)}AverageFace")

    def face_surface(self, tool: str | None, image_type: str, sample: int | None = None) -> Path:
        """The skin surface of an image (see `surface_label`); identifiable."""
        return self.identifiable_anat / self._other(surface_label(tool, image_type, sample), "face", ".surf.gii")

    def distance_map(self, tool: str | None, image_type: str, sample: int | None = None) -> Path:
        """Distance (mm) of each vertex of `face_surface` to the original's surface; identifiable."""
        return self.identifiable_anat / self._other(surface_label(tool, image_type, sample), "distance", ".shape.gii")

    def face_map(self, tool: str | None, image_type: str, sample: int | None = None) -> Path:
        """The face map by which a person is looked up in a gallery (see `surface_label`); identifiable."""
        return self.identifiable_anat / self._other(surface_label(tool, image_type, sample), "facemap", ".npz")

    def facial_voxels(self, tool: str | None, image_type: str, sample: int | None = None) -> Path:
        """The voxels of the face from which phenotypes are predicted (see `surface_label`); identifiable."""
        label = surface_label(tool, image_type, sample)
        return self.identifiable_anat / self._other(label, "facialvoxels", ".npz")

    def descriptors(self, tool: str | None, image_type: str, sample: int | None = None) -> Path:
        """What face-recognition programs see of an image (see `surface_label`, or ``average-fitted``); identifiable."""
        fitted = image_type == "average-fitted" and tool is not None
        label = f"{tool_label(str(tool))}AverageFitted" if fitted else surface_label(tool, image_type, sample)
        return self.identifiable_anat / self._other(label, "descriptors", ".npz")

    def paths(self, tool: str) -> list[Path]:
        """Every file with a name of its own that one tool may leave of this image, with the first of the samples."""
        kinds = ((None, "original", None), (tool, "defaced", None), (tool, "refaced", 1), (tool, "refaced_mean", None))
        surfaces = [*kinds, (tool, "average", None)]
        named = (self.face_surface, self.distance_map, self.face_map, self.facial_voxels, self.descriptors)
        return [
            *(self.brain_mask(), self.defaced(tool), self.defacemask(tool), self.surfacedistance(tool)),
            *(self.record(tool), self.verdict(tool), self.other_record(tool)),
            *(self.refaced(tool, 1), self.refaced_mean(tool), self.average_face(tool)),
            *(path(*kind) for path in named for kind in surfaces),
            self.descriptors(tool, "average-fitted"),
        ]

    def _folder(self) -> Path:
        folder = Path(f"sub-{self.entities['sub']}")
        if "ses" in self.entities:
            folder /= f"ses-{self.entities['ses']}"
        return folder / "anat"

    def _name(self, desc: str) -> str:
        return file_name({**self.entities, "desc": desc}, self.suffix, ".nii.gz")

    def _other(self, desc: str, suffix: str, extension: str) -> str:
        # mod keeps the files of a T1w and of a T2w image apart, as the suffix no longer does
        return file_name({**self.entities, "mod": self.suffix, "desc": desc}, suffix, extension)


def surface_label(tool: str | None, image_type: str, sample: int | None = None) -> str:
    """The ``desc`` label of a surface.

    `image_type` is ``original`` (no tool), ``defaced``, ``refaced`` (with its sample, from 1), ``refaced_mean`` or
    ``average``. Raises ValueError for any other combination.
    """
    if image_type == "original" and tool is None:
        return "original"
    endings = {"defaced": "Defaced", "refaced_mean": "RefacedMean", "average": "AverageFace"}
    if tool is not None and image_type == "refaced" and sample is not None:
        return f"{tool_label(tool)}Refaced{sample}"
    if tool is not None and image_type in endings and sample is None:
        return tool_label(tool) + endings[image_type]
    raise ValueError(f"No surface is written for image type {image_type!r} of tool {tool!r} with sample {sample!r}.")


def records_dir(layout: Layout) -> Path:
    """The folder of all records: identifiable, as they hold fingerprints of the originals.

    The folder in the shareable dataset, where versions before 0.9 had it, while nobody has moved it
    (`descriptions.former_layout.take_up`).
    """
    place, former = layout.identifiable / RECORDS, layout.shareable / RECORDS
    return former if former.is_dir() and not place.is_dir() else place


def running_dir(layout: Layout) -> Path:
    """Where runs that are at work claim what they work on (`files.claimed`)."""
    return records_dir(layout) / "running"


def lock_file(layout: Layout) -> Path:
    """Held while files of the whole dataset are written."""
    return records_dir(layout) / "lock"


def dataset_table(layout: Layout, table: str) -> Path:
    """A table of the whole shareable dataset: ``surfacedistance``, ``defacing``, ``status`` or ``participants``."""
    return layout.shareable / f"{table}.tsv"


def group_page(layout: Layout) -> Path:
    """The page of a group; shareable."""
    return layout.shareable / "group.html"


def figures_dir(layout: Layout) -> Path:
    """The folder of the figures of pages as files; shareable, as no figure shows a face."""
    return layout.shareable / "figures"


def participant_page(layout: Layout, participant: str) -> Path:
    """The page of a participant (without ``sub-``) that shows no face; shareable."""
    return layout.shareable / f"sub-{participant}.html"


def faces_page(layout: Layout, participant: str) -> Path:
    """The page of a participant (without ``sub-``) that shows faces; identifiable."""
    return layout.identifiable / f"sub-{participant}.html"


def log_dir(layout: Layout, run_uuid: str) -> Path:
    """The folder of one run's log (``run.log``) and settings (``settings.toml``); identifiable, as they name paths."""
    return layout.identifiable / LOGS / run_uuid
