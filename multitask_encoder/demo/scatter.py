"""Embeddings as points on a plane: texts that the model finds similar are near each other."""

from collections import Counter
from html import escape
from textwrap import wrap

import numpy as np
import plotly.graph_objects as go
from sklearn.decomposition import PCA

from multitask_encoder.inference.predictor import shown

# Distinct for colour-blind people, on white and on black (after Okabe and Ito 2008).
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C6BB1", "#A6761D"]
OTHERS, GREY = "others", "#888888"
LINE, LONGEST, LONGEST_NAME = 50, 300, 30  # characters of a line, a hover text, a legend's name
LAYOUT = {
    "xaxis": {"visible": False},
    "yaxis": {"visible": False},
    "legend": {"orientation": "h", "x": 0, "y": -0.02, "yanchor": "top", "itemclick": False},
    "margin": {"l": 8, "r": 8, "t": 48, "b": 8},
    "height": 420,
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "font": {"color": GREY, "family": "system-ui, sans-serif"},
    "modebar": {
        "bgcolor": "rgba(0,0,0,0)",
        "color": GREY,
        "remove": ["toImage", "select2d", "lasso2d", "autoScale2d"],
    },
    "dragmode": False,  # else a finger that scrolls the page draws a box
}


def on_a_plane(embeddings: np.ndarray) -> np.ndarray:
    """Their first two principal components, of shape `(num_texts, 2)`; 0 for a missing one."""
    points = np.zeros((len(embeddings), 2))
    components = min(2, *embeddings.shape)
    if np.ptp(embeddings, axis=0).any():
        points[:, :components] = PCA(components, svd_solver="full").fit_transform(embeddings)
    return points


def figure(
    points: np.ndarray, texts: list[str], answers: list[str] | list[float], shown: list[int]
) -> go.Figure:
    """A point per text, coloured by a task's answers.

    Args:
        points (`np.ndarray` of shape `(num_texts, 2)`).
        texts (`list[str]`): shown when the pointer is on a point.
        answers (`list[str]` or `list[float]`): each text's label, or its value for a regression. If
            there are more labels than colours, the rarest share one.
        shown (`list[int]`): the texts that get a point. The others still count for the colours,
            which stay the same when some are left out.
    """
    chart = go.Figure()
    if isinstance(answers[0], str):
        count = Counter(answers).most_common()
        colours = {label: colour for (label, _), colour in zip(count, COLOURS, strict=False)}
        rows_of: dict[str, list[int]] = {label: [] for label in (*colours, OTHERS)}
        for row in shown:
            rows_of[answers[row] if answers[row] in colours else OTHERS].append(row)
        for label, rows in rows_of.items():
            if rows:
                name = label if len(label) <= LONGEST_NAME else f"{label[:LONGEST_NAME]}..."
                colour = {"color": colours.get(label, GREY)}
                _add(chart, points, texts, answers, rows, colour, _plain(name))
    else:
        marker = {
            "color": [answers[row] for row in shown],
            "colorscale": "Cividis",
            "cmin": min(answers),
            "cmax": max(answers),
            "colorbar": {"thickness": 12, "outlinewidth": 0},
        }
        _add(chart, points, texts, answers, shown, marker, "")
    return chart.update_layout(LAYOUT, showlegend=isinstance(answers[0], str))


def _add(chart, points, texts, answers, rows, marker, name) -> None:
    chart.add_scatter(
        x=points[rows, 0],
        y=points[rows, 1],
        mode="markers",
        name=name,
        marker={"size": 10, **marker},
        hovertext=[_hover(texts[row], answers[row]) for row in rows],
        hoverinfo="text",
    )


def _hover(text: str, answer: str | float) -> str:
    label = answer if isinstance(answer, str) else shown(answer)
    cut = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    return "<br>".join([f"<b>{_plain(label)}</b>", *map(_plain, wrap(cut, LINE))])


def _plain(text: str) -> str:
    """Escaped: Plotly renders some HTML in texts."""
    return escape(text, quote=False)
