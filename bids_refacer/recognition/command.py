"""Describe heads as face-recognition programs see them: the child command that the workflow calls.

`python -m bids_refacer.recognition.command JOB.json OUT_DIR` writes, for each image of the job, its descriptors into
OUT_DIR, and OUT_DIR/recognition.json with the rows of the table. Descriptors are biometric data.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from bids_refacer.diffusion.device import choose_device
from bids_refacer.recognition.descriptors import (
    LIGHTS,
    Descriptors,
    read_descriptors,
    write_descriptors,
)
from bids_refacer.recognition.heads import head_level, head_surface
from bids_refacer.recognition.job import Job, Picture, read_job
from bids_refacer.recognition.own import OwnRecogniser
from bids_refacer.recognition.portraits import describe_head, figures
from bids_refacer.recognition.recognisers import Dlib, Recogniser, SFace
from bids_refacer.recognition.render import Surface
from bids_refacer.surfaces.skin import SkinError
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.nifti import read_scan

LEVEL = "level.npy"  # in the folder of an original: intensity of its skin


Row = dict[str, str | int | float | None]
"""A row of the table, without the columns that name image and tool."""


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code. Errors are one sentence on standard error."""
    parser = argparse.ArgumentParser(prog="python -m bids_refacer.recognition.command", description=__doc__)
    parser.add_argument("job", type=Path, help="JSON: what to describe")
    parser.add_argument("out_dir", type=Path, help="folder for the descriptors; they are biometric data")
    options = parser.parse_args(argv)
    started = time.monotonic()
    try:
        rows = describe(read_job(options.job), options.out_dir)
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        print(str(error) or "there is no memory left", file=sys.stderr)
        return 1
    content = {"Rows": rows, "RunTime": round(time.monotonic() - started, 1)}
    (options.out_dir / "recognition.json").write_text(json.dumps(content, allow_nan=False))
    return 0


def describe(job: Job, folder: Path) -> list[Row]:
    """Describe every image of a job and write its descriptors; rows of the table."""
    torch.set_num_threads(job.threads)
    device = choose_device(job.gpu)
    recognisers: list[Recogniser] = [Dlib(device), SFace(device)]
    recognisers += [OwnRecogniser(name=name, command=command) for name, command in job.own.items()]
    folder.mkdir(parents=True, exist_ok=True)
    alignment = Alignment.from_json(Path(job.alignment))
    if job.described is None:
        (picture,) = job.images
        image = read_scan(picture.path).volume
        level = head_level(image, alignment)
        np.save(folder / LEVEL, level)
        found = describe_head(head_surface(image, alignment, level), LIGHTS["original"], job.views, recognisers)
        return _write(picture, found, found, folder)
    level = np.load(Path(job.described).with_name(LEVEL))
    own = read_descriptors(Path(job.described), [one.name for one in recognisers])
    rows = []
    for picture in job.images:
        try:
            surface = head_surface(read_scan(picture.path).volume, alignment, level)
        except SkinError:
            surface = None
        rows += _write(picture, _other(surface, own, recognisers), own, folder)
    return rows


def _other(surface: Surface | None, own: Descriptors, recognisers: Sequence[Recogniser]) -> dict[str, np.ndarray]:
    """The descriptors of what was made of an original; where a tool left no skin at all, no view has a face."""
    views = next(iter(own.values())).shape[1]
    if surface is not None:
        return describe_head(surface, LIGHTS["other"], views, recognisers)
    return {name: np.full((1, *values.shape[1:]), np.nan, dtype=np.float32) for name, values in own.items()}


def _write(picture: Picture, found: Descriptors, own: Descriptors, folder: Path) -> list[Row]:
    """Write the descriptors of an image; its rows: what was seen under the other light, against the original."""
    write_descriptors(folder / picture.name, found)
    rows: list[Row] = []
    for name, values in found.items():
        about: Row = {"image_type": picture.image_type, "sample": picture.sample, "recogniser": name}
        rows += [{**about, **figure} for figure in figures(values[-1], own[name][0])]
    return rows


if __name__ == "__main__":
    sys.exit(main())
