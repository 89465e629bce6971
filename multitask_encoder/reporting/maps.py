"""Maps of texts, before and after training: sentence embeddings in two dimensions, and how often
neighbours share a label.

Two dimensions show only a part of several hundred. So each map comes with a number that needs no
projection: the share of texts whose nearest text has the same label.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from datasets import Dataset
from sklearn.decomposition import PCA
from transformers import PreTrainedTokenizerBase

from multitask_encoder.data.preprocessing import text_and_words
from multitask_encoder.modeling import MultiTaskModel
from multitask_encoder.training.retention import embed

from .confusions import is_single_label
from .figures import draw_map, svg
from .report_page import clipped

MOST_TEXTS = 500  # on one map
MAP_SIZE = (4.4, 4.9)


class Map(NamedTuple):
    """Texts on a map.

    Args:
        points (`np.ndarray` of shape `(num_texts, 2)`): along the two directions in which these
            unit vectors differ most. Other vectors have other directions, on the same scale.
        shown (`float`): the share of the vectors' variance in those two directions, 0..1.
        agreeing (`float`): the share of texts, 0..1, whose nearest other text (by cosine, in all
            dimensions) has the same label.
    """

    points: np.ndarray
    shown: float
    agreeing: float


def mapped_windows(windows: Dataset, tasks: dict[str, dict]) -> dict[str, np.ndarray]:
    """The preprocessed rows on the map of each single-label task: up to `MOST_TEXTS` labelled rows,
    drawn at random; the same at every call and, if labelled, for every task."""
    order = np.random.default_rng(0).permutation(len(windows))
    chosen = {}
    for name, task in tasks.items():
        if not is_single_label(task):
            continue
        labels = np.asarray(windows[name][:])  # of a row's first window; absent in the others
        places = np.sort(order[labels[order] >= 0][:MOST_TEXTS])
        if len(places) > 2:
            chosen[name] = places
    return chosen


def embed_mapped(
    windows: Dataset, model: MultiTaskModel, tokenizer: PreTrainedTokenizerBase
) -> dict[int, np.ndarray]:
    """The unit vector, of shape `(hidden_size,)`, of each row on any map, by its place."""
    chosen = mapped_windows(windows, model.config.tasks)
    places = sorted({int(place) for places in chosen.values() for place in places})
    if not places:
        return {}
    vectors = embed(windows[places]["input_ids"], model.eval(), tokenizer.pad_token_id)
    return dict(zip(places, vectors.to(torch.float64).numpy(), strict=True))


def make_map(vectors: np.ndarray, labels: np.ndarray) -> Map:
    """Project texts to two dimensions.

    Args:
        vectors (`np.ndarray` of shape `(num_texts, hidden_size)`): three or more unit vectors.
        labels (`np.ndarray` of shape `(num_texts,)`): class ids.
    """
    if not np.ptp(vectors, axis=0).any():  # all alike: no direction in which they differ
        return Map(np.zeros((len(vectors), 2)), 1.0, _agreeing(vectors, labels))
    projection = PCA(n_components=2, svd_solver="full").fit(vectors)
    shown = float(projection.explained_variance_ratio_.sum())
    return Map(projection.transform(vectors), shown, _agreeing(vectors, labels))


def _agreeing(vectors: np.ndarray, labels: np.ndarray) -> float:
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -np.inf)
    return float((labels[cosines.argmax(1)] == labels).mean())


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
