"""How far a multi-task model is from single-task models: differences, verdicts, and their words.

Metrics are fractions in 0..1. Differences (multi-task - single-task, same seed), their standard
errors over the seeds and their intervals over the rows are percentage points. Errors of numbers,
such as `mae`, are in the units of the labels, and so are their differences.
"""

import math
import statistics
from typing import Any

import numpy as np

from multitask_encoder.training.bootstrap import RESAMPLES, interval
from multitask_encoder.training.intervals import main_estimates
from multitask_encoder.training.metrics import is_error
from multitask_encoder.training.row_answers import RowAnswers

WHOLE_ROWS = "whole rows"
METRICS_HEADER = [
    *("task", "metric", "multi-task", "single-task", "difference", "standard error"),
    "95 % interval",
]
INTERVALS = (
    f"The 95 % intervals come from a paired bootstrap: rows are resampled {RESAMPLES:,} times, the "
    "same rows for both models. They cover the choice of rows, not that of the seeds."
)
WORSE, BETTER, UNCLEAR, ONE_SEED = "worse", "better", "no clear difference", "one seed"


def paired(
    multi: list[float],
    single: list[float],
    spread: list[float] | None = None,
    errors: bool = False,
) -> dict[str, Any]:
    """Compare a metric of both kinds of models, one value per seed.

    Args:
        multi, single (`list[float]`): fractions in 0..1, in the order of the seeds.
        spread (`list[float]`, *optional*): see `difference_intervals`.
        errors (`bool`, *optional*): the values are errors in the units of the labels: lower is
            better.

    Returns a dict of the means `multi` and `single`; `differences`, one per seed; their mean
    `difference`; its `standard_error` (sample standard deviation / sqrt(number of seeds); None with
    one seed); `interval`, the given spread; `errors`, as given; and the `verdict`: within two
    standard errors, no clear difference.
    """
    # Rounded, so that equal differences have a standard error of exactly 0.
    scale = 1 if errors else 100
    differences = [round(scale * (a - b), 9) for a, b in zip(multi, single, strict=True)]
    difference, error = statistics.mean(differences), None
    if len(differences) > 1:
        error = statistics.stdev(differences) / math.sqrt(len(differences))
    return {
        "multi": statistics.mean(multi),
        "single": statistics.mean(single),
        "differences": differences,
        "difference": difference,
        "standard_error": error,
        "interval": spread,
        "errors": errors,
        "verdict": _verdict(-difference if errors else difference, error),
    }


def difference_intervals(
    multi: list[RowAnswers], single: list[RowAnswers], tasks: dict[str, dict]
) -> dict[str, list[float]]:
    """The 95 % intervals, `[low, high]`, of the seeds' mean differences, by paired bootstrap: a
    draw of rows is the same for both models, and for all seeds with equally many rows.

    Args:
        multi, single (`list[RowAnswers]`): the answers to the same rows, one item per seed.
        tasks (`dict[str, dict]`): the tasks with single-task models, as in the model's config.

    Returns a dict by `<task>_<metric>`, for main metrics, and `exact_match`.
    """
    by_key: dict[str, list[np.ndarray]] = {}
    for sides in zip(multi, single, strict=True):
        ours, theirs = (main_estimates(answers, tasks) for answers in sides)
        for key in ours:
            difference = ours[key].resampled() - theirs[key].resampled()
            by_key.setdefault(key, []).append(100 * difference)
    return {key: interval(np.mean(seeds, axis=0)) for key, seeds in by_key.items()}


def _verdict(difference: float, error: float | None) -> str:
    if error is None:
        return ONE_SEED
    if abs(difference) <= 2 * error:
        return UNCLEAR
    return WORSE if difference < 0 else BETTER


def compared(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The comparisons that decide, by title: each task's main metric, and whole rows."""
    deciding = {name: task["metrics"][task["main"]] for name, task in report["tasks"].items()}
    if report["exact_match"]:
        deciding[WHOLE_ROWS] = report["exact_match"]
    return deciding


def summarize(report: dict[str, Any]) -> list[str]:
    """Where sharing hurts, where it helps, and a sentence per task."""
    deciding = compared(report)
    worse = [name for name, result in deciding.items() if result["verdict"] == WORSE]
    better = [name for name, result in deciding.items() if result["verdict"] == BETTER]
    if len(report["seeds"]) == 1:
        headline = (
            "One seed shows no spread: this report can't tell a difference from chance. Several "
            "seeds can: --compare_seeds 0 1 2."
        )
    elif worse:
        headline = f"Sharing hurts: {', '.join(worse)}."
    else:
        headline = "Sharing hurts nowhere: nothing is worse by more than two standard errors."
    helps = [f"Sharing helps: {', '.join(better)}."] if better else []
    return [headline, *helps, *(f"{name}: {in_words(res)}." for name, res in deciding.items())]


def in_words(result: dict[str, Any]) -> str:
    """A result of `paired` as a clause."""
    difference, error = result["difference"], result["standard_error"]
    size = f"{abs(difference):.3g}{'' if result['errors'] else ' points'}"
    way = WORSE if (difference > 0) == result["errors"] else BETTER
    if difference == 0:
        return "multi-task is as good" + (", with one seed" if error is None else "")
    if error is None:
        return f"multi-task is {size} {way}, with one seed"
    if error == 0:
        return f"multi-task is {size} {way} (with every seed)"
    errors = f"{abs(difference) / error:.1f} standard errors"
    if result["verdict"] == UNCLEAR:
        return f"no clear difference: multi-task is {size} {way} ({errors})"
    return f"multi-task is {size} {way} ({errors})"


def metrics_rows(report: dict[str, Any]) -> list[tuple[bool, list[str]]]:
    """The rows below `METRICS_HEADER`: whether the metric decides for its task, and the cells."""
    results = [
        (name, metric, metric == task["main"], result)
        for name, task in report["tasks"].items()
        for metric, result in task["metrics"].items()
    ]
    if report["exact_match"]:
        results.append((WHOLE_ROWS, "exact_match", True, report["exact_match"]))
    rows = []
    for name, metric, decides, result in results:
        scale, digits = (1, ".4g") if is_error(metric) else (100, ".2f")
        means = [f"{scale * result[side]:{digits}}" for side in ("multi", "single")]
        error, spread = result["standard_error"], result["interval"]
        cells = [
            *means,
            f"{result['difference']:+{digits}}",
            "-" if error is None else f"{error:{digits}}",
            f"{spread[0]:+{digits}} to {spread[1]:+{digits}}" if spread else "-",
        ]
        rows.append((decides, [name, metric, *cells]))
    return rows
