"""The sentences and the table of metrics that report.md and report.html share."""

from typing import Any

from multitask_encoder.training.bootstrap import RESAMPLES

from .differences import BETTER, UNCLEAR, WHOLE_ROWS, WORSE, compared

METRICS_HEADER = [
    *("task", "metric", "multi-task", "single-task", "difference", "standard error"),
    "95 % interval",
]
INTERVALS = (
    f"The 95 % intervals come from a paired bootstrap: rows are resampled {RESAMPLES:,} times, the "
    "same rows for both models. They cover the choice of rows, not that of the seeds."
)


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
    size = f"{abs(difference):.3g} points"
    way = WORSE if difference < 0 else BETTER
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
        means = [f"{100 * result[side]:.2f}" for side in ("multi", "single")]
        error = result["standard_error"]
        cells = [*means, f"{result['difference']:+.2f}", "-" if error is None else f"{error:.2f}"]
        spread = result["interval"]
        cells.append(f"{spread[0]:+.2f} to {spread[1]:+.2f}" if spread else "-")
        rows.append((decides, [name, metric, *cells]))
    return rows
