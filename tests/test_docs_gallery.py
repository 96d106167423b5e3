"""Pictures for the documentation come from synthetic heads alone: everything else is refused, and nothing written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from browser import CHROMIUM
from group_runs import run
from output_folders import identifiable, layout_of, shareable
from PIL import Image

from benchmarks import docs_gallery
from bids_refacer.dataset.names import OutputNames
from bids_refacer.dataset.simulated import SimulatedNames, truth_dir
from bids_refacer.files import write_json
from bids_refacer.surfaces.gifti import read_surface, write_surface

Folders = tuple[Path, Path]


@pytest.fixture
def folders(page_output: Path, tmp_path: Path) -> Folders:
    """A dataset that says it is simulated, with the truth of its head, and the outputs on it."""
    bids = Path(shutil.copytree(page_output.parent / "bids", tmp_path / "bids"))
    output = Path(shutil.copytree(page_output, tmp_path / "out"))
    description = json.loads((bids / "dataset_description.json").read_text())
    made = {"GeneratedBy": [{"Name": "bids_refacer simulate", "Version": "0"}]}
    write_json(bids / "dataset_description.json", description | made)
    skin = SimulatedNames(bids, "01").truth("skin.surf.gii")
    skin.parent.mkdir(parents=True)
    write_json(truth_dir(bids) / "simulation.json", {"seed": 1, "resolution_mm": 2.0})
    write_surface(skin, read_surface(face_of(output)))
    return bids, output


def face_of(output: Path) -> Path:
    return OutputNames(layout=layout_of(output), entities={"sub": "01"}, suffix="T1w").face_surface(None, "original")


def refusal(folders: Folders, docs: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What the command says; it must have written nothing."""
    assert docs_gallery.main([str(folders[0]), str(folders[1]), "--docs", str(docs)]) == 1
    assert not docs.exists()
    return capsys.readouterr().err


def test_heads_that_were_simulated_are_taken(folders: Folders) -> None:
    assert docs_gallery.require_simulated(*folders) == ["01", "02"]


@pytest.mark.parametrize(
    "maker",
    [
        None,
        "bids_refacer simulate",
        [{"Name": "dcm2niix"}],
        ["bids_refacer simulate"],
        [{"Name": "bids_refacer simulate"}, {"Name": "dcm2niix"}],
    ],
)
def test_other_datasets_are_refused(
    maker: object, folders: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folders[0] / "dataset_description.json"
    write_json(path, json.loads(path.read_text()) | {"GeneratedBy": maker})
    said = refusal(folders, tmp_path / "docs", capsys)
    assert f"{folders[0]} was not made by `bids_refacer simulate`" in said and "never of a person's" in said


def test_a_dataset_without_description_is_refused(
    folders: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folders[0] / "dataset_description.json").unlink()
    assert "dataset_description.json cannot be read" in refusal(folders, tmp_path / "docs", capsys)


def test_a_dataset_without_truth_is_refused(
    folders: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    SimulatedNames(folders[0], "01").truth("skin.surf.gii").unlink()
    said = refusal(folders, tmp_path / "docs", capsys)
    assert "skin.surf.gii: there is no such file" in said and "never of a person's" in said
    (truth_dir(folders[0]) / "simulation.json").unlink()
    assert "was not made by" in refusal(folders, tmp_path / "docs", capsys)


def test_another_face_under_the_name_of_a_synthetic_head_is_refused(
    folders: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mesh = read_surface(face_of(folders[1]))
    mesh.vertices[:, 1] += 10
    write_surface(face_of(folders[1]), mesh)
    assert "mm from the skin of the synthetic sub-01" in refusal(folders, tmp_path / "docs", capsys)
    face_of(folders[1]).unlink()
    assert "is missing, so whose face it is cannot be checked" in refusal(folders, tmp_path / "docs", capsys)


def test_outputs_that_are_not_there_yet(
    folders: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docs_gallery, "CHROMIUM", None)
    assert "Chromium is not installed" in refusal(folders, tmp_path / "docs", capsys)
    monkeypatch.setattr(docs_gallery, "CHROMIUM", "chromium")
    docs_gallery.group_page(layout_of(folders[1])).unlink(
        missing_ok=True
    )  # other tests of the same outputs may have made it
    assert "group.html is missing: run the level 'group' first" in refusal(folders, tmp_path / "docs", capsys)
    run(*folders)
    (identifiable(folders[1]) / "sub-01.html").unlink()
    assert "has no page with a recovered face" in refusal(folders, tmp_path / "docs", capsys)
    (shareable(folders[1]) / "status.tsv").unlink()
    assert "has no participants: run the level 'participant' first" in refusal(folders, tmp_path / "docs", capsys)


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium")
def test_the_gallery_is_made(
    folders: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(*folders)
    docs = tmp_path / "docs"
    (docs / "gallery").mkdir(parents=True)
    (docs / "gallery" / "old.webp").write_bytes(b"")
    assert docs_gallery.main([str(folders[0]), str(folders[1]), "--docs", str(docs)]) == 0
    text = (docs / "gallery.md").read_text()
    pictures = sorted((docs / "gallery").iterdir())
    assert len(pictures) == 12 and all(f'src="gallery/{path.name}"' in text for path in pictures)
    assert sum(path.stat().st_size for path in pictures) < docs_gallery.MOST_BYTES
    for path in pictures:
        with Image.open(path) as picture:
            assert picture.format == "WEBP" and picture.convert("L").getextrema()[1] > 150
    assert (
        "2 heads (seed 1, 2 mm), 2 tools (niimath, pydeface), 2 samples of few steps each: 2 of 3 image x tool done"
        in text
    )
    assert "2 of 3 image x tool done" in text
    capsys.readouterr()
    monkeypatch.setattr(docs_gallery, "MOST_BYTES", 1000)
    page = f"{docs_gallery.SHAREABLE}/group.html"
    monkeypatch.setattr(docs_gallery, "shots", lambda label, tool: [docs_gallery.Shot("a", page, "#tools", "")])
    assert docs_gallery.main([str(folders[0]), str(folders[1]), "--docs", str(docs)]) == 1
    assert "more than 0.001: show less" in capsys.readouterr().err
    monkeypatch.setattr(docs_gallery, "shots", lambda label, tool: [docs_gallery.Shot("a", page, "#no", "")])
    assert docs_gallery.main([str(folders[0]), str(folders[1]), "--docs", str(docs)]) == 1
    assert "group.html has no #no" in capsys.readouterr().err
    assert sorted((docs / "gallery").iterdir()) == pictures, "pictures of before stay when new ones cannot be made"
