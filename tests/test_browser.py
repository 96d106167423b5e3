"""The pages in a real browser: nothing fails, nothing is fetched, everything answers, also by keyboard.

Skipped where Chromium is not installed; `make test-browser` makes that a failure. BIDS_REFACER_SCREENSHOTS names a
folder that gets pictures of the pages at two widths, in light and dark.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser, chromium
from output_folders import identifiable, shareable

from bids_refacer.settings import RunSettings

REQUIRED = os.environ.get("BIDS_REFACER_TEST_BROWSER") == "required"
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None and not REQUIRED, reason="Chromium is not installed: apt-get install chromium"),
]
WIDTHS = (1280, 390)
AXE = importlib.util.find_spec("axe_playwright_python")  # only for its axe.min.js (axe-core): see the Makefile
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
FRAME = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))"
CHOOSE = "void ((s) => { s.selectedIndex = %d; s.dispatchEvent(new Event('change')); })(document.querySelector('%s'))"


@pytest.fixture(scope="module")
def output(page_output: Path) -> Path:
    from bids_refacer.group.run import run_group

    settings = {"bids_dir": page_output.parent / "bids", "output_dir": page_output, "work_dir": page_output / "w"}
    assert run_group(RunSettings(analysis_level="group", **settings), lambda line: None) == 0
    return page_output


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.mark.parametrize("page", ["group.html", "sub-01.html", "sub-02.html", "../identifiable/sub-01.html"])
def test_pages_open(page: str, output: Path, tab: Browser) -> None:
    for dark in (False, True):
        for width in WIDTHS:
            tab.open(shareable(output) / page, width=width, dark=dark)
            tab.run(FRAME)
            assert tab.errors == [] and tab.requests == []
            assert tab.run("document.documentElement.scrollWidth") <= width, "nothing sticks out of the page"
            light = tab.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
            assert light != dark
            folder = os.environ.get("BIDS_REFACER_SCREENSHOTS")
            if folder:
                name = page.replace("/", "-").removesuffix(".html")
                tab.screenshot(Path(folder) / f"{name}-{width}{'-dark' if dark else ''}.png")


@pytest.mark.skipif(AXE is None and not REQUIRED, reason="axe-core is not installed: see AXE in the Makefile")
@pytest.mark.parametrize("page", ["group.html", "sub-01.html", "../identifiable/sub-01.html"])
@pytest.mark.parametrize("width", WIDTHS)
def test_everybody_can_use_the_pages(page: str, width: int, output: Path, tab: Browser) -> None:
    assert AXE and AXE.origin
    tab.open(shareable(output) / page, width=width, dark=width == WIDTHS[1])
    tab.run("void 0; " + Path(AXE.origin).with_name("axe.min.js").read_text() + "; void 0")
    found = tab.run(
        f"axe.run(document, {{runOnly: {RULES}, resultTypes: ['violations']}}).then((result) => "
        "[result.passes.map((rule) => rule.id), "
        "result.violations.map((rule) => [rule.help, rule.nodes.map((node) => node.html.slice(0, 200))])])"
    )
    assert found[1] == []
    assert {"color-contrast", "target-size", "region", "heading-order"} <= set(found[0]), "the rules were at work"
    small = tab.run(
        "[...document.querySelectorAll('button, input, select, summary, nav a, h3 a')].filter((one) => "
        "one.getClientRects().length && (one.getBoundingClientRect().width < 24 || "
        "one.getBoundingClientRect().height < 24)).map((one) => one.outerHTML.slice(0, 200))"
    )
    assert small == [], "fingers hit nothing that is smaller than 24 pixels"


def test_the_network_is_shut(output: Path, tab: Browser) -> None:
    """The test would notice: a page that wants something is stopped by its own policy, and that is an error."""
    tab.open(shareable(output) / "group.html")
    tab.run("void document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/x.png'}))")
    tab.run("new Promise((done) => setTimeout(done, 300))")
    assert any("Content Security Policy" in error for error in tab.errors)


def test_participants_are_sorted_and_found(output: Path, tab: Browser) -> None:
    tab.open(shareable(output) / "group.html")
    first = "document.querySelector('#people tbody tr:not(.hidden)').textContent"
    assert "sub-02" in tab.run(first), "failures first"
    visible = "[...document.querySelectorAll('#people tbody tr:not(.hidden)')].length"
    whole = tab.run(visible)
    assert whole == 3
    search = "document.getElementById('find')"
    event = "dispatchEvent(new Event('input', {bubbles: true}))"
    tab.run(f"void ({search}.value = 'pydeface', {search}.{event})")
    assert tab.run(visible) == 1
    assert tab.run("document.querySelector('[data-count]').textContent") == f"1 of {whole} rows"
    tab.run(f"void ({search}.value = '', document.getElementById('state').value = 'look', {search}.{event})")
    assert 0 < tab.run(visible) < whole
    tab.run(f"void (document.getElementById('state').value = '', {search}.{event})")
    assert tab.run(visible) == whole
    button = "document.querySelectorAll('#people th button')[4]"
    tab.run(f"void {button}.focus()")
    tab.key("Enter")
    left = "[...document.querySelectorAll('#people tbody tr')].map((r) => r.cells[4].querySelector('data')?.value)"
    values = [float(value) for value in tab.run(left) if value]
    assert values == sorted(values) and len(values) == 2
    assert tab.run(f"{button}.parentElement.getAttribute('aria-sort')") == "ascending"
    assert tab.errors == []


def test_slices_scroll_together(output: Path, tab: Browser) -> None:
    tab.open(identifiable(output) / "sub-01.html")
    shifts = (
        "[...document.querySelectorAll('.stacks')[0].querySelectorAll('.window img')].map((i) => i.style.transform)"
    )
    before = tab.run(shifts)
    tab.run("void document.querySelector('.stacks input').focus()")
    tab.key("ArrowRight")
    after = tab.run(shifts)
    assert len(set(after)) == 1 and after != before, "one slider moves the original and all images of the tools"
    words = tab.run("document.querySelector('.stacks output').textContent")
    assert words.endswith(" mm") and words == tab.run("document.querySelector('.stacks input').ariaValueText")
    tab.run("void document.querySelector('.stacks .window').scrollIntoView({block: 'center', behavior: 'instant'})")
    x, y = tab.run("(r => [r.x + 50, r.y + 50])(document.querySelector('.stacks .window').getBoundingClientRect())")
    tab.drag((x, y), (x + 40, y))
    assert tab.run(shifts) != after, "and so does the mouse over an image"
    there = (
        "[...document.querySelectorAll('.stacks')[0].querySelectorAll('figure')].filter((f) => f.offsetWidth).length"
    )
    assert tab.run(there) == 1 + 3
    tab.run(CHOOSE % (1, ".stacks select"))
    assert tab.run(there) == 1 + 3 and tab.errors == []


def test_the_slider_compares(output: Path, tab: Browser) -> None:
    tab.open(identifiable(output) / "sub-01.html")
    cut = "getComputedStyle(document.querySelector('.compare .over')).clipPath"
    before = tab.run(cut)
    tab.run("void document.querySelector('.comparer input').focus()")
    for _ in range(5):
        tab.key("ArrowRight")
    assert tab.run("document.querySelector('.comparer input').value") == "55"
    assert tab.run(cut) != before and "55%" in tab.run(cut)
    source = "document.querySelector('.compare .over img').src"
    one = tab.run(source)
    tab.run(CHOOSE % (1, ".comparer select"))
    assert tab.run(source) != one
    assert tab.run("document.querySelector('.compare .which.right').textContent") == "mean of the samples"
    tab.run("void document.querySelector('[data-outline]').click()")
    assert tab.run("getComputedStyle(document.querySelector('.compare .outline')).display") == "none"
    tab.run("void document.querySelector('[data-flicker]').click()")
    tab.run("new Promise((done) => setTimeout(done, 900))")
    assert tab.run(cut) in ("inset(0px)", "inset(0px 0px 0px 0%)", "inset(0px 0px 0px 100%)")
    tab.run("void document.querySelector('[data-flicker]').click()")
    assert "55%" in tab.run(cut) and tab.errors == []


def test_the_face_turns(output: Path, tab: Browser) -> None:
    tab.open(identifiable(output) / "sub-01.html", height=2000)
    pixels = """(() => { const c = document.querySelectorAll('.viewer canvas')[%d];
        const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        let skin = 0, sum = 0; for (let i = 0; i < d.length; i += 4) { skin += d[i] > 60; sum += d[i] * (i %% 9973); }
        return [skin / (c.width * c.height), sum]; })()"""
    tab.run(FRAME)
    share, start = tab.run(pixels % 0)
    assert 0.1 < share < 0.9, "a face is drawn"
    tab.run("void document.querySelector('.viewer canvas').focus()")
    tab.key("ArrowLeft")
    tab.run(FRAME)
    turned = tab.run(pixels % 0)[1]
    assert turned != start
    x, y = tab.run(
        "(r => [r.x + r.width / 2, r.y + r.height / 2])(document.querySelector('.viewer canvas')"
        ".getBoundingClientRect())"
    )
    tab.drag((x, y), (x + 60, y + 10))
    tab.run(FRAME)
    assert tab.run(pixels % 0)[1] != turned
    for key, zoom in (("+", "1.250"), ("-", "1.000")):
        tab.run("void document.querySelector('.viewer canvas').focus()")
        tab.key(key)
        tab.run(FRAME)
        assert tab.run("document.querySelector('.viewer').dataset.view").endswith(f" {zoom}")
    tab.run("void document.querySelector('button[data-zoom=\"1.25\"]').click()")
    tab.run("void document.querySelector('button[data-reset]').click()")
    tab.run(FRAME)
    assert tab.run("document.querySelector('.viewer').dataset.view").endswith(" 1.000")
    assert tab.run("getComputedStyle(document.querySelector('.viewer canvas')).touchAction") == "pan-y", "no trap"
    tab.run("void document.querySelector('button[data-yaw=\"0\"]').click()")
    tab.run(FRAME)
    assert tab.run("document.querySelector('.viewer').dataset.view").startswith("0.000 0.000")
    skin = tab.run(pixels % 1)[1]
    maps = "[...document.querySelector('.viewer select').options].findIndex((o) => o.value.startsWith('original:'))"
    tab.run(CHOOSE % (tab.run(maps), ".viewer select"))
    tab.run(FRAME)
    assert tab.run(pixels % 1)[1] != skin
    assert tab.run("document.querySelector('[data-bar]').classList.contains('hidden')") is False
    assert tab.errors == [] and tab.requests == []
