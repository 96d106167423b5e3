"""The pages of README and docs: they can be read, their links lead somewhere, and the reference is complete."""

from __future__ import annotations

import json
import re
import statistics
import sys
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from prose import sentences

from bids_refacer.cli.deface import build_parser as build_deface_parser
from bids_refacer.cli.options import build_parser
from bids_refacer.cli.release import build_parser as build_release_parser
from bids_refacer.cli.simulate import build_parser as build_simulate_parser
from bids_refacer.cli.train import build_parser as build_train_parser
from bids_refacer.cli.verify import build_parser as build_verify_parser

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs" / "site"))

import make_pages  # noqa: E402

PAGES = ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
# what a user reads before and after a run; the others are for those who change the app or the model
FOR_USERS = [
    "README.md",
    *(
        f"docs/{name}.md"
        for name in (
            "outputs",
            "release",
            "validation",
            "hpc",
            "containers",
            "simulate",
            "phenotype",
            "group",
            "recognition",
            "tools",
        )
    ),
]


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def test_sentences_are_counted_as_they_are_read() -> None:
    text = "One two three `a b c`. *Four* five\nsix: Seven eight nine.\n\n- Ten eleven twelve\n\n```\nno no no\n```\n"
    assert sentences(f"# Not this\n\n{text}") == [
        "One two three CODE.",
        "Four five six:",
        "Seven eight nine.",
        "Ten eleven twelve",
    ]
    assert sentences("| a b c | d |\n|---|---|\n| e f g | h |\n") == []


@pytest.mark.parametrize("page", FOR_USERS)
def test_sentences_of_pages_for_users_are_short(page: str) -> None:
    lengths = sorted(len(sentence.split()) for sentence in sentences(text(page)))
    assert statistics.median(lengths) <= 16
    long = [sentence for sentence in sentences(text(page)) if len(sentence.split()) > 30]
    assert len(long) <= len(lengths) // 20, long


def test_the_readme_is_short_and_names_no_version() -> None:
    readme = text("README.md")
    assert len(readme.splitlines()) <= 120
    assert not re.findall(r"(?<![\d.])0\.\d+\.\d+", readme)


def anchors(page: str) -> set[str]:
    """Anchors of the headings, as repositories and the site make them."""
    tokens = MarkdownIt("commonmark").parse(page)
    titles = [after.content for before, after in zip(tokens, tokens[1:], strict=False) if before.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md", "SECURITY.md"])
def test_links_lead_to_what_is_there(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"^```.*?^```", "", text(page), flags=re.M | re.S)):
        if re.match(r"https?:|mailto:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (ROOT / page).parent / path if path else ROOT / page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found.read_text(encoding="utf-8")), target


def test_the_reference_has_every_option_and_every_column() -> None:
    options, columns = make_pages.options_page(), make_pages.columns_page()
    of_release = (build_release_parser, build_verify_parser, build_deface_parser)
    others = (*of_release, build_simulate_parser, build_train_parser)
    for build in (build_parser, *others):
        for action in build()._actions:
            assert all(f"`{name}`" in options for name in action.option_strings) or action.help == "==SUPPRESS=="
    for path in (ROOT / "bids_refacer" / "data" / "columns").glob("*.json"):
        assert f"\n## {path.stem}.tsv\n" in columns
        for column in json.loads(path.read_text(encoding="utf-8")):
            assert f"\n| `{column}` | " in columns


def test_links_of_the_site_stay_in_it_or_go_to_the_repository() -> None:
    source = make_pages.REPOSITORY + "/blob/main/"
    for folder, link, expected in [
        (ROOT, "docs/tools.md", "tools.md"),
        (ROOT, "LICENSE", source + "LICENSE"),
        (ROOT / "docs", "../CHANGELOG.md", "CHANGELOG.md"),
        (ROOT / "docs", "../containers/slurm/train.sbatch", source + "containers/slurm/train.sbatch"),
        (ROOT / "docs", "group.md", "group.md"),
        (ROOT / "docs", "paper/paper.md", source + "docs/paper/paper.md"),
    ]:
        pages = [f"[a]({target}) and [b]({target}#c)" for target in (link, expected)]
        assert make_pages.site_links(pages[0], folder) == pages[1]


def test_every_page_is_in_the_contents_of_the_site() -> None:
    contents = (ROOT / "docs" / "site" / "contents.md").read_text(encoding="utf-8")
    for page in PAGES:
        assert re.search(rf"^{Path(page).stem}$", contents, re.M), page


def test_the_reference_names_modules_that_exist() -> None:
    for module in make_pages.MODULES:
        assert (ROOT / (module.replace(".", "/") + ".py")).is_file()
