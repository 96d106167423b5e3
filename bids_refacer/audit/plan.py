"""What a run has to do: images and tools, without those that an earlier run finished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bids_refacer import __version__
from bids_refacer.audit.graph.jobs import Attack, ImageJob, ToolJob, node_name
from bids_refacer.audit.machine import Machine, recognition_of
from bids_refacer.dataset.descriptions.shareable_text import Places
from bids_refacer.dataset.details import RECOGNITION, Json
from bids_refacer.dataset.image_key import without_extension
from bids_refacer.dataset.images import HeadImage, ImageProblem, Selection, problem_of
from bids_refacer.dataset.inputs.collisions import keep_apart, twins
from bids_refacer.dataset.names import OutputNames
from bids_refacer.dataset.records import (
    AttackKey,
    fingerprint,
    is_current,
    read_defaced_record,
    read_record,
    record_key,
)
from bids_refacer.dataset.seeds import seed_for
from bids_refacer.dataset.sidecars import HEADER_TEXT_KEPT
from bids_refacer.defacers import DEFACERS, Defacer
from bids_refacer.defacers.tools_file import read_definitions, read_tools
from bids_refacer.layout import Layout
from bids_refacer.limits import memory_limit_gb
from bids_refacer.settings import RunSettings
from bids_refacer.wording import counted, listed

_ENOUGH_GB = 3.0  # main process, worker and the command that refaces, of a 1 mm head


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`jobs` has images with something to do; `finished` are image and tool of earlier runs."""

    jobs: tuple[ImageJob, ...]
    finished: tuple[tuple[HeadImage, str], ...]
    problems: tuple[ImageProblem, ...]
    layout: Layout


@dataclass(frozen=True, kw_only=True)
class Task:
    """One image and tool that a run is about, done before or not; `names` are those of its outputs."""

    image: HeadImage
    tool: str
    names: OutputNames


def tasks_of(plan: Plan) -> list[Task]:
    """All that the run is about, in the order of the input."""
    tasks = [Task(image=job.image, tool=tool.tool, names=job.names) for job in plan.jobs for tool in job.tools]
    for image, tool in plan.finished:
        tasks.append(Task(image=image, tool=tool, names=OutputNames.of(plan.layout, image)))
    return sorted(tasks, key=lambda task: (task.image.bids_path, task.tool))


def all_tools(settings: RunSettings) -> dict[str, Defacer]:
    """The registry, and what the tools file adds to it."""
    return {**DEFACERS, **(read_tools(settings.tools_file) if settings.tools_file else {})}


def missing_tools(names: Sequence[str], tools: Mapping[str, Defacer]) -> list[str]:
    """A sentence for each tool that cannot run here, with how to get it."""
    sentences = []
    for name in names:
        if name not in tools:
            sentences.append(f"The tool {name} is not part of this version: leave it out of --deface-tools.")
        elif missing := tools[name].missing():
            sentences.append(missing)
    return sentences


def tool_warnings(plan: Plan) -> list[str]:
    """What people should know of the tools before they rely on their results; each sentence once."""
    return list(dict.fromkeys(said for job in plan.jobs for tool in job.tools for said in tool.warnings))


def unit1_notes(images: Sequence[HeadImage], settings: RunSettings) -> list[str]:
    """A sentence about UNIT1 images that are taken although T1w ones were asked for."""
    taken = [image.bids_path for image in images if image.suffix == "UNIT1" and "UNIT1" not in settings.suffix]
    if not taken:
        return []
    return [
        f"{counted(len(taken), 'session')} without a T1w image: the UNIT1 image is audited in its place "
        f"({listed(taken, 3)}). Look at these results: attack and most tools are made for T1w."
    ]


def memory_warning() -> list[str]:
    """A sentence where the memory limit of a container or a batch job is too low; a killed process cannot tell."""
    limit = memory_limit_gb()
    if limit is None or limit >= _ENOUGH_GB:
        return []
    return [
        f"This run may use {limit:.1f} GB of memory, and one image takes up to {_ENOUGH_GB:.0f} GB. If it is killed "
        "(exit code 137), give it more: --memory of docker, --mem of sbatch."
    ]


def set_apart(images: Sequence[HeadImage], settings: RunSettings) -> tuple[list[HeadImage], list[ImageProblem]]:
    """Images whose outputs no other image has, in this run or in an earlier one, and the problems with the others."""
    cases = twins(settings.bids_dir, {image.participant for image in images})
    good, problems = [], []
    for image in images:
        case = cases.get((image.participant, None)) or cases.get((image.participant, image.session))
        message = f"{image.path}: {case}" if case else _taken_before(image, settings)
        if message is None:
            good.append(image)
        else:
            problems.append(problem_of(image, message))
    apart, meeting = keep_apart(good, lambda image: _claims(image, settings))
    return apart, [*problems, *meeting]


def _claims(image: HeadImage, settings: RunSettings) -> list[str]:
    """Everything that is named after an image: its outputs, its nodes."""
    layout = settings.layout
    names = OutputNames.of(layout, image)
    paths = [layout.name_of(path) for tool in settings.deface_tools for path in names.paths(tool)]
    return [*paths, f"node {node_name(image)}"]


def _taken_before(image: HeadImage, settings: RunSettings) -> str | None:
    """A sentence where an earlier run wrote outputs of another image, which is still there, by the same names."""
    names = OutputNames.of(settings.layout, image)
    for path in (path for tool in settings.deface_tools for path in (names.record(tool), names.other_record(tool))):
        record = read_defaced_record(path)
        if record is None or without_extension(record.image) == without_extension(image.bids_path):
            continue
        if (settings.bids_dir / record.image).exists():
            return (
                f"{image.path}: {settings.output_dir} has the results of {record.image} by the names that this image's "
                "would have: give another output folder, or rename one of the two images."
            )
    return None


def make_plan(selection: Selection, settings: RunSettings, machine: Machine) -> Plan:
    """Compare what was asked for with what the records say; nothing is written."""
    tools = all_tools(settings)
    definitions = read_definitions(settings.tools_file) if settings.tools_file else {}
    keys = {name: _key(tools[name], definitions.get(name), settings, machine) for name in settings.deface_tools}
    jobs, finished = [], []
    for image in selection.images:
        names = OutputNames.of(settings.layout, image)
        waiting = []
        for tool in settings.deface_tools:
            record = read_record(names.record(tool))
            if is_current(record, keys[tool], image, settings.layout, keep_refaced=settings.keep_refaced):
                finished.append((image, tool))
            else:
                job = tool_job(tools[tool], definitions.get(tool), keys[tool], image, settings, contrast=image.suffix)
                waiting.append(replace(job, seeds=sample_seeds(settings, image, tool)))
        if waiting:
            jobs.append(ImageJob(image=image, names=names, tools=tuple(waiting)))
    return Plan(jobs=tuple(jobs), finished=tuple(finished), problems=selection.problems, layout=settings.layout)


def make_attack(settings: RunSettings, machine: Machine) -> Attack:
    """How faces are painted back in this run."""
    use_gpu = settings.gpu != "none" and machine.gpus > 0
    alone = settings.nprocs == 1 and settings.nipype_plugin_file is None
    return Attack(
        num_samples=settings.num_samples,
        sampler=settings.sampler,
        steps=settings.steps,
        model=settings.model,
        weights=machine.weights,
        gpu=settings.gpu,
        use_gpu=use_gpu,
        threads=settings.omp_nthreads,
        # a node that waits for a GPU takes one slot of its queue for each process it counts for
        processes=1 if use_gpu else min(settings.omp_nthreads, settings.nprocs),
        progress=alone,
        keep=settings.keep_refaced,
        level=settings.attack,
        recognition=recognition_of(settings),
    )


def describe(plan: Plan, settings: RunSettings) -> list[str]:
    """What a run would do, for ``--dry-run``: a line for each participant, and with ``-v`` every output."""
    labels = {job.image.participant for job in plan.jobs} | {image.participant for image, _ in plan.finished}
    lines = [_participant_line(label, plan) for label in sorted(labels)]
    lines += unit1_notes(list(dict.fromkeys(task.image for task in tasks_of(plan))), settings)
    if settings.verbose:
        lines += [line for job in plan.jobs for line in _job_lines(job, settings)]
    lines += [problem.message for problem in plan.problems]
    count = sum(len(job.tools) for job in plan.jobs)
    lines.append(f"{count} image x tool to do, {len(plan.finished)} finished. Nothing was written.")
    return lines


def _participant_line(label: str, plan: Plan) -> str:
    """``sub-01: 2 images with quickshear and niimath; 1 image x tool finished by an earlier run``."""
    jobs = [job for job in plan.jobs if job.image.participant == label]
    finished = sum(image.participant == label for image, _ in plan.finished)
    tools = list(dict.fromkeys(tool.tool for job in jobs for tool in job.tools))
    said = [f"{counted(len(jobs), 'image')} to do with {listed(tools)}"] if jobs else []
    said += [f"{finished} image x tool finished by an earlier run"] if finished else []
    return f"sub-{label}: {'; '.join(said)}"


def _job_lines(job: ImageJob, settings: RunSettings) -> list[str]:
    tools = ", ".join(tool.tool for tool in job.tools)
    paths = [_shown(path, settings.output_dir) for path in _outputs(job, settings)]
    first = f"{job.image.bids_path}: would be defaced and refaced with {tools}, writing"
    return [first, *(f"  {path}" for path in paths)]


def _shown(path: Path, output_dir: Path) -> str:
    """A path in the output, or a whole one where faces are kept elsewhere."""
    return (path.relative_to(output_dir) if path.is_relative_to(output_dir) else path).as_posix()


def _outputs(job: ImageJob, settings: RunSettings) -> list[Path]:
    names = job.names
    paths = [names.brain_mask()]
    for tool in (tool.tool for tool in job.tools):
        paths += [names.defaced(tool), names.defacemask(tool), names.surfacedistance(tool)]
        if settings.keep_refaced:
            paths += [names.refaced(tool, number) for number in range(1, settings.num_samples + 1)]
            paths += [names.refaced_mean(tool)] if settings.num_samples > 1 else []
            paths.append(names.average_face(tool))
    return paths


def _key(tool: Defacer, definition: Mapping[str, object] | None, settings: RunSettings, machine: Machine) -> Json:
    """Everything but the image that its results with a tool depend on."""
    attack = AttackKey(
        num_samples=settings.num_samples,
        sampler=settings.sampler,
        steps=settings.steps,
        seed=settings.seed,
        model=machine.card,
        weights_sha256=machine.weights,
    )
    recognition = recognition_of(settings)
    return {
        **record_key(tool=tool.name, tool_version=tool.version(), attack=attack, app_version=__version__),
        **({} if definition is None else {"ToolDefinition": dict(definition)}),
        **({"Attack": settings.attack} if tool.action == "replaces" else {}),
        **header_key(settings),
        **({} if recognition is None else {RECOGNITION: recognition.key()}),
    }


def places_of(settings: RunSettings) -> Places:
    """The folders of a run, whose paths are no part of what may be shared."""
    return Places(bids_dir=settings.bids_dir, layout=settings.layout, hidden=(settings.work_dir,))


def header_key(settings: RunSettings) -> Json:
    """What a record's key says of the texts of headers; nothing where they are left out, as by default."""
    return {"HeaderText": HEADER_TEXT_KEPT} if settings.keep_header_text else {}


def sample_seeds(settings: RunSettings, image: HeadImage, tool: str) -> tuple[int, ...]:
    """A seed for each sample; samples come in pairs of one seed, the second mirrored about the learned mean.

    The mean of a pair is closer to the learned one than that of two samples of their own.
    """
    numbers = range(settings.num_samples)
    return tuple(seed_for(settings.seed, image.bids_path, tool, number // 2 + 1) for number in numbers)


def tool_job(
    tool: Defacer,
    definition: Mapping[str, object] | None,
    key: Json,
    image: HeadImage,
    settings: RunSettings,
    *,
    contrast: str,
) -> ToolJob:
    """One tool on one image, without seeds; `contrast` is the suffix of the image that the tool sees."""
    return ToolJob(
        tool=tool.name,
        version=str(key["ToolVersion"]),
        seeds=(),
        key=key,
        input=fingerprint(image.path),
        definition=definition,
        replaces=tool.action == "replaces",
        warnings=tuple(tool.warnings(contrast)),
        timeout_s=settings.tool_timeout,
        memory_gb=tool.memory_gb,
        keep_header_text=settings.keep_header_text,
        limits=(settings.face_left_limits, settings.brain_cut_limits, settings.brain_hole_limits),
    )
