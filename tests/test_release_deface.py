"""`bids_refacer deface`: defaced, judged and released, with nothing attacked."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import pytest
from other_contrast import other_contrast
from small_datasets import add_image, start_dataset
from stand_in_run import put_known_brain

from bids_refacer.__main__ import main
from bids_refacer.audit.graph.run import build_run
from bids_refacer.audit.other_images import choose
from bids_refacer.cli.deface import parse_args
from bids_refacer.dataset.images import find_images
from bids_refacer.dataset.rows.release import ReleaseRow
from bids_refacer.dataset.rows.table import read_rows
from bids_refacer.layout import Layout
from bids_refacer.release.defacing import _no_attack, audit_settings, jobs_of
from bids_refacer.release.verify import verify_release
from bids_refacer.volumes import brain

TOOL = "quickshear"


@pytest.fixture
def bids(tmp_path: Path) -> Path:
    root = start_dataset(tmp_path / "bids")
    add_image(root, "sub-01_T1w")
    truncated = add_image(root, "sub-02_T1w")
    truncated.write_bytes(truncated.read_bytes()[:20000])
    return root


def test_the_command_line(bids: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [str(bids), str(tmp_path / "published"), "--tool", TOOL]
    asked = parse_args([*command, "--nprocs", "1", "--face-left-limits", "1", "2", "--accept-warnings"])
    assert asked.run.output_dir == asked.release.output_dir == tmp_path / "published-audit"
    assert asked.run.deface_tools == (TOOL,) and asked.run.apply_to_others and asked.run.nprocs == 1
    assert asked.run.face_left_limits == asked.release.face_left_limits == (1.0, 2.0)
    elsewhere = parse_args([*command, "--audit-dir", str(tmp_path / "a"), "--skip-bids-validation"])
    assert elsewhere.release.output_dir == tmp_path / "a" and elsewhere.run.skip_bids_validation
    for options, words in (
        (["--tool", "none"], "deface_tools has the value 'none', which is not known"),
        (["--audit-dir", str(bids / "x")], "is inside the input"),
    ):
        with pytest.raises(SystemExit, match="2"):
            parse_args([*command, *options])
        assert words in capsys.readouterr().err


def test_the_graph_paints_nothing(bids: Path, tmp_path: Path) -> None:
    settings = audit_settings(bids, tmp_path / "audit", TOOL, nprocs=1, omp_nthreads=1)
    selection, _ = choose(find_images(bids), settings)
    jobs = jobs_of(selection, settings)
    assert [job.image.label for job in jobs] == ["sub-01 T1w", "sub-02 T1w"]
    names = build_run(jobs=jobs, attack=_no_attack(settings), work_dir=tmp_path).list_node_names()
    nodes = {name.split(".")[-1] for name in names if name.startswith("sub_01_T1w.quickshear.")}
    assert nodes == {"inputnode", "deface", "defaced_brain", "verdict", "publish_defaced", "record"}


@pytest.mark.slow
def test_a_dataset_is_defaced_and_released(
    bids: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    average_head_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(brain, "_deepbet", None)  # put back at the end
    put_known_brain()
    other_contrast(nib.load(average_head_path)).to_filename(bids / "sub-01/anat/sub-01_T2w.nii.gz")
    place = tmp_path / "published"
    command = ["deface", str(bids), str(place), "--tool", TOOL, "--nprocs", "1", "--accept-warnings"]
    assert main(command) == 1
    rows = {row.path: row for row in read_rows(place / "release.tsv", ReleaseRow)}
    for name in ("T1w", "T2w"):
        row = rows[f"sub-01/anat/sub-01_{name}.nii.gz"]
        assert (row.action, row.kept_voxels) == ("defaced", "equal") and row.face_verdict in ("pass", "warn")
    failed = rows["sub-02/anat/sub-02_T1w.nii.gz"]
    assert failed.action == "held back" and "truncated or damaged" in str(failed.reason)
    assert verify_release(place, say=lambda _: None) == 0
    page = (place / "release.html").read_text()
    assert "whether people can be found again is not known" in page
    layout = Layout.of(tmp_path / "published-audit")
    assert not list(layout.identifiable.rglob("*Refaced*")) and (layout.shareable / "status.tsv").is_file()
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*.nii.gz")}
    assert main(command) == 1
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*.nii.gz")} == before
    assert "image to deface" in capsys.readouterr().out, "what failed is tried again"
