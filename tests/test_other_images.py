"""``--apply-to-others``: the other images of a session get the mask of the audited one, and none is passed over."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from other_contrast import TO_T2W, other_contrast
from output_folders import shareable
from small_datasets import Done, add_image, average_head, known_brain, run_with_stand_in, settings_for, start_dataset

from bids_refacer.audit.nodes.carry import CarryHead
from bids_refacer.audit.nodes.deface import Deface
from bids_refacer.audit.other_images import about_passed_over, choose, describe_others, passed_over_rows, plan_others
from bids_refacer.dataset.image_key import ImageKey
from bids_refacer.dataset.images import HeadImage, Selection, find_images, head_image
from bids_refacer.dataset.names import OutputNames, sidecar_of
from bids_refacer.dataset.other_images import find_others, one_of_parts
from bids_refacer.dataset.tables import read_table
from bids_refacer.dataset.validation import validate
from bids_refacer.volumes.grid import Alignment, Grid, Volume
from bids_refacer.volumes.masks import carry_mask
from bids_refacer.volumes.nifti import read_mask, read_scan
from bids_refacer.volumes.registration import RegistrationError, align_heads

T1W = "sub-01/anat/sub-01_echo-1_T1w.nii.gz"
TOOL = "quickshear"


def save(root: Path, name: str, image: nib.Nifti1Image) -> Path:
    path = root / name.split("_")[0] / "anat" / f"{name}.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    image.to_filename(path)
    return path


@pytest.fixture(scope="module")
def bids(tmp_path_factory: pytest.TempPathFactory, average_head_path: Path) -> Path:
    """A multi-echo T1w; a T2w of another contrast, pose and resolution, two echoes; a series; someone without T1w."""
    root = start_dataset(tmp_path_factory.mktemp("others") / "in")
    add_image(root, "sub-01_echo-1_T1w")
    add_image(root, "sub-01_echo-2_T1w", (average_head() // 2).astype(np.uint8))
    t2w = other_contrast(nib.load(average_head_path))
    scaled = nib.Nifti1Image(np.rint(np.asarray(t2w.dataobj) * 4).astype(np.int16), t2w.affine)
    scaled.header.set_slope_inter(0.25, 0)
    save(root, "sub-01_echo-1_T2w", scaled)
    save(root, "sub-01_echo-2_T2w", nib.Nifti1Image(np.asarray(t2w.dataobj, np.float32) / 2 + 3, t2w.affine))
    add_image(root, "sub-01_FLAIR", np.stack([average_head()[::4, ::4, ::4]] * 3, axis=-1))
    save(root, "sub-01_T2w__dup-01", scaled)
    (root / "sub-01/anat/sub-01_PDw.nii.gz").symlink_to("../../.git/annex/objects/x/y/key")
    save(root, "sub-02_T2w", scaled)
    return root


@pytest.fixture(scope="module")
def done(bids: Path) -> Done:
    settings = settings_for(bids, bids.parent / "out", deface_tools=(TOOL,), apply_to_others=True)
    with known_brain():
        return run_with_stand_in(settings)


def outputs(done: Done, name: str) -> tuple[Path, Path]:
    """Defaced image and mask of an image like ``sub-01_echo-2_T1w``."""
    *entities, suffix = name.split("_")
    anat = shareable(done.settings.output_dir) / entities[0] / "anat"
    echo = "".join(part.replace("echo-", "Echo") for part in entities[1:])
    mask = anat / f"{entities[0]}_mod-{suffix}_desc-{TOOL}{echo}_defacemask.nii.gz"
    return anat / f"{'_'.join(entities)}_desc-{TOOL}Defaced_{suffix}.nii.gz", mask


def row(done: Done, name: str) -> dict[str, str | None]:
    path = f"{name.split('_')[0]}/anat/{name}.nii.gz"
    (found,) = [row for row in read_table(shareable(done.settings.output_dir) / "status.tsv") if row["image"] == path]
    return found


def test_the_mask_lands_where_the_face_is(done: Done) -> None:
    """Against the mask moved by the transformation that the test made the image with."""
    mask, moved = (read_mask(outputs(done, name)[1]) for name in ("sub-01_echo-1_T1w", "sub-01_echo-1_T2w"))
    carried = moved.values
    truth = carry_mask(mask, moved.grid, np.linalg.inv(TO_T2W), continued=True)
    assert 2 * (truth & carried).sum() / (truth.sum() + carried.sum()) > 0.98
    assert carried.mean() > 0.1


@pytest.mark.parametrize("name", ["sub-01_echo-1_T2w", "sub-01_echo-2_T2w", "sub-01_echo-2_T1w"])
def test_the_image_keeps_its_grid_header_and_values(done: Done, bids: Path, name: str) -> None:
    defaced, mask = outputs(done, name)
    original, result = read_scan(bids / f"sub-01/anat/{name}.nii.gz"), read_scan(defaced)
    removed = read_mask(mask).values
    assert result.header.binaryblock == original.header.binaryblock
    assert (result.stored[~removed] == original.stored[~removed]).all() and (result.values[removed] == 0).all()
    assert (original.values[removed] > 0).any()


def test_parts_share_one_mask(done: Done) -> None:
    for suffix in ("T1w", "T2w"):
        one, other = (outputs(done, f"sub-01_echo-{echo}_{suffix}")[1] for echo in (1, 2))
        assert (read_mask(one).values == read_mask(other).values).all()


def test_a_row_for_each_image_says_how(done: Done) -> None:
    assert done.code == 1 and "Traceback" not in done.out + done.err
    assert row(done, "sub-01_echo-1_T1w")["message"] is None
    carried, part = row(done, "sub-01_echo-2_T2w"), row(done, "sub-01_echo-2_T1w")
    assert (carried["status"], carried["tool"]) == ("ok", TOOL)
    assert carried["message"] == f"Defaced with the mask of {T1W}, rigidly registered."
    assert part["message"] == f"Defaced with the mask of {T1W}, in register with it."
    alone = row(done, "sub-02_T2w")
    assert alone["status"] == "skipped" and "has no audited image whose mask it could get" in str(alone["message"])
    assert "--suffix T2w" in str(alone["message"]) and "sub-02_T2w" in str(alone["message"])
    series, missing = row(done, "sub-01_FLAIR"), row(done, "sub-01_PDw")
    assert (series["status"], missing["status"]) == ("failed", "failed")
    assert "4-D series" in str(series["message"]) and "git annex get" in str(missing["message"])


def test_what_goes_on_after_its_suffix_is_refused_and_publishes_nothing(done: Done) -> None:
    found = row(done, "sub-01_T2w__dup-01")
    assert (found["status"], found["stage"]) == ("failed", "input")
    assert "goes on after the suffix T2w ('__dup-01')" in str(found["message"])
    assert "rename it to a BIDS name such as sub-01_run-2_T2w.nii.gz, or move it out" in str(found["message"])
    assert not [path for path in done.settings.output_dir.rglob("*") if "dup" in path.name]


def test_the_table_of_defacing_has_them(done: Done) -> None:
    rows = {row["image"]: row for row in read_table(shareable(done.settings.output_dir) / "defacing.tsv")}
    assert len(rows) == 4
    carried = rows["sub-01/anat/sub-01_echo-1_T2w.nii.gz"]
    assert (carried["brain_verdict"], carried["face_verdict"]) == ("pass", "pass")
    assert float(carried["removed_head_ml"] or 0) > 100


def test_sidecars_name_where_they_came_from(done: Done) -> None:
    files = outputs(done, "sub-01_echo-1_T2w")
    defaced, mask = (json.loads(sidecar_of(path).read_text()) for path in files)
    raw, theirs = "bids:raw:sub-01/anat/sub-01_echo-1_T2w.nii.gz", "bids::sub-01/anat/sub-01_mod-T1w_desc-quickshear"
    assert defaced["Sources"][0] == mask["Sources"][0] == raw
    assert f"{theirs}Echo1_defacemask.nii.gz" in defaced["Sources"] and f"bids:raw:{T1W}" in mask["Sources"]
    assert f"{theirs}Echo1_defacemask.nii.gz" in mask["Sources"]
    assert any("mod-T2w" in source for source in defaced["Sources"])
    assert any("Defaced_T2w" in source for source in mask["Sources"])
    assert defaced["MaskOf"] == T1W and len(defaced["RigidTransform"]) == 4 and defaced["RunTime"] > 0
    assert validate(shareable(done.settings.output_dir)) == []


def test_the_methods_say_so(done: Done) -> None:
    assert (
        "carried by a rigid registration (niimath" in (shareable(done.settings.output_dir) / "CITATION.md").read_text()
    )


def test_again_nothing_is_done_and_one_missing_is_put_back(done: Done) -> None:
    defaced, _ = outputs(done, "sub-01_echo-2_T2w")
    first = defaced.read_bytes()
    other = outputs(done, "sub-01_echo-1_T2w")[0]
    before = other.stat().st_mtime_ns
    defaced.unlink()
    with known_brain():
        again = run_with_stand_in(done.settings)
    assert defaced.read_bytes() == first and other.stat().st_mtime_ns == before
    assert "sub-01 echo-2 T2w quickshear: defaced by the mask of its session" in again.out
    left = plan_others(choose(find_images(done.settings.bids_dir), done.settings)[1], done.settings)
    assert [job.label for job in left.jobs] == ["sub-01 FLAIR"], "what cannot be read is tried again"


def test_a_dry_run_names_them(done: Done) -> None:
    lines = describe_others(choose(find_images(done.settings.bids_dir), done.settings)[1], done.settings)
    assert f"sub-01/anat/sub-01_echo-2_T2w.nii.gz: would get the masks of {T1W} (quickshear)" in lines
    assert any("sub-02_T2w" in line and "was not defaced" in line for line in lines)


def test_a_tool_that_makes_a_face_for_the_contrast_runs_itself(bids: Path, tmp_path: Path) -> None:
    """But not on echoes, which share a mask; nor one that knows T1w alone."""
    root = start_dataset(tmp_path / "in")
    for name in ("sub-01_T1w", "sub-01_T2w", "sub-01_echo-1_FLAIR", "sub-01_echo-2_FLAIR"):
        add_image(root, name, np.zeros((5, 5, 5), np.uint8))
    settings = settings_for(root, tmp_path / "out", deface_tools=("mri_reface", "average"), apply_to_others=True)
    lines = describe_others(choose(find_images(root), settings)[1], settings)
    masks, of = "would get the masks of", "sub-01/anat/sub-01"
    assert f"{of}_T2w.nii.gz: would be defaced with mri_reface" in lines
    assert f"{of}_T2w.nii.gz: {masks} {of}_T1w.nii.gz (average)" in lines
    assert f"{of}_echo-1_FLAIR.nii.gz: {masks} {of}_T1w.nii.gz (mri_reface, average)" in lines


def test_a_tool_runs_with_what_was_found_in_the_reference(
    done: Done, bids: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Brain and alignment of the T1w, moved by the true transformation, put the average face where the nose is."""
    monkeypatch.setattr("bids_refacer.audit.nodes.carry.align_brain", lambda *_: Alignment(np.eye(4), np.eye(4)))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "matrix.json").write_text(json.dumps(np.linalg.inv(TO_T2W).tolist()))
    t1w, t2w = (str(bids / f"sub-01/anat/sub-01_echo-1_{suffix}.nii.gz") for suffix in ("T1w", "T2w"))
    brain = str(shareable(done.settings.output_dir) / "sub-01/anat/sub-01_echo-1_desc-brain_mask.nii.gz")
    head = CarryHead(in_file=t2w, matrix=str(tmp_path / "matrix.json"), reference=t1w, brain_mask=brain, version="1")
    found = head.run().outputs
    ran = Deface(
        in_file=t2w,
        brain_mask=found.brain_mask,
        alignment=found.alignment,
        tool="average",
        version="1",
        keep_header_text=False,
    )
    mask = read_mask(ran.run().outputs.defacemask)
    replaced, affine = mask.values, mask.affine
    assert read_scan(ran.run().outputs.defaced).values[replaced].max() > 0
    nose = nib.affines.apply_affine(np.linalg.inv(affine) @ TO_T2W, [0, 100, -60]).round().astype(int)
    assert replaced[tuple(nose)] and not (replaced & read_mask(found.brain_mask).values).any()


def test_an_audited_image_that_failed_leaves_a_sentence(bids: Path, tmp_path: Path) -> None:
    """No tool ran on the T1w: its other images say that there is no mask."""
    broken = start_dataset(tmp_path / "in")
    add_image(broken, "sub-01_T1w", np.zeros((5, 5, 5), np.uint8))
    add_image(broken, "sub-01_T2w")
    with known_brain():
        failed = run_with_stand_in(settings_for(broken, tmp_path / "out", apply_to_others=True))
    found = row(failed, "sub-01_T2w")
    assert failed.code == 1 and (found["stage"], found["status"]) == ("deface", "skipped")
    assert "there is no mask of sub-01/anat/sub-01_T1w.nii.gz to carry" in str(found["message"])


def image(name: str) -> HeadImage:
    key = ImageKey.of(name)
    session = f"ses-{key.session}/" if key.session else ""
    found = head_image(Path(f"/sub-{key.participant}/{session}anat/{name}.nii.gz"), Path("/"))
    assert found is not None
    return found


def test_one_part_is_audited_for_all() -> None:
    names = ("sub-1_echo-10_T1w", "sub-1_echo-2_part-phase_T1w", "sub-1_echo-2_part-mag_T1w", "sub-1_run-2_T1w")
    kept = one_of_parts(Selection(images=tuple(map(image, names)), problems=()))
    assert [one.path.name.removesuffix(".nii.gz") for one in kept.images] == [names[2], names[3]]


def test_the_reference_is_of_the_session_and_most_alike(tmp_path: Path) -> None:
    names = ("sub-1_ses-a_run-1_T2w", "sub-1_ses-b_run-2_T2w", "sub-1_ses-b_mask", "sub-1_ses-c_T2w")
    for name in names:
        path = tmp_path / str(image(name).path)[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    audited = tuple(map(image, ("sub-1_ses-a_run-1_T1w", "sub-1_ses-b_run-1_T1w", "sub-1_ses-b_run-2_T1w")))
    others, problems = find_others(tmp_path, Selection(images=audited, problems=()))
    found = {other.image.path.name: other.reference and other.reference.path.name for other in others}
    assert problems == [] and found == {
        "sub-1_ses-a_run-1_T2w.nii.gz": "sub-1_ses-a_run-1_T1w.nii.gz",
        "sub-1_ses-b_run-2_T2w.nii.gz": "sub-1_ses-b_run-2_T1w.nii.gz",
        "sub-1_ses-c_T2w.nii.gz": None,
    }


def test_images_that_are_left_alone_are_named_until_they_are_done(tmp_path: Path) -> None:
    """What --apply-to-others did before stays done; a filter is told of as one."""
    root = start_dataset(tmp_path / "in")
    for name in ("sub-01_T1w", "sub-01_run-2_T1w", "sub-01_T2w", "sub-01_FLAIR", "sub-01_defacemask", "sub-02_UNIT1"):
        add_image(root, name, np.zeros((5, 5, 5), np.uint8))
    (tmp_path / "filter.json").write_text('{"T1w": {"run": null}}')
    filters = tmp_path / "filter.json"
    settings = settings_for(root, tmp_path / "out", deface_tools=(TOOL,), bids_filter_file=filters)
    selection, others = choose(find_images(root, filter_file=filters), settings)
    assert [one.bids_path for one in selection.images] == ["sub-01/anat/sub-01_T1w.nii.gz"]
    record = OutputNames(layout=settings.layout, entities={"sub": "01"}, suffix="FLAIR").other_record(TOOL)
    record.parent.mkdir(parents=True)
    content = {"Key": {}, "Input": {}, "Image": "sub-01/anat/sub-01_FLAIR.nii.gz", "Tool": TOOL, "KeptRefaced": True}
    record.write_text(json.dumps({**content, "Outputs": {}, "Deface": {}, "RunTime": 1.0}))
    said = {str(row.image).split("/")[-1]: str(row.message) for row in passed_over_rows(others, settings)}
    assert set(said) == {"sub-01_T2w.nii.gz", "sub-01_run-2_T1w.nii.gz", "sub-02_UNIT1.nii.gz"}
    assert said["sub-01_T2w.nii.gz"].endswith("of its session, or have it audited itself with --suffix T2w.")
    assert said["sub-01_run-2_T1w.nii.gz"].endswith("or leave out the filter that it did not match.")
    assert said["sub-02_UNIT1.nii.gz"].endswith("of its session, or have it audited itself with --suffix UNIT1.")
    assert "sub-01/anat/sub-01_T2w.nii.gz may show the face too" in "".join(describe_others(others, settings))
    assert about_passed_over(passed_over_rows(others, settings) * 3)[0].endswith(" and 4 more")
    assert about_passed_over([]) == []


def test_a_mask_is_continued_beyond_its_field_of_view() -> None:
    mask = np.zeros((6, 6, 6), dtype=bool)
    mask[:, 3:, :] = True
    taller = Grid((6, 6, 12), np.eye(4) + np.pad([[-6.0]], ((2, 1), (3, 0))))
    assert carry_mask(Volume(mask, np.eye(4)), taller, np.eye(4), continued=True)[:, 3:, 0].all()
    assert not carry_mask(Volume(mask, np.eye(4)), taller, np.eye(4), continued=False)[..., 0].any()
    assert (carry_mask(Volume(mask, np.eye(4)), Grid(mask.shape, np.eye(4)), np.eye(4), continued=True) == mask).all()


@pytest.mark.parametrize("wrong", ["another size", "another place"])
def test_what_is_not_the_same_head_is_refused(wrong: str, monkeypatch: pytest.MonkeyPatch, phantom_head) -> None:
    found = np.diag([1.2, 1, 1, 1]) if wrong == "another size" else np.eye(4) + np.pad([[80.0]], ((1, 2), (3, 0)))
    monkeypatch.setattr("bids_refacer.volumes.registration.allineate", lambda *_: found)
    head = phantom_head
    with pytest.raises(RegistrationError, match="Registration of two images of one head failed: stretches"):
        align_heads(head.volume, head.volume, head.brain)
