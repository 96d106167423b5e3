"""No two images share an output: those that would are refused, each naming the other one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from output_folders import layout_of
from records_by_hand import add_other_record, add_record, image_of, selection_of
from small_datasets import STAND_IN, settings_for, start_dataset

from bids_refacer.audit.graph.image import build_image
from bids_refacer.audit.graph.jobs import node_name, tool_node_name
from bids_refacer.audit.graph.stages import STAGES
from bids_refacer.audit.other_images import choose, passed_over_rows
from bids_refacer.audit.plan import make_attack, make_plan, set_apart
from bids_refacer.dataset.images import find_images
from bids_refacer.dataset.names import OutputNames
from bids_refacer.defacers.tools_file import ToolsFileError, read_definitions
from bids_refacer.settings import RunSettings


@pytest.fixture
def settings(tmp_path: Path) -> RunSettings:
    return settings_for(start_dataset(tmp_path / "in"), tmp_path / "out", deface_tools=("quickshear", "average"))


def refused(settings: RunSettings, *names: str) -> dict[str, str]:
    """Name of a refused image -> what is said of it; a good image is there and stays."""
    for name in ("sub-good_T1w", *names):
        image_of(settings.bids_dir, name)
    selection, others = choose(find_images(settings.bids_dir), settings)
    assert [image.stem for image in selection.images] == ["sub-good_T1w"] and others.images == ()
    return {Path(str(one.bids_path)).name.split(".")[0]: one.message for one in (*selection.problems, *others.problems)}


@pytest.mark.parametrize("apply", [False, True])
@pytest.mark.parametrize(
    "names",
    [
        ("sub-1_desc-preproc_T1w", "sub-1_desc-denoised_T1w"),
        ("sub-1_run-1_acq-a_T1w", "sub-1_acq-a_run-1_T1w"),
        ("sub-1_T1w", "sub-1_desc-x_T1w"),
    ],
)
def test_both_are_refused_and_each_names_the_other(settings: RunSettings, names: tuple[str, str], apply: bool) -> None:
    found = refused(replace(settings, apply_to_others=apply), *names)
    for name, other in (names, names[::-1]):
        assert found[name] == (
            f"{settings.bids_dir / 'sub-1/anat' / name}.nii.gz: its outputs would have the same names as those of "
            f"sub-1/anat/{other}.nii.gz, so that none of these images is used: rename them so that they differ in more "
            "than the order of entities or in desc (run-1 and run-2 do), choose one with --bids-filter-file, or move "
            "the others out of the dataset."
        )


def test_images_have_names_of_their_own_in_the_graph(settings: RunSettings) -> None:
    """Two images of one participant, and two participants."""
    names = ("sub-1_acq-a+run+1_T1w", "sub-1_acq-a_run-1_T1w", "sub-1+ses+a_T1w", "sub-1_ses-a_T1w")
    images = [image_of(settings.bids_dir, name) for name in names]
    assert [image.stem for image in choose(find_images(settings.bids_dir), settings)[0].images] == sorted(names)
    assert len({node_name(image) for image in images}) == 4 and node_name(images[1]) == "sub_1_acq_a_run_1_T1w"
    assert all(name.replace("_", "").isalnum() for name in map(node_name, images))


def test_other_images_may_not_share_outputs_either(settings: RunSettings) -> None:
    """Two T2w with the outputs of each other, one with those of an audited T1w: a T1w of its own stays."""
    for name in ("sub-1_T1w", "sub-1_desc-a_T2w", "sub-1_desc-b_T2w", "sub-1_FLAIR"):
        image_of(settings.bids_dir, name)
    selection, others = choose(find_images(settings.bids_dir), replace(settings, apply_to_others=True))
    assert [image.stem for image in selection.images] == ["sub-1_T1w"]
    assert [other.image.stem for other in others.images] == ["sub-1_FLAIR"]
    assert len(others.problems) == 2 and all("same names" in problem.message for problem in others.problems)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("sub-a1_T1w", "sub-A1_run-2_T1w"), "sub-a1 differs in case alone from sub-A1"),
        (("sub-1_ses-a_T1w", "sub-1_ses-A_run-2_T1w"), "ses-a differs in case alone from ses-A"),
        (
            ("sub-1_acq-x_T1w", "sub-1_acq-X_T1w"),
            "acq-x_T1w.nii.gz differs in case alone from sub-1/anat/sub-1_acq-X_T1w",
        ),
    ],
)
def test_names_that_differ_in_case_alone_are_refused(settings: RunSettings, names: tuple[str, str], said: str) -> None:
    found = refused(settings, *names)
    assert set(found) == set(names) and said in found[names[0]]
    assert found[names[0]].endswith("so that none of them is used: rename all but one.")


def test_a_participant_whose_twin_is_not_asked_for_is_refused_too(settings: RunSettings) -> None:
    """Runs for one participant each end in one output."""
    images = [image_of(settings.bids_dir, name) for name in ("sub-a1_T1w", "sub-A1_T1w")]
    assert set_apart(images[:1], settings)[0] == []


@pytest.mark.parametrize("audited", [True, False])
def test_results_of_another_image_are_not_overwritten(settings: RunSettings, audited: bool) -> None:
    """An earlier run chose another image by a filter."""
    one, two = (image_of(settings.bids_dir, f"sub-1_desc-{label}_T1w") for label in ("a", "b"))
    (add_record if audited else add_other_record)(settings.output_dir, one, "quickshear", {})
    assert set_apart([one], settings) == ([one], [])
    good, (problem,) = set_apart([two], settings)
    assert good == [] and problem.message == (
        f"{two.path}: {settings.output_dir} has the results of {one.bids_path} by the names that this image's would "
        "have: give another output folder, or rename one of the two images."
    )
    one.path.unlink()  # it was renamed
    assert set_apart([two], settings) == ([two], [])


def test_an_image_that_is_passed_over_is_not_done_as_another_one_was(settings: RunSettings) -> None:
    image_of(settings.bids_dir, "sub-1_T1w")
    add_other_record(settings.output_dir, image_of(settings.bids_dir, "sub-1_desc-a_T2w"), "quickshear", {})
    image_of(settings.bids_dir, "sub-1_desc-b_T2w")
    rows = passed_over_rows(choose(find_images(settings.bids_dir), settings)[1], settings)
    assert [row.image for row in rows] == ["sub-1/anat/sub-1_desc-b_T2w.nii.gz"]


def test_all_names_of_outputs_are_compared() -> None:
    """A method that names an output, and is not in the list, would go unchecked."""
    names = OutputNames(layout=layout_of(Path("/out")), entities={"sub": "1", "echo": "2"}, suffix="T2w")
    methods = {name for name, kind in vars(OutputNames).items() if callable(kind) and not name.startswith("_")}
    single = {"brain_mask", "defaced", "defacemask", "surfacedistance", "record", "verdict", "other_record"}
    single |= {"refaced_mean", "average_face", "refaced"}
    of_surfaces = {"face_surface", "distance_map", "face_map", "facial_voxels", "descriptors"}
    assert methods == single | of_surfaces | {"paths"}
    paths = names.paths("x")
    assert len(set(paths)) == len(paths) == len(single) + 5 * len(of_surfaces) + 1
    assert names.descriptors("x", "average-fitted") in paths
    for method in single - {"brain_mask", "refaced"}:
        assert getattr(names, method)("x") in paths


@pytest.mark.parametrize("tool", ["brain", "align", "truth", "face"])
def test_a_tool_that_is_called_like_a_node_gets_a_part_of_the_graph(settings: RunSettings, tool: str) -> None:
    assert tool in STAGES and tool_node_name(tool) == f"tool_{tool}" and tool_node_name("my_tool") == "myTool"
    image = image_of(settings.bids_dir, "sub-1_T1w")
    (job,) = make_plan(selection_of(image), settings, STAND_IN).jobs
    job = replace(job, tools=(replace(job.tools[0], tool=tool),))
    graph = build_image(job=job, attack=make_attack(settings, STAND_IN))
    assert graph.name == node_name(image) and graph.get_node(f"tool_{tool}.deface") is not None


@pytest.mark.parametrize("second", ["myTool", "my-tool", "MYTOOL"])
def test_tools_whose_labels_become_equal_are_refused(tmp_path: Path, second: str) -> None:
    table = 'command = "x {input} {output}"\naction = "removes"\n'
    (tmp_path / "t.toml").write_text(f"[tool.my_tool]\n{table}[tool.{second}]\n{table}")
    with pytest.raises(ToolsFileError, match=f"tool {second}: its name is that of the tool my_tool, or too like it"):
        read_definitions(tmp_path / "t.toml")
