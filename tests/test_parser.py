"""The command line: every option, and what wins over what. Refusals are in test_parser_refusals.py."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from output_folders import layout_of

from bids_refacer import __version__
from bids_refacer.audit.plugin_file import PluginFileError, read_plugin_file
from bids_refacer.cli.parser import build_parser, parse_args
from bids_refacer.limits import usable_cpus
from bids_refacer.settings import DEFACE_TOOLS, RunSettings
from bids_refacer.work_folder import default_work_dir


@pytest.fixture
def bids(tmp_path: Path) -> Path:
    """A dataset of two participants, one with sessions; images are empty, as the parser never opens them."""
    root = tmp_path / "in"
    for folder in ("sub-01/anat", "sub-02/ses-a/anat"):
        (root / folder).mkdir(parents=True)
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
    return root


@pytest.fixture
def parse(bids: Path, tmp_path: Path):
    def run(*options: str, output: Path | None = None, level: str = "participant") -> RunSettings:
        return parse_args([str(bids), str(output or tmp_path / "out"), level, *options])

    return run


def test_defaults(parse, bids: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    threads = min(max(usable_cpus() // 3, 1), 8)  # three tools run one beside the other
    work = default_work_dir(layout_of(out))
    expected = RunSettings(bids_dir=bids, output_dir=out, work_dir=work, omp_nthreads=threads)
    assert parse() == expected
    assert parse(level="group").omp_nthreads == min(usable_cpus(), 8)
    assert (expected.suffix, expected.deface_tools) == (("T1w",), ("quickshear", "pydeface", "spm-rule"))
    assert (expected.num_samples, expected.sampler, expected.steps) == (1, "dpmpp2m", None)
    assert (expected.model, expected.seed, expected.gpu, expected.keep_refaced) == ("default", 0, "try", True)


@pytest.mark.parametrize(
    ("options", "name", "value"),
    [
        ("--participant-label 01 sub-02", "participant_label", ("01", "02")),
        ("--participant-label sub-01 01", "participant_label", ("01",)),
        ("--participant_label 02", "participant_label", ("02",)),
        ("--session-label ses-a", "session_label", ("a",)),
        ("--session_label a", "session_label", ("a",)),
        ("--suffix T1w FLAIR", "suffix", ("T1w", "FLAIR")),
        ("--skip-bids-validation", "skip_bids_validation", True),
        ("--nprocs 3", "nprocs", 3),
        ("--nprocs 3", "omp_nthreads", 1),
        ("--nprocs 2", "omp_nthreads", 1),
        ("--nprocs 7 --deface-tools quickshear pydeface", "omp_nthreads", 3),
        ("--nprocs 3 --deface-tools quickshear", "omp_nthreads", 3),
        ("--nprocs 30", "omp_nthreads", 8),
        ("--nprocs 3 --omp-nthreads 2", "omp_nthreads", 2),
        ("--mem-gb 1.5", "mem_gb", 1.5),
        ("--mem 16G", "mem_gb", 16.0),
        ("--mem 16gb", "mem_gb", 16.0),
        ("--mem 16000M", "mem_gb", 16.0),
        ("--mem 1500MB", "mem_gb", 1.5),
        ("--mem 16000", "mem_gb", 16.0),
        ("--mem 16", "mem_gb", 16.0),
        ("--mem-mb 500", "mem_gb", 0.5),
        ("--mem_mb 16000", "mem_gb", 16.0),
        ("--n-cpus 3", "nprocs", 3),
        ("--n_cpus 3", "nprocs", 3),
        ("--nthreads 3", "nprocs", 3),
        ("--n_procs 3", "nprocs", 3),
        ("--random-seed 5", "seed", 5),
        ("--notrack", "seed", 0),
        ("--deface-tools skullstrip average skullstrip", "deface_tools", ("skullstrip", "average")),
        ("--num-samples 4", "num_samples", 4),
        ("--sampler heun", "sampler", "heun"),
        ("--sampler ddpm", "sampler", "ddpm"),
        ("--steps 12", "steps", 12),
        ("--model other", "model", "other"),
        ("--seed 5", "seed", 5),
        ("--gpu require", "gpu", "require"),
        ("--gpu none", "gpu", "none"),
        ("--no-keep-refaced", "keep_refaced", False),
        ("--dry-run", "dry_run", True),
        ("--reports-only", "reports_only", True),
        ("--write-graph", "write_graph", True),
        ("--stop-on-first-crash", "stop_on_first_crash", True),
        ("--clean-work-dir", "clean_work_dir", True),
        ("-v", "verbose", 1),
        ("-vv", "verbose", 2),
    ],
)
def test_each_option(parse, options: str, name: str, value: object) -> None:
    assert getattr(parse(*options.split()), name) == value


def test_options_with_files_and_folders(parse, tmp_path: Path) -> None:
    for name, text in (("filter.json", '{"T1w": {"run": 1}}'), ("plugin.json", '{"plugin": "Linear"}')):
        (tmp_path / name).write_text(text)
    assert parse("--use-plugin", str(tmp_path / "plugin.json")).nipype_plugin_file == tmp_path / "plugin.json"
    settings = parse(
        *("--bids-filter-file", str(tmp_path / "filter.json"), "--nipype-plugin-file", str(tmp_path / "plugin.json")),
        *("--bids-database-dir", str(tmp_path / "db"), "-w", str(tmp_path / "w")),
    )
    assert settings.bids_filter_file == tmp_path / "filter.json"
    assert settings.nipype_plugin_file == tmp_path / "plugin.json"
    assert settings.bids_database_dir == tmp_path / "db"
    assert settings.work_dir == tmp_path / "w"
    assert parse("--work-dir", str(tmp_path / "w")).work_dir == tmp_path / "w"


def test_relative_paths_become_absolute(bids: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = parse_args(["in", "out", "participant"])
    assert (settings.bids_dir, settings.output_dir) == (bids, tmp_path / "out")


def test_every_setting_has_an_option_and_a_group() -> None:
    parser = build_parser()
    titles = {action.dest: group.title for group in parser._action_groups for action in group._group_actions}
    for name in RunSettings.__dataclass_fields__:
        assert name in titles, f"the setting {name} cannot be given on the command line"
    optional = set(titles) - {"bids_dir", "output_dir", "analysis_level", "help", "version", "list_tools"}
    levels = {titles[name].partition(":")[0] for name in optional}
    assert levels == {"both levels", "participant level", "group level"}


def test_config_file_speaks_where_the_command_line_is_silent(parse, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('num_samples = 3\nsteps = 9\ndry_run = true\nparticipant_label = ["sub-02"]\nnprocs = 5\n')
    settings = parse("--config-file", str(config), "--steps", "4", "--no-dry-run")
    assert (settings.num_samples, settings.steps, settings.dry_run) == (3, 4, False)
    assert (settings.participant_label, settings.nprocs, settings.omp_nthreads) == (("02",), 5, 1)


def test_settings_of_an_earlier_run_are_a_config_file(parse, tmp_path: Path) -> None:
    first = parse("--seed", "8", "--deface-tools", "average", "--no-keep-refaced", "-v")
    first.to_toml(tmp_path / "settings.toml")
    assert parse("--config-file", str(tmp_path / "settings.toml")) == first


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--mem 16000", "--mem 16000 is taken as 16000 MB; with a unit (16G, 16000M) it is plain."),
        ("--mem 16", "--mem 16 is taken as 16 GB; with a unit (16G, 16000M) it is plain."),
        ("--mem 16G", ""),
        ("--mem-mb 16000", ""),
        ("--notrack", "--notrack is not needed: bids_refacer sends nothing anywhere."),
    ],
)
def test_what_is_guessed_or_needless_is_said(parse, capsys, options: str, sentence: str) -> None:
    parse(*options.split())
    assert capsys.readouterr().err.strip() == sentence


def test_version(capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_args(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"bids_refacer {__version__}\n"


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from bids_refacer.__main__ import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "print('LOADED', *(m for m in ('torch', 'nipype', 'bids', 'numpy', 'matplotlib', 'nibabel', 'scipy', 'pandas')"
        " if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--deface-tools" in done.stdout
    assert done.stdout.splitlines()[-1] == "LOADED"


def test_run_is_called_with_the_settings(bids: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import types

    from bids_refacer.__main__ import main

    stand_in = types.ModuleType("bids_refacer.cli.run")
    stand_in.run = lambda settings: 3 if settings.seed == 4 else 0  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bids_refacer.cli.run", stand_in)
    assert main([str(bids), str(tmp_path / "out"), "participant", "--seed", "4"]) == 3


def test_registry_and_choices_are_the_same_tools() -> None:
    from bids_refacer.defacers import DEFACERS

    assert set(DEFACERS) == set(DEFACE_TOOLS)


def test_plugin_file_is_read(tmp_path: Path) -> None:
    wanted = {"plugin": "SLURM", "plugin_args": {"sbatch_args": "-p long"}}
    (tmp_path / "p.json").write_text(json.dumps(wanted))
    (tmp_path / "p.toml").write_text('plugin = "SLURM"\n[plugin_args]\nsbatch_args = "-p long"\n')
    (tmp_path / "bad.toml").write_text("plugin: SLURM")
    assert read_plugin_file(tmp_path / "p.json") == read_plugin_file(tmp_path / "p.toml") == wanted
    with pytest.raises(PluginFileError, match="bad.toml is not TOML"):
        read_plugin_file(tmp_path / "bad.toml")
