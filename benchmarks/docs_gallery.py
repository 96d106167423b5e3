"""Pictures for docs/gallery.md, of synthetic heads alone: `python -m benchmarks.docs_gallery BIDS_DIR OUTPUT_DIR`.

BIDS_DIR is made by `bids_refacer simulate`, OUTPUT_DIR by the levels participant and group on it (`make gallery` does
all of it). Pages are opened in headless Chromium, their parts become WebP files in docs/gallery, and docs/gallery.md is
written around them. Any other dataset is refused: a picture in a repository cannot be taken back.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from scipy.spatial import cKDTree

from bids_refacer.dataset.descriptions.derivatives import read_description
from bids_refacer.dataset.errors import DatasetError
from bids_refacer.dataset.names import OutputNames, dataset_table, faces_page, group_page
from bids_refacer.dataset.simulated import SimulatedNames, truth_dir
from bids_refacer.dataset.tables import read_table
from bids_refacer.layout import IDENTIFIABLE, SHAREABLE, Layout
from bids_refacer.surfaces.gifti import GiftiError, read_surface
from tests.browser import CHROMIUM, Browser, chromium

DOCS = Path(__file__).parents[1] / "docs"
MOST_BYTES = 1_000_000
FARTHEST_MM = 3.0  # from the synthetic skin to the face of the output, on average: another head's lies farther
FRAME = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))"


class GalleryError(ValueError):
    """No pictures can be made: one sentence with the file, what is wrong, and the remedy."""


@dataclass(frozen=True)
class Shot:
    """A part of a page: file name, page, first and last element (CSS), window, and what to say of it."""

    name: str
    page: str
    first: str
    words: str
    last: str = ""
    width: int = 1280
    dark: bool = False
    before: str = ""
    height: int = 0


def require_simulated(bids_dir: Path, output_dir: Path) -> list[str]:
    """Participants (without ``sub-``) of an output, when all of them are heads of `bids_refacer simulate`.

    Raises
    ------
    GalleryError
        When the dataset does not say that it was simulated, holds no truth of a participant, or the face in the output
        is not the synthetic one.
    """
    remedy = "pictures are made of heads of `bids_refacer simulate` alone, never of a person's."
    try:
        makers = read_description(bids_dir).get("GeneratedBy")
    except DatasetError as error:
        raise GalleryError(f"{error} {remedy}") from error
    names = [maker.get("Name") for maker in makers if isinstance(maker, dict)] if isinstance(makers, list) else []
    if names != ["bids_refacer simulate"] or not (truth_dir(bids_dir) / "simulation.json").is_file():
        raise GalleryError(f"{bids_dir} was not made by `bids_refacer simulate`: {remedy}")
    table = dataset_table(Layout.of(output_dir), "status")
    labels = sorted({str(row["participant_id"]).removeprefix("sub-") for row in read_table(table)})
    if not labels:
        raise GalleryError(f"{table} has no participants: run the level 'participant' first.")
    for label in labels:
        _require_own_face(SimulatedNames(bids_dir, label), output_dir, remedy)
    return labels


def _require_own_face(head: SimulatedNames, output_dir: Path, remedy: str) -> None:
    """The face of the output lies on the skin of the synthetic head; one that was put under its name does not."""
    names = OutputNames(layout=Layout.of(output_dir), entities={"sub": head.label}, suffix="T1w")
    face = names.face_surface(None, "original")
    if not face.is_file():
        if face.parent.is_dir():
            raise GalleryError(f"{face} is missing, so whose face it is cannot be checked: {remedy}")
        return  # failed before any face was found, so there is none on any page
    try:
        skin = read_surface(head.truth("skin.surf.gii")).vertices
    except GiftiError as error:
        raise GalleryError(f"{error} {remedy}") from error
    away = float(cKDTree(skin).query(read_surface(face).vertices)[0].mean())
    if away > FARTHEST_MM:
        raise GalleryError(f"{face} lies {away:.1f} mm from the skin of the synthetic sub-{head.label}: {remedy}")


def shots(label: str, tool: str) -> list[Shot]:
    """What is shown, of the group and of one participant and tool."""
    own, faces, group = f"{SHAREABLE}/sub-{label}.html", f"{IDENTIFIABLE}/sub-{label}.html", f"{SHAREABLE}/group.html"
    part, image = f"#image-0-{tool}", "#image-0"
    choose = (
        "void ((s) => {{ s.selectedIndex = [...s.options].findIndex((o) => o.value.startsWith('{start}')); "
        f"s.dispatchEvent(new Event('change')); }}}})(document.querySelector('{image} .viewer select')); "
        "void document.querySelector('button[data-yaw=\"0.7\"]').click()"
    )
    turn, maps = (choose.format(start=start) for start in (f"{tool}-refaced", f"original:{tool} refaced"))
    return [
        Shot("answer", group, ".banner", "The group page answers first, with a card for each tool.", last="#answer"),
        Shot("tools", group, "#tools", "A row for each tool: figures, and a line that follows from them."),
        Shot("people", group, "#participants", "Participants, those to do again first."),
        Shot("figures", group, "#figures", "Figures of the group.", height=1900),
        Shot("phone", group, ".banner", "On a telephone, dark.", "main", width=390, dark=True, height=1500),
        Shot("shareable", own, ".banner", f"sub-{label} without a face.", last=f"{image} .tool .renders"),
        Shot("cards", faces, f"{image} .tiles", "A card for each tool: both marks, pictures, distances."),
        Shot("turn", faces, f"{image} .viewer", "Two faces that turn together: true, and recovered.", before=turn),
        Shot("map", faces, f"{image} .viewer", "Distance to the recovered face, on the true one.", before=maps),
        Shot("stacks", faces, f"{image} .stacks", "Slices that scroll, all images by one slider."),
        Shot("slices", faces, f"{part} .panels", f"Before and after {tool}, with a slider."),
        Shot("faces", faces, f"{part} .faces", f"Faces after {tool}, and their distances.", last=f"{part} div.bar"),
    ]


def take(tab: Browser, output_dir: Path, shot: Shot) -> Image.Image:
    """The picture of a part of a page; GalleryError when the page has no such part."""
    path = output_dir / shot.page
    tab.open(path, width=shot.width, dark=shot.dark)
    for script in filter(None, (shot.before, FRAME)):
        tab.run(script)
    area = tab.area(shot.first, shot.last or shot.first)
    if area is None:
        raise GalleryError(f"{path} has no {shot.first} or {shot.last}: make the page again with --reports-only.")
    if shot.height:
        area["height"] = min(area["height"], shot.height)
    return Image.open(io.BytesIO(tab.picture(area)))


def write_gallery(bids_dir: Path, output_dir: Path, docs: Path) -> None:
    """Check, take all pictures, and write them with their page; nothing is written when one cannot be taken."""
    require_simulated(bids_dir, output_dir)
    if CHROMIUM is None:
        raise GalleryError("Chromium is not installed: on Debian, apt-get install chromium.")
    if not group_page(Layout.of(output_dir)).is_file():
        raise GalleryError(f"{group_page(Layout.of(output_dir))} is missing: run the level 'group' first.")
    label, tool = _shown(output_dir)
    files: dict[str, bytes] = {}
    sizes: dict[str, tuple[int, int]] = {}
    wanted = shots(label, tool)
    with tempfile.TemporaryDirectory() as profile, chromium(Path(profile)) as tab:
        for shot in wanted:
            picture = take(tab, output_dir, shot)
            content = io.BytesIO()
            picture.convert("RGB").save(content, "WEBP", quality=72, method=6)
            files[f"{shot.name}.webp"], sizes[shot.name] = content.getvalue(), picture.size
    total = sum(map(len, files.values()))
    if total > MOST_BYTES:
        raise GalleryError(f"The pictures have {total / 1e6:.2f} MB, more than {MOST_BYTES / 1e6:g}: show less.")
    folder = docs / "gallery"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.webp"):
        old.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (docs / "gallery.md").write_text(page(bids_dir, output_dir, wanted, sizes), encoding="utf-8")
    print(f"{len(files)} pictures of sub-{label} and the group, {total / 1e6:.2f} MB: {docs / 'gallery.md'}")


def _shown(output_dir: Path) -> tuple[str, str]:
    """Participant and tool to show: those whose recovered face is the median of all in its distance to the true one."""
    rows = [
        row
        for row in read_table(dataset_table(Layout.of(output_dir), "surfacedistance"))
        if row["part"] == "face" and row["image_type"] == "refaced_sample_mean" and row["masd_mm"]
    ]
    heads = [row for row in rows if row["tool"] not in ("average", "skullstrip")] or rows
    private = Layout.of(output_dir).identifiable
    found = sorted((float(row["masd_mm"] or 0), str(row["participant_id"]), str(row["tool"])) for row in heads)
    found = [one for one in found if faces_page(Layout.of(output_dir), one[1].removeprefix("sub-")).is_file()]
    if not found:
        raise GalleryError(
            f"{private} has no page with a recovered face: run the participant level with --keep-refaced."
        )
    _, participant, tool = found[len(found) // 2]
    return participant.removeprefix("sub-"), tool


def page(bids_dir: Path, output_dir: Path, wanted: Sequence[Shot], sizes: dict[str, tuple[int, int]]) -> str:
    """docs/gallery.md. What it says of the run is read from the run."""
    made = json.loads((truth_dir(bids_dir) / "simulation.json").read_text())
    status = read_table(dataset_table(Layout.of(output_dir), "status"))
    heads = len({row["participant_id"] for row in status})
    done = sum(row["status"] == "ok" for row in status)
    rows = read_table(dataset_table(Layout.of(output_dir), "surfacedistance"))
    tools = sorted({str(row["tool"]) for row in rows})
    samples = max((int(row["sample"] or 0) for row in rows), default=0)
    lines = [
        "# Gallery",
        "",
        "What the pages look like. **No picture shows a person:** all heads come from `bids_refacer simulate` "
        "([simulate.md](simulate.md)). `make gallery` makes this page and its pictures, and refuses any other dataset; "
        "do not edit it by hand.",
        "",
        f"{_several(heads, 'head')} (seed {made['seed']}, {made['resolution_mm']:g} mm), "
        f"{_several(len(tools), 'tool')} ({', '.join(tools)}), {_several(samples, 'sample')} of few steps each: "
        f"{done} of {len(status)} image x tool done. So few heads and steps show pages, not how good a tool is. "
        "Participant and tool are those whose recovered face is the median one.",
    ]
    for shot in wanted:
        width = min(sizes[shot.name][0], 900)
        lines += [
            "",
            f"## {shot.words}",
            "",
            f'<img src="gallery/{shot.name}.webp" width="{width}" alt="{shot.words}">',
        ]
    return "\n".join([*lines, ""])


def _several(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bids_dir", type=Path)
    parser.add_argument("output_dir", type=Path)
    parser.add_argument("--docs", type=Path, default=DOCS, help="where gallery.md and the folder gallery go")
    options = parser.parse_args(arguments)
    try:
        write_gallery(options.bids_dir, options.output_dir, options.docs)
    except GalleryError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
