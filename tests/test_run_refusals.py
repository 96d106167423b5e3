"""Runs that end before any node: each with a sentence, an exit code that is not 0, and nothing written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from small_datasets import STAND_IN, add_image, run_with_stand_in, settings_for, start_dataset

from bids_refacer.__main__ import main
from bids_refacer.audit import machine as machine_module
from bids_refacer.audit import plan as plan_module
from bids_refacer.audit import run as run_module
from bids_refacer.cli.run import run
from bids_refacer.defacers import DEFACERS
from bids_refacer.processes import Finished


@pytest.fixture(scope="module")
def bids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = start_dataset(tmp_path_factory.mktemp("refusals") / "in")
    add_image(root, "sub-01_T1w")
    add_image(root, "sub-02_run-1_T1w")
    return root


def refused(settings, *words: str) -> None:
    done = run_with_stand_in(settings)
    assert done.code == 1 and done.out == ""
    for word in words:
        assert word in done.err
    assert "Traceback" not in done.err
    assert not settings.output_dir.exists()


def test_absent_tool(bids: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = DEFACERS["quickshear"].__class__(
        **{**vars(DEFACERS["quickshear"]), "missing": lambda: "The tool needs x: run `pip install x`."}
    )
    monkeypatch.setitem(plan_module.DEFACERS, "quickshear", absent)
    refused(settings_for(bids, tmp_path / "out"), "run `pip install x`")


def test_tool_without_entry(bids: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(plan_module.DEFACERS, "quickshear")
    refused(settings_for(bids, tmp_path / "out"), "quickshear is not part of this version")


def test_no_participants(tmp_path: Path) -> None:
    root = start_dataset(tmp_path / "in")
    refused(settings_for(root, tmp_path / "out"), f"{root} has no participants")


def test_invalid_dataset(tmp_path: Path) -> None:
    root = start_dataset(tmp_path / "in")
    add_image(root, "sub-01_T1w").with_name("sub-01_nonsense.nii").write_bytes(b"")
    settings = settings_for(root, tmp_path / "out", skip_bids_validation=False)
    refused(settings, "sub-01_nonsense.nii", "is not valid BIDS", "--skip-bids-validation")


def test_gpu_that_is_not_there(bids: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = '{"gpus": 0, "card": "x", "weights": {}}\n'
    said = Finished(code=0, output=answer, errors="")
    monkeypatch.setattr(machine_module.processes, "run", lambda *args, **kwargs: said)
    assert machine_module.ask("default", "try").gpus == 0
    with pytest.raises(machine_module.RunError, match="--gpu require: torch finds no CUDA GPU here"):
        machine_module.ask("default", "require")


def test_unknown_model(bids: Path, tmp_path: Path) -> None:
    """The real child: it imports torch, so this takes seconds."""
    with pytest.raises(machine_module.RunError, match="No attack model 'nonsense'"):
        machine_module.ask("nonsense", "try")


def test_preflight_errors_end_the_run(bids: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def refuse(model: str, gpu: str) -> None:
        raise machine_module.RunError("No such model: give another.")

    monkeypatch.setattr(run_module, "ask", refuse)
    assert run(settings_for(bids, tmp_path / "out")) == 1
    assert capsys.readouterr().err == "No such model: give another.\n"


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (OSError(28, "No space left on device", "/out/x"), 1, "/out/x: No space left on device; free some space there"),
        (KeyboardInterrupt(), 130, "Run the same command again to go on"),
    ],
)
def test_ends_that_nobody_planned(
    bids: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, words: str
) -> None:
    def fail(*args: object) -> None:
        raise error

    monkeypatch.setattr(run_module, "write_datasets", fail)
    done = run_with_stand_in(settings_for(bids, tmp_path / "out"))
    assert done.code == code and words in done.err


@pytest.mark.parametrize(
    ("prepare", "output", "words"),
    [
        (lambda root: (root / "dataset_description.json").unlink(), "out", "has no dataset_description.json"),
        (lambda root: None, "in/sub-01/out", "is inside the input"),
        (lambda root: (root.parent / "out").write_text("a file"), "out", "cannot be made"),
    ],
)
def test_what_the_command_line_refuses(tmp_path: Path, capsys, prepare, output: str, words: str) -> None:
    root = start_dataset(tmp_path / "in")
    add_image(root, "sub-01_T1w")
    prepare(root)
    with pytest.raises(SystemExit) as ended:
        main([str(root), str(tmp_path / output), "participant"])
    assert ended.value.code == 2 and words in capsys.readouterr().err


def test_dry_run(bids: Path, tmp_path: Path) -> None:
    settings = settings_for(bids, tmp_path / "out", dry_run=True, deface_tools=("quickshear", "niimath"))
    done = run_with_stand_in(settings)
    assert done.code == 0 and not settings.output_dir.exists()
    assert [line for line in done.out.splitlines() if "may show the face" not in line] == [
        "sub-01: 1 image to do with quickshear and niimath",
        "sub-02: 1 image to do with quickshear and niimath",
        "4 image x tool to do, 0 finished. Nothing was written.",
    ]
    done = run_with_stand_in(replace(settings, verbose=1))
    for words in (
        "sub-01/anat/sub-01_T1w.nii.gz: would be defaced and refaced with quickshear, niimath",
        "sub-02/anat/sub-02_run-1_T1w.nii.gz: would be defaced",
        "  bids_refacer/sub-02/anat/sub-02_run-1_desc-niimathDefaced_T1w.nii.gz\n",
        "  identifiable/sub-01/anat/sub-01_desc-quickshearRefaced1_T1w.nii.gz\n",
        "4 image x tool to do, 0 finished. Nothing was written.",
    ):
        assert words in done.out


def test_a_dry_run_ends_as_the_run_would(bids: Path, tmp_path: Path) -> None:
    (bids / "sub-03").mkdir()
    done = run_with_stand_in(settings_for(bids, tmp_path / "out", dry_run=True))
    assert done.code == 1 and "sub-03 has no T1w image" in done.out and "Nothing was written." in done.out


def test_attack_takes_one_slot_of_the_gpu_queue(bids: Path, tmp_path: Path) -> None:
    settings = settings_for(bids, tmp_path / "out", nprocs=4, omp_nthreads=3)
    assert plan_module.make_attack(settings, STAND_IN).processes == 3
    with_gpu = plan_module.make_attack(settings, machine_module.Machine(gpus=1, card="x", weights={}))
    assert with_gpu.use_gpu and with_gpu.processes == 1
    never = settings_for(bids, tmp_path / "out", nprocs=4, omp_nthreads=3, gpu="none")
    assert not plan_module.make_attack(never, machine_module.Machine(gpus=1, card="x", weights={})).use_gpu
