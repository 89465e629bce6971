"""The report of a comparison: its numbers (report.json), text (report.md), plot (report.png), and
page (report.html), beside the pages of its runs."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from multitask_encoder.files import write_json, write_text
from multitask_encoder.reporting.figures import (
    can_plot,
    differences_size,
    draw_differences,
    save_png,
    svg,
)
from multitask_encoder.reporting.report_page import PAGE, render
from multitask_encoder.reporting.results import PREFIXES
from multitask_encoder.training.metrics import is_error, metric_of

from .differences import INTERVALS, METRICS_HEADER, compared, metrics_rows, paired, summarize
from .markdown import report_text

Values = Callable[[str, str], list[float] | None]


def make_report(
    results: dict[str, dict[str, Any]],
    tasks: dict[str, dict],
    seeds: list[int],
    split: str,
    together: list[float | None],
    spreads: dict[str, list[float]],
) -> dict[str, Any]:
    """Compare the results of all runs.

    Args:
        results (`dict[str, dict]`): all_results.json of each run, by the name of its folder.
        tasks (`dict[str, dict]`): as in the multi-task model's config.
        seeds (`list[int]`): the seeds of the runs.
        split (`str`): `test` or `validation`.
        together (`list[float]`): per seed, the share of rows that every single-task model gets
            right, in 0..1; None if no task counts.
        spreads (`dict[str, list[float]]`): from `difference_intervals`.

    Returns a dict of `split`, `seeds`; `tasks`: for each task with labels in the split, `main`, the
    metric that decides, and `metrics`, name to a result of `paired`; `exact_match`: a result of
    `paired`, or None; `embedding`: task to `metric`, `before` training, and `after`, a value per
    seed; and `summary`, the sentences.
    """
    values = partial(_values, results, seeds, PREFIXES[split])
    by_task = {
        name: _compare_task(name, task, values, spreads)
        for name, task in tasks.items()
        if task["type"] != "sentence_embedding"
    }
    whole = values("multi", "exact_match")
    known = whole is not None and None not in together
    report: dict[str, Any] = {
        "split": split,
        "seeds": seeds,
        "tasks": {name: task for name, task in by_task.items() if task},
        "embedding": _compare_embeddings(
            [name for name in tasks if name not in by_task],
            results.get("untrained", {}),
            PREFIXES[split],
            values,
        ),
        "exact_match": paired(whole, together, spreads.get("exact_match")) if known else None,
    }
    report["summary"] = summarize(report)
    for name, task in by_task.items():
        main = metric_of(tasks[name]).main
        if task is None:
            undefined = any(f"{PREFIXES[split]}_{name}_{main}" in one for one in results.values())
            reason = "its metrics are undefined" if undefined else "no labels"
            report["summary"].append(f"{name}: {reason} in the {split} split.")
        elif task["main"] != main:
            report["summary"].append(
                f"{name}: {main} is undefined where all labels or answers are the same; "
                f"{task['main']} is compared."
            )
    return report


def _values(
    results: dict[str, dict[str, Any]], seeds: list[int], prefix: str, model: str, metric: str
) -> list[float] | None:
    """A metric of a model's runs, one value per seed; None if a run lacks it."""
    values = [results[f"{model}-seed{seed}"].get(f"{prefix}_{metric}") for seed in seeds]
    return None if None in values else values


def _compare_task(
    name: str, task: dict, values: Values, spreads: dict[str, list[float]]
) -> dict[str, Any] | None:
    metric = metric_of(task)
    sides = {
        key: (values("multi", f"{name}_{key}"), values(name, f"{name}_{key}"))
        for key in metric.names
    }
    compared = {
        key: paired(*both, spreads.get(f"{name}_{key}"), errors=is_error(key))
        for key, both in sides.items()
        if None not in both
    }
    if not compared:
        return None
    return {
        "main": metric.main if metric.main in compared else next(iter(compared)),
        "metrics": compared,
    }


def _compare_embeddings(
    tasks: list[str], untrained: dict[str, Any], prefix: str, values: Values
) -> dict[str, dict[str, Any]]:
    scores = {}
    for name in tasks:
        before = untrained.get(f"{prefix}_{name}_spearman")
        after = values("multi", f"{name}_spearman")
        if before is not None and after is not None:
            scores[name] = {"metric": "spearman", "before": before, "after": after}
    return scores


def write_report(report: dict[str, Any], folder: Path) -> None:
    """Write report.json, report.md and, with matplotlib, report.png; print report.md."""
    picture = folder / "report.png"
    picture.unlink(missing_ok=True)
    if can_plot():
        deciding = compared(report)
        draw = partial(draw_differences, results=deciding)
        save_png([draw], (1, 1), differences_size(len(deciding)), picture)
    write_json(report, folder / "report.json")
    text = report_text(report, picture.name if picture.exists() else None)
    write_text(text, folder / "report.md")
    print(f"\n{text}")


def write_comparison_page(report: dict[str, Any], runs: list[str], folder: Path) -> None:
    """Write the page of a report from `make_report`, with links to the pages of the runs, which are
    folders in `folder`."""
    deciding = compared(report)
    plot = None
    if deciding:
        summary = " ".join(report["summary"])
        plot = svg(
            partial(draw_differences, results=deciding),
            differences_size(len(deciding)),
            "comparison",
            f"Multi-task minus single-task, each seed and their means. {summary}",
        )
    content = {
        "title": folder.resolve().name,
        "subtitle": "One multi-task model beside one single-task model per task.",
        "comparison": {
            "summary": report["summary"],
            "note": f"In percent, on the {report['split']} split; differences are in points (of "
            "mae and rmse, all are in the units of the labels). The metric with a * decides. "
            f"{INTERVALS}",
            "plot": plot,
            "header": METRICS_HEADER,
            "rows": [
                [name, f"{metric} *" if decides else metric, *cells]
                for decides, (name, metric, *cells) in metrics_rows(report)
            ],
            "runs": [name for name in runs if (folder / name / PAGE).is_file()],
        },
    }
    write_text(render(content), folder / PAGE)
