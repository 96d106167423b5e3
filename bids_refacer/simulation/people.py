"""Who the synthetic participants are: age, sex, scores of the head model, muscle, radiodensity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bids_refacer.simulation.model import HeadModel

AGES = (20.0, 80.0)
"""Years; drawn evenly. The model was made from adults of 20 to 86 years."""

SITES = ("abdomen", "thigh", "shin")
RADIODENSITY_HU = {"abdomen": (42.0, 9.0), "thigh": (52.0, 6.0), "shin": (56.0, 6.0)}
"""Mean and standard deviation at age 50, about what CT finds in adults. Chosen, not estimated from data."""
HU_PER_YEAR, HU_OF_MALES = -0.25, 3.0
SHARED = 0.5
"""Share of the variance that the face does not know that all sites have in common."""


@dataclass(frozen=True)
class Person:
    """A synthetic participant.

    Attributes
    ----------
    age : years
    male : bool
    scores : (m,) float64, weights of the modes of the head model
    muscle : density of the facial muscles, standard normal, independent of age and sex
    radiodensity : site -> HU
    """

    age: float
    male: bool
    scores: np.ndarray
    muscle: float
    radiodensity: dict[str, float]


def draw_person(model: HeadModel, rho: float, rng: np.random.Generator) -> Person:
    """A random person, whose radiodensity beyond age and sex correlates `rho` (Pearson, -1..1) with facial muscle."""
    age, male = float(np.round(rng.uniform(*AGES), 1)), bool(rng.random() < 0.5)
    covariates = (np.array([age, float(male)]) - model.covariate_mean) / model.covariate_std
    scores = model.slopes @ covariates + model.covariance_root @ rng.standard_normal(model.modes)
    muscle = float(rng.standard_normal())
    shared, own = rng.standard_normal(), rng.standard_normal(len(SITES))
    rest = np.sqrt(SHARED) * shared + np.sqrt(1 - SHARED) * own
    radiodensity = {}
    for site, other in zip(SITES, rest, strict=True):
        mean, spread = RADIODENSITY_HU[site]
        beyond = rho * muscle + np.sqrt(1 - rho**2) * other
        radiodensity[site] = float(mean + HU_PER_YEAR * (age - 50) + HU_OF_MALES * male + spread * beyond)
    return Person(age, male, scores, muscle, radiodensity)
