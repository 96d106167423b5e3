"""What is to be described, as a file that the child command reads (`recognition.command`)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image to describe: its type, sample and file, and the name of the file for its descriptors."""

    image_type: str
    sample: int | None
    name: str
    path: str


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to describe.

    Attributes
    ----------
    images : of `Picture`: the original alone, or what was made of it
    alignment : of the original
    described : file with the original's descriptors; None where the original is described
    views : number of cameras
    own : name -> command of the user's recognisers
    gpu, threads : as `cli.reface` takes them
    """

    images: Sequence[Picture]
    alignment: str
    described: str | None
    views: int
    own: Mapping[str, str]
    gpu: str
    threads: int


def write_job(path: Path, job: Job) -> None:
    """Write a job as JSON."""
    path.write_text(json.dumps(asdict(job)))


def read_job(path: Path) -> Job:
    """Read what `write_job` wrote."""
    content = json.loads(path.read_text())
    return Job(**{**content, "images": [Picture(**one) for one in content["images"]]})
