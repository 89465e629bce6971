"""How far a multi-task model is from single-task models: paired differences and verdicts.

Metrics are fractions in 0..1. Differences (multi-task - single-task, same seed) and their standard
errors are percentage points.
"""

import math
import statistics
from typing import Any

WHOLE_ROWS = "whole rows"
WORSE, BETTER, UNCLEAR, ONE_SEED = "worse", "better", "no clear difference", "one seed"


def paired(multi: list[float], single: list[float]) -> dict[str, Any]:
    """Compare a metric of both kinds of models, one value per seed.

    Args:
        multi, single (`list[float]`): fractions in 0..1, in the order of the seeds.

    Returns a dict of the means `multi` and `single`; `differences`, one per seed; their mean
    `difference`; its `standard_error` (sample standard deviation / sqrt(number of seeds); None with
    one seed); and the `verdict`: within two standard errors, no clear difference.
    """
    # Rounded, so that equal differences have a standard error of exactly 0.
    differences = [round(100 * (a - b), 9) for a, b in zip(multi, single, strict=True)]
    difference, error = statistics.mean(differences), None
    if len(differences) > 1:
        error = statistics.stdev(differences) / math.sqrt(len(differences))
    return {
        "multi": statistics.mean(multi),
        "single": statistics.mean(single),
        "differences": differences,
        "difference": difference,
        "standard_error": error,
        "verdict": _verdict(difference, error),
    }


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
