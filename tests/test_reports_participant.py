"""The pages of a participant: what they show is what the outputs say, and the shareable one shows no face."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from output_folders import Folder, identifiable, layout_of, shareable
from page_outputs import PAGE_TOOLS as TOOLS
from page_outputs import make_output
from page_reader import assert_self_contained, read_page
from PIL import Image
from small_datasets import settings_for

from bids_refacer.audit.cleaning import forget_faces
from bids_refacer.audit.pages import make_participant_pages
from bids_refacer.audit.plan import Plan
from bids_refacer.dataset.tables import read_table
from bids_refacer.dataset.validation import validate
from bids_refacer.reports.page import shown


@pytest.fixture(scope="module")
def output(page_output: Path) -> Path:
    return page_output


def test_pages_are_there_and_load_nothing(output: Path) -> None:
    pages = [shareable(output) / "sub-01.html", shareable(output) / "sub-02.html", identifiable(output) / "sub-01.html"]
    assert not (identifiable(output) / "sub-02.html").exists(), "there is no face of sub-02"
    for page in pages:
        assert_self_contained(page)
        assert page.stat().st_size < 15e6
    assert list(output.rglob(".matplotlib*")) == []


@pytest.mark.parametrize("folder", [shareable, identifiable])
def test_numbers_are_those_of_the_tables(output: Path, folder: Folder) -> None:
    numbers = read_page(folder(output) / "sub-01.html").numbers
    distances = {
        (f"{row['image']}|{row['tool']}|{row['image_type']}|{row['sample'] or ''}", row["part"]): row["masd_mm"]
        for row in read_table(shareable(output) / "surfacedistance.tsv")
    }
    found = {(n.row, n.part): n.value for n in numbers if n.table == "surfacedistance" and n.part}
    assert found == {key: value for key, value in distances.items() if value is not None}
    assert len(found) > 80
    defacing = {f"{row['image']}|{row['tool']}": row for row in read_table(shareable(output) / "defacing.tsv")}
    own = [n for n in numbers if n.table == "defacing"]
    assert len(own) >= 5 * len(TOOLS)
    assert all(defacing[n.row][n.column] == n.value for n in own)
    bins = {
        f"{row['image']}|{row['tool']}|{row['bin_low_mm']}": row
        for row in read_table(shareable(output) / "calibration.tsv")
        if row["part"] == "face"
    }
    own = [n for n in numbers if n.table == "calibration"]
    assert own and all(bins[n.row][n.column] == n.value for n in own)
    for n in numbers:
        digits = len(n.shown.rstrip("\u2009%").partition(".")[2])
        assert n.shown in (shown(float(n.value), digits), shown(float(n.value), digits, True))


def pictures(path: Path) -> list[np.ndarray]:
    """All pictures of a page, as arrays."""
    found = re.findall(r'src="data:image/(?:jpeg|png);base64,([^"]+)"', path.read_text())
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))) for text in found]


def test_the_shareable_page_shows_no_face(output: Path) -> None:
    text = (shareable(output) / "sub-01.html").read_text()
    for word in ("identifiable/", "-meshes", "<canvas", 'alt="true face', 'class="outline"', 'class="comparer"'):
        assert word not in text, word
    shown_here = pictures(shareable(output) / "sub-01.html")
    assert len(shown_here) == (3 + 3) * len(TOOLS), "on the card, and larger below"
    for picture in shown_here:
        # the skin of the average head lies on all four borders of the head; here it is black around the brain
        edge = np.concatenate([picture[:3].ravel(), picture[:, :3].ravel(), picture[:, -3:].ravel()])
        assert edge.max() < 40 and picture.max() > 150
    assert "Do not share" not in text and "No face on this page" in text


def test_the_page_with_faces_says_what_it_is(output: Path) -> None:
    page = read_page(identifiable(output) / "sub-01.html")
    assert "Identifiable. Do not share this page." in page.text
    renders = [image for image in page.images if "view" in str(image.get("alt"))]
    # the true face; for each tool defaced, mean, two samples, average, and maps of the mean, one sample, the average
    assert len(renders) == 3 * (1 + len(TOOLS) * (5 + 3))
    sliders = (identifiable(output) / "sub-01.html").read_text().count('<input type="range"')
    assert sliders == 3 * len(TOOLS) + 2, "and two that scroll through slices"
    assert re.search(
        r"2 samples: they lie \d\.\d\d to \d\.\d\d mm from the true face where the skin was removed", page.text
    )


@pytest.mark.parametrize("folder", [shareable, identifiable])
def test_a_warning_is_in_view_once_for_each_head(output: Path, folder: Folder) -> None:
    text = (folder(output) / "sub-01.html").read_text()
    (place,) = [match.start() for match in re.finditer("<p class=.notice.* role=.note.>This head differs", text)]
    assert place < text.index("<table"), "above the table of tools"
    assert "[&#34;This" not in text and "Outside the range of training" in text and "misfit 9; shape 9" in text


@pytest.mark.parametrize("folder", [shareable, identifiable])
def test_a_face_that_was_removed_is_not_said_to_be_safe(output: Path, folder: Folder) -> None:
    text = (folder(output) / "sub-01.html").read_text()
    assert text.count("Face removed: ") == text.count("Withstood this attack: ") == len(TOOLS)
    assert ">pass<" not in text and ">ok<" not in text and 'class="tag pass"' not in text, "no green mark but withstood"


def test_meshes_for_the_viewer(output: Path) -> None:
    text = (identifiable(output) / "sub-01.html").read_text()
    content = json.loads(re.search(r'id="image-0-meshes">(.*?)</script>', text, re.DOTALL).group(1))
    original = content["meshes"]["original"]
    points = np.frombuffer(base64.b64decode(original["points"]), "<i2").reshape(-1, 3) / 100
    triangles = np.frombuffer(base64.b64decode(original["triangles"]), "<u2").reshape(-1, 3)
    assert triangles.max() < len(points) and 2000 < len(points) < 65536
    assert np.abs(points).max() < 150, "mm around the middle of a face"
    for name, packed in original["values"].items():
        values = np.frombuffer(base64.b64decode(packed), "<i2") / 100
        assert len(values) == len(points)
        whole = next(
            float(row["to_recovered_mm"])
            for row in read_table(shareable(output) / "surfacedistance.tsv")
            if name == f"{row['tool']} {row['image_type']}" and row["part"] == "face" and row["sample"] in (None, "1")
        )
        assert np.abs(values).mean() == pytest.approx(whole, rel=0.25), name


def test_cards_come_first(output: Path) -> None:
    """Of each tool both marks, pictures and distances, before any table; a shareable one shows the brain alone."""
    recovered = {
        row["tool"]: shown(float(row["masd_mm"]))
        for row in read_table(shareable(output) / "surfacedistance.tsv")
        if row["image_type"] == "refaced_mean" and row["part"] == "removed"
    }
    for page, words in (
        ("sub-01.html", ("sagittal", "axial", "coronal")),
        ("../identifiable/sub-01.html", ("original", "defaced", "recovered", "distance")),
    ):
        text = (shareable(output) / page).read_text()
        cards = re.findall(r"<article.*?</article>", text, re.DOTALL)
        assert len(cards) == len(TOOLS) and text.rindex("</article>") < text.index("<table")
        for card in cards:
            tool = next(tool for tool in TOOLS if f">{tool}</a>" in card)
            assert "Face removed: " in card and "Withstood this attack: " in card
            assert tuple(re.findall(r"<figcaption>(.*?)</figcaption>", card)) == words
            assert f"{recovered[tool]} mm from the true one" in card


def test_distances_have_the_same_colours_on_every_page(output: Path) -> None:
    text = (identifiable(output) / "sub-01.html").read_text()
    assert '"limit":5.0' in text and "5 mm and more: outside" in text


def test_columns_without_anything_are_left_out(output: Path) -> None:
    text = (shareable(output) / "sub-01.html").read_text()
    assert '<th scope="col">Notes</th>' not in text and '<th scope="col" class="n">hole, mL</th>' in text


def test_pages_lead_to_those_beside_them(output: Path) -> None:
    assert 'rel="next" href="sub-02.html"' in (shareable(output) / "sub-01.html").read_text()
    assert 'rel="prev" href="sub-01.html"' in (shareable(output) / "sub-02.html").read_text()
    assert "sub-02.html" not in (identifiable(output) / "sub-01.html").read_text(), "there is no face of sub-02"


def test_distances_by_part_are_drawn(output: Path) -> None:
    """A figure for each tool, on both pages and as a file."""
    files = sorted((shareable(output) / "figures").glob("sub-01_*.svg"))
    assert [path.name for path in files] == [f"sub-01_T1w_desc-{tool}_distances.svg" for tool in TOOLS]
    rows = read_table(shareable(output) / "surfacedistance.tsv")
    nose = {
        (row["tool"], row["image_type"]): shown(float(row["masd_mm"]))
        for row in rows
        if row["part"] == "nose" and row["masd_mm"]
    }
    for tool, path in zip(TOOLS, files, strict=True):
        average, recovered = re.search(r'aria-label="([^"]*)"', path.read_text()).group(1).split("; ")
        assert f"nose {nose[tool, 'average']} mm" in average
        assert f"nose {nose[tool, 'refaced_mean']} mm" in recovered
        for page in ("sub-01.html", "../identifiable/sub-01.html"):
            assert f'aria-label="{average}; {recovered}"' in (shareable(output) / page).read_text()


def test_a_failure_is_a_sentence(output: Path) -> None:
    page = read_page(shareable(output) / "sub-02.html")
    assert "is truncated or damaged: copy it again." in page.text
    assert "No image of this participant has a result with any tool." in page.text


@pytest.mark.parametrize(("state", "words"), [("waiting", "waiting for its turn"), ("running", "in work")])
def test_what_has_not_ended_is_a_sentence(output: Path, tmp_path: Path, state: str, words: str) -> None:
    copy = shutil.copytree(output, tmp_path / "out")
    with (shareable(copy) / "status.tsv").open("a") as table:
        table.write(f"sub-02\tn/a\tsub-02/anat/sub-02_T1w.nii.gz\tquickshear\tn/a\t{state}\tn/a\tn/a\n")
    assert make_participant_pages(layout_of(copy), tmp_path, ["02"]) == []
    assert f"Not done yet: {words} when this page was made" in (shareable(copy) / "sub-02.html").read_text()


def test_both_datasets_are_valid_with_pages(output: Path) -> None:
    assert validate(shareable(output)) == []
    assert validate(identifiable(output)) == []


def test_without_a_group_the_page_says_so(output: Path, tmp_path: Path) -> None:
    copy = tmp_path / "out"
    shutil.copytree(output, copy)
    (shareable(copy) / "group.html").unlink(missing_ok=True)
    for there in (False, True):
        assert make_participant_pages(layout_of(copy), tmp_path, ["02"]) == []
        page = read_page(shareable(copy) / "sub-02.html")
        assert ("All participants (once the level group has run)." in page.text) != there
        assert ("href", "group.html") in page.links, "the link leads there as soon as the page is made"
        (shareable(copy) / "group.html").touch()


def test_one_sample_and_one_tool(tmp_path: Path) -> None:
    output = make_output(tmp_path, tools=TOOLS[:1], samples=1)
    assert make_participant_pages(layout_of(output), tmp_path / "bids", ["01"]) == []
    for folder in (shareable, identifiable):
        assert_self_contained(folder(output) / "sub-01.html")
        page = read_page(folder(output) / "sub-01.html")
        assert "One sample was drawn, so there is no spread (--num-samples 2 or more gives one)." in page.text
        assert "mean of the samples" not in page.text and not [n for n in page.numbers if n.table == "calibration"]
        assert len({n.row for n in page.numbers if n.table == "defacing"}) == 1
        kinds = [n.row.split("|")[2] for n in page.numbers if n.part == "face"]
        assert kinds == ["defaced", "average", "refaced"], "one sample is one row, not three with the same figures"


def test_missing_files_are_sentences(output: Path, tmp_path: Path) -> None:
    copy = tmp_path / "out"
    shutil.copytree(output, copy)
    private = identifiable(copy) / "sub-01" / "anat"
    (private / "sub-01_mod-T1w_desc-niimathRefacedMean_face.surf.gii").unlink()
    (private / "sub-01_desc-niimathAverageFace_T1w.nii.gz").unlink()
    (shareable(copy) / "sub-01" / "anat" / "sub-01_mod-T1w_desc-pydeface_defacemask.nii.gz").unlink()
    assert make_participant_pages(layout_of(copy), tmp_path / "no such dataset", ["01"]) == []
    text = read_page(identifiable(copy) / "sub-01.html").text
    assert "No slices of the original:" in text and "No slices of the average face:" in text
    assert "The removed region is not outlined:" in text
    assert "RefacedMean_face.surf.gii" in text
    shared = (shareable(copy) / "sub-01.html").read_text()
    assert "sub-01/anat/sub-01_mod-T1w_desc-pydeface_defacemask.nii.gz does not exist" in shared
    assert str(copy) not in shared, "what may be shared says what is missing, and not where on this machine"
    (private / "sub-01_mod-T1w_desc-original_facemap.npz").unlink()
    assert make_participant_pages(layout_of(copy), tmp_path, ["01"]) == []
    assert "No faces are shown:" in read_page(identifiable(copy) / "sub-01.html").text


def test_forgotten_faces_leave_no_page(output: Path, tmp_path: Path) -> None:
    copy = tmp_path / "out"
    shutil.copytree(output, copy)
    settings = settings_for(output.parent / "bids", copy, work_dir=tmp_path / "work")
    forget_faces(Plan(layout=settings.layout, jobs=(), finished=(), problems=()), settings)
    assert list((identifiable(copy)).glob("sub-*")) == []
    assert make_participant_pages(layout_of(copy), output.parent / "bids", ["01", "02"]) == []
    assert list((identifiable(copy)).rglob("*.html")) == []
    assert len(pictures(shareable(copy) / "sub-01.html")) == (3 + 3) * len(TOOLS), "the shareable page stays"


def test_a_page_that_cannot_be_made_costs_no_results(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no ink")

    monkeypatch.setattr("bids_refacer.reports.participant_page.gather", broken)
    (sentence,) = make_participant_pages(layout_of(output), output.parent / "bids", ["01"])
    assert "pages of sub-01 could not be made (RuntimeError: no ink)" in sentence
