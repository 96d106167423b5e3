"""Carry out `bids_refacer simulate`: everything is written beside OUT, which then appears whole."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from bids_refacer import __version__
from bids_refacer.dataset.seeds import seed_for
from bids_refacer.dataset.simulated import ParticipantRow, SimulatedNames, TruthRow, write_simulated_dataset
from bids_refacer.files import new_folder_problem, write_json
from bids_refacer.settings import SimulateSettings
from bids_refacer.simulation.acquisition import Protocol, acquire, true_brain
from bids_refacer.simulation.anatomy import true_skin
from bids_refacer.simulation.model import HeadModel, head_model
from bids_refacer.simulation.participants import Participant, draw_participant
from bids_refacer.simulation.people import Person
from bids_refacer.surfaces.gifti import write_surface
from bids_refacer.volumes.grid import Volume
from bids_refacer.volumes.nifti import write_volume
from bids_refacer.wording import counted


def run(settings: SimulateSettings) -> int:
    """Make the dataset; returns the exit code. A run that is stopped leaves OUT as it was."""
    out = settings.out
    unfinished: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
        unfinished.chmod(0o755)  # mkdtemp's 0700 would stay
        _write(settings, unfinished)
        problem = new_folder_problem(out)  # again: it may have been filled meanwhile
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
    print(
        f"{counted(settings.participants, 'synthetic head')} in {out}; what is true of each is in its sourcedata/truth."
    )
    return 0


def _write(settings: SimulateSettings, root: Path) -> None:
    model, width = head_model(), max(3, len(str(settings.participants)))
    participants: list[ParticipantRow] = []
    truth: list[TruthRow] = []
    for number in range(1, settings.participants + 1):
        began = time.perf_counter()
        label = f"{number:0{width}}"
        participant = participant_of(settings, model, number)
        _write_participant(participant, model, SimulatedNames(root, label), settings.contrasts)
        participants.append(_row(label, participant.person))
        truth.append(TruthRow(participant_id=f"sub-{label}", muscle_density=participant.person.muscle))
        print(f"sub-{label} of {settings.participants}: {time.perf_counter() - began:.1f} s", flush=True)
    stated = {"Version": __version__} | {name: value for name, value in asdict(settings).items() if name != "out"}
    write_simulated_dataset(root, participants, truth, settings.contrasts, stated)


def _row(label: str, person: Person) -> ParticipantRow:
    measured = {f"muscle_radiodensity_{site}": round(hu, 2) for site, hu in person.radiodensity.items()}
    return ParticipantRow(participant_id=f"sub-{label}", age=person.age, sex="M" if person.male else "F", **measured)


def participant_of(settings: SimulateSettings, model: HeadModel, number: int) -> Participant:
    """Participant `number`, 1 or more, the same for any number of participants."""
    rng = np.random.default_rng(seed_for(settings.seed, "participant", "simulate", number))
    protocol = Protocol(settings.resolution_mm, settings.field_of_view_mm, settings.noise, settings.bias)
    return draw_participant(model, protocol, settings.rho, settings.muscle_effect, rng)


def _write_participant(
    participant: Participant, model: HeadModel, names: SimulatedNames, contrasts: tuple[str, ...]
) -> None:
    """One head in some contrasts, and its truth."""
    person, anatomy, session = participant.person, participant.anatomy, participant.session
    for contrast in contrasts:
        path = names.image(contrast)
        path.parent.mkdir(parents=True, exist_ok=True)
        image = acquire(model, anatomy, session, participant.protocol, contrast, participant.image_rngs[contrast])
        write_volume(path, Volume(image, session.grid.affine), "int16")
    names.truth("").mkdir(parents=True)
    skin = true_skin(model, anatomy)
    write_surface(names.truth("skin.surf.gii"), skin.apply_transform(np.linalg.inv(session.to_canonical)))
    write_volume(names.truth("brain.nii.gz"), Volume(true_brain(model, anatomy, session), session.grid.affine), bool)
    head = {
        "Scores": [round(float(score), 4) for score in person.scores],
        "MuscleDensity": person.muscle,
        "NativeToCanonical": session.to_canonical.tolist(),
    }
    write_json(names.truth("head.json"), head)
