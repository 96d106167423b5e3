"""Settings go to TOML and come back; what cannot be used is refused with the file, the key and the remedy."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace
from pathlib import Path

import pytest

from bids_refacer.settings import RunSettings, TrainSettings
from bids_refacer.settings_file import SettingsError, read_settings_file


def minimal() -> RunSettings:
    return RunSettings(bids_dir=Path("/data"), output_dir=Path("/out"), work_dir=Path("/work"))


def everything() -> RunSettings:
    """No field has its default, so that a field lost on the way is seen."""
    return RunSettings(
        bids_dir=Path("/data"),
        output_dir=Path("/out"),
        identifiable_dir=Path("/faces"),
        analysis_level="group",
        participant_label=("01", "02"),
        session_label=("a",),
        suffix=("T2w", "FLAIR"),
        bids_filter_file=Path("filter.json"),
        bids_database_dir=Path("/db"),
        skip_bids_validation=True,
        work_dir=Path("/work"),
        nprocs=99,
        omp_nthreads=98,
        mem_gb=3.5,
        deface_tools=("average",),
        num_samples=5,
        sampler="heun",
        attack="secondary",
        recognition=False,
        recognition_views=3,
        recognisers_file=Path("recognisers.toml"),
        steps=7,
        model="/weights/mine.safetensors",
        seed=11,
        gpu="require",
        keep_refaced=False,
        dry_run=True,
        reports_only=True,
        write_graph=True,
        stop_on_first_crash=True,
        nipype_plugin_file=Path("plugin.json"),
        clean_work_dir=True,
        verbose=2,
        apply_to_others=True,
        keep_header_text=True,
        tools_file=Path(__file__).with_name("own_tools.toml"),
        tool_timeout=60.0,
        face_left_limits=(1.0, 2.5),
        brain_cut_limits=(0.0, 1.0),
        brain_hole_limits=(0.0, 2.0),
        merge_output=(Path("/out2"), Path("/out3")),
        filler_dataset=(Path("/fill"),),
        reference_dataset=Path("/other"),
        allow_mixed=True,
        max_brain_removed=2.5,
        min_face_change=0.5,
        rerank=0,
        phenotype=Path("/p.tsv"),
        phenotype_models=("linear", "cnn"),
        cnn_permutations=99,
        target=("fat",),
        covariates=("age",),
    )


def test_everything_differs_from_the_defaults() -> None:
    required = {"bids_dir", "output_dir", "work_dir"}
    same = [f.name for f in fields(RunSettings) if getattr(everything(), f.name) == getattr(minimal(), f.name)]
    assert set(same) == required


@pytest.mark.parametrize("make", [minimal, everything])
def test_toml_round_trip(make, tmp_path: Path) -> None:
    path = tmp_path / "logs" / "settings.toml"
    make().to_toml(path)
    assert RunSettings.from_toml(path) == make()
    assert [entry.name for entry in path.parent.iterdir()] == ["settings.toml"]


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        minimal().seed = 3  # type: ignore[misc]


def test_a_whole_number_is_a_number(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("mem_gb = 4")
    assert read_settings_file(path, RunSettings) == {"mem_gb": 4.0}


@pytest.mark.parametrize(
    ("text", "key", "wanted"),
    [
        ("num_samples = '3'", "num_samples", "a whole number"),
        ("num_samples = 2.5", "num_samples", "a whole number"),
        ("seed = true", "seed", "a whole number"),
        ("mem_gb = 'all'", "mem_gb", "a number"),
        ("dry_run = 1", "dry_run", "true or false"),
        ("deface_tools = 'pydeface'", "deface_tools", "a list of texts in quotes"),
        ("participant_label = [1, 2]", "participant_label", "a list of texts in quotes"),
        ("work_dir = 3", "work_dir", "a path in quotes"),
        ("model = false", "model", "a text in quotes"),
        ("face_left_limits = ['5', '20']", "face_left_limits", "a list of numbers"),
        ("face_left_limits = [5, true]", "face_left_limits", "a list of numbers"),
        ("num_samples = 2.0", "num_samples", "a whole number"),
        ("mem_gb = true", "mem_gb", "a number"),
        ("bids_filter_file = ''", "bids_filter_file", "a path in quotes"),
        ("merge_output = 'out'", "merge_output", "a list of paths in quotes"),
        ("merge_output = ['out', '']", "merge_output", "a list of paths in quotes"),
        ("steps = 1979-05-27", "steps", "a whole number"),
    ],
)
def test_wrong_type_names_file_key_and_remedy(text: str, key: str, wanted: str, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        read_settings_file(path, RunSettings)
    assert str(caught.value).startswith(f"{path} gives ")
    assert f"the key '{key}', which must be {wanted}: correct it." in str(caught.value)


def test_unknown_key_lists_the_known_ones(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("sample = 3")
    with pytest.raises(SettingsError, match="unknown key 'sample': remove it, or use one of .*num_samples"):
        read_settings_file(path, RunSettings)


def test_value_out_of_range_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("num_samples = 0")
    with pytest.raises(SettingsError, match=f"In {path}, num_samples is 0, but it must be at least 1"):
        read_settings_file(path, RunSettings)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent.toml cannot be read \(No such file or directory\): check"):
        RunSettings.from_toml(tmp_path / "absent.toml")


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("num_samples: 3")
    with pytest.raises(SettingsError, match="c.toml is not a TOML file .*correct it"):
        RunSettings.from_toml(path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("bids_dir = '/data'")
    with pytest.raises(SettingsError, match="c.toml has no key 'output_dir', which has no default: add it"):
        RunSettings.from_toml(path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"num_samples": 0}, "num_samples is 0, but it must be at least 1"),
        ({"steps": 0}, "steps is 0, but it must be at least 1"),
        ({"nprocs": 0}, "nprocs is 0, but it must be at least 1"),
        ({"omp_nthreads": -1}, "omp_nthreads is -1, but it must be at least 1"),
        ({"seed": -1}, "seed is -1, but it must be at least 0"),
        ({"mem_gb": 0.0}, "mem_gb is 0.0, but it must be more than 0"),
        ({"mem_gb": float("nan")}, "mem_gb is nan, but it must be more than 0"),
        ({"model": ""}, "model is empty"),
        ({"suffix": ("bold",)}, "suffix has the value 'bold', which is not known: use T1w, UNIT1, T2w, FLAIR, PDw"),
        ({"deface_tools": ()}, "deface_tools is empty: give at least one of quickshear"),
        ({"deface_tools": ("fsl",)}, "deface_tools has the value 'fsl', which is not known"),
        ({"sampler": "euler"}, "sampler has the value 'euler', which is not known"),
        ({"phenotype_models": ("svm",)}, "phenotype_models has the value 'svm', which is not known: use linear, cnn."),
        ({"cnn_permutations": 0}, "cnn_permutations is 0, but it must be at least 1"),
        ({"gpu": "maybe"}, "gpu has the value 'maybe', which is not known: use require, try, none"),
        ({"analysis_level": "session"}, "analysis_level has the value 'session', which is not known"),
    ],
)
def test_values_outside_their_range_are_refused(change: dict, sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        replace(minimal(), **change)
    assert str(caught.value).startswith(sentence)


def training() -> TrainSettings:
    return TrainSettings(bids_dir=Path("/data"), out=Path("/out"))


def every_training_setting() -> TrainSettings:
    """No field has its default."""
    changed = {}
    for item in fields(TrainSettings):
        value = getattr(training(), item.name)
        if item.name not in ("bids_dir", "out"):
            changed[item.name] = {int: 48, float: 0.125, str: "x", bool: True, type(None): 3}[type(value)]
    changed |= {"init_from": "default", "precision": "bfloat16", "export": "last"}
    return replace(training(), **changed)


def test_training_settings_go_to_toml_and_come_back(tmp_path: Path) -> None:
    same = [f.name for f in fields(TrainSettings) if getattr(every_training_setting(), f.name) == f.default]
    assert not same
    for settings in (training(), every_training_setting()):
        settings.to_toml(tmp_path / "train.toml")
        assert TrainSettings.from_toml(tmp_path / "train.toml") == settings


def test_a_training_file_knows_the_training_settings_alone(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("num_samples = 3")
    with pytest.raises(SettingsError, match="unknown key 'num_samples': remove it, or use one of bids_dir, out, name"):
        read_settings_file(path, TrainSettings)
    path.write_text("batch = 0")
    with pytest.raises(SettingsError, match=f"In {path}, batch is 0, but it must be at least 1"):
        read_settings_file(path, TrainSettings)
    path.write_text("bids_dir = '/data'")
    with pytest.raises(SettingsError, match="c.toml has no key 'out', which has no default: add it"):
        TrainSettings.from_toml(path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"precision": "half"}, "precision has the value 'half', which is not known: use auto, float32, bfloat16, f"),
        ({"export": "all"}, "export has the value 'all', which is not known: use best, last."),
        ({"fine_steps": 0}, "fine_steps is 0, but it must be at least 1"),
        ({"keep_checkpoints": 0}, "keep_checkpoints is 0, but it must be at least 1"),
        ({"warmup": -1}, "warmup is -1, but it must be at least 0"),
        ({"rate": 0.0}, "rate is 0.0, but it must be more than 0"),
        ({"clip": float("nan")}, "clip is nan, but it must be more than 0"),
        ({"ema": 1.0}, "ema is 1.0, but it must be at least 0 and less than 1."),
        ({"val_share": -0.1}, "val_share is -0.1, but it must be at least 0 and less than 1."),
        ({"crop": 60}, "crop is 60, but it must be a multiple of 8 from 16 to 96, such as 64."),
        ({"init_from": ""}, "init_from is empty: give a name, or leave it out."),
    ],
)
def test_training_values_outside_their_range_are_refused(change: dict, sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        replace(training(), **change)
    assert str(caught.value).startswith(sentence)
