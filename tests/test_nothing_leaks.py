"""A run on an image full of planted names, on a path with more of them: no byte of what may be shared has any."""

from __future__ import annotations

import gzip
import hashlib
import json
import stat
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Extension
from output_folders import identifiable, shareable
from small_datasets import Done, add_image, average_head, known_brain, run_with_stand_in, settings_for, start_dataset

from bids_refacer.dataset.tables import read_table
from bids_refacer.dataset.validation import validate
from bids_refacer.volumes.header_texts import TEXTS

USER, HOST = "janedoe1971", "ws-planted.example.org"
PERSON = ("Doe^Jane", "St-Planted-Hospital", "19710203", "SN-424242", "Dr-Planted")
COMMAND = """#!/bin/sh
echo "$PWD on host {host}: cannot read {base}/licence.txt of {user}, nor ~{user}/x, nor nas7:/export/{user}/y" >&2
exit 3
"""
TOOLS = """[tool.broken]
command = "{base}/broken {{input}} {{output}} --licence {base}/licence.txt"
action = "removes"
"""


def add_named_head(root: Path, name: str) -> Path:
    """The average head with a person's name in every text of its header, in extensions and in its sidecar."""
    path = add_image(root, name, average_head())
    image = nib.load(path)
    for field in set(TEXTS) & set(image.header.structarr.dtype.names):
        image.header[field] = PERSON[0].encode()
    for code in (2, 4, 6):
        image.header.extensions.append(Nifti1Extension(code, " ".join(PERSON).encode()))
    nib.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header).to_filename(path)
    fields = ("PatientName", "InstitutionName", "PatientBirthDate", "DeviceSerialNumber", "OperatorName")
    sidecar = dict(zip(fields, PERSON, strict=True))
    path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps(sidecar))
    return path


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Done:
    base = tmp_path_factory.mktemp("home") / USER / HOST
    bids = start_dataset(base / "in put")
    add_named_head(bids, "sub-01_T1w")
    add_image(bids, "sub-01_T2w", np.ones((5, 5, 5), dtype=np.uint8))
    truncated = add_image(bids, "sub-trunc_T1w")
    truncated.write_bytes(truncated.read_bytes()[:20000])
    (bids / "sub-link" / "anat").mkdir(parents=True)
    (bids / "sub-link" / "anat" / "sub-link_T1w.nii.gz").symlink_to(base / "else where" / "sub-link_T1w.nii.gz")
    (bids / "sub-none").mkdir()
    (base / "broken").write_text(COMMAND.format(host=HOST, base=base, user=USER))
    (base / "broken").chmod(0o755)
    (base / "tools.toml").write_text(TOOLS.format(base=base))
    settings = settings_for(
        bids,
        base / "out put",
        work_dir=base / "work",
        deface_tools=("quickshear", "broken"),
        tools_file=base / "tools.toml",
        apply_to_others=True,
    )
    with pytest.MonkeyPatch.context() as patch, known_brain():
        patch.setenv("STAND_IN_WARNS", f"Weights in {base}/models are old.")
        return run_with_stand_in(settings)


def shareable_files(output: Path) -> list[Path]:
    return [path for path in sorted(shareable(output).rglob("*")) if path.is_file()]


def leaks(output: Path, words: list[str]) -> list[str]:
    """Files of the shareable dataset, opened where they are packed, that hold one of the words; names count as well."""
    found = []
    for path in shareable_files(output):
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        content += path.relative_to(output).as_posix().encode()
        found += [f"{path.relative_to(output)}: {word}" for word in words if word.encode().lower() in content.lower()]
    return found


def planted(audit: Done) -> list[str]:
    original = audit.settings.bids_dir / "sub-01/anat/sub-01_T1w.nii.gz"
    digest = hashlib.sha256(original.read_bytes()).hexdigest()
    times = str(original.stat().st_mtime_ns)
    return [*PERSON, USER, HOST, str(audit.settings.bids_dir.parents[2]), digest, times, "else where"]


def test_the_run_did_what_the_grep_is_about(audit: Done) -> None:
    rows = read_table(shareable(audit.settings.output_dir) / "status.tsv")
    done = {(row["participant_id"], row["image"], row["tool"]): (row["status"], row["message"]) for row in rows}
    image = "sub-01/anat/sub-01_T1w.nii.gz"
    assert done["sub-01", image, "quickshear"] == ("ok", "Weights in [path] are old.")
    status, message = done["sub-01", image, "broken"]
    assert status == "failed" and "sub-01/anat/sub-01_T1w.nii.gz: broken failed with exit code 3 and said:" in message
    assert message.endswith("and said: (see the log); check the image, or leave the tool out.")
    assert done["sub-trunc", "sub-trunc/anat/sub-trunc_T1w.nii.gz", "quickshear"][1].startswith("sub-trunc/anat/sub-tr")
    assert "sub-link/anat/sub-link_T1w.nii.gz is a broken link to [path]; repair the link" in str(done)
    assert "sub-none has no T1w image" in str(done)
    assert str(audit.settings.bids_dir / image) in audit.out, "the terminal names whole paths"


def test_nothing_of_it_is_in_what_may_be_shared(audit: Done) -> None:
    assert len(shareable_files(audit.settings.output_dir)) > 15
    assert leaks(audit.settings.output_dir, planted(audit)) == []


def test_the_grep_would_find_it(audit: Done) -> None:
    """The test above can fail: logs, settings and records name all that."""
    private = identifiable(audit.settings.output_dir)
    log = next(private.glob("logs/*/run.log")).read_text()
    settings = next(private.glob("logs/*/settings.toml")).read_text()
    record = next(private.glob(".bids_refacer/sub-01/anat/*quickshear_record.json")).read_text()
    digest, times = planted(audit)[-3:-1]
    assert USER in log and USER in settings and digest in record and times in record


def test_no_text_of_the_header_reached_recovered_faces_or_the_work_folder(audit: Done) -> None:
    settings = audit.settings
    images = [*identifiable(settings.output_dir).rglob("*.nii.gz"), *settings.work_dir.rglob("*.nii.gz")]
    assert len(images) > 5
    for path in images:
        assert PERSON[0].encode() not in gzip.decompress(path.read_bytes()), path


def test_sidecars_say_what_became_of_the_texts(audit: Done) -> None:
    output = audit.settings.output_dir
    for folder, name in ((shareable(output), "Defaced"), (identifiable(output), "Refaced1")):
        sidecar = folder / f"sub-01/anat/sub-01_desc-quickshear{name}_T1w.json"
        assert json.loads(sidecar.read_text())["HeaderText"] == "blanked"


def test_the_group_level_and_pages_made_again_leak_nothing(audit: Done) -> None:
    for changes in (
        {"analysis_level": "group"},
        {"reports_only": True},
        {"analysis_level": "group", "reports_only": True},
    ):
        values = {"tools_file": audit.settings.tools_file, "deface_tools": ("quickshear", "broken")}
        done = run_with_stand_in(
            settings_for(
                audit.settings.bids_dir,
                audit.settings.output_dir,
                work_dir=audit.settings.work_dir,
                **values,
                **changes,
            )
        )
        assert done.code == 0, done.err
    assert (shareable(audit.settings.output_dir) / "group.html").is_file()
    assert leaks(audit.settings.output_dir, planted(audit)) == []
    assert (
        validate(shareable(audit.settings.output_dir)) == [] and validate(identifiable(audit.settings.output_dir)) == []
    )


def test_folders_with_faces_are_closed(audit: Done) -> None:
    for folder in (
        audit.settings.work_dir,
        audit.settings.work_dir / "crashes",
        identifiable(audit.settings.output_dir),
    ):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
