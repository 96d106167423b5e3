"""What may be shared names files relative to the dataset, and no path, host or user of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from bids_refacer.dataset.descriptions import shareable_text
from bids_refacer.dataset.descriptions.shareable_text import Places, shareable_json
from bids_refacer.dataset.rows.audit import StatusRow
from bids_refacer.layout import Layout

PLACES = Places(
    bids_dir=Path("/home/jane/a study"),
    layout=Layout.of(Path("/home/jane/a study/derivatives/o")),
    hidden=(Path("/scratch/w"),),
)


@pytest.mark.parametrize(
    ("text", "shared"),
    [
        ("/home/jane/a study/sub-01/anat/sub-01_T1w.nii.gz is empty.", "sub-01/anat/sub-01_T1w.nii.gz is empty."),
        ("see /home/jane/a study/derivatives/o/bids_refacer/sub-01.html", "see sub-01.html"),
        ("see /home/jane/a study/derivatives/o/identifiable/sub-01.html", "see sub-01.html"),
        ("see /home/jane/a study/derivatives/o/sub-01.html", "see sub-01.html"),
        ("in /home/jane/a study: none", "in the dataset: none"),
        ("to file:///home/jane/a study/sub-01/x.nii", "to sub-01/x.nii"),
        (
            "Unexpected KeyError: x (see /scratch/w/crashes/1/crash-20260101-jane-node.txt).",
            "Unexpected KeyError: x (see the work folder).",
        ),
        ("/scratch/w is full, /scratch/wide is not", "the work folder is full, [path] is not"),
        ("/else/where/sub-02/anat/sub-02_T1w.nii.gz is empty.", "sub-02/anat/sub-02_T1w.nii.gz is empty."),
        ("broken link to /home/jane doe/x y.nii; repair it", "broken link to [path]; repair it"),
        (
            "--licence=/opt/jane/l.txt, '~jane/x' nas:/export/jane //server/jane/x",
            "--licence=[path], '[path]' nas:[path] [path]",
        ),
        ("x failed and said: host ws3 of Doe; check the image", "x failed and said: (see the log); check the image"),
        ("FSL 6.0.7 and/or n/a, 1/2, https://doi.org/10.1/x, bids:raw:sub-01/a.nii", None),
        ("doi:10.3389/fninf.2011.00013 (image/template), {input} -o {output}", None),
        ("get it with `datalad get sub-01/anat/x.nii.gz` or `git annex get sub-01/anat/x.nii.gz`.", None),
    ],
)
def test_texts(text: str, shared: str | None) -> None:
    assert PLACES.shareable(text) == (text if shared is None else shared)
    assert PLACES.shareable(PLACES.shareable(text)) == PLACES.shareable(text), "again, nothing changes"


def test_host_and_user_are_no_words_of_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shareable_text.socket, "gethostname", lambda: "mri-ws3.clinic.org")
    monkeypatch.setenv("USER", "janedoe")
    shareable_text._machine_names.cache_clear()
    said = Places().shareable("Licence of janedoe on mri-ws3.clinic.org (mri-ws3) expired; janedoes stays.")
    shareable_text._machine_names.cache_clear()
    assert said == "Licence of [name] on [name] ([name]) expired; janedoes stays."


def test_rows_and_json() -> None:
    row = StatusRow(
        participant_id="sub-01", image="sub-01/anat/x.nii", tool="t", message="/home/jane/x is gone", run_time_s=1.0
    )
    assert PLACES.shareable_row(row).message == "[path] is gone"
    assert PLACES.shareable_row(row).image == row.image
    content = {"Command": "/opt/jane/deface IN", "Options": {"a": [1, 0.5, None, True, "/x/y"]}}
    assert shareable_json(content) == {"Command": "[path] IN", "Options": {"a": [1, 0.5, None, True, "[path]"]}}


def test_the_root_of_the_file_system_is_no_name() -> None:
    assert (
        Places(bids_dir=Path("/"), layout=Layout.of(Path("/out"))).shareable("a / b, /out/sub-01.html")
        == "a / b, sub-01.html"
    )
