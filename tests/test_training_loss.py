"""Random numbers of a step: the same for whoever draws them, different for everything else."""

from __future__ import annotations

from itertools import product

import torch

from bids_refacer.training.loss import normal_noise, stratified

SHAPE = torch.Size((1, 1, 4, 4, 4))


def test_there_is_one_noise_level_in_each_stratum() -> None:
    for step in range(20):
        assert (stratified(3, step, 5) * 5).int().tolist() == [0, 1, 2, 3, 4]


def test_the_same_place_draws_the_same_numbers_whatever_was_drawn_before() -> None:
    first = normal_noise(1, 2, 3, SHAPE), stratified(1, 2, 4)
    torch.rand(7)
    assert torch.equal(normal_noise(1, 2, 3, SHAPE), first[0]) and torch.equal(stratified(1, 2, 4), first[1])


def test_no_two_places_steps_or_seeds_share_their_noise() -> None:
    places = product(range(4), repeat=3)
    drawn = [tuple(normal_noise(*place, SHAPE).flatten()[:3].tolist()) for place in places]
    assert len(set(drawn)) == 64


def test_noise_levels_are_not_the_numbers_that_make_the_noise() -> None:
    """The generators of levels and of noise must start differently, at the first place too."""
    from bids_refacer.training.loss import _generator

    firsts = {_generator(0, 0, stream).initial_seed() for stream in range(50)}
    assert len(firsts) == 50
    levels = stratified(0, 0, 1)
    for place in range(3):
        generator = _generator(0, 0, 1 + place)
        assert torch.rand(1, generator=generator).item() != levels.item()


def test_noise_is_standard_normal() -> None:
    noise = torch.cat([normal_noise(0, step, 0, SHAPE).flatten() for step in range(300)])
    assert abs(noise.mean().item()) < 0.03 and abs(noise.std().item() - 1) < 0.03
