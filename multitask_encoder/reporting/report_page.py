"""How a report looks: report.html, one page that needs nothing else, and its plots as PNG.

The page shows sentences of the data that the run was measured on: it stays in the run folder. The
pictures (`PICTURES`) show labels and numbers only, and go with a model that is published.
"""

import base64
import hashlib
import math
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from .embedding_map import Map
from .figures import (
    Draw,
    Series,
    confusion_size,
    draw_confusion,
    draw_curves,
    draw_map,
    printable,
    save_png,
    svg,
)

PAGE = "report.html"
CURVES, CONFUSION = "curves.png", "confusion.png"
PICTURES = (CURVES, CONFUSION)
MOST_LABELS = 20  # of a confusion matrix
AROUND = 120  # characters that are shown before and after a mistake
CURVE_SIZE = (4.4, 2.7)
MAP_SIZE = (4.4, 4.9)

# By title, what is drawn: the values' name, and their curves.
Curves = dict[str, list[tuple[str, dict[str, Series]]]]

# Curves


def curve_plots(curves: Curves) -> list[dict]:
    """By title, the plots as SVG."""
    return [
        {
            "title": title,
            "plots": [
                svg(
                    partial(draw_curves, curves=drawn, title="", label=label),
                    CURVE_SIZE,
                    f"{label} {title}",
                    f"{title}, {label}: {_said_of_curves(drawn)}",
                )
                for label, drawn in parts
            ],
        }
        for title, parts in curves.items()
    ]


def _said_of_curves(curves: dict[str, Series]) -> str:
    said = []
    for name, points in curves.items():
        (first, start), (last, end) = points[0], points[-1]
        before = f"from {start:.4g} at step {first} to " if len(points) > 1 else ""
        said.append(f"{name} {before}{end:.4g} at step {last}.")
    return " ".join(said)


# Labels of sentences


def most_confused(counts: np.ndarray) -> list[int]:
    """The labels that a matrix shows, in their order: all that occur or, of many, those with the
    most mistakes, then with the most rows."""
    rows = counts.sum(0) + counts.sum(1)
    mistakes = rows - 2 * np.diag(counts)
    order = np.lexsort([-rows, -mistakes])
    return sorted(int(index) for index in order[:MOST_LABELS] if rows[index] or len(counts) <= 3)


def confusion_plot(name: str, counts: np.ndarray, labels: list[str], description: str) -> str:
    """A task's confusion matrix as SVG, of the labels that are `most_confused`."""
    return svg(
        partial(_draw_chosen, counts=counts, labels=labels, title=""),
        confusion_size([labels[index] for index in most_confused(counts)]),
        f"confusion {name}",
        f"Confusion matrix of {name}: {description}",
    )


def _draw_chosen(axes, counts: np.ndarray, labels: list[str], title: str) -> None:
    chosen = most_confused(counts)
    draw_confusion(axes, counts[np.ix_(chosen, chosen)], [labels[one] for one in chosen], title)


# Texts


def marked(text: str, marks: list[tuple[int, int, str]]) -> list[tuple[str, str]]:
    """A text, or what is around its marks, in parts, each with the names of all marks it is in.

    Args:
        marks (`list[tuple[int, int, str]]`): starts, ends and names; they may overlap.
    """
    first = max(0, min((start for start, _, _ in marks), default=0) - AROUND)
    last = min(len(text), max((end for _, end, _ in marks), default=AROUND) + AROUND)
    borders = sorted({first, last, *(one for start, end, _ in marks for one in (start, end))})
    parts = [("…", "")] if first > 0 else []
    for start, end in pairwise(borders):
        names = [name for begin, stop, name in marks if begin <= start and end <= stop]
        parts.append((printable(text[start:end]), " ".join(names)))
    return parts + ([("…", "")] if last < len(text) else [])


def clipped(text: str) -> str:
    """The beginning of a long text."""
    text = printable(text)
    return text if len(text) <= 2 * AROUND else text[: 2 * AROUND - 1] + "…"


# Maps


def said_of_maps(maps: dict[str, Map], count: int) -> str:
    """What the maps of so many texts tell in numbers.

    Args:
        maps (`dict[str, Map]`): those `before` and `after` training, or the latter alone.
    """
    when = {"before": "before training", "after": "after it"} if len(maps) > 1 else {}
    agreeing, shown = (
        ", ".join(
            f"{100 * getattr(one, share):.0f} % {when.get(key, '')}".strip()
            for key, one in maps.items()
        )
        for share in ("agreeing", "shown")
    )
    return (
        f"{count:,} texts. Those whose nearest neighbour has the same label: {agreeing}. What the "
        f"two directions show of all differences: {shown}."
    )


def map_plots(maps: dict[str, Map], task: str, labels: list[str], numbers: list[int]) -> list[str]:
    """The maps as SVG, on one scale.

    Args:
        labels, numbers (`list` of length `num_texts`): the label of each text, and its place among
            the page's `texts`.
    """
    limit = 1.05 * max(float(np.abs(one.points).max()) for one in maps.values()) or 1.0
    plots = []
    for when, one in maps.items():
        groups: dict[str, list[int]] = {}

        def draw(axes, one=one, when=when, groups=groups) -> None:
            title = f"{when} training" if len(maps) > 1 else ""
            for gid, members in draw_map(axes, one.points, labels, title, limit):
                groups[gid] = [numbers[member] for member in members]

        description = (
            f"Map of texts by {task}, {when} training; the nearest neighbour has the same label "
            f"for {100 * one.agreeing:.0f} % of them."
        )
        plots.append(svg(draw, MAP_SIZE, f"map {task} {when}", description, groups))
    return plots


# A comparison


# Files


def render(content: dict[str, Any]) -> str:
    """The page of what is given; all but the plots is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["sha256"] = _sha256
    headings = {
        "results": "Results",
        "comparison": "Multi-task beside single-task",
        "curves": "Training",
        "sentences": "Labels of sentences",
        "entities": "Entities",
        "maps": "Embeddings",
    }
    content = dict.fromkeys((*headings, "split", "texts")) | content
    sections = [(key, heading) for key, heading in headings.items() if content[key]]
    return environment.get_template("report_page.html.jinja").render(content, sections=sections)


def write_pictures(
    curves: Curves,
    matrices: dict[str, np.ndarray],
    tasks: dict[str, dict],
    folder: Path,
) -> None:
    """The plots of a model card."""
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
        width, height = CURVE_SIZE
        shape = len(curves), 2
        save_png(draws, shape, (2 * width, len(curves) * height), folder / CURVES)
    if matrices:
        draws = [
            partial(_draw_chosen, counts=counts, labels=tasks[name]["labels"], title=name)
            for name, counts in matrices.items()
        ]
        sizes = [
            confusion_size([tasks[name]["labels"][one] for one in most_confused(counts)])
            for name, counts in matrices.items()
        ]
        columns = min(len(draws), 3)
        shape = math.ceil(len(draws) / columns), columns
        width, height = (max(sides) for sides in zip(*sizes, strict=True))
        save_png(draws, shape, (columns * width, shape[0] * height), folder / CONFUSION)


def _draw_nothing(axes) -> None:
    axes.set_axis_off()


def _sha256(text: str) -> str:
    """As a page's security policy names the one script that may run."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
