"""The plots of a run: losses and metrics over the steps, confusions, texts on a map.

Each is drawn on axes, so that a page can show it alone as SVG (in the page's own font and text
colour, light or dark) and a PNG can show several. Labels are drawn literally, never as formulas.
"""

import importlib.util
import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

if TYPE_CHECKING:  # matplotlib comes with the extra `report`; imported only when needed
    from matplotlib.axes import Axes

# Distinct to colour-blind readers (Okabe and Ito), on white and on black, as are the shapes.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "P")
OTHERS = "#888888"
INK = "#010203"  # nearly black; in a page it becomes the text colour
STYLE: dict[Any, Any] = {
    "text.parse_math": False,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.2,
    "legend.frameon": False,
    "svg.fonttype": "none",
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "grid.color"), INK),
    **dict.fromkeys(("xtick.color", "ytick.color"), INK),
}
LONGEST_LABEL = 24
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
LONG_NUMBER = re.compile(r"\d+\.\d{2,}")

Series = list[tuple[float, float]]
Draw = Callable[["Axes"], None]


def can_plot() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def draw_curves(
    axes: "Axes",
    curves: dict[str, Series],
    title: str,
    label: str,
    across: str = "optimizer step",
) -> None:
    """Draw values over the optimizer steps, or over others.

    Args:
        curves (`dict[str, list[tuple[float, float]]]`): name to steps and values. Curves differ in
            colour and marker; with more than 30 points, in colour only.
        label, across (`str`): the name of the values, and of the steps.
    """
    for number, (name, points) in enumerate(curves.items()):
        (line,) = axes.plot(*zip(*points, strict=True), markersize=4, label=name)
        line.set_color(COLOURS[number % len(COLOURS)])
        if len(points) <= 30:
            line.set_marker(MARKERS[number % len(MARKERS)])
    axes.locator_params(axis="x", integer=True)
    axes.set(xlabel=across, ylabel=label)
    axes.set_title(title)
    axes.legend()


def draw_confusion(axes: "Axes", counts: np.ndarray, labels: list[str], title: str) -> None:
    """Draw how often each label was predicted for each expected label: darker for a larger share.

    Args:
        counts (`np.ndarray` of shape `(num_labels, num_labels)`): expected labels down, predicted
            labels across.
    """
    from matplotlib.patches import Rectangle

    totals = np.maximum(counts.sum(1), 1)
    for line, column in np.argwhere(counts):
        number, share = counts[line, column], counts[line, column] / totals[line]
        cell = Rectangle((column - 0.5, line - 0.5), 1, 1, color=COLOURS[0], lw=0)
        cell.set_alpha(0.08 + 0.62 * share)  # ink stays readable on the darkest one
        axes.add_patch(cell)
        axes.text(column, line, f"{number}", ha="center", va="center", fontsize=8)
    shown = [shortened(label) for label in labels]
    places, edge = range(len(labels)), len(labels) - 0.5
    turned: dict[str, Any] = {"rotation": 45, "ha": "right"} if max(map(len, shown)) > 5 else {}
    axes.set_xticks(places, shown, **turned)
    axes.set_yticks(places, shown)
    axes.set(xlim=(-0.5, edge), ylim=(edge, -0.5), xlabel="predicted", ylabel="expected")
    axes.set_title(title)
    axes.set_aspect("equal")
    axes.grid(visible=False)
    axes.spines[:].set_visible(True)


def confusion_size(labels: list[str]) -> tuple[float, float]:
    """Width and height, in inches, at which the cells of `draw_confusion` are readable."""
    side = 0.42 * max(len(labels), 3) + 0.075 * max(len(shortened(label)) for label in labels)
    return side + 0.8, side + 0.8


def draw_map(
    axes: "Axes", points: np.ndarray, labels: list[str], title: str, limit: float
) -> list[tuple[str, list[int]]]:
    """Draw texts in two dimensions; the most frequent labels each have a colour and shape.

    Args:
        points (`np.ndarray` of shape `(num_texts, 2)`).
        labels (`list[str]`): the label of each text.
        limit (`float`): the axes go from -limit to limit.

    Returns:
        `list[tuple[str, list[int]]]`: the gid of each group of points, and its texts' indices, in
        the order of the points.
    """
    frequent = sorted(set(labels), key=lambda label: (-labels.count(label), label))
    frequent = frequent[: len(COLOURS)]
    groups: dict[str | None, list[int]] = {label: [] for label in frequent}
    for index, label in enumerate(labels):
        groups.setdefault(label if label in frequent else None, []).append(index)
    drawn = []
    for number, (label, members) in enumerate(groups.items()):
        style: dict[str, Any] = {"color": OTHERS, "marker": ".", "label": "other labels"}
        if label is not None:
            style = {"color": COLOURS[number], "marker": MARKERS[number], "label": shortened(label)}
        gid = f"texts-{number}"
        axes.plot(*points[members].T, ls="", ms=5, mew=0, alpha=0.75, gid=gid, **style)
        drawn.append((gid, members))
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit))
    axes.set_title(title)
    axes.set_aspect("equal")
    axes.tick_params(labelbottom=False, labelleft=False, length=0)
    axes.grid(visible=False)
    axes.spines[:].set(visible=True, alpha=0.3)
    axes.get_figure().legend(loc="outside lower center", ncols=2, handletextpad=0.2, fontsize=8)
    return drawn


def draw_differences(axes: "Axes", results: dict[str, dict]) -> None:
    """Draw multi-task - single-task: each seed as a dot, their mean as a diamond, two standard
    errors as a bar; `results` are those of `comparison.differences.paired`, by title."""
    axes.axvline(0, color=INK, linewidth=1)
    for place, result in enumerate(results.values()):
        dots, error = result["differences"], result["standard_error"]
        axes.plot(dots, [place] * len(dots), "o", color=COLOURS[0], alpha=0.5)
        bar = None if error is None else 2 * error
        style: dict[str, Any] = {"fmt": "D", "color": COLOURS[1], "capsize": 4, "ms": 5}
        axes.errorbar(result["difference"], place, xerr=bar, **style)
    axes.set_yticks(range(len(results)), list(results))
    axes.set_ylim(len(results) - 0.5, -0.5)
    axes.set_title("Dots: seeds. Diamonds: their mean, with two standard errors")
    axes.set_xlabel("multi-task - single-task, points (right of 0: multi-task is better)")


def differences_size(count: int) -> tuple[float, float]:
    """Width and height, in inches, of `draw_differences` with `count` results."""
    return 8, 1.5 + 0.5 * count


def shortened(label: str) -> str:
    """A label as it is drawn: printable, and clipped if long."""
    label = printable(label)
    return label if len(label) <= LONGEST_LABEL else label[: LONGEST_LABEL - 1] + "…"


def printable(text: str) -> str:
    """A text without control characters, which XML forbids. Joiners of letters or emoji and
    direction marks stay."""
    return CONTROL.sub(lambda match: " " if match[0].isspace() else "�", text)


# Files


def svg(
    draw: Draw,
    size: tuple[float, float],
    name: str,
    description: str,
    texts: dict[str, list[int]] | None = None,
) -> str:
    """A plot as an SVG element of a page, without external resources.

    Args:
        draw: draws it.
        size (`tuple[float, float]`): width and height in inches.
        name (`str`): unique on the page.
        description (`str`): for screen readers.
        texts (`dict[str, list[int]]`, *optional*): a number for each point of each gid, written
            as its attribute `data-text`.
    """
    with _drawn([draw], (1, 1), size) as figure:
        buffer = io.StringIO()
        import matplotlib

        with matplotlib.rc_context({"svg.hashsalt": name}):
            figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(buffer.getvalue())
    return _for_page(root, description, texts or {})


def _for_page(root: ElementTree.Element, description: str, texts: dict[str, list[int]]) -> str:
    for element in root.iter():
        for child in list(element):
            if child.tag.endswith(("}metadata", "}style")):  # a style would hold for the page
                element.remove(child)
    for element in root.iter():
        element.tag = element.tag.partition("}")[2]
        attributes = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
        for key in {"d", "x", "y", "transform"} & attributes.keys():
            shorter = LONG_NUMBER.sub(lambda number: f"{float(number[0]):.1f}", attributes[key])
            attributes[key] = " ".join(shorter.split())
        element.attrib.clear()
        element.attrib.update(attributes)
        element.text, element.tail = (element.text or "").strip() or None, None
        numbers = texts.get(attributes.get("id", "")) if element.tag == "g" else None
        if numbers is not None:
            points = [child for child in element.iter() if child.tag.endswith("use")]
            element.set("style", points[0].get("style", ""))
            for point, number in zip(points, numbers, strict=True):
                point.set("data-text", str(number))
                point.attrib.pop("style", None)
        if element.tag == "g":  # matplotlib's own names, the same in every plot
            element.attrib.pop("id", None)
        if element.tag == "text":
            element.set("style", re.sub(r"font-family: [^;]*;", "", element.get("style", "")))
    width, height = (float(root.get(side, "0").removesuffix("pt")) for side in ("width", "height"))
    root.attrib.update(width=f"{width * 4 / 3:.0f}", height=f"{height * 4 / 3:.0f}")
    root.attrib.update({"role": "img", "aria-label": description})
    text = ElementTree.tostring(root, encoding="unicode")
    return text.replace(INK, "currentColor")


def save_png(
    draws: list[Draw], shape: tuple[int, int], size: tuple[float, float], path: Path
) -> None:
    """Save plots in rows and columns as one picture; `size` is the whole picture's, in inches."""
    with _drawn(draws, shape, size) as figure:
        figure.savefig(path, format="png", dpi=100)


@contextmanager
def _drawn(draws: list[Draw], shape: tuple[int, int], size: tuple[float, float]) -> Iterator:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        # A page uses the browser's fonts; a picture shows a box for a missing letter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=size, layout="constrained")
        places = figure.subplots(*shape, squeeze=False).ravel().tolist()
        for draw, place in zip(draws, places, strict=False):
            draw(place)
        for place in places[len(draws) :]:
            place.set_axis_off()
        yield figure
