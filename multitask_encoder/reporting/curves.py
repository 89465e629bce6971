"""The curves of a run: its losses and metrics over the optimizer steps, from a Trainer's log."""

import math

from multitask_encoder.training.metrics import is_error, metric_of

from .figures import Series
from .report_page import Curves

WHOLE = "all tasks"


def curves_of(history: list[dict], tasks: dict[str, dict]) -> Curves:
    """The curves of the whole run and of each task, leaving out those without points.

    Args:
        history (`list[dict]`): a Trainer's `log_history`.
        tasks (`dict[str, dict]`): as in the model's config.
    """
    metrics = {"score": "score", "exact_match": "exact_match"}
    curves = {WHOLE: _parts(history, "", metrics)}
    for name, task in tasks.items():
        metrics = {key: f"{name}_{key}" for key in metric_of(task).names if not is_error(key)}
        curves[name] = _parts(history, f"_{name}", metrics)
    return {title: parts for title, parts in curves.items() if parts}


def _parts(
    history: list[dict], suffix: str, metrics: dict[str, str]
) -> list[tuple[str, dict[str, Series]]]:
    losses = {"training": f"loss{suffix}", "validation": f"eval_loss{suffix}"}
    parts = {
        "loss": {title: series(history, key) for title, key in losses.items()},
        "percent": {
            title: [(step, 100 * value) for step, value in series(history, f"eval_{key}")]
            for title, key in metrics.items()
        },
    }
    drawn = [
        (label, {title: points for title, points in curves.items() if points})
        for label, curves in parts.items()
    ]
    return [(label, curves) for label, curves in drawn if curves]


def series(history: list[dict], key: str) -> Series:
    """The steps and values at which a Trainer logged `key`, without NaN and infinity."""
    points = [(entry["step"], entry[key]) for entry in history if key in entry and "step" in entry]
    return [(step, value) for step, value in points if math.isfinite(value)]
