"""Advice for people who run the app in a container, where folders are only there when they are bound."""

from __future__ import annotations

import os
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")


def in_container() -> bool:
    """Whether this process runs in a container: of the app's own image, or any of Apptainer's."""
    return any(os.environ.get(name) for name in ("BIDS_REFACER_DOCKER_TAG", "APPTAINER_CONTAINER"))


def bind_advice(path: Path, mode: str = "") -> str:
    """How to bind a folder; `mode` is ``:ro`` for one that is only read. Empty outside containers."""
    if not in_container():
        return ""
    return (
        f" In a container, only bound folders are there: add -v YOUR_FOLDER:{path}{mode} (docker, podman) or "
        f"--bind YOUR_FOLDER:{path}{mode} (apptainer)."
    )


def owner_advice() -> str:
    """How to be allowed to write into a bound folder. Empty outside containers."""
    if not in_container():
        return ""
    return (
        ' In a container, be the owner of the folder: add --user "$(id -u):$(id -g)" (docker, podman), or bind one of '
        "your own (apptainer); and bind it without :ro."
    )


def lost_with_container(folder: Path) -> bool:
    """Whether a folder is inside the container and not bound, so that its files are lost when the container ends."""
    if not in_container():
        return False
    try:
        mounts = [line.split(" ")[4] for line in _MOUNTS.read_text(encoding="utf-8").splitlines()]
    except (OSError, IndexError):
        return False
    place = folder.resolve()
    bound = [Path(mount.replace("\\040", " ")) for mount in mounts if mount != "/"]
    return not any(place.is_relative_to(mount) for mount in bound)
