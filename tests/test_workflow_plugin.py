"""Local workers: one image after the other, and a worker that dies takes nothing with it but what it was doing."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from nipype import config
from nipype.interfaces.base import BaseInterfaceInputSpec, SimpleInterface, TraitedSpec, traits
from nipype.pipeline.engine import Node, Workflow

from bids_refacer.audit.crash_files import read_crashes
from bids_refacer.audit.graph.plugin import ImageByImage


class _In(BaseInterfaceInputSpec):
    log = traits.Str()
    name = traits.Str()
    after = traits.Any()
    die = traits.Bool(False, usedefault=True)


class _Out(TraitedSpec):
    done = traits.Bool()


class Step(SimpleInterface):
    input_spec = _In
    output_spec = _Out

    def _run_interface(self, runtime):
        if self.inputs.die:
            os._exit(1)
        with Path(self.inputs.log).open("a") as log:
            log.write(self.inputs.name + "\n")
        time.sleep(0.05)
        self._results["done"] = True
        return runtime


def make_run(folder: Path, *, dies: str = "") -> Workflow:
    run = Workflow("run", base_dir=str(folder))
    for image in ("a", "b", "c"):
        part = Workflow(image)
        steps = [
            Node(Step(log=str(folder / "log"), name=image + str(n), die=image + str(n) == dies), name=f"step{n}")
            for n in (1, 2)
        ]
        part.connect(steps[0], "done", steps[1], "after")
        run.add_nodes([part])
    return run


@pytest.fixture(autouse=True)
def settings(tmp_path: Path):
    before = {key: config.get("execution", key) for key in ("crashdump_dir", "crashfile_format", "poll_sleep_duration")}
    after = {"crashdump_dir": str(tmp_path), "crashfile_format": "txt", "poll_sleep_duration": "0.05"}
    config.update_config({"execution": after})
    yield
    config.update_config({"execution": {key: str(value) for key, value in before.items() if value is not None}})


def test_one_image_after_the_other(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.run(plugin=ImageByImage(plugin_args={"n_procs": 1}), plugin_args={"n_procs": 1})
    assert (tmp_path / "log").read_text().split() == ["a1", "a2", "b1", "b2", "c1", "c2"]


def test_a_dead_worker_is_one_failure(tmp_path: Path) -> None:
    run = make_run(tmp_path, dies="b1")
    with pytest.raises(Exception, match="worker process died"):
        run.run(plugin=ImageByImage(plugin_args={"n_procs": 1}), plugin_args={"n_procs": 1})
    assert (tmp_path / "log").read_text().split() == ["a1", "a2", "c1", "c2"]
    (crash,) = read_crashes(tmp_path)
    assert crash.image == "b" and crash.message.startswith("A worker process died, probably for want of memory")
