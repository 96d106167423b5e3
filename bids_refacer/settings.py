"""Every option of a run in one frozen object, written to and read from TOML (`settings_file`).

The names of the fields are the names of the command line's options (``--deface-tools`` is ``deface_tools``) and the
keys of the configuration file. A value that cannot be used is refused here, whichever way it came in, so that the rest
of the app never checks an option again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from bids_refacer import settings_file
from bids_refacer.layout import Layout
from bids_refacer.limits import usable_cpus
from bids_refacer.settings_file import SettingsError

ANALYSIS_LEVELS = ("participant", "group")
SUFFIXES = ("T1w", "UNIT1", "T2w", "FLAIR", "PDw")
DEFACE_TOOLS = tuple(
    "quickshear pydeface niimath deepdefacer spm-rule skullstrip average niimath-reface fsl_deface mri_deface mideface "
    "afni_deface afni_reface afni_reface_plus mri_reface spm_deface".split()
)
SAMPLERS = ("heun", "dpmpp2m", "ddpm")
ATTACKS = ("mask", "naive", "secondary")
GPU_POLICIES = ("require", "try", "none")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
PHENOTYPE_MODELS = ("linear", "cnn")
EXPORTS = ("best", "last")
MOST_VIEWS = 15  # cameras that `recognition.render` has
MOST_SIMULATED = 99_999
MOST_MUSCLE_EFFECT = 4.0
RESOLUTION_MM = (0.7, 4.0)
FIELD_OF_VIEW_MM = (100.0, 320.0)


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
    identifiable_dir: Path | None = None  # for faces, records and logs; None: beside what may be shared
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
    deface_tools: tuple[str, ...] = ("quickshear", "pydeface", "spm-rule")
    apply_to_others: bool = False
    keep_header_text: bool = False  # of the originals' NIfTI headers, which may name a person
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
    recognition: bool = True  # describe faces as face-recognition programs see them
    recognition_views: int = 6
    recognisers_file: Path | None = None  # TOML that defines more recognisers
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
    phenotype_models: tuple[str, ...] = ("linear",)
    cnn_permutations: int = 19  # the fewest with which p can be 0.05

    def __post_init__(self) -> None:
        """Refuse values outside their choices and ranges."""
        _check_choices("analysis_level", (self.analysis_level,), ANALYSIS_LEVELS)
        _check_choices("suffix", self.suffix, SUFFIXES)
        _check_choices("deface_tools", self.deface_tools, DEFACE_TOOLS + settings_file.defined_tools(self.tools_file))
        _check_choices("sampler", (self.sampler,), SAMPLERS)
        _check_choices("attack", (self.attack,), ATTACKS)
        _check_choices("gpu", (self.gpu,), GPU_POLICIES)
        _check_choices("phenotype_models", self.phenotype_models, PHENOTYPE_MODELS)
        for name in ("nprocs", "omp_nthreads", "num_samples", "recognition_views", "steps", "cnn_permutations"):
            _check_at_least(name, getattr(self, name), 1)
        for name in ("seed", "verbose", "rerank"):
            _check_at_least(name, getattr(self, name), 0)
        if self.mem_gb is not None and not self.mem_gb > 0:
            raise SettingsError(f"mem_gb is {self.mem_gb}, but it must be more than 0: give the memory in gigabytes.")
        if self.recognition_views > MOST_VIEWS:
            raise SettingsError(f"recognition_views is {self.recognition_views}: give 1 to {MOST_VIEWS}.")
        if not self.tool_timeout > 0:
            raise SettingsError(f"tool_timeout is {self.tool_timeout}, but it must be more than 0: give seconds.")
        for name in ("face_left_limits", "brain_cut_limits"):
            check_limits(name, getattr(self, name), 100, "percentages")
        check_limits("brain_hole_limits", self.brain_hole_limits, 10_000, "volumes in mL")
        for name in ("max_brain_removed", "min_face_change"):
            _check_at_least(name, getattr(self, name), 0)
        if not self.model:
            raise SettingsError("model is empty: give the name of a shipped model or the path of a weight file.")

    @property
    def layout(self) -> Layout:
        """The folders of the output as they are on the disk, or else as a run makes them."""
        return Layout.found(self.output_dir, self.identifiable_dir)

    def to_toml(self, path: str | Path) -> None:
        """Write every setting to `path`, see `settings_file.write_settings_file`."""
        settings_file.write_settings_file(self, path)

    @classmethod
    def from_toml(cls, path: str | Path) -> RunSettings:
        """Read a file that `to_toml` wrote, or one by hand that has at least the folders.

        Raises
        ------
        SettingsError
            When the file cannot be read, is no TOML, has an unknown key, a value of the wrong type, or lacks a folder.
        """
        return settings_file.read_settings(path, cls)


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
    max_roughness_mm: float = 0.3  # docs/training.md: how many heads of IXI lie above
    max_dental_void_cm2: float = 4.0  # the same
    keep_cut_faces: bool = False  # also heads whose nose is cut off by the field of view; what is cut is not learned
    modes: int = 80  # principal modes of the linear estimate
    ridge: float = 0.5  # noise variance of the linear estimate
    coarse_steps: int = 1000
    fine_steps: int = 600
    crop: int = 64  # side of the fine stage's training cubes, voxels of 2 mm
    batch: int = 2  # heads a step, over all processes
    noises: int = 2  # noise levels drawn for each head
    examples: int | None = None  # of each stage, kept and used again; None: every step has new ones
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
    best_by: str = "edm_loss"  # `training.loss.EDM_LOSS`, or another figure of the validation
    export: str = "best"

    def __post_init__(self) -> None:
        """Refuse values outside their choices and ranges."""
        _check_choices("precision", (self.precision,), PRECISIONS)
        _check_choices("export", (self.export,), EXPORTS)
        ones = "modes coarse_steps fine_steps batch noises examples threads checkpoint_every keep_checkpoints"
        for name in (*ones.split(), "validate_every", "validate_items"):
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
        """Write every setting to `path`, see `settings_file.write_settings_file`."""
        settings_file.write_settings_file(self, path)

    @classmethod
    def from_toml(cls, path: str | Path) -> TrainSettings:
        """Read a file that `to_toml` wrote, or one by hand that has at least the folders; as for `RunSettings`."""
        return settings_file.read_settings(path, cls)


@dataclass(frozen=True, kw_only=True)
class SimulateSettings:
    """What to simulate; units in the names, noise and bias as `simulation.acquisition.Protocol` has them.

    Raises
    ------
    SettingsError
        When a value is outside its range.
    """

    out: Path
    participants: int
    seed: int
    contrasts: tuple[str, ...]
    rho: float
    muscle_effect: float
    resolution_mm: float
    field_of_view_mm: tuple[float, float, float]
    noise: float
    bias: float

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        problem = self._problem()
        if problem:
            raise SettingsError(problem)

    def _problem(self) -> str | None:
        """A sentence on the first setting that cannot be used."""
        if not 1 <= self.participants <= MOST_SIMULATED:
            return f"--participants is {self.participants}: give a number from 1 to {MOST_SIMULATED}."
        if self.seed < 0:
            return f"--seed is {self.seed}: give 0 or a larger whole number."
        if not -1 <= self.rho <= 1:
            return f"--rho is {self.rho:g}: a correlation lies between -1 and 1."
        if not 0 <= self.muscle_effect <= MOST_MUSCLE_EFFECT:
            return f"--muscle-effect is {self.muscle_effect:g}: give 0 (none) to {MOST_MUSCLE_EFFECT:g}."
        low, high = RESOLUTION_MM
        if not low <= self.resolution_mm <= high:
            return f"--resolution is {self.resolution_mm:g} mm: give {low:g} to {high:g} mm."
        low, high = FIELD_OF_VIEW_MM
        for side in self.field_of_view_mm:
            if not low <= side <= high:
                return f"--field-of-view holds {side:g} mm: give {low:g} to {high:g} mm for each side."
        for name, value in (("noise", self.noise), ("bias", self.bias)):
            if not 0 <= value <= 0.5:
                return f"--{name} is {value:g}: give 0 (none) to 0.5, or no head is left in the image."
        return None


def _check_choices(name: str, values: tuple[str, ...], choices: tuple[str, ...]) -> None:
    if not values:
        raise SettingsError(f"{name} is empty: give at least one of {', '.join(choices)}.")
    for value in values:
        if value not in choices:
            close = get_close_matches(value, choices, 1)
            meant = f"did you mean {close[0]}? Else " if close else ""
            raise SettingsError(f"{name} has the value '{value}', which is not known: {meant}use {', '.join(choices)}.")


def _check_at_least(name: str, value: float | None, least: int) -> None:
    if value is not None and value < least:
        raise SettingsError(f"{name} is {value}, but it must be at least {least}: give a larger number.")


def check_limits(name: str, values: tuple[float, ...], most: float, what: str) -> None:
    """Raise SettingsError unless there are two limits from 0 to `most`, the second not smaller."""
    if len(values) != 2 or not 0 <= values[0] <= values[1] <= most:
        raise SettingsError(
            f"{name} is {' '.join(map(str, values))}: give two {what}, the first to warn above and the second, "
            f"which is not smaller, to fail above."
        )
