"""Parts of pages: long lists in pages, plots whose points lead somewhere, faces that fade where they end."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from browser import CHROMIUM, Browser, chromium
from output_folders import layout_of
from page_reader import assert_self_contained, read_page

from benchmarks.pages import group_tables
from bids_refacer.dataset.names import dataset_table
from bids_refacer.dataset.tables import write_table
from bids_refacer.group.report import make_group_page
from bids_refacer.reports import faces
from bids_refacer.reports.group_figures import paired_figure
from bids_refacer.reports.page import script_json
from bids_refacer.reports.parts.figure_files import LIGHT, write_figures
from bids_refacer.reports.parts.neighbours import Neighbours, everyone, neighbours
from bids_refacer.reports.parts.strip import strip
from bids_refacer.reports.theme import to_svg

COUNT = 20
ROWS = COUNT * 6
VISIBLE = "document.querySelectorAll('#people tbody tr').length"


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a group of which not everybody stands on the first page of the list."""
    folder = tmp_path_factory.mktemp("many")
    layout = layout_of(folder)
    layout.shareable.mkdir()
    (layout.shareable / "dataset_description.json").write_text('{"Name": "many", "BIDSVersion": "1.10.0"}')
    for table, rows in group_tables(COUNT).items():
        write_table(dataset_table(layout, table), table, rows)
    for number in range(COUNT - 1):  # the last has no page
        (layout.shareable / f"sub-{number:04}.html").write_text("<title>a participant</title>")
    make_group_page(layout)
    return layout.shareable


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


def test_a_long_list_has_its_first_page_without_script(output: Path) -> None:
    assert_self_contained(output / "group.html")
    text = (output / "group.html").read_text()
    assert text.count('<tr data-state="used"') == 50
    rest = json.loads(re.search(r'id="people-rest">(.*?)</script>', text, re.DOTALL).group(1))
    assert len(rest) == ROWS - 50
    rows = re.findall(r'data-row="(sub-\d+)\|T1w\|(\w+)"', text.split('id="people-rest"')[0] + "".join(rest))
    assert len(set(rows)) == ROWS, "nobody is left out"
    assert f"The first 50 of {ROWS} rows; all are in" in read_page(output / "group.html").text


def test_columns_without_anything_are_left_out(output: Path) -> None:
    text = (output / "group.html").read_text()
    assert "Recovered, mm" in text and "What to know" not in text and "left of the worst part" not in text
    assert '<th scope="col">Found by the recovered face</th>' in text and '<th scope="col">Run time</th>' not in text


def test_cards_stand_between_the_answer_and_the_reasons(output: Path) -> None:
    text = (output / "group.html").read_text()
    assert text.count("<article") == 6
    assert text.index('class="first"') < text.index("<article") < text.index("Why?")


def test_points_know_whose_they_are(output: Path) -> None:
    text = (output / "group.html").read_text()
    found = [
        json.loads(one.replace("&#34;", '"').replace("&quot;", '"'))
        for one in re.findall(r'data-points="([^"]*)"', text)
    ]
    assert len(found) == 6 + 6 + 1, "strips of the cards, participants one by one, brains"
    names = {f"sub-{number:04}" for number in range(COUNT - 1)}
    assert all({name for *_, name in points} == names for points in found[6:]), "where there is a page"


def test_points_lie_where_they_are_drawn() -> None:
    from bids_refacer.reports.theme import Panel, _drawn

    average, recovered = np.array([2.0, 3.0]), np.array([1.0, 2.5])
    points = [(0.0, 2.0, "sub-01"), (1.0, 2.5, "sub-02"), (1.0, 1.0, "sub-03")]
    svg = _drawn(Panel(paired_figure("tool", average, recovered, 4.0), "two", points), "x", {"sub-01", "sub-02"})
    places = json.loads(re.search(r'data-points="([^"]*)"', svg).group(1).replace("&quot;", '"'))
    assert [name for *_, name in places] == ["sub-01", "sub-02"]
    uses = [(float(x), float(y)) for x, y in re.findall(r'<use [^>]*x="([\d.]+)" y="([\d.]+)"', svg)]
    for x, y, _ in places:
        assert min(np.hypot(x - a, y - b) for a, b in uses) < 0.2


def test_many_points_are_few_elements() -> None:
    values = np.linspace(1, 3, 500)
    many, few = (to_svg(paired_figure("tool", v, v + 0.1, 4.0), "x", "alt") for v in (values, values[:20]))
    assert many.count("<use") < 40 < few.count("<use"), "ticks alone"
    assert many.count("h0") == 1000


def test_figures_lie_beside_the_page_as_files(output: Path) -> None:
    files = sorted((output / "figures").glob("group_T1w_*.svg"))
    shown = re.findall(r"<svg[^>]*class=\"figure\"", (output / "group.html").read_text())
    assert len(files) == len(shown) > 10 and "group_T1w_differences-1.svg" in [path.name for path in files]
    for path in files:
        svg = ElementTree.parse(path).getroot()
        assert (
            svg.tag == "{http://www.w3.org/2000/svg}svg"
            and svg.get("width", "").endswith("pt")
            and svg.get("aria-label")
        )
        text = path.read_text()
        assert "var(" not in text and "sub-0" not in text, "nobody's points"
    css = (Path(__file__).parents[1] / "bids_refacer" / "data" / "reports" / "page.css").read_text()
    light = dict(re.findall(r"--c-(\w+): (#\w+);", css.split("@media", 1)[0]))
    assert light == LIGHT


def test_figures_of_earlier_runs_are_removed(tmp_path: Path) -> None:
    svg = to_svg(paired_figure("tool", np.ones(2), np.ones(2), 4.0), "x", "alt")
    write_figures(tmp_path / "figures", "sub-01_", {"a": svg, "b": svg})
    write_figures(tmp_path / "figures", "sub-011_", {"a": svg})
    write_figures(tmp_path / "figures", "sub-01_", {"b": svg})
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["sub-011_a.svg", "sub-01_b.svg"]
    write_figures(tmp_path / "none", "sub-01_", {})
    assert not (tmp_path / "none").exists()


def test_a_strip_piles_up_what_would_lie_on_each_other() -> None:
    text = str(strip("tool", ["a", "b", "c"], np.array([-1.0, -1.0, 0.5]), 1.0))
    points = json.loads(re.search(r'data-points="([^"]*)"', text).group(1).replace("&quot;", '"'))
    (ax, ay, _), (bx, by, _), (cx, cy, _) = points
    assert ax == bx < 160 < cx and ay > by and cy == ay
    assert "nearer than an average face in 2 of 3" in text


def test_a_face_fades_where_it_ends() -> None:
    side = np.arange(-60.0, 61.0, 2.0)
    x, z = (values.ravel() for values in np.meshgrid(side, side, indexing="ij"))
    number = np.arange(len(x)).reshape(len(side), -1)
    a, b, c, d = (part.ravel() for part in (number[:-1, :-1], number[1:, :-1], number[:-1, 1:], number[1:, 1:]))
    triangles = np.concatenate([np.stack([a, b, c], axis=1), np.stack([b, d, c], axis=1)])
    patch = faces.Face(np.stack([x, np.zeros_like(x), z], axis=1) + faces.CENTRE_MM, triangles)
    away = 60 - np.maximum(abs(x), abs(z))
    assert np.all(patch.opacity[away == 0] == 0) and np.all(patch.opacity[np.hypot(x, z) < 45] == 1)
    holed = faces.Face(patch.points, triangles[np.hypot(x, z)[triangles].min(axis=1) > 10])
    assert np.all(holed.opacity[(np.hypot(x, z) > 12) & (np.hypot(x, z) < 45)] == 1), "a hole keeps its size"


def test_neighbours_of_a_participant() -> None:
    labels = ["01", "02", "03"]
    assert neighbours(labels, "02").before == ("sub-01", "sub-01.html")
    assert neighbours(labels, "02").after == ("sub-03", "sub-03.html")
    assert neighbours(labels, "01").before is None and neighbours(labels, "03").after is None
    assert neighbours(labels, "04") == neighbours([], "01") == Neighbours(None, None)


def test_everyone_in_a_table(tmp_path: Path) -> None:
    table = tmp_path / "status.tsv"
    assert everyone(table) == []
    table.write_text("tool\tparticipant_id\na\tsub-02\nb\tsub-02\na\tsub-01\n")
    assert everyone(table) == ["01", "02"]


def test_no_text_ends_a_script_element() -> None:
    text = script_json(["</script><script>alert(1)</script>", "<!-- <script>"])
    assert "</" not in text and "<!" not in text
    assert json.loads(text) == ["</script><script>alert(1)</script>", "<!-- <script>"]


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium")
def test_pages_of_a_list(output: Path, tab: Browser) -> None:
    tab.open(output / "group.html")
    assert tab.run(VISIBLE) == 50
    first = tab.run("document.querySelector('#people tbody tr').dataset.row")
    steps = "document.querySelectorAll('.pages button')[%d]"
    tab.run(f"void {steps % 1}.click()")
    assert tab.run("document.querySelector('[data-where]').textContent") == f"rows 51 to 100 of {ROWS}"
    tab.run(f"void {steps % 1}.click()")
    assert tab.run(VISIBLE) == ROWS - 100 and tab.run(f"{steps % 1}.disabled")
    find = "document.getElementById('find')"
    tab.run(f"void ({find}.value = 'sub-0019', {find}.dispatchEvent(new Event('input', {{bubbles: true}})))")
    assert tab.run("document.querySelector('[data-count]').textContent") == f"6 of {ROWS} rows"
    tab.run(f"void ({find}.value = '', {find}.dispatchEvent(new Event('input', {{bubbles: true}})))")
    tab.run("void dispatchEvent(new Event('beforeprint'))")
    assert tab.run(VISIBLE) == ROWS, "paper has everybody"
    assert tab.run("[...document.querySelectorAll('details')].every((fold) => fold.open)")
    tab.run("void dispatchEvent(new Event('afterprint'))")
    assert tab.run(VISIBLE) == 50 and tab.run("document.querySelector('#people tbody tr').dataset.row") == first
    assert tab.errors == []


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium")
def test_a_point_leads_to_its_participant(output: Path, tab: Browser) -> None:
    tab.open(output / "group.html")
    tab.run(
        "void document.querySelector('svg.figure[data-points]').scrollIntoView({block: 'center', behavior: 'instant'})"
    )
    x, y, name = tab.run(
        "(() => { const s = document.querySelector('svg.figure[data-points]'); const [x, y, n] = JSON.parse("
        "s.dataset.points)[0]; const p = new DOMPoint(x, y).matrixTransform(s.getScreenCTM()); "
        "return [p.x, p.y, n]; })()"
    )
    tab.drag((x, y), (x, y))
    deadline = time.monotonic() + 20
    while tab.run("document.title") != "a participant" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert tab.run("document.title") == "a participant" and tab.run("location.pathname").endswith(f"{name}.html")
