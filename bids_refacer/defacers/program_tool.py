"""Tools that are programs: their input is written, the command is run, and their image is brought back to the input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from bids_refacer.defacers.changed_region import removed_region, replaced_region
from bids_refacer.defacers.output_grid import read_output
from bids_refacer.defacers.published_mask import with_published_mask
from bids_refacer.defacers.run_program import run_program
from bids_refacer.defacers.tool import DefacerError, DefaceResult, replace_region, zero_region
from bids_refacer.volumes.grid import Volume
from bids_refacer.volumes.nifti import write_volume
from bids_refacer.volumes.scan import Scan


@dataclass(frozen=True, kw_only=True)
class Program:
    """How a program is called, in a folder of its own that holds its input alone.

    ``command`` is the whole command line, names of files relative to the folder; ``sidecar_command`` is the same for
    sidecars, without paths of this machine; ``output_patterns`` are patterns of the name of its image, of which the
    first that matches counts; ``mask_file`` is the name of the mask that it writes. Its input is called ``input_file``,
    and is float32 with ``float_input`` (for programs that mark voxels with NaN). ``prepare`` writes other files into
    the folder; ``environ`` has variables beside those of this process.
    """

    name: str
    action: Literal["removes", "replaces"]
    command: list[str]
    sidecar_command: str
    output_patterns: tuple[str, ...]
    mask_file: str | None = None
    input_file: str = "source.nii.gz"
    float_input: bool = False
    prepare: Callable[[Path], object] | None = None
    environ: Mapping[str, str] = field(default_factory=dict)


def deface_with_program(
    program: Program, scan: Scan, brain_mask: np.ndarray, work_dir: Path, details: Mapping[str, object]
) -> DefaceResult:
    """Run a program on a scan; see ``Defacer.run``.

    Parameters
    ----------
    program : how it is called
    scan : the original
    brain_mask : (i, j, k) bool
    work_dir : an empty folder
    details : Version, Options and the like, for the sidecar

    Raises
    ------
    DefacerError
        When the program fails, or what it wrote cannot be compared with the original.
    """
    folder = work_dir / "program"
    folder.mkdir()
    _write_input(scan, folder / program.input_file, floats=program.float_input)
    if program.prepare:
        program.prepare(folder)
    given = set(folder.iterdir())
    run_program(program.command, work_dir=folder, image=scan.path, environ=program.environ)
    output, quirks = read_output(scan, _output_file(folder, program, given, scan.path), program.name)
    details = {"Tool": program.name, "Command": program.sidecar_command, **details}
    if program.action == "replaces":
        region, altered = replaced_region(scan, output, program.name)
        result = replace_region(scan, region, np.nan_to_num(output), brain_mask, details)
    else:
        region, altered = removed_region(scan, output, _read_mask(scan, folder, program))
        result = zero_region(scan, region, brain_mask, details)
    result = replace(result, details={**result.details, "Quirks": quirks + altered})
    return with_published_mask(scan, result, replaces=program.action == "replaces")


def _write_input(scan: Scan, path: Path, *, floats: bool) -> None:
    """The input of a program: plain 3-D, int16 where the scan is, float32 otherwise; programs stumble over the rest.

    Where the air of the scan is not zero, the program gets intensities above it: programs take zero for air.
    """
    short = scan.stored.dtype.kind == "i" and scan.stored.dtype.itemsize == 2
    plain = short and (scan.slope, scan.inter) == (1, 0) and not floats and scan.air.level == 0
    values = scan.stored if plain else scan.values
    write_volume(path, Volume(values, scan.affine), np.int16 if plain else np.float32)


def _read_mask(scan: Scan, folder: Path, program: Program) -> np.ndarray | None:
    """The mask that a program wrote, on the grid of its input; None where it writes or wrote none."""
    if program.mask_file is None or not (folder / program.mask_file).is_file():
        return None
    return read_output(scan, folder / program.mask_file, program.name)[0]


def _output_file(folder: Path, program: Program, given: set[Path], image: Path) -> Path:
    """The program's image; where it wrote nothing, the name it should have, so that the error can say so."""
    for pattern in program.output_patterns:
        if files := [path for path in sorted(folder.glob(pattern)) if path not in given]:
            return files[0]
    if unexpected := sorted(path.name for path in set(folder.iterdir()) - given):
        raise DefacerError(
            f"{image}: {program.name} wrote {', '.join(unexpected[:5])} but not {program.output_patterns[0]}; "
            f"check its version, or leave the tool out."
        )
    return folder / program.output_patterns[0]
