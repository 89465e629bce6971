"""What a comparison of multi-task with single-task models says: report.json, report.md, report.png.

Metrics are fractions in 0..1; differences (multi-task - single-task, of the same seed) and their
standard errors are points of percent.
"""

import importlib.util
import math
import statistics
from functools import partial
from pathlib import Path
from typing import Any

from multitask_encoder.files import write_json, write_text
from multitask_encoder.reporting.figures import draw_differences, save_png
from multitask_encoder.training.metrics import METRICS

# Split -> what its metrics begin with.
PREFIXES = {"test": "test", "validation": "eval"}
WHOLE_ROWS = "whole rows"
WORSE, BETTER, UNCLEAR, ONE_SEED = "worse", "better", "no clear difference", "one seed"


def paired(multi: list[float], single: list[float]) -> dict[str, Any]:
    """One metric of both kinds of models, a value per seed.

    Args:
        multi, single (`list[float]`): fractions, in the order of the seeds.

    Returns a dict of the means `multi` and `single`, the `differences` of the seeds, their mean
    `difference` and its `standard_error` (the sample standard deviation / sqrt(number of seeds);
    None with one), and the `verdict`: with less than two standard errors, no clear difference.
    """
    # Differences of equal fractions must be equal, and no standard error.
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


def make_report(
    results: dict[str, dict[str, Any]],
    tasks: dict[str, dict],
    seeds: list[int],
    split: str,
    together: list[float | None],
) -> dict[str, Any]:
    """What the results of all runs say about each other.

    Args:
        results (`dict[str, dict]`): all_results.json of each run, by the name of its folder.
        tasks (`dict[str, dict]`): as in the multi-task model's config.
        seeds (`list[int]`): those of the runs.
        split (`str`): `test` or `validation`.
        together (`list[float]`): per seed, the share of rows that every single-task model gets
            right; None where no task counts for it.

    Returns a dict of `split`, `seeds`; `tasks`: name to `main`, the metric that decides, and
    `metrics`: name to what `paired` returns, for each task that has labels in the split;
    `exact_match`: what `paired` returns, or None; `embedding`: task to `metric`, `before`
    training, and `after`, a value per seed; and `summary`, the sentences.
    """
    prefix = PREFIXES[split]

    def values(model: str, metric: str) -> list[float] | None:
        found = [results[f"{model}-seed{seed}"].get(f"{prefix}_{metric}") for seed in seeds]
        return None if None in found else found

    report: dict[str, Any] = {"split": split, "seeds": seeds, "tasks": {}, "embedding": {}}
    unlabelled = []
    for name, task in tasks.items():
        if task["type"] == "sentence_embedding":
            key = f"{name}_spearman"
            before, after = (
                results.get("untrained", {}).get(f"{prefix}_{key}"),
                values("multi", key),
            )
            if before is not None and after is not None:
                report["embedding"][name] = {"metric": "spearman", "before": before, "after": after}
            continue
        metric, main = METRICS[task["type"]][task["problem_type"]]
        sides = {
            one: (values("multi", f"{name}_{one}"), values(name, f"{name}_{one}"))
            for one in metric.names
        }
        if None in sides[main]:
            unlabelled.append(name)
            continue
        report["tasks"][name] = {
            "main": main,
            "metrics": {one: paired(*both) for one, both in sides.items()},
        }
    whole = values("multi", "exact_match")
    known = whole is not None and None not in together
    report["exact_match"] = paired(whole, together) if known else None
    report["summary"] = _summary(report)
    report["summary"] += [f"{name}: no labels in the {split} split." for name in unlabelled]
    return report


def compared(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What is judged, by title: each task's main metric, and whole rows."""
    found = {name: task["metrics"][task["main"]] for name, task in report["tasks"].items()}
    return found | ({WHOLE_ROWS: report["exact_match"]} if report["exact_match"] else {})


def _summary(report: dict[str, Any]) -> list[str]:
    found = compared(report)
    worse = [name for name, one in found.items() if one["verdict"] == WORSE]
    better = [name for name, one in found.items() if one["verdict"] == BETTER]
    if len(report["seeds"]) == 1:
        headline = (
            "One seed shows no spread: this report can't tell a difference from chance. With "
            "several seeds it can: --compare_seeds 0 1 2."
        )
    elif worse:
        headline = f"Sharing hurts: {', '.join(worse)}."
    else:
        headline = "Sharing hurts nowhere: nothing is worse by more than two standard errors."
    helps = [f"Sharing helps: {', '.join(better)}."] if better else []
    return [headline, *helps, *(f"{name}: {in_words(one)}." for name, one in found.items())]


def in_words(one: dict[str, Any]) -> str:
    """What `paired` found, as a part of a sentence."""
    difference, error = one["difference"], one["standard_error"]
    size = f"{abs(difference):.3g} points"
    way = WORSE if difference < 0 else BETTER
    if difference == 0:
        return "multi-task is as good" + (", with one seed" if error is None else "")
    if error is None:
        return f"multi-task is {size} {way}, with one seed"
    if error == 0:
        return f"multi-task is {size} {way} (with every seed)"
    errors = f"{abs(difference) / error:.1f} standard errors"
    if one["verdict"] == UNCLEAR:
        return f"no clear difference: multi-task is {size} {way} ({errors})"
    return f"multi-task is {size} {way} ({errors})"


# Files


def can_plot() -> bool:
    """Whether matplotlib is there."""
    return importlib.util.find_spec("matplotlib") is not None


def write_report(report: dict[str, Any], folder: Path) -> None:
    """Write report.json, report.md and, with matplotlib, report.png; and show the second."""
    picture = folder / "report.png"
    picture.unlink(missing_ok=True)
    if can_plot():
        plot(report, picture)
    write_json(report, folder / "report.json")
    text = report_text(report, picture.name if picture.exists() else None)
    write_text(text, folder / "report.md")
    print(f"\n{text}")


def report_text(report: dict[str, Any], picture: str | None = None) -> str:
    """The report in Markdown; `picture` is the plot's file."""
    seeds = ", ".join(map(str, report["seeds"]))
    several = len(report["seeds"]) > 1
    parts = [
        "# One multi-task model beside single-task models",
        "\n".join(f"- {line}" for line in report["summary"]),
        f"## Metrics on the {report['split']} split",
        f"In percent, {'means over the seeds' if several else 'seed'} {seeds}; differences are "
        "multi-task - single-task of the same seed, in points. Each task's main metric is in bold. "
        f"For {WHOLE_ROWS}, every task is right: of one model, or of all single-task models.",
        _metrics_table(report),
        *_notes(report),
    ]
    if picture:
        parts.append(f"![Differences of each seed]({picture})")
    if report["embedding"] or report.get("similarity_to_start"):
        parts += ["## Embeddings before and after training", *_embedding_parts(report)]
    if "models" in report:
        parts += ["## Size and training", *_models_parts(report)]
    if "speed" in report:
        parts += ["## Speed", _speed_line(report)]
    return "\n\n".join(parts) + "\n"


def _table(header: list[str], rows: list[list[str]], texts: int = 1) -> str:
    """In Markdown; columns after the first `texts` are of numbers."""
    line = ["---"] * texts + ["---:"] * (len(header) - texts)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, line, *rows])


METRICS_HEADER = [
    *("task", "metric", "multi-task", "single-task", "difference", "standard error"),
]


def metrics_rows(report: dict[str, Any]) -> list[tuple[bool, list[str]]]:
    """Below `METRICS_HEADER`: whether it is the metric that decides of its task, and the cells."""
    named = [
        (name, metric, metric == task["main"], one)
        for name, task in report["tasks"].items()
        for metric, one in task["metrics"].items()
    ]
    if report["exact_match"]:
        named.append((WHOLE_ROWS, "exact_match", True, report["exact_match"]))
    rows = []
    for name, metric, decides, one in named:
        means = [f"{100 * one[side]:.2f}" for side in ("multi", "single")]
        error = one["standard_error"]
        spread = "-" if error is None else f"{error:.2f}"
        rows.append((decides, [name, metric, *means, f"{one['difference']:+.2f}", spread]))
    return rows


def _metrics_table(report: dict[str, Any]) -> str:
    rows = [
        [name, f"**{metric}**" if decides else metric, *cells]
        for decides, (name, metric, *cells) in metrics_rows(report)
    ]
    return _table(METRICS_HEADER, rows, texts=2)


def _notes(report: dict[str, Any]) -> list[str]:
    notes = []
    seeds = len(report["seeds"])
    if seeds > 1:
        notes.append(
            f"A difference within two standard errors is called none. They are those of {seeds} "
            "seeds"
            + (": few, so that they are rough themselves" if seeds < 5 else "")
            + "; that other rows would give other differences is not in them."
        )
    if report["split"] == "validation":
        notes.append(
            "There is no test split. If training has chosen its best epoch on the validation "
            "split, both kinds of models look better than they are."
        )
    return notes


def _embedding_parts(report: dict[str, Any]) -> list[str]:
    parts = []
    rows = []
    for name, one in report["embedding"].items():
        after = statistics.mean(one["after"])
        values = [f"{100 * one['before']:.2f}", f"{100 * after:.2f}"]
        rows.append([name, one["metric"], *values, f"{100 * (after - one['before']):+.2f}"])
    if rows:
        parts.append(_table(["task", "metric", "before", "after", "difference"], rows, texts=2))
    if report.get("similarity_to_start"):
        mean = statistics.mean(report["similarity_to_start"])
        parts.append(
            f"Mean cosine similarity of a text's embedding after training with that before: "
            f"{mean:.3f}. It says how far embeddings have moved, not whether they are better."
        )
    return parts


def _models_parts(report: dict[str, Any]) -> list[str]:
    def cells(one: dict[str, Any]) -> list[str]:
        seconds = "-" if one["seconds"] is None else f"{one['seconds']:,.0f}"
        return [
            f"{one['parameters']:,}",
            f"{one['bytes'] / 1e6:,.1f}",
            f"{one['steps']:,.0f}",
            seconds,
        ]

    multi, *singles = report["models"].values()
    total = {
        key: None if None in found else sum(found)
        for key in multi
        for found in [[one[key] for one in singles]]
    }
    rows = [[name, *cells(one)] for name, one in report["models"].items()]
    if len(singles) > 1:
        rows.append(["single-task models together", *cells(total)])
    header = ["model", "parameters", "MB on disk", "optimizer steps", "training, s"]
    parts = [_table(header, rows)]
    if total["seconds"] is None or multi["seconds"] is None:
        parts.append("A run that was resumed knows the time of its last part only: none is shown.")
    return parts


def _speed_line(report: dict[str, Any]) -> str:
    speed, count = report["speed"], len(report["models"]) - 1
    ratios = [one / other for one, other in zip(speed["multi"], speed["single"], strict=True)]
    others = (
        f"{count} single-task models one after the other" if count > 1 else "the single-task one"
    )
    return (
        f"All answers for {speed['texts']} texts of the {report['split']} split, medians of "
        f"{len(ratios)} rounds (lowest to highest), in turns: {_spread(speed['multi'], 0)} "
        f"sentences per second by the multi-task model, {_spread(speed['single'], 0)} by {others}. "
        f"Ratio: {_spread(ratios, 2)}."
    )


def _spread(values: list[float], digits: int) -> str:
    low, high = min(values), max(values)
    return f"{statistics.median(values):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def plot(report: dict[str, Any], path: Path) -> None:
    """The differences of all seeds as a picture; it needs the extra `report`."""
    found = compared(report)
    save_png([partial(draw_differences, found=found)], (1, 1), plot_size(found), path)


def plot_size(found: dict[str, dict[str, Any]]) -> tuple[float, float]:
    """Width and height, in inches, for what `compared` found."""
    return 8, 1.5 + 0.5 * len(found)
