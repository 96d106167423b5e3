"""Carry out `bids_refacer simulate`: everything is written beside OUT, which then appears whole."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bids_refacer import __version__
from bids_refacer.cli.simulate import CONTRASTS, SimulateSettings, out_problem
from bids_refacer.dataset.seeds import seed_for
from bids_refacer.dataset.simulated import SimulatedNames, write_simulated_dataset
from bids_refacer.files import write_json
from bids_refacer.simulation.acquisition import Protocol, Session, acquire, draw_session, true_brain
from bids_refacer.simulation.anatomy import Anatomy, anatomy_of, true_skin
from bids_refacer.simulation.model import HeadModel, head_model
from bids_refacer.simulation.people import Person, draw_person
from bids_refacer.surfaces.gifti import write_surface
from bids_refacer.volumes.nifti import write_volume


def run(settings: SimulateSettings) -> int:
    """Make the dataset; returns the exit code. A run that is stopped leaves OUT as it was."""
    out = settings.out
    unfinished: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
        unfinished.chmod(0o755)  # mkdtemp's 0700 would stay
        _write(settings, unfinished)
        problem = out_problem(out)  # again: it may have been filled meanwhile
        if problem is None:
            os.replace(unfinished, out)
    except OSError as error:
        problem = f"{error.filename or out} cannot be written ({error.strerror}): check permissions and space."
    finally:
        if unfinished is not None:
            shutil.rmtree(unfinished, ignore_errors=True)
    if problem:
        print(problem, file=sys.stderr)
        return 1
    print(f"{settings.participants} synthetic heads are in {out}; what is true of them is in its sourcedata/truth.")
    return 0


def _write(settings: SimulateSettings, root: Path) -> None:
    model, width = head_model(), max(3, len(str(settings.participants)))
    participants: list[dict[str, Any]] = []
    truth: list[dict[str, Any]] = []
    for number in range(1, settings.participants + 1):
        began = time.perf_counter()
        label = f"{number:0{width}}"
        person = _write_participant(settings, model, SimulatedNames(root, label), number)
        row = {"participant_id": f"sub-{label}", "age": person.age, "sex": "M" if person.male else "F"}
        measured = {f"muscle_radiodensity_{site}": round(hu, 2) for site, hu in person.radiodensity.items()}
        participants.append(row | measured)
        truth.append({"participant_id": f"sub-{label}", "muscle_density": person.muscle})
        print(f"sub-{label} of {settings.participants}: {time.perf_counter() - began:.1f} s", flush=True)
    said = {"Version": __version__} | {name: value for name, value in asdict(settings).items() if name != "out"}
    write_simulated_dataset(root, participants, truth, settings.contrasts, said)


@dataclass(frozen=True)
class Drawn:
    """A participant before any image of it is made.

    Attributes
    ----------
    of_image : contrast -> generator of its noise and bias field
    """

    person: Person
    anatomy: Anatomy
    session: Session
    protocol: Protocol
    of_image: dict[str, np.random.Generator]


def draw_participant(settings: SimulateSettings, model: HeadModel, number: int) -> Drawn:
    """Participant `number`, 1 or more. Who it is does not depend on contrasts, noise, voxels or how many there are."""
    rng = np.random.default_rng(seed_for(settings.seed, "participant", "simulate", number))
    of_person, of_texture, of_pose, *of_images = rng.spawn(3 + len(CONTRASTS))
    protocol = Protocol(settings.resolution_mm, settings.field_of_view_mm, settings.noise, settings.bias)
    person = draw_person(model, settings.rho, of_person)
    anatomy = anatomy_of(model, person, of_texture, settings.muscle_effect)
    of_image = dict(zip(CONTRASTS, of_images, strict=True))
    return Drawn(person, anatomy, draw_session(protocol, of_pose), protocol, of_image)


def _write_participant(settings: SimulateSettings, model: HeadModel, names: SimulatedNames, number: int) -> Person:
    """One head in all contrasts, and its truth."""
    drawn = draw_participant(settings, model, number)
    person, anatomy, session = drawn.person, drawn.anatomy, drawn.session
    for contrast, of_image in drawn.of_image.items():
        if contrast in settings.contrasts:
            path = names.image(contrast)
            path.parent.mkdir(parents=True, exist_ok=True)
            image = acquire(model, anatomy, session, drawn.protocol, contrast, of_image)
            write_volume(path, image, session.grid.affine, "int16")
    names.truth("").mkdir(parents=True)
    skin = true_skin(model, anatomy)
    write_surface(names.truth("skin.surf.gii"), skin.apply_transform(np.linalg.inv(session.to_canonical)))
    write_volume(names.truth("brain.nii.gz"), true_brain(model, anatomy, session), session.grid.affine, bool)
    head = {
        "Scores": [round(float(score), 4) for score in person.scores],
        "MuscleDensity": person.muscle,
        "NativeToCanonical": session.to_canonical.tolist(),
    }
    write_json(names.truth("head.json"), head)
    return person
