"""Uncertainty of a metric from the choice of rows: the bootstrap over rows.

Rows are drawn with replacement, as many as there are, and the metric is computed on the draw. The
2.5th and 97.5th percentile of many draws are its 95 % interval (Efron & Tibshirani 1993, An
Introduction to the Bootstrap, chapter 13). For the difference between two models, both are scored
on the same draws (Koehn 2004, Statistical Significance Tests for Machine Translation Evaluation).
"""

import math
from collections.abc import Callable

import numpy as np

RESAMPLES, SEED = 1000, 0
PERCENTILES = 2.5, 97.5

# A metric of rows that count as often as their weights say: `np.ndarray` of float of shape
# `(num_rows,)`. With ones, the metric of the rows themselves.
Estimate = Callable[[np.ndarray], float]


def ratio(numerators: np.ndarray, denominators: np.ndarray) -> Estimate:
    """A ratio of sums over rows; 0 if the denominators sum to 0. A mean has denominators of 1.

    Args:
        numerators, denominators (`np.ndarray` of shape `(num_rows,)`): each row's share.
    """
    above, below = (np.asarray(side, dtype=float) for side in (numerators, denominators))

    def estimate(weights: np.ndarray) -> float:
        total = weights @ below
        return float(weights @ above / total) if total else 0.0

    return estimate


def rank_correlation(predicted: np.ndarray, expected: np.ndarray) -> Estimate:
    """Spearman's correlation, ranked anew in each draw; NaN if either side is constant,
    but 0 in a draw that makes it so.

    Args:
        predicted, expected (`np.ndarray` of shape `(num_rows,)`): NaN makes it NaN.
    """
    sides = (predicted, expected)
    if any(np.isnan(side).any() or len(np.unique(side)) < 2 for side in sides):
        return lambda weights: math.nan
    # Each row's place among the distinct values of its side.
    places = [np.unique(side, return_inverse=True)[1] for side in sides]

    def estimate(weights: np.ndarray) -> float:
        a, b = (_centred_ranks(side, weights) for side in places)
        spread = math.sqrt((weights @ (a * a)) * (weights @ (b * b)))
        return float(weights @ (a * b)) / spread if spread else 0.0

    return estimate


def _centred_ranks(places: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Each row's rank minus the mean rank; equal values share the mean of their ranks."""
    counts = np.bincount(places, weights)
    ranks = np.cumsum(counts) - counts / 2
    return (ranks - weights.sum() / 2)[places]


def resampled(estimate: Estimate, num_rows: int) -> np.ndarray:
    """The estimates on all draws, `np.ndarray` of shape `(RESAMPLES,)`. Draws depend on `num_rows`
    alone, so estimates for the same rows are paired."""
    generator = np.random.default_rng(SEED)
    draws = (generator.integers(num_rows, size=num_rows) for _ in range(RESAMPLES))
    return np.array([estimate(np.bincount(d, minlength=num_rows).astype(float)) for d in draws])


def interval(estimates: np.ndarray) -> list[float]:
    """The 95 % percentile interval, `[low, high]`, of estimates on all draws."""
    return np.percentile(estimates, PERCENTILES).tolist()
