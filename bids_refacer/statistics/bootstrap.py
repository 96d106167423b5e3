"""Bootstrap over participants for many columns at once: numbers in, numbers out."""

from collections.abc import Iterator

import numpy as np

BLOCK_BYTES = 64_000_000  # of drawn counts held at a time: memory does not grow with the number of participants


def draw_counts(size: int, seed: int, resamples: int) -> Iterator[np.ndarray]:
    """How often each participant is drawn, resample by resample.

    Parameters
    ----------
    size : number of participants, at least 1
    seed : the same seed and size give the same draws
    resamples : number of resamples of `size` draws with replacement

    Yields
    ------
    (r, size) float64, blocks of resamples, one after the other
    """
    rng = np.random.default_rng(seed)
    block = max(1, min(resamples, BLOCK_BYTES // (16 * size)))
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = rng.integers(0, size, (rows, size))
        drawn += np.arange(rows)[:, None] * size
        yield np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size).astype(np.float64)


def bootstrap_means(
    values: np.ndarray, seed: int, resamples: int = 10_000, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval of the mean of each column; participants are drawn as wholes, the same for all columns.

    A participant without a value in a column is drawn like any other and adds nothing to that column's mean, so that
    the interval also holds the uncertainty of how many have a value.

    Parameters
    ----------
    values : (n, c) float, one row for each participant; NaN where a value is missing
    seed : int
    resamples, confidence : of the bootstrap (Efron and Tibshirani 1993, chapter 13)

    Returns
    -------
    low, high : (c,) float64, in the units of the values; NaN for a column with fewer than two values
    """
    known = ~np.isnan(values)
    filled = np.where(known, values, 0.0)
    drawn = []
    for counts in draw_counts(len(values), seed, resamples):
        with np.errstate(invalid="ignore", divide="ignore"):
            drawn.append((counts @ filled) / (counts @ known))
    low, high = percentile_interval(np.concatenate(drawn), confidence)
    enough = known.sum(axis=0) > 1
    return np.where(enough, low, np.nan), np.where(enough, high, np.nan)


def percentile_interval(drawn: np.ndarray, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper percentile along the first axis, over the resamples that have a value; NaN where none has."""
    levels = [(1 - confidence) / 2, (1 + confidence) / 2]
    if not np.isnan(drawn).any():
        low, high = np.quantile(drawn, levels, axis=0)
        return low, high
    some = ~np.isnan(drawn).all(axis=0)
    bounds = np.full((2, *drawn.shape[1:]), np.nan)
    bounds[:, some] = np.nanquantile(drawn[:, some], levels, axis=0)
    return bounds[0], bounds[1]
