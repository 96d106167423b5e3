"""Ways to run the graph, on images that fail at once so that nothing heavy runs; and the shape of the graph."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from output_folders import identifiable, shareable
from small_datasets import Done, add_image, run_with_stand_in, settings_for, start_dataset

from bids_refacer.dataset.tables import read_table

EMPTY = np.zeros((5, 5, 5), dtype=np.uint8)


@pytest.fixture(scope="module")
def bids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = start_dataset(tmp_path_factory.mktemp("ways") / "in")
    add_image(root, "sub-01_T1w", EMPTY)
    add_image(root, "sub-02_ses-b_acq-x_run-01_T1w", EMPTY)
    return root


def outcomes(done: Done) -> list[str | None]:
    return [row["status"] for row in read_table(shareable(done.settings.output_dir) / "status.tsv")]


def test_several_processes_and_the_graph(bids: Path, tmp_path: Path) -> None:
    done = run_with_stand_in(settings_for(bids, tmp_path / "out", nprocs=2, write_graph=True))
    assert done.code == 1 and outcomes(done) == ["failed", "failed"]
    assert done.out.count("failed while reading the image") == 2 and "Traceback" not in done.out + done.err
    (graph,) = (identifiable(tmp_path / "out") / "logs").glob("*/graph.dot")
    text = graph.read_text()
    assert f"Graph of the workflow: {graph.parent}" in done.out
    for words in ("sub_01_T1w", "sub_02_ses_b_acq_x_run_01_T1w", "quickshear", "reface"):
        assert words in text


def test_stop_on_first_crash(bids: Path, tmp_path: Path) -> None:
    done = run_with_stand_in(settings_for(bids, tmp_path / "out", stop_on_first_crash=True))
    assert done.code == 1 and outcomes(done) == ["failed", "skipped"]
    assert "The run ended before this image and tool were done" in done.out


def test_a_plugin_file(bids: Path, tmp_path: Path) -> None:
    plugin = tmp_path / "plugin.json"
    plugin.write_text(json.dumps({"plugin": "MultiProc", "plugin_args": {"n_procs": 1, "raise_insufficient": False}}))
    done = run_with_stand_in(settings_for(bids, tmp_path / "out", nipype_plugin_file=plugin, verbose=1))
    assert done.code == 1 and outcomes(done) == ["failed", "failed"]
    assert "ImageError" in done.err, "-v shows Nipype's own messages"


def test_the_work_folder_is_emptied_on_request(bids: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    (work / "old").mkdir(parents=True)
    (work / "old" / "face.nii").write_bytes(b"")
    done = run_with_stand_in(settings_for(bids, tmp_path / "out", work_dir=work, clean_work_dir=True))
    assert done.code == 1 and not (work / "old").exists() and (work / "crashes").is_dir()


def test_the_run_asks_no_network_and_stays_in_its_folders(bids: Path, tmp_path: Path, monkeypatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    run_with_stand_in(settings_for(bids, tmp_path / "out"))
    from nipype import config

    assert config.get("execution", "check_version") == "false"
    assert list(home.iterdir()) == []
