"""The look of a report: report.html, a single self-contained page, and its plots as PNG.

The page shows sentences of the data that the run was measured on, so it stays in the run folder.
The pictures (`PICTURES`) show labels and numbers only, and are published with the model.
"""

import base64
import hashlib
import math
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from .figures import (
    Draw,
    Series,
    confusion_size,
    draw_confusion,
    draw_curves,
    printable,
    save_png,
    svg,
)
from .results import TABLES

PAGE = "report.html"
CURVES, CONFUSION, RELIABILITY = "curves.png", "confusion.png", "reliability.png"
PICTURES = (CURVES, CONFUSION, RELIABILITY)
RELIABILITY_AXES = ("score, percent", "right, percent")
MOST_LABELS = 20  # of a confusion matrix
AROUND = 120  # characters shown before and after a mistake
CURVE_SIZE = (4.4, 2.7)

# Title -> its plots, each with the name of its values and its curves.
Curves = dict[str, list[tuple[str, dict[str, Series]]]]

# Curves


def curve_plots(curves: Curves) -> list[dict]:
    """The plots of each title as SVG."""
    return [
        {
            "title": title,
            "plots": [
                svg(
                    partial(draw_curves, curves=drawn, title="", label=label),
                    CURVE_SIZE,
                    f"{label} {title}",
                    f"{title}, {label}: {_curves_in_words(drawn)}",
                )
                for label, drawn in parts
            ],
        }
        for title, parts in curves.items()
    ]


def _curves_in_words(curves: dict[str, Series], at: str = "step ", unit: str = "") -> str:
    sentences = []
    for name, points in curves.items():
        (first, start), (last, end) = points[0], points[-1]
        before = f"from {start:.4g} at {at}{first:g}{unit} to " if len(points) > 1 else ""
        sentences.append(f"{name} {before}{end:.4g} at {at}{last:g}{unit}.")
    return " ".join(sentences)


# Scores


def reliability_plots(calibration: dict[str, dict[str, Any]]) -> list[str]:
    """How often scores are right, of each task and split of the result `calibration`, as SVG."""
    return [
        _score_plot(curves, f"reliability {title}", title, *RELIABILITY_AXES)
        for title, curves in _reliability(calibration).items()
    ]


def _reliability(calibration: dict[str, dict[str, Any]]) -> dict[str, dict[str, Series]]:
    """The curves before and after, by task and split."""
    return {
        f"{name}, {split}": {
            "calibrated": [(0, 0), (100, 100)],
            **{
                when: [(100 * score, 100 * right) for score, right, _ in errors["bins"]]
                for when, errors in of[split].items()
            },
        }
        for name, of in calibration.items()
        for split in ("validation", "test")
        if split in of
    }


def answered_plots(thresholds: dict[str, dict[str, Any]]) -> list[str]:
    """How often the surest answers of each task in the result `thresholds` are right, as SVG."""
    curves: dict[str, Series] = {}
    for name, of in thresholds.items():
        points = of.get("test", of.get("validation"))["curve"]
        curves[name] = [
            (100 * (place + 1) / len(points), 100 * right)
            for place, right in enumerate(points)
            if right is not None
        ]
    curves = {name: points for name, points in curves.items() if points}
    across = "of the answers, the surest first, percent"
    return [_score_plot(curves, "answered", "", across, "right, percent")] if curves else []


def _score_plot(curves: dict[str, Series], name: str, title: str, across: str, label: str) -> str:
    return svg(
        partial(draw_curves, curves=curves, title=title, label=label, across=across),
        CURVE_SIZE,
        name,
        f"{title or name}, {label}: {_curves_in_words(curves, unit=' percent', at='')}",
    )


# Labels of sentences


def most_confused(counts: np.ndarray) -> list[int]:
    """The labels that a matrix shows, in order: all that occur or, if too many, the labels with the
    most mistakes, then with the most rows."""
    rows = counts.sum(0) + counts.sum(1)
    mistakes = rows - 2 * np.diag(counts)
    order = np.lexsort([-rows, -mistakes])
    return sorted(int(index) for index in order[:MOST_LABELS] if rows[index] or len(counts) <= 3)


def confusion_plot(name: str, counts: np.ndarray, labels: list[str], description: str) -> str:
    """A task's confusion matrix as SVG, with its `most_confused` labels."""
    return svg(
        partial(_draw_chosen, counts=counts, labels=labels, title=""),
        confusion_size([labels[index] for index in most_confused(counts)]),
        f"confusion {name}",
        f"Confusion matrix of {name}: {description}",
    )


def _draw_chosen(axes, counts: np.ndarray, labels: list[str], title: str) -> None:
    chosen = most_confused(counts)
    draw_confusion(axes, counts[np.ix_(chosen, chosen)], [labels[index] for index in chosen], title)


# Texts


def marked(text: str, marks: list[tuple[int, int, str]]) -> list[tuple[str, str]]:
    """Split a text, or the part around its marks, into parts with the names of their marks.

    Args:
        marks (`list[tuple[int, int, str]]`): starts, ends and names; they may overlap.
    """
    first = max(0, min((start for start, _, _ in marks), default=0) - AROUND)
    last = min(len(text), max((end for _, end, _ in marks), default=AROUND) + AROUND)
    borders = sorted({first, last, *(border for start, end, _ in marks for border in (start, end))})
    parts = [("…", "")] if first > 0 else []
    for start, end in pairwise(borders):
        names = [name for begin, stop, name in marks if begin <= start and end <= stop]
        parts.append((printable(text[start:end]), " ".join(names)))
    return parts + ([("…", "")] if last < len(text) else [])


def clipped(text: str) -> str:
    """The beginning of a long text."""
    text = printable(text)
    return text if len(text) <= 2 * AROUND else text[: 2 * AROUND - 1] + "…"


# Files


def render(content: dict[str, Any]) -> str:
    """The page as HTML; everything but the plots is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["sha256"] = _sha256
    headings = {
        "results": "Results",
        **{section: table.title for section, table in TABLES.items()},
        "comparison": "Multi-task beside single-task",
        "curves": "Training",
        "sentences": "Labels of sentences",
        "entities": "Entities",
        "maps": "Embeddings",
    }
    content = dict.fromkeys((*headings, "split", "texts", "notes")) | content
    sections = [(key, heading) for key, heading in headings.items() if content[key]]
    return environment.get_template("report_page.html.jinja").render(
        content, parts=content, sections=sections, tables=list(TABLES)
    )


def write_pictures(
    curves: Curves,
    matrices: dict[str, np.ndarray],
    tasks: dict[str, dict],
    calibration: dict[str, dict[str, Any]],
    folder: Path,
) -> None:
    """Write the pictures that a model card shows; `calibration` is the result of that name."""
    draws: list[Draw] = []
    for title, parts in curves.items():
        by_label = dict(parts)
        draws += [
            partial(draw_curves, curves=by_label[label], title=title, label=label)
            if label in by_label
            else _draw_nothing
            for label in ("loss", "percent")
        ]
    if draws:
        _save_grid(draws, 2, CURVE_SIZE, folder / CURVES)
    if matrices:
        draws = [
            partial(_draw_chosen, counts=counts, labels=tasks[name]["labels"], title=name)
            for name, counts in matrices.items()
        ]
        sizes = [
            confusion_size([tasks[name]["labels"][index] for index in most_confused(counts)])
            for name, counts in matrices.items()
        ]
        size = tuple(max(sides) for sides in zip(*sizes, strict=True))
        _save_grid(draws, min(len(draws), 3), size, folder / CONFUSION)
    across, label = RELIABILITY_AXES
    if reliability := _reliability(calibration):
        draws = [
            partial(draw_curves, curves=drawn, title=title, label=label, across=across)
            for title, drawn in reliability.items()
        ]
        _save_grid(draws, min(len(draws), 2), CURVE_SIZE, folder / RELIABILITY)


def _save_grid(draws: list[Draw], columns: int, size: tuple[float, ...], path: Path) -> None:
    """Save plots of a size, in inches, side by side in so many columns."""
    shape, (width, height) = (math.ceil(len(draws) / columns), columns), size
    save_png(draws, shape, (columns * width, shape[0] * height), path)


def _draw_nothing(axes) -> None:
    axes.set_axis_off()


def _sha256(text: str) -> str:
    """The hash by which the page's security policy allows its script."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
