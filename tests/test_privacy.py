"""docs/privacy.md says of every file that may be shared why it shows no face; here its reasons are tried."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import Phantom
from nifti_files import raw_image
from output_folders import layout_of, shareable
from scipy import ndimage
from test_published_mask import AFFINE, STILL, brain, head_with

from bids_refacer.dataset.descriptions.citation import ToolUse, citation_text
from bids_refacer.dataset.descriptions.derivatives import write_datasets
from bids_refacer.dataset.tables import TABLES, data_dictionary, read_table
from bids_refacer.defacers import DEFACERS
from bids_refacer.volumes.masks import head_mask, voxel_sizes
from bids_refacer.volumes.nifti import read_mask, read_scan, write_scan
from bids_refacer.volumes.scan import Scan

PAGE = (Path(__file__).parents[1] / "docs" / "privacy.md").read_text(encoding="utf-8")
OWN_TOOLS = ("quickshear", "spm-rule", "skullstrip", "average")
FACES = {"flat": head_with(0.0), "nose": head_with(28.0), "wide": head_with(20.0, wide_mm=34.0)}


def rows_of_the_page() -> list[tuple[list[str], list[str]]]:
    """Patterns of file names and names of tests of each row."""
    table = PAGE.split("## File by file", 1)[1].split("\n\n", 2)[1]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return [(re.findall(r"`([^`]+)`", row[0]), re.findall(r"`(test_\w+)`", row[-1])) for row in cells]


def test_every_reason_has_its_test() -> None:
    sources = "\n".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert len(rows_of_the_page()) > 8
    for patterns, tests in rows_of_the_page():
        assert patterns and tests
        for test in tests:
            assert f"def {test}(" in sources, test


def test_every_file_that_may_be_shared_is_on_the_page(page_output: Path) -> None:
    patterns = [pattern for found, _ in rows_of_the_page() for pattern in found]
    root = shareable(page_output)
    shared = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
    assert len(shared) > 20
    for name in shared:
        assert any(fnmatch.fnmatchcase(name, pattern.replace("**", "*")) for pattern in patterns), name
    assert not [name for name in shared if name.startswith((".bids_refacer", "logs"))]


def scan_of(name: str, folder: Path) -> Scan:
    raw_image(folder / f"{name}.nii.gz", FACES[name], affine=AFFINE)
    return read_scan(folder / f"{name}.nii.gz")


def test_figures_hold_no_picture(page_output: Path) -> None:
    figures = list((shareable(page_output) / "figures").glob("*.svg"))
    assert figures
    for path in figures:
        drawn = path.read_text()
        assert not re.search(r"<image|base64|<foreignObject|href=.data:", drawn) and len(drawn) < 100_000, path.name


@pytest.mark.parametrize("tool", OWN_TOOLS)
def test_masks_of_own_tools_do_not_follow_the_face(tool: str, tmp_path: Path) -> None:
    masks = [DEFACERS[tool].run(scan_of(name, tmp_path), brain(), STILL, tmp_path).mask for name in FACES]
    assert masks[0].any() and all(np.array_equal(mask, masks[0]) for mask in masks)


@pytest.mark.parametrize("tool", OWN_TOOLS)
def test_defaced_images_owe_nothing_to_what_was_removed(tool: str, tmp_path: Path) -> None:
    """Whatever the original holds in the region, the file that is written is the same, bit for bit."""
    scan = scan_of("nose", tmp_path)
    removed = DEFACERS[tool].run(scan, brain(), STILL, tmp_path).removed
    written = []
    for number, seed in enumerate((1, 2)):
        noise = np.random.default_rng(seed).integers(0, 900, scan.stored.shape).astype(scan.stored.dtype)
        raw_image(tmp_path / "other.nii.gz", np.where(removed, noise, scan.stored), affine=AFFINE)
        other = read_scan(tmp_path / "other.nii.gz")
        result = DEFACERS[tool].run(other, brain(), STILL, tmp_path)
        write_scan(tmp_path / f"{number}.nii", other, result.stored)
        written.append((tmp_path / f"{number}.nii").read_bytes())
    assert written[0] == written[1]


def test_the_brain_mask_stays_away_from_the_skin(page_output: Path, phantom_head: Phantom) -> None:
    (path,) = shareable(page_output).glob("sub-01/anat/*_desc-brain_mask.nii.gz")
    mask = read_mask(path)
    head = head_mask(read_scan(next((page_output.parent / "bids").rglob("*_T1w.nii.gz"))).volume)
    depth = ndimage.distance_transform_edt(head, sampling=voxel_sizes(mask.affine))
    assert mask.values.sum() > 1e5 and depth[mask.values].min() > 4, "mm of scalp and skull"


def test_tables_hold_summaries_alone(page_output: Path) -> None:
    for name in TABLES:
        path = shareable(page_output) / f"{name}.tsv"
        rows = read_table(path)
        images = {(row.get("image"), row.get("tool")) for row in rows}
        assert all(set(row) == set(data_dictionary(name)) for row in rows)
        assert len(rows) <= 100 * max(len(images), 1), "no table has a row for each vertex or voxel"
        cells = [cell for row in rows for cell in row.values() if cell]
        assert not any(re.search(r"\d(?:[,; ]+[-+]?\d[\d.]*){7}", cell) for cell in cells), "no lists of numbers"


def lists_in(content: object) -> Iterator[list]:
    if isinstance(content, dict):
        for value in content.values():
            yield from lists_in(value)
    elif isinstance(content, list):
        yield content
        for value in content:
            yield from lists_in(value)


def test_sidecars_hold_no_arrays(page_output: Path) -> None:
    sidecars = [*shareable(page_output).glob("sub-*/**/*.json"), *shareable(page_output).glob("*.json")]
    assert len(sidecars) > 5
    for path in sidecars:
        assert all(len(found) <= 16 for found in lists_in(json.loads(path.read_text()))), path
        assert path.stat().st_size < 20_000


def test_texts_do_not_depend_on_who_was_scanned(tmp_path: Path) -> None:
    texts = []
    for name in ("a", "b"):
        bids = tmp_path / name / "in"
        (bids / f"sub-{name}").mkdir(parents=True)
        (bids / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
        layout = layout_of(tmp_path / name / "out")
        write_datasets(layout, bids)
        tool = ToolUse(name="t", version="1", citation="c")
        texts.append([(layout.shareable / file).read_text() for file in ("README", ".bidsignore")])
        texts[-1].append(citation_text([tool], None, {}))
    assert texts[0] == texts[1]
