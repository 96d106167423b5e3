"""The pages in a real browser: nothing fails, nothing is fetched, everything answers, also by keyboard.

Skipped where Chromium is not installed; `make test-browser` makes that a failure. BIDS_REFACER_SCREENSHOTS names a
folder that gets pictures of the pages at two widths, in light and dark.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser, chromium
from page_outputs import add_failure, make_output

from bids_refacer.cli.pages import make_participant_pages
from bids_refacer.settings import RunSettings

REQUIRED = os.environ.get("BIDS_REFACER_TEST_BROWSER") == "required"
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None and not REQUIRED, reason="Chromium is not installed: apt-get install chromium"),
]
WIDTHS = (1280, 390)


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from bids_refacer.cli.group import run_group

    output = make_output(tmp_path_factory.mktemp("browser"), tools=("niimath", "pydeface", "quickshear"))
    add_failure(output, "02", "sub-02_T1w.nii.gz is truncated or damaged: copy it again.")
    bids = output.parent / "bids"
    assert make_participant_pages(output, bids, ["01", "02"]) == []
    settings = RunSettings(bids_dir=bids, output_dir=output, work_dir=output / "w", analysis_level="group")
    assert run_group(settings, lambda line: None) == 0
    return output


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.mark.parametrize("page", ["group.html", "sub-01.html", "sub-02.html", "identifiable/sub-01.html"])
def test_pages_open(page: str, output: Path, tab: Browser) -> None:
    for dark in (False, True):
        for width in WIDTHS:
            tab.open(output / page, width=width, dark=dark)
            assert (
                tab.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))") == 1
            )
            assert tab.errors == [] and tab.requests == []
            assert tab.run("document.documentElement.scrollWidth") <= width, "nothing sticks out of the page"
            light = tab.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
            assert light != dark
            folder = os.environ.get("BIDS_REFACER_SCREENSHOTS")
            if folder:
                name = page.replace("/", "-").removesuffix(".html")
                tab.screenshot(Path(folder) / f"{name}-{width}{'-dark' if dark else ''}.png")


def test_the_network_is_shut(output: Path, tab: Browser) -> None:
    """The test would notice: a page that wants something is stopped by its own policy, and that is an error."""
    tab.open(output / "group.html")
    tab.run("void document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/x.png'}))")
    tab.run("new Promise((done) => setTimeout(done, 300))")
    assert any("Content Security Policy" in error for error in tab.errors)


def test_participants_are_sorted_and_found(output: Path, tab: Browser) -> None:
    tab.open(output / "group.html")
    first = "document.querySelector('#people tbody tr:not(.hidden)').textContent"
    assert "sub-02" in tab.run(first), "failures first"
    visible = "[...document.querySelectorAll('#people tbody tr:not(.hidden)')].length"
    whole = tab.run(visible)
    assert whole == 4
    tab.run("void (find.value = 'quickshear', find.dispatchEvent(new Event('input', {bubbles: true})))")
    assert tab.run(visible) == 1
    assert tab.run("document.querySelector('[data-count]').textContent") == f"1 of {whole} rows"
    tab.run("void (find.value = '', document.getElementById('state').value = 'look')")
    tab.run("void document.getElementById('state').dispatchEvent(new Event('input', {bubbles: true}))")
    assert 0 < tab.run(visible) < whole
    button = "document.querySelectorAll('#people th button')[4]"
    tab.run(f"void {button}.focus()")
    tab.key("Enter")
    left = "[...document.querySelectorAll('#people tbody tr')].map((r) => r.cells[4].querySelector('data')?.value)"
    values = [float(value) for value in tab.run(left) if value]
    assert values == sorted(values) and len(values) == 3
    assert tab.run(f"{button}.parentElement.getAttribute('aria-sort')") == "ascending"
    assert tab.errors == []


def test_the_slider_compares(output: Path, tab: Browser) -> None:
    tab.open(output / "identifiable" / "sub-01.html")
    cut = "getComputedStyle(document.querySelector('.compare .over')).clipPath"
    before = tab.run(cut)
    tab.run("void document.querySelector('.comparer input').focus()")
    for _ in range(5):
        tab.key("ArrowRight")
    assert tab.run("document.querySelector('.comparer input').value") == "55"
    assert tab.run(cut) != before and "55%" in tab.run(cut)
    source = "document.querySelector('.compare .over img').src"
    one = tab.run(source)
    tab.run(
        "void (s => { s.selectedIndex = 1; s.dispatchEvent(new Event('change')); })(document.querySelector('.comparer select'))"
    )
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
    tab.open(output / "identifiable" / "sub-01.html", height=1400)
    frame = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))"
    pixels = """(() => { const c = document.querySelectorAll('.viewer canvas')[%d];
        const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        let skin = 0, sum = 0; for (let i = 0; i < d.length; i += 4) { skin += d[i] > 60; sum += d[i] * (i %% 9973); }
        return [skin / (c.width * c.height), sum]; })()"""
    tab.run(frame)
    share, start = tab.run(pixels % 0)
    assert 0.1 < share < 0.9, "a face is drawn"
    tab.run("void document.querySelector('.viewer canvas').focus()")
    tab.key("ArrowLeft")
    tab.run(frame)
    turned = tab.run(pixels % 0)[1]
    assert turned != start
    x, y = tab.run("(r => [r.x + r.width / 2, r.y + r.height / 2])(document.querySelector('.viewer canvas')"
                   ".getBoundingClientRect())")  # fmt: skip
    tab.drag((x, y), (x + 60, y + 10))
    tab.run(frame)
    assert tab.run(pixels % 0)[1] != turned
    tab.run("void document.querySelector('button[data-yaw=\"0\"]').click()")
    tab.run(frame)
    assert tab.run("document.querySelector('.viewer').dataset.view").startswith("0.000 0.000")
    skin = tab.run(pixels % 1)[1]
    tab.run("void (s => { s.value = [...s.options].find((o) => o.value.startsWith('original:')).value;"
            " s.dispatchEvent(new Event('change')); })(document.querySelector('.viewer select'))")  # fmt: skip
    tab.run(frame)
    assert tab.run(pixels % 1)[1] != skin
    assert tab.run("document.querySelector('[data-bar]').classList.contains('hidden')") is False
    assert tab.errors == [] and tab.requests == []
