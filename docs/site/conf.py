"""Settings of Sphinx for the documentation site: make docs. Nothing is loaded from another place."""

from __future__ import annotations

from importlib.metadata import version as installed_version

project = "bids_refacer"
author = copyright = "bids_refacer contributors"
version = release = installed_version("bids_refacer")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
root_doc = "contents"
html_theme = "furo"
html_title = "bids_refacer"
html_show_sourcelink = False
myst_heading_anchors = 4  # the same anchors as on the repository's own pages
autodoc_typehints = "description"
autodoc_default_options = {"members": True, "member-order": "bysource"}
# types of other projects would need their sites
nitpicky = False
