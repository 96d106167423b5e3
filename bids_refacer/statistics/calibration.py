"""Whether the spread of repeated guesses tells how wrong they are: numbers in, numbers out."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVELS = (0.5, 0.9)
EDGES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, np.inf)
"""Borders of the bins of predicted error, in the units of the guesses (mm): fixed, so that heads can be summed."""


@dataclass(frozen=True)
class CalibrationBins:
    """Places of similar predicted error.

    Attributes
    ----------
    weight : (b,) float64, sum of the weights of the places in each bin of `EDGES`
    predicted : (b,) float64, root mean square of the predicted error; NaN in an empty bin
    error : (b,) float64, root mean square of the real error of the mean guess
    covered : (b, len(LEVELS)) float64, share of the places whose truth lies inside the interval of each level
    """

    weight: np.ndarray
    predicted: np.ndarray
    error: np.ndarray
    covered: np.ndarray


def predicted_error(guesses: np.ndarray) -> np.ndarray:
    """Error expected of the mean of k mirrored guesses if the truth were one guess more: s * sqrt(1 + u / k^2).

    Guesses come in pairs centre + d, centre - d; of an odd number, the last is without its other side (u = 1, else 0).
    The mean of a pair is the centre: only the one without adds an error, of its own variance over k^2. Squared
    differences from the mean add up to k - u / k times the variance, which gives s^2.

    Parameters
    ----------
    guesses : (k, n) float, k >= 2 guesses at each of n places; the second mirrors the first, the fourth the third, ...

    Returns
    -------
    (n,) float64, in the units of the guesses
    """
    count, unpaired = len(guesses), len(guesses) % 2
    squares = np.var(guesses, axis=0, dtype=np.float64) * count
    return np.asarray(np.sqrt(squares / (count - unpaired / count) * (1 + unpaired / count**2)))


def inside_intervals(guesses: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Whether the truth lies inside the prediction interval of `LEVELS` around the mean guess.

    The interval is that for one more draw from a normal distribution of unknown variance: mean +- t * `predicted_error`
    (Hahn 1969, doi:10.1080/01621459.1969.10501027), with as many degrees of freedom as there are independent draws, the
    pairs and the guess without its other side. Exact for an even number of guesses.

    Parameters
    ----------
    guesses : (k, n) float, in the order that `predicted_error` takes
    truth : (n,) float

    Returns
    -------
    (n, len(LEVELS)) bool
    """
    error = np.abs(np.mean(guesses, axis=0, dtype=np.float64) - truth)
    reach = stats.t.ppf((1 + np.array(LEVELS)) / 2, (len(guesses) + 1) // 2)
    return np.asarray(error[:, None] <= predicted_error(guesses)[:, None] * reach)


def calibration_bins(guesses: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> CalibrationBins:
    """Predicted and real error of places, gathered by predicted error.

    Parameters
    ----------
    guesses : (k, n) float, in the order that `predicted_error` takes
    truth : (n,) float, in the units of the guesses
    weights : (n,) float, how much each place counts, such as its area

    Raises
    ------
    ValueError
        If there are fewer than two guesses, or the shapes do not fit.
    """
    if guesses.ndim != 2 or len(guesses) < 2:
        raise ValueError(f"Guesses have shape {guesses.shape}; their spread needs two or more at each place.")
    if truth.shape != guesses.shape[1:] or weights.shape != truth.shape:
        raise ValueError(f"Truth {truth.shape} and weights {weights.shape} must have one value for each guess' place.")
    predicted = predicted_error(guesses)
    error = np.mean(guesses, axis=0, dtype=np.float64) - truth
    bins, count = np.digitize(predicted, EDGES[1:-1]), len(EDGES) - 1
    total = np.bincount(bins, weights, count)
    squares = [np.bincount(bins, weights * part**2, count) for part in (predicted, error)]
    inside = inside_intervals(guesses, truth)
    hits = [np.bincount(bins, weights * inside[:, level], count) for level in range(len(LEVELS))]
    with np.errstate(invalid="ignore", divide="ignore"):
        means = [part / total for part in (*squares, *hits)]
    return CalibrationBins(total, np.sqrt(means[0]), np.sqrt(means[1]), np.stack(means[2:], axis=1))
