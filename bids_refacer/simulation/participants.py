"""A synthetic participant before any image is made: who it is, its anatomy, and how it lies in the scanner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bids_refacer.simulation.acquisition import Protocol, Session, draw_session
from bids_refacer.simulation.anatomy import Anatomy, anatomy_of
from bids_refacer.simulation.contrast import CONTRASTS
from bids_refacer.simulation.model import HeadModel
from bids_refacer.simulation.people import Person, draw_person


@dataclass(frozen=True)
class Participant:
    """A participant before any image is made.

    Attributes
    ----------
    person, anatomy, session, protocol : who, with which head, how it lies in the scanner, how it is imaged
    image_rngs : contrast -> generator of the noise and the bias field of that image
    """

    person: Person
    anatomy: Anatomy
    session: Session
    protocol: Protocol
    image_rngs: dict[str, np.random.Generator]


def draw_participant(
    model: HeadModel, protocol: Protocol, rho: float, muscle_effect: float, rng: np.random.Generator
) -> Participant:
    """A random participant. Who it is does not depend on contrasts, noise or voxels.

    Parameters
    ----------
    rho : correlation of radiodensity with facial muscle, see `draw_person`
    muscle_effect : how strongly muscle density shows in the face, see `anatomy_of`
    """
    person_rng, texture_rng, pose_rng, *image_rngs = rng.spawn(3 + len(CONTRASTS))
    person = draw_person(model, rho, person_rng)
    anatomy = anatomy_of(model, person, texture_rng, muscle_effect)
    session = draw_session(protocol, pose_rng)
    return Participant(person, anatomy, session, protocol, dict(zip(CONTRASTS, image_rngs, strict=True)))
