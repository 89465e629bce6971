"""The maps of texts on the page, before and after training."""

from typing import Any

import numpy as np
from datasets import Dataset

from multitask_encoder.data.preprocessing import text_and_words

from .embedding_map import Map, make_map, mapped_windows
from .figures import draw_map, svg
from .report_page import clipped

MAP_SIZE = (4.4, 4.9)


def map_section(
    tasks: dict[str, dict],
    split: str,
    windows: Dataset,
    rows: dict[int, Dataset],
    vectors: dict[str, dict[int, np.ndarray]],
) -> dict[str, Any]:
    """The page's section `maps`, None if nothing can be mapped, and its `texts`.

    Args:
        windows (`Dataset`): the preprocessed rows of the split.
        rows (`dict[int, Dataset]`): its loaded rows, by the number of their data set.
        vectors (`dict[str, dict[int, np.ndarray]]`): from `embed_mapped`, `before` and `after`
            training.
    """
    chosen = mapped_windows(windows, tasks) if vectors else {}
    if not chosen:
        return {"maps": None, "texts": []}
    order = sorted({int(place) for places in chosen.values() for place in places})
    number = {place: index for index, place in enumerate(order)}
    sources = windows.select(order).select_columns(["dataset", "row"])
    texts = [clipped(text_and_words(rows[row["dataset"]][row["row"]])[0]) for row in sources]
    entries = []
    for name, places in chosen.items():
        labels = np.asarray(windows[name][:])[places]
        maps = {
            when: make_map(np.stack([by_place[int(place)] for place in places]), labels)
            for when, by_place in vectors.items()
        }
        names = [tasks[name]["labels"][label] for label in labels]
        plots = _map_plots(maps, name, names, [number[int(place)] for place in places])
        entries.append({"title": name, "says": _maps_in_words(maps, len(places)), "plots": plots})
    says = (
        f"Texts of the {split} split, coloured by their expected label. Each map shows the two "
        "directions in which its own vectors differ most (principal components); all maps share "
        "one scale, but the directions of two maps are unrelated. Texts far apart on a map are far "
        "apart; texts close together may still differ in the other dimensions, so the nearest "
        "neighbours are counted in all dimensions."
    )
    return {"maps": {"says": says, "tasks": entries}, "texts": texts}


def _maps_in_words(maps: dict[str, Map], count: int) -> str:
    when = {"before": "before training", "after": "after it"} if len(maps) > 1 else {}

    def shares(values: dict[str, float]) -> str:
        return ", ".join(
            f"{100 * value:.0f} % {when.get(key, '')}".strip() for key, value in values.items()
        )

    agreeing = shares({key: drawn.agreeing for key, drawn in maps.items()})
    shown = shares({key: drawn.shown for key, drawn in maps.items()})
    return (
        f"{count:,} texts. Nearest neighbour with the same label: {agreeing}. Share of the "
        f"variance that the two directions show: {shown}."
    )


def _map_plots(maps: dict[str, Map], task: str, labels: list[str], numbers: list[int]) -> list[str]:
    """The maps as SVG, on one scale.

    Args:
        labels, numbers (`list` of length `num_texts`): the label of each text, and its place among
            the page's `texts`.
    """
    limit = 1.05 * max(float(np.abs(drawn.points).max()) for drawn in maps.values()) or 1.0
    plots = []
    for when, drawn in maps.items():
        groups: dict[str, list[int]] = {}

        def draw(axes, drawn=drawn, when=when, groups=groups) -> None:
            title = f"{when} training" if len(maps) > 1 else ""
            for gid, members in draw_map(axes, drawn.points, labels, title, limit):
                groups[gid] = [numbers[member] for member in members]

        description = (
            f"Map of texts by {task}, {when} training; for {100 * drawn.agreeing:.0f} % of them, "
            "the nearest neighbour has the same label."
        )
        plots.append(svg(draw, MAP_SIZE, f"map {task} {when}", description, groups))
    return plots
