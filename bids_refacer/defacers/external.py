"""Programs that deface: their input written, the command run, what they wrote brought back."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bids_refacer import processes
from bids_refacer.defacers.bring_back import read_output, removed_by, replaced_by
from bids_refacer.defacers.qc import defacing_qc
from bids_refacer.defacers.run_program import run_program
from bids_refacer.defacers.tool import DefacerError, DefaceResult, remove
from bids_refacer.volumes.nifti import Scan, to_stored, write_volume

_PROBE_S = 20


@dataclass(frozen=True, kw_only=True)
class Program:
    """How a program is called, in a folder of its own that holds its input alone.

    ``command`` is the whole command line, names of files relative to the folder; ``shown`` is what sidecars say of it,
    without paths of this machine; ``outputs`` are patterns of the name of its image, the first that matches counts;
    ``mask`` is the name of the mask that it writes; ``source`` is the name of its input, which is
    float32 with ``floats`` (for programs that mark voxels with NaN).
    """

    name: str
    action: Literal["removes", "replaces"]
    command: list[str]
    shown: str
    outputs: tuple[str, ...]
    mask: str | None = None
    source: str = "source.nii.gz"
    floats: bool = False
    prepare: Callable[[Path], None] | None = None
    environ: Mapping[str, str] = field(default_factory=dict)


def run_external(
    program: Program, scan: Scan, brain_mask: np.ndarray, work_dir: Path, details: Mapping[str, Any]
) -> DefaceResult:
    """Run a program on a scan; see ``Defacer.run``. ``details`` are Version, Options and the like."""
    folder = work_dir / "program"
    folder.mkdir()
    write_source(scan, folder / program.source, floats=program.floats)
    if program.prepare:
        program.prepare(folder)
    given = set(folder.iterdir())
    run_program(program.command, work_dir=folder, image=scan.path, environ=program.environ)
    output, quirks = read_output(scan, _found(folder, program, given, scan.path), program.name)
    said: dict[str, Any] = {"Tool": program.name, "Command": program.shown, **details}
    if program.action == "replaces":
        region, altered = replaced_by(scan, output, program.name)
        said["QualityControl"] = defacing_qc(scan.values, scan.affine, region, brain_mask)
        painted = np.where(region, to_stored(scan, np.nan_to_num(output)), scan.stored)
        result = DefaceResult(stored=painted.astype(scan.stored.dtype), removed=region, details=said)
    else:
        mask = None
        if program.mask and (folder / program.mask).is_file():
            mask = read_output(scan, folder / program.mask, program.name)[0]
        region, altered = removed_by(scan, output, mask)
        result = remove(scan, region, brain_mask, said)
    result.details["Quirks"] = quirks + altered
    return result


def write_source(scan: Scan, path: Path, *, floats: bool = False) -> None:
    """The input of a program: plain 3-D, int16 where the scan is, float32 otherwise; programs stumble over the rest."""
    short = scan.stored.dtype.kind == "i" and scan.stored.dtype.itemsize == 2
    plain = short and (scan.slope, scan.inter) == (1, 0) and not floats
    values = scan.stored if plain else scan.values
    write_volume(path, values, scan.affine, np.int16 if plain else np.float32)


def missing_program(executable: str, tool: str, get: str) -> str | None:
    """None if a program is on the path, else a sentence saying how to get it for ``tool``."""
    if shutil.which(executable):
        return None
    return f"The tool {tool} needs the program {executable}, which is not on the path: {get}."


def probe(command: list[str], pattern: str) -> str:
    """Version that a program prints, "unknown" when it cannot be told."""
    try:
        done = processes.run(command, limit_s=_PROBE_S)
    except (OSError, processes.TimeLimitError):
        return "unknown"
    found = re.search(pattern, done.output + done.errors)
    return found[1] if found else "unknown"


def written_version(path: Path | None, pattern: str) -> str:
    """Version that a file of the installation names, "unknown" when it cannot be told."""
    if path is None or not path.is_file():
        return "unknown"
    found = re.search(pattern, path.read_text(errors="replace"))
    return found[1] if found else "unknown"


def _found(folder: Path, program: Program, given: set[Path], image: Path) -> Path:
    """The program's image; where it wrote nothing, the name it should have, so that the error can say so."""
    for pattern in program.outputs:
        if files := [path for path in sorted(folder.glob(pattern)) if path not in given]:
            return files[0]
    if unexpected := sorted(path.name for path in set(folder.iterdir()) - given):
        raise DefacerError(
            f"{image}: {program.name} wrote {', '.join(unexpected[:5])} but not {program.outputs[0]}; "
            f"check its version, or leave the tool out."
        )
    return folder / program.outputs[0]
