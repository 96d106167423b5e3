"""The node that paints the face back: a command of its own, so that a GPU's memory is freed and nothing is forked."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

from nipype.interfaces.base import CommandLine, CommandLineInputSpec, File, OutputMultiObject, TraitedSpec, traits
from nipype.interfaces.base.support import Bunch

from bids_refacer.audit.nodes import products
from bids_refacer.audit.nodes.child import run_child
from bids_refacer.audit.nodes.reports import read_report, write_report
from bids_refacer.processes import python_module

_OPTIONS = ("Model", "Sampler", "Steps", "Device", "Attack")  # of the attack's report, shown as Options in sidecars


class _RefaceInput(CommandLineInputSpec):
    defaced = File(exists=True, mandatory=True, argstr="%s", position=0, desc="the defaced image, all that it is given")
    brain_mask = File(exists=True, argstr="--brain-mask %s", desc="found in the defaced image alone")
    out_dir = traits.Str("refaced", usedefault=True, argstr="%s", position=1)
    replaces = traits.Bool(False, usedefault=True, argstr="--replaces", desc="whether the tool put another face there")
    attack = traits.Str(argstr="--attack %s", desc="level of the attack on replaced faces")
    sampler = traits.Str(mandatory=True, argstr="--sampler %s")
    steps = traits.Int(argstr="--steps %d", desc="the model's own when not given")
    model = traits.Str(mandatory=True, argstr="--model %s")
    seeds = traits.List(traits.Int(), mandatory=True, argstr="--seeds %s", sep=" ")
    gpu = traits.Enum("require", "try", "none", mandatory=True, nohash=True, argstr="--gpu %s")
    num_threads = traits.Int(1, usedefault=True, nohash=True, argstr="--threads %d")
    progress = traits.Bool(False, usedefault=True, nohash=True, argstr="--progress")
    use_gpu = traits.Bool(False, usedefault=True, nohash=True, desc="Nipype's MultiProc counts nodes with this name")
    weights = traits.Dict(mandatory=True, desc="file -> SHA-256; part of the hash")


class _RefaceOutput(TraitedSpec):
    files = OutputMultiObject(File(), desc="samples, their mean, and the average face")
    samples = OutputMultiObject(File(), desc="in the order of the seeds")
    mean = File()
    average = File()
    unknown = File(desc="mask of what was painted")
    details = File(desc="JSON for the sidecars")


class Reface(CommandLine):
    """Run ``python -m bids_refacer.cli.reface``."""

    _cmd = shlex.join(python_module("bids_refacer.cli.reface"))
    input_spec = _RefaceInput
    output_spec = _RefaceOutput

    def _format_arg(self, name: str, trait_spec: Any, value: Any) -> str | None:
        if name in ("defaced", "model", "brain_mask"):  # paths may hold spaces, which not every Nipype quotes
            return trait_spec.argstr % shlex.quote(value)
        return super()._format_arg(name, trait_spec, value)

    def _run_interface(self, runtime: Bunch, correct_return_codes: tuple[int, ...] = (0,)) -> Bunch:
        command = shlex.split(self.cmdline)
        threads = str(self.inputs.num_threads)
        environ = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        about = self.inputs.defaced
        run_child(command, cwd=runtime.cwd, environ=environ, show=self.inputs.progress, about=about)
        runtime.returncode, runtime.success_codes, runtime.cmdline = 0, (0,), self.cmdline
        folder = Path(runtime.cwd)
        report = read_report(folder / self.inputs.out_dir / "attack.json")
        report.pop("Seeds", None)  # each sample's sidecar names its own
        options = {name: report.pop(name) for name in _OPTIONS if name in report}
        options["NumSamples"] = len(self.inputs.seeds)
        given = command[command.index(about) + 2 :]
        if "--brain-mask" in given:  # users have no such file: the command finds the brain itself
            at = given.index("--brain-mask")
            del given[at : at + 2]
        said = " ".join(["python -m bids_refacer.cli.reface DEFACED OUT_DIR", *given])
        write_report(folder / "details.json", {"Command": said, "Options": options, **report})
        return runtime

    def _list_outputs(self) -> dict[str, Any]:
        folder = Path(os.getcwd())
        out = folder / self.inputs.out_dir
        samples = [str(out / products.sample(number)) for number in range(1, len(self.inputs.seeds) + 1)]
        mean, average = str(out / products.MEAN), str(out / products.AVERAGE)
        return {
            "files": [*samples, mean, average],
            "samples": samples,
            "mean": mean,
            "average": average,
            "unknown": str(out / products.UNKNOWN),
            "details": str(folder / "details.json"),
        }
