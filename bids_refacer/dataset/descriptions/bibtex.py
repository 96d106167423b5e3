"""The references of CITATION.md for a reference manager."""

from __future__ import annotations

import re

_REFERENCE = re.compile(r"^(\d+)\. (?P<text>.+?)\.?$", re.MULTILINE)
_PARTS = re.compile(r"^(?P<author>.+?) \((?P<year>\d{4})\)\. (?P<title>.+?[.?])\s+(?P<rest>.+)$")
_DOI = re.compile(r"doi:(10\.[^\s,;]+)")
_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
_SPECIAL = re.compile(r"([&%$#_{}])")


def bibtex(citation: str) -> str:
    """Every numbered reference of the text of CITATION.md as an entry; empty where there is none.

    A reference of another form than "Authors (year). Title. Where." becomes an entry with the whole as its title.
    """
    references = citation.partition("# References")[2]
    used: dict[str, int] = {}
    return "\n".join(_entry(found["text"], used) for found in _REFERENCE.finditer(references))


def _entry(text: str, used: dict[str, int]) -> str:
    parts = _PARTS.match(text)
    fields = {"title": f"{{{_escaped(text)}}}"}
    if parts:
        fields = {
            "author": _authors(parts["author"]),
            "title": f"{{{_escaped(parts['title'].rstrip('.'))}}}",
            "year": parts["year"],
            "howpublished": _escaped(parts["rest"]),
        }
    if doi := _DOI.search(text):
        fields["doi"] = doi.group(1)
    if arxiv := _ARXIV.search(text):
        fields |= {"eprint": arxiv.group(1), "archiveprefix": "arXiv"}
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
    return "\n".join([f"@misc{{{_key(parts, text, used)},", *lines, "}", ""])


def _key(parts: re.Match[str] | None, text: str, used: dict[str, int]) -> str:
    """``gao2025``; a letter is added to a key that is there already."""
    first = re.sub(r"[^a-z]", "", (parts["author"] if parts else text).split()[0].lower()) or "reference"
    key = first + (parts["year"] if parts else "")
    used[key] = used.get(key, 0) + 1
    return key if used[key] == 1 else f"{key}{chr(ord('a') + used[key] - 1)}"


def _authors(names: str) -> str:
    """``Gao C, Xu K, et al.`` as BibTeX has it: ``Gao, C and Xu, K and others``."""
    single = [name for name in re.split(r",\s*|\s+and\s+", names.rstrip(".")) if name]
    return " and ".join("others" if name.startswith("et al") else _escaped(_author(name)) for name in single)


def _author(name: str) -> str:
    """Initials stand last: what they follow is the family name."""
    family, _, initials = name.rpartition(" ")
    return f"{family}, {initials}" if family and initials.isupper() else f"{{{name}}}"


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)
