"""Intervals of a split's metrics, for results that are read rather than logged."""

from typing import NamedTuple

import numpy as np

from .bootstrap import Estimate, interval, ratio, resampled
from .metrics import metric_of
from .row_answers import RowAnswers
from .row_scores import judged_rows

SUFFIX = "_interval"  # of a metric's key, in all_results.json


class RowEstimate(NamedTuple):
    """A metric as a function of how often each of `num_rows` rows counts."""

    estimate: Estimate
    num_rows: int

    def resampled(self) -> np.ndarray:
        """As in bootstrap.py."""
        return resampled(self.estimate, self.num_rows)


def main_estimates(answers: RowAnswers, tasks: dict[str, dict]) -> dict[str, RowEstimate]:
    """Each task's main metric (`<task>_<metric>`) and `exact_match`, where rows are labelled.

    Args:
        answers (`RowAnswers`): also those of tasks that are left out of `tasks`.
        tasks (`dict[str, dict]`): as in the model's config.
    """
    labelled = {
        name: of_task
        for name, of_task in answers.by_task.items()
        if name in tasks and len(of_task.rows)
    }
    estimates = {}
    for name, (rows, predicted, expected, _) in labelled.items():
        metric = metric_of(tasks[name])
        estimate = metric.estimates(predicted, expected).get(metric.main)
        if estimate is not None:
            estimates[f"{name}_{metric.main}"] = RowEstimate(estimate, len(rows))
    rows, right = judged_rows(labelled, tasks)
    if len(rows):
        estimates["exact_match"] = RowEstimate(ratio(right, np.ones(len(rows))), len(rows))
    return estimates


def intervals(answers: RowAnswers, tasks: dict[str, dict]) -> dict[str, list[float]]:
    """The 95 % interval over rows, `[low, high]`, of each metric of `main_estimates` that is
    defined; the keys end in `_interval`."""
    samples = {key: rows.resampled() for key, rows in main_estimates(answers, tasks).items()}
    return {
        f"{key}{SUFFIX}": interval(values)
        for key, values in samples.items()
        if not np.isnan(values).any()
    }
