"""How often people would be found in a crowd of any size, from how they fare in a small one. Numbers in, numbers out.

Of each probe it is known how many strangers of a gallery lie nearer than its own member. With `p` the chance that one
more stranger does, the probe is the first among `n` people with the chance (1 - p)^(n - 1), and among the first five as
a binomial distribution says. Up to the gallery's own size, rates are measured by taking smaller galleries out of it.
Beyond, they are extrapolated: `p` differs between probes as a beta distribution says (Skellam 1948,
jstor.org/stable/2983779), or as the binormal model of ROC curves does (Dorfman and Alf 1969,
doi:10.1016/0022-2496(69)90019-4: the normal quantile of `p` is normal). Both have two parameters; all values of
these on a grid are weighed by how well they explain the counts, and the intervals hold what is left open.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import special

SIZES = tuple(10**power for power in range(1, 8))
"""Crowds that are told: 10 to 10 million."""
RANKS = (1, 5)
_DRAWS = 2000
_MOST_COUNTS = 150  # different counts that are looked at; more are gathered into as many groups
_CONFIDENCE = 0.95
_TEMPER = 0.5  # of the likelihood, as neither kind of distribution is the true one (docs/recognition.md: coverage)
_GRAIN = 1000  # bounds are rounded outward to a tenth of a percent


@dataclass(frozen=True)
class Crowd:
    """Rates at each size.

    Attributes
    ----------
    sizes : (s,) int, people in the gallery
    is_measured : (s,) bool, whether rates come from galleries of that size, and are no extrapolation
    rates, low, high : (s, len(RANKS)) float64, share of participants who are among the first, and its 95 % interval
    """

    sizes: np.ndarray
    is_measured: np.ndarray
    rates: np.ndarray
    low: np.ndarray
    high: np.ndarray


def crowd(nearer: np.ndarray, strangers: int, participants: np.ndarray, sizes: np.ndarray, seed: int) -> Crowd:
    """Rates in crowds of several sizes.

    Parameters
    ----------
    nearer : (p,) float, strangers that lie nearer to each probe than its own member, ties counted half; NaN for a probe
        that cannot be compared at all, as no face was found in it: nobody finds it in any crowd
    strangers : members of the gallery that each probe was compared with, but its own; at least 1
    participants : (p,) of any kind, who each probe is; a participant counts once
    sizes : (s,) int, 2 or more
    seed : of the draws from what is left open
    """
    sizes = np.asarray(sizes, dtype=np.int64)
    _, who = np.unique(participants, return_inverse=True)
    shares = (1.0 / np.bincount(who))[who]
    lost = np.isnan(nearer)
    gone, people = float(shares[lost].sum()), float(shares.sum())
    rng = np.random.default_rng(seed)
    found = rng.beta(0.5 + people - gone, 0.5 + gone, _DRAWS) if gone else np.ones(_DRAWS)
    counts, weights = _gathered(np.asarray(nearer, dtype=np.float64)[~lost], shares[~lost], strangers)
    drawn = found[:, None, None] * _draw(counts, weights, strangers, sizes, rng)
    tail = (1 - _CONFIDENCE) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0)
    rates, is_measured = drawn.mean(axis=0), sizes <= strangers + 1
    for place in np.flatnonzero(is_measured):
        rates[place] = weights @ _subsampled(counts, strangers, int(sizes[place])) / people
    if not gone and not counts.any():  # everyone was found: how large a crowd could hide them is not known
        high[:] = 1.0
    low, high = np.minimum(low, rates), np.maximum(high, rates)
    return Crowd(sizes, is_measured, rates, np.floor(low * _GRAIN) / _GRAIN, np.ceil(high * _GRAIN) / _GRAIN)


def _gathered(nearer: np.ndarray, shares: np.ndarray, strangers: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts and the participants that have them; near ones are taken together where there are very many."""
    steps = np.log1p(nearer)
    if len(np.unique(nearer)) > _MOST_COUNTS:
        width = np.log1p(strangers) / _MOST_COUNTS
        steps = np.round(steps / width) * width
    values, which = np.unique(steps, return_inverse=True)
    return np.expm1(values), np.bincount(which, shares, minlength=len(values))


def _subsampled(counts: np.ndarray, strangers: int, size: int) -> np.ndarray:
    """Chance of each probe to be among the first in a gallery of `size` taken out of this one: (counts, ranks)."""
    others = size - 1
    nearer = np.clip(np.rint(counts), 0, strangers)
    chances = [
        special.comb(nearer, number)
        * special.comb(strangers - nearer, others - number)
        / special.comb(strangers, others)
        if strangers < _EXACT
        else _binomial(nearer / strangers, others, number)
        for number in range(max(RANKS))
    ]
    return np.stack([np.sum(chances[:rank], axis=0) for rank in RANKS], axis=-1)


_EXACT = 500  # strangers; binomial coefficients of more overflow, and taking out is then as good as drawing anew


def _binomial(p: np.ndarray, n: np.ndarray | int, number: int) -> np.ndarray:
    """Chance that `number` of `n` strangers lie nearer."""
    with np.errstate(divide="ignore", invalid="ignore"):
        log = (
            special.gammaln(np.add(n, 1)) - special.gammaln(np.subtract(n, number - 1.0)) - special.gammaln(number + 1)
        )
        log = log + special.xlogy(number, p) + special.xlog1py(np.subtract(n, number), -p)
    return np.asarray(np.where(np.less(n, number), 0.0, np.exp(log)))


def _draw(
    counts: np.ndarray, weights: np.ndarray, strangers: int, sizes: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Rates of distributions that explain the counts, drawn by how well they do: (_DRAWS, sizes, ranks)."""
    if not len(counts):
        return np.zeros((_DRAWS, len(sizes), len(RANKS)))
    models = _beta_models(), _binormal_models()
    fits = np.concatenate([_fit(*model, counts, weights, strangers) for model in models])
    chance = np.exp(_TEMPER * (fits - fits.max()))
    # equal chances a priori for both kinds, whose grids have different numbers of points
    prior = np.concatenate([np.full(len(model[0]), 1 / len(model[0])) for model in models])
    chance *= prior
    drawn = rng.choice(len(chance), size=_DRAWS, p=chance / chance.sum())
    rates, first = np.empty((_DRAWS, len(sizes), len(RANKS))), 0
    for chances, shares in models:
        own = (drawn >= first) & (drawn < first + len(chances))
        used, which = np.unique(drawn[own] - first, return_inverse=True)
        rates[own] = _rates(chances[used], shares[used], sizes)[which]
        first += len(chances)
    return rates


def _fit(
    chances: np.ndarray, shares: np.ndarray, counts: np.ndarray, weights: np.ndarray, strangers: int
) -> np.ndarray:
    """Log likelihood of the counts under each distribution: (models,)."""
    log_p, log_q = np.log(np.maximum(chances, 1e-300)), np.log1p(-np.minimum(chances, 1 - 1e-15))
    total = np.zeros(len(chances))
    for count, weight in zip(counts, weights, strict=True):
        likelihood = np.exp(count * log_p + (strangers - count) * log_q + _log_choose(strangers, count))
        total += weight * np.log(np.maximum((likelihood * shares).sum(axis=1), 1e-300))
    return total


def _log_choose(n: float, k: float) -> float:
    return float(special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1))


def _rates(chances: np.ndarray, shares: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Rates under each distribution, given by points and their shares: (models, sizes, ranks)."""
    rates = np.empty((len(chances), len(sizes), len(RANKS)))
    for place, size in enumerate(sizes):
        terms = [_binomial(chances, int(size) - 1, number) for number in range(max(RANKS))]
        for column, rank in enumerate(RANKS):
            rates[:, place, column] = (np.sum(terms[:rank], axis=0) * shares).sum(axis=1)
    return rates


Models = tuple[np.ndarray, np.ndarray]
"""Distributions of `p` as points and shares that sum to 1: (models, points) float64 each."""

_QUANTILES = 48


@lru_cache(maxsize=1)
def _binormal_models() -> Models:
    """The normal quantile of `p` is normal: means and spreads on a grid."""
    nodes, shares = special.roots_hermitenorm(_QUANTILES)
    means, spreads = (part.ravel() for part in np.meshgrid(np.linspace(-7, 3, 41), np.geomspace(0.1, 4, 25)))
    chances = special.ndtr(means[:, None] + spreads[:, None] * nodes)
    return chances, np.broadcast_to(shares / shares.sum(), chances.shape)


@lru_cache(maxsize=1)
def _beta_models() -> Models:
    """Beta distributions: means and sums of both parameters on a grid."""
    means, totals = (
        part.ravel() for part in np.meshgrid(special.expit(np.linspace(-12, 3, 41)), np.geomspace(0.1, 100, 25))
    )
    a, b = (means * totals)[:, None], ((1 - means) * totals)[:, None]
    # points between 0 and 1, dense at both ends; the share of each is the distribution's between its borders
    borders = np.concatenate([[0.0], special.expit(np.linspace(-30, 6, 2 * _QUANTILES)), [1.0]])
    shares = np.diff(special.betainc(a, b, borders), axis=1)
    inner = special.expit(np.linspace(-30, 6, 2 * _QUANTILES))
    points = np.concatenate([[inner[0] / 2], np.sqrt(inner[1:] * inner[:-1]), [(1 + inner[-1]) / 2]])
    return np.broadcast_to(points, shares.shape), shares
