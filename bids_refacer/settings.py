"""Every option of a run in one frozen object, written to and read from TOML.

The names of the fields are the names of the command line's options (``--deface-tools`` is ``deface_tools``) and the
keys of the configuration file. A value that cannot be used is refused here, whichever way it came in, so that the rest
of the app never checks an option again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover - the twin of tomllib for Python 3.10
    import tomli as tomllib

ANALYSIS_LEVELS = ("participant", "group")
SUFFIXES = ("T1w", "T2w", "FLAIR", "PDw")
DEFACE_TOOLS = tuple(
    "quickshear pydeface niimath deepdefacer spm-rule skullstrip average niimath-reface fsl_deface mri_deface mideface "
    "afni_deface afni_reface afni_reface_plus mri_reface spm_deface".split()
)
SAMPLERS = ("heun", "dpmpp2m", "ddpm")
ATTACKS = ("mask", "naive", "secondary")
GPU_POLICIES = ("require", "try", "none")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
EXPORTS = ("best", "last")


class SettingsError(ValueError):
    """A setting cannot be used: one sentence that names the setting (and its file), what is wrong, what to do."""


def usable_cpus() -> int:
    """Number of CPU cores this process may run on (a batch system's allocation, not the machine's total)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What a run was asked to do.

    Raises
    ------
    SettingsError
        When a value is outside its choices or its range.
    """

    bids_dir: Path
    output_dir: Path
    analysis_level: str = "participant"
    participant_label: tuple[str, ...] = ()  # without "sub-"; empty: all
    session_label: tuple[str, ...] = ()  # without "ses-"; empty: all
    suffix: tuple[str, ...] = ("T1w",)
    bids_filter_file: Path | None = None
    bids_database_dir: Path | None = None
    skip_bids_validation: bool = False
    work_dir: Path
    nprocs: int = field(default_factory=usable_cpus)
    omp_nthreads: int = field(default_factory=lambda: min(usable_cpus(), 8))
    mem_gb: float | None = None  # None: what the machine has
    deface_tools: tuple[str, ...] = ("quickshear", "pydeface", "niimath")
    tools_file: Path | None = None  # TOML that defines more tools
    tool_timeout: float = 1800.0  # s
    face_left_limits: tuple[float, ...] = (5.0, 20.0)  # percent of a part of the face: more warns, more fails
    brain_cut_limits: tuple[float, ...] = (0.1, 5.0)  # percent of the brain, likewise
    brain_hole_limits: tuple[float, ...] = (1.0, 10.0)  # mL of the largest hole in the brain, likewise
    num_samples: int = 1
    attack: str = "mask"  # on tools that replace the face
    sampler: str = "dpmpp2m"
    steps: int | None = None  # None: what the model's card recommends
    model: str = "default"
    seed: int = 0
    gpu: str = "try"
    keep_refaced: bool = True
    dry_run: bool = False
    reports_only: bool = False
    write_graph: bool = False
    stop_on_first_crash: bool = False
    nipype_plugin_file: Path | None = None
    clean_work_dir: bool = False
    verbose: int = 0
    merge_output: tuple[Path, ...] = ()  # of the group level, as are all below: more participant outputs
    filler_dataset: tuple[Path, ...] = ()  # outputs whose originals only fill the gallery
    reference_dataset: Path | None = None
    allow_mixed: bool = False
    max_brain_removed: float | None = None  # percent; None: the participant level's verdict, or 5
    min_face_change: float | None = None  # mm; None: the participant level's verdict, or 1
    rerank: int = 10
    phenotype: Path | None = None  # table with the targets; the dataset's own tables are searched as well
    target: tuple[str, ...] = ()  # empty: muscle radiodensity, where the dataset has it
    covariates: tuple[str, ...] = ()  # empty: age and sex, where the dataset has them; "none": none

    def __post_init__(self) -> None:
        """Refuse values outside their choices and ranges."""
        _check_choices("analysis_level", (self.analysis_level,), ANALYSIS_LEVELS)
        _check_choices("suffix", self.suffix, SUFFIXES)
        _check_choices("deface_tools", self.deface_tools, DEFACE_TOOLS + defined_tools(self.tools_file))
        _check_choices("sampler", (self.sampler,), SAMPLERS)
        _check_choices("attack", (self.attack,), ATTACKS)
        _check_choices("gpu", (self.gpu,), GPU_POLICIES)
        for name in ("nprocs", "omp_nthreads", "num_samples", "steps"):
            _check_at_least(name, getattr(self, name), 1)
        for name in ("seed", "verbose", "rerank"):
            _check_at_least(name, getattr(self, name), 0)
        if self.mem_gb is not None and not self.mem_gb > 0:
            raise SettingsError(f"mem_gb is {self.mem_gb}, but it must be more than 0: give the memory in gigabytes.")
        if not self.tool_timeout > 0:
            raise SettingsError(f"tool_timeout is {self.tool_timeout}, but it must be more than 0: give seconds.")
        for name in ("face_left_limits", "brain_cut_limits"):
            _check_limits(name, getattr(self, name), 100, "percentages")
        _check_limits("brain_hole_limits", self.brain_hole_limits, 10_000, "volumes in mL")
        for name in ("max_brain_removed", "min_face_change"):
            _check_at_least(name, getattr(self, name), 0)
        if not self.model:
            raise SettingsError("model is empty: give the name of a shipped model or the path of a weight file.")

    def to_toml(self, path: str | Path) -> None:
        """Write every setting to `path`, see `write_settings_file`."""
        write_settings_file(self, path)

    @classmethod
    def from_toml(cls, path: str | Path) -> RunSettings:
        """Read a file that `to_toml` wrote, or one by hand that has at least the folders.

        Raises
        ------
        SettingsError
            When the file cannot be read, is no TOML, has an unknown key, a value of the wrong type, or lacks a folder.
        """
        return _from_file(cls, path, ("bids_dir", "output_dir", "work_dir"))


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """What a training was asked to do; `docs/training.md` says what each setting means.

    Raises
    ------
    SettingsError
        When a value is outside its choices or its range.
    """

    bids_dir: Path
    out: Path
    name: str = "default"
    init_from: str | None = None  # a shipped model or a folder with a model.json; None: start from nothing
    val_share: float = 0.1  # of the participants, where participants.tsv has no column `split`
    split_seed: int = 0  # apart from `seed`, so that another training holds out the same participants
    max_roughness_mm: float = 0.3  # the roughest of 160 IXI heads has 0.26
    max_dental_void_cm2: float = 4.0  # 7 of 160 IXI heads lie above, the next below has 2.8
    keep_cut_faces: bool = False  # also heads whose nose is cut off by the field of view; what is cut is not learned
    modes: int = 80  # principal modes of the linear estimate
    ridge: float = 0.5  # noise variance of the linear estimate
    coarse_steps: int = 1000
    fine_steps: int = 600
    crop: int = 64  # side of the fine stage's training cubes, voxels of 2 mm
    batch: int = 2  # heads a step, over all processes
    noises: int = 2  # noise levels drawn for each head
    rate: float = 4e-4
    warmup: int = 100
    ema: float = 0.998
    clip: float = 1.0
    precision: str = "auto"
    seed: int = 1
    threads: int | None = None  # None: torch's choice
    workers: int = 1
    checkpoint_every: int = 50
    keep_checkpoints: int = 3
    validate_every: int = 100
    validate_items: int = 16
    best_by: str = "edm_loss"
    export: str = "best"

    def __post_init__(self) -> None:
        """Refuse values outside their choices and ranges."""
        _check_choices("precision", (self.precision,), PRECISIONS)
        _check_choices("export", (self.export,), EXPORTS)
        ones = "modes coarse_steps fine_steps batch noises threads checkpoint_every keep_checkpoints validate_every"
        for name in (*ones.split(), "validate_items"):
            _check_at_least(name, getattr(self, name), 1)
        for name in ("seed", "split_seed", "warmup", "workers"):
            _check_at_least(name, getattr(self, name), 0)
        for name in ("rate", "clip", "ridge", "max_roughness_mm", "max_dental_void_cm2"):
            if not getattr(self, name) > 0:
                raise SettingsError(f"{name} is {getattr(self, name)}, but it must be more than 0: give a larger one.")
        for name in ("ema", "val_share"):
            if not 0 <= getattr(self, name) < 1:
                raise SettingsError(f"{name} is {getattr(self, name)}, but it must be at least 0 and less than 1.")
        if self.crop < 16 or self.crop % 8 or self.crop > 96:
            raise SettingsError(f"crop is {self.crop}, but it must be a multiple of 8 from 16 to 96, such as 64.")
        for name in ("name", "init_from", "best_by"):
            if getattr(self, name) == "":
                raise SettingsError(f"{name} is empty: give a name, or leave it out.")

    def to_toml(self, path: str | Path) -> None:
        """Write every setting to `path`, see `write_settings_file`."""
        write_settings_file(self, path)

    @classmethod
    def from_toml(cls, path: str | Path) -> TrainSettings:
        """Read a file that `to_toml` wrote, or one by hand that has at least the folders; as for `RunSettings`."""
        return _from_file(cls, path, ("bids_dir", "out"))


def defined_tools(path: Path | None) -> tuple[str, ...]:
    """Names of the tools that a tools file defines; what else it says is checked where they are made.

    Raises
    ------
    SettingsError
        When the file cannot be read or is no TOML.
    """
    tools = _read_toml(path).get("tool") if path else None
    return tuple(tools) if isinstance(tools, dict) else ()


Settings = TypeVar("Settings", RunSettings, TrainSettings)


def write_settings_file(settings: RunSettings | TrainSettings, path: str | Path) -> None:
    """Write every setting to `path`; settings that are None have no key, since TOML has no null.

    The file appears whole or not at all; its folder is made when it is missing. Paths are written as they are.
    """
    import tomli_w

    path = Path(path)
    content = {name: _plain(value) for name, value in asdict(settings).items() if value is not None}
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_bytes(tomli_w.dumps(content).encode())
    unfinished.replace(path)


def _from_file(kind: type[Settings], path: str | Path, required: tuple[str, ...]) -> Settings:
    values = read_settings_file(path, kind)
    missing = [name for name in required if name not in values]
    if missing:
        raise SettingsError(f"{path} has no key '{missing[0]}', which has no default: add it.")
    return kind(**values)


def read_settings_file(path: str | Path, kind: type[Settings] = RunSettings) -> dict[str, Any]:  # type: ignore[assignment]
    """Read the settings that a TOML file names, which may be any part of them, as arguments for `kind`.

    Raises
    ------
    SettingsError
        When the file cannot be read, is no TOML, has an unknown key or a value that cannot be used.
    """
    path = Path(path)
    values = _typed(_read_toml(path), path, kind)
    elsewhere = {item.name: Path() for item in fields(kind) if str(item.type) == "Path"}
    try:
        kind(**{**elsewhere, **values})  # a value out of its range is this file's mistake: say so
    except SettingsError as error:
        raise SettingsError(f"In {path}, {error}") from error
    return values


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read ({error.strerror}): check the path and its permissions.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not a TOML file ({error}): correct it, one 'key = value' a line.") from error


def _typed(content: Mapping[str, Any], path: Path, kind: type[Settings]) -> dict[str, Any]:
    """Turn TOML values into the fields' types."""
    known = {item.name: str(item.type) for item in fields(kind)}
    values = {}
    for key, value in content.items():
        if key not in known:
            raise SettingsError(f"{path} has the unknown key '{key}': remove it, or use one of {', '.join(known)}.")
        wanted, fits, convert = _KINDS[known[key].removesuffix(" | None")]
        if not fits(value):
            raise SettingsError(f"{path} gives {value!r} for the key '{key}', which must be {wanted}: correct it.")
        values[key] = convert(value)
    return values


def _is_int(value: object) -> bool:
    # bool is a subclass of int: "seed = true" is a mistake, not a one
    return isinstance(value, int) and not isinstance(value, bool)


def _is_strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_numbers(value: object) -> bool:
    return isinstance(value, list) and all(_is_int(item) or isinstance(item, float) for item in value)


# a field's type as it is written above: (how to say it, does a TOML value fit, how to convert it)
_KINDS: dict[str, tuple[str, Any, Any]] = {
    "Path": ("a path in quotes", lambda value: isinstance(value, str) and value != "", Path),
    "str": ("a text in quotes", lambda value: isinstance(value, str), str),
    "bool": ("true or false", lambda value: isinstance(value, bool), bool),
    "int": ("a whole number", _is_int, int),
    "float": ("a number", lambda value: _is_int(value) or isinstance(value, float), float),
    "tuple[str, ...]": ("a list of texts in quotes", _is_strings, tuple),
    "tuple[float, ...]": ("a list of numbers", _is_numbers, lambda value: tuple(map(float, value))),
    "tuple[Path, ...]": ("a list of paths in quotes", _is_strings, lambda value: tuple(map(Path, value))),
}


def _plain(value: Any) -> Any:
    """Write paths as texts and tuples as lists."""
    if isinstance(value, Path):
        return str(value)
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _check_choices(name: str, values: tuple[str, ...], choices: tuple[str, ...]) -> None:
    if not values:
        raise SettingsError(f"{name} is empty: give at least one of {', '.join(choices)}.")
    for value in values:
        if value not in choices:
            raise SettingsError(f"{name} has the value '{value}', which is not known: use {', '.join(choices)}.")


def _check_at_least(name: str, value: float | None, least: int) -> None:
    if value is not None and value < least:
        raise SettingsError(f"{name} is {value}, but it must be at least {least}: give a larger number.")


def _check_limits(name: str, values: tuple[float, ...], most: float, what: str) -> None:
    if len(values) != 2 or not 0 <= values[0] <= values[1] <= most:
        raise SettingsError(
            f"{name} is {' '.join(map(str, values))}: give two {what}, the first to warn above and the second, "
            f"which is not smaller, to fail above."
        )
