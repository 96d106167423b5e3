"""CITATION.bib has the references of CITATION.md, each once, in a form that reference managers read."""

from __future__ import annotations

import re

from bids_refacer.dataset.descriptions.bibtex import bibtex
from bids_refacer.dataset.descriptions.citation import AttackUse, ToolUse, citation_text
from bids_refacer.defacers import DEFACERS

ATTACK = AttackUse(card="model", sampler="heun", steps=5, num_samples=1, seed=0)


def entries(text: str) -> dict[str, dict[str, str]]:
    found = re.findall(r"^@misc\{(\w+),\n(.*?)^\}\n", text, re.DOTALL | re.MULTILINE)
    assert len(found) == text.count("@misc{") == len(dict(found)), "keys are unique"
    return {key: dict(re.findall(r"^  (\w+) = \{(.*)\},$", body, re.MULTILINE)) for key, body in found}


def test_every_reference_has_an_entry() -> None:
    tools = [ToolUse(name=name, version="1", citation=one.citation) for name, one in DEFACERS.items()]
    citation = citation_text(tools, ATTACK, {})
    found = entries(bibtex(citation))
    assert len(found) == len(re.findall(r"^\d+\. ", citation.partition("# References")[2], re.MULTILINE))
    assert found["gao2025"]["author"] == "Gao, C and Xu, K and Kim, ME and others"
    assert (
        found["gao2025"]["title"].startswith("{Pitfalls of defacing whole-head MRI")
        and found["gao2025"]["year"] == "2025"
    )
    assert found["gao2025"]["eprint"] == "2501.18834" and found["gao2025"]["archiveprefix"] == "arXiv"
    assert found["fisch2024"]["doi"] == "10.1016/j.compbiomed.2024.108845"
    assert all(entry["title"] and text_is_balanced(entry) for entry in found.values())


def text_is_balanced(entry: dict[str, str]) -> bool:
    return all(
        re.sub(r"\\[{}]", "", value).count("{") == re.sub(r"\\[{}]", "", value).count("}") for value in entry.values()
    )


def test_two_works_of_a_year_and_what_has_another_form() -> None:
    text = "# References\n\n1. Ho J (2022). One. A.\n2. Ho J, Roe A (2022). Two & a half. B.\n3. https://example.org/tool.\n"
    found = entries(bibtex(text))
    assert list(found) == ["ho2022", "ho2022b", "httpsexampleorgtool"]
    assert found["ho2022b"]["title"] == r"{Two \& a half}"
    assert found["httpsexampleorgtool"]["title"] == "{https://example.org/tool}"
    assert bibtex("# Methods\n\nNothing.\n") == ""
