"""Whether recovered faces are those of training participants: `python -m benchmarks.memorisation OUT [options]`.

OUT is the folder of a training (`bids_refacer train`). The face of every held-out head is removed and recovered; the
recovered face is then compared with the true faces of all training heads and of the other held-out heads. A model that
gives a training participant's face away recovers faces that are nearer to those of training than to the others.

Distance of a recovered face from a person: mean |distance to the recovered skin| over the person's true skin in the
removed region, canonical frame, mm. Printed for the true face itself (how near people are to each other), the linear
estimate and a sample: the mean distance to training and to held-out people; the chance that a training person is the
nearer of two (0.5: no difference); the nearest training person, and the nearest of as many training people as there are
held-out ones (mean over draws) beside the nearest held-out person. The test is a permutation of who was trained on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from bids_refacer.refacing.sampling import SampleSeed, SamplingSettings
from bids_refacer.refacing.weights import load_model
from bids_refacer.surfaces.distances import signed_distances
from bids_refacer.training.data.cache import listed_heads
from bids_refacer.training.data.heads import head_file, load_head
from bids_refacer.training.data.selection import TRAIN, VAL
from bids_refacer.training.face_distance import (
    REGIONS,
    drawn_skin,
    face_points,
    face_problem,
    sampled_fields,
    true_skin,
    within,
)

_DRAWS = 2000


def report(name: str, distances: np.ndarray, trained: np.ndarray, own: np.ndarray) -> None:
    """Print one line.

    Parameters
    ----------
    distances : (held-out heads, people) mm
    trained : (people,) bool
    own : (held-out heads,) place of each among the people
    """
    rng = np.random.default_rng(0)
    others = np.ones(distances.shape, bool)
    others[np.arange(len(own)), own] = False
    held_out = ~trained & others
    pairs = [(row[trained], row[mask]) for row, mask in zip(distances, held_out, strict=True)]
    nearer = np.mean([_nearer(*pair) for pair in pairs])
    null = []
    for _ in range(_DRAWS):  # who was trained on, shuffled; every row keeps its own head out
        chosen = rng.permutation(trained)
        rows = zip(distances, others, strict=True)
        null.append(np.mean([_nearer(row[chosen & mask], row[~chosen & mask]) for row, mask in rows]))
    p_value = (1 + np.sum(np.array(null) >= nearer)) / (1 + _DRAWS)
    few = np.mean([np.mean([rng.choice(t, len(v), replace=False).min() for _ in range(200)]) for t, v in pairs])
    cells = [
        np.mean([t.mean() for t, _ in pairs]),
        np.mean([v.mean() for _, v in pairs]),
        nearer,
        p_value,
        np.mean([t.min() for t, _ in pairs]),
        few,
        np.mean([v.min() for _, v in pairs]),
    ]
    print(f"| {name} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |", flush=True)


def _nearer(one: np.ndarray, other: np.ndarray) -> float:
    """Share of pairs in which the first is the smaller."""
    return float(np.mean(one[:, None] < other[None]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--region", choices=list(REGIONS), default="template")
    parser.add_argument("--model", default="default")
    parser.add_argument("--steps", type=int, default=8)
    options = parser.parse_args()
    entries = listed_heads(options.out)
    heads = {entry.name: load_head(head_file(options.out / "cache", entry.name)) for entry in entries}
    trained = np.array([entry.split == TRAIN for entry in entries])
    skins = [within(face_points(true_skin(head).mesh), head.seen) for head in heads.values()]
    model = load_model(options.model, torch.device("cpu"))
    settings = SamplingSettings(sampler="dpmpp2m", steps=options.steps, device=torch.device("cpu"), alone=True)
    own: list[int] = []
    rows: dict[str, list] = {"the true face": [], "linear estimate": [], "sample": []}
    for place, entry in enumerate(entries):
        if entry.split != VAL:
            continue
        own.append(place)
        head = heads[entry.name]
        problem = face_problem(head, model.prior, REGIONS[options.region](head))
        faces = {"the true face": problem.skin.mesh, "linear estimate": drawn_skin(problem, problem.linear)}
        if model.stages:
            sample = sampled_fields(*model.stages[0], problem, SampleSeed(0), settings)
            faces["sample"] = drawn_skin(problem, sample)
        of_people = [within(points, problem.view.unknown) for points in skins]
        ends = np.cumsum([len(points) for points in of_people])[:-1]
        for name, face in faces.items():
            distances = np.abs(signed_distances(np.concatenate(of_people), face))
            rows[name].append([part.mean() for part in np.split(distances, ends)])
    columns = ["face", "to training people mm", "to held-out people mm", "a training person is nearer", "p"]
    columns += [f"nearest of {trained.sum()} trained mm", "nearest of as many as held out mm", "nearest held out mm"]
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for name, found in rows.items():
        if found:
            report(name, np.array(found), trained, np.array(own))


if __name__ == "__main__":
    main()
