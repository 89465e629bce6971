"""The text of a comparison: report.md."""

import statistics
from typing import Any

from .differences import INTERVALS, METRICS_HEADER, WHOLE_ROWS, metrics_rows


def report_text(report: dict[str, Any], picture: str | None = None) -> str:
    """The report in Markdown; `picture` is the file name of the plot."""
    seeds = ", ".join(map(str, report["seeds"]))
    several = len(report["seeds"]) > 1
    rows = [
        [name, f"**{metric}**" if decides else metric, *cells]
        for decides, (name, metric, *cells) in metrics_rows(report)
    ]
    parts = [
        "# One multi-task model beside single-task models",
        "\n".join(f"- {line}" for line in report["summary"]),
        f"## Metrics on the {report['split']} split",
        f"In percent, {'means over the seeds' if several else 'seed'} {seeds}; differences are "
        "multi-task - single-task of the same seed, in points (of mae and rmse, all are in the "
        "units of the labels). Each task's main metric is in bold. "
        f"{WHOLE_ROWS.capitalize()} are rows with every task right: by the multi-task model, or by "
        "all single-task models.",
        table(METRICS_HEADER, rows, texts=2),
        *_notes(report),
    ]
    if picture:
        parts.append(f"![Differences of each seed]({picture})")
    if report["embedding"] or report.get("similarity_to_start"):
        parts += ["## Embeddings before and after training", *_embedding_parts(report)]
    if "models" in report:
        parts += ["## Size and training", *_models_parts(report["models"])]
    if "speed" in report:
        parts += ["## Speed", _speed_line(report)]
    return "\n\n".join(parts) + "\n"


def table(header: list[str], rows: list[list[str]], texts: int = 1) -> str:
    """A Markdown table; columns after the first `texts` hold numbers."""
    line = ["---"] * texts + ["---:"] * (len(header) - texts)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, line, *rows])


def _notes(report: dict[str, Any]) -> list[str]:
    notes = []
    seeds = len(report["seeds"])
    if seeds > 1:
        rough = ", too few for a precise estimate" if seeds < 5 else ""
        notes.append(
            "A difference within two standard errors counts as no clear difference. The standard "
            f"errors come from {seeds} seeds{rough}. They don't cover the choice of rows."
        )
    notes.append(INTERVALS)
    if report["split"] == "validation":
        notes.append(
            "There is no test split. If training has chosen its best epoch on the validation "
            "split, both kinds of models look better than they are."
        )
    return notes


def _embedding_parts(report: dict[str, Any]) -> list[str]:
    parts = []
    rows = []
    for name, scores in report["embedding"].items():
        before, after = scores["before"], statistics.mean(scores["after"])
        values = [f"{100 * before:.2f}", f"{100 * after:.2f}", f"{100 * (after - before):+.2f}"]
        rows.append([name, scores["metric"], *values])
    if rows:
        parts.append(table(["task", "metric", "before", "after", "difference"], rows, texts=2))
    if report.get("similarity_to_start"):
        mean = statistics.mean(report["similarity_to_start"])
        parts.append(
            f"Mean cosine similarity between a text's embeddings before and after training: "
            f"{mean:.3f}. It says how far embeddings have moved, not whether they are better."
        )
    return parts


def _models_parts(models: dict[str, dict[str, Any]]) -> list[str]:
    def cells(model: dict[str, Any]) -> list[str]:
        seconds = "-" if model["seconds"] is None else f"{model['seconds']:,.0f}"
        numbers = f"{model['parameters']:,}", f"{model['bytes'] / 1e6:,.1f}"
        return [*numbers, f"{model['steps']:,.0f}", seconds]

    multi, *singles = models.values()
    resumed = any(model["seconds"] is None for model in singles)
    total = {key: sum(model[key] for model in singles) for key in ("parameters", "bytes", "steps")}
    total["seconds"] = None if resumed else sum(model["seconds"] for model in singles)
    rows = [[name, *cells(model)] for name, model in models.items()]
    if len(singles) > 1:
        rows.append(["single-task models together", *cells(total)])
    header = ["model", "parameters", "MB on disk", "optimizer steps", "training, s"]
    parts = [table(header, rows)]
    if resumed or multi["seconds"] is None:
        parts.append("No training time is shown for a resumed run: only its last part was timed.")
    return parts


def _speed_line(report: dict[str, Any]) -> str:
    speed, count = report["speed"], len(report["models"]) - 1
    ratios = [multi / single for multi, single in zip(speed["multi"], speed["single"], strict=True)]
    others = (
        f"{count} single-task models one after the other" if count > 1 else "the single-task model"
    )
    return (
        f"All answers for {speed['texts']} texts of the {report['split']} split, taking turns; "
        f"medians of {len(ratios)} rounds (lowest to highest): {_spread(speed['multi'], 0)} "
        f"sentences per second by the multi-task model, {_spread(speed['single'], 0)} by {others}. "
        f"Ratio: {_spread(ratios, 2)}."
    )


def _spread(values: list[float], digits: int) -> str:
    low, high = min(values), max(values)
    return f"{statistics.median(values):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
