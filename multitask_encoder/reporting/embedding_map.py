"""Sentence embeddings in two dimensions, and how often neighbours share a label.

Two dimensions show only a part of several hundred. So each map comes with a number that needs no
projection: the share of texts whose nearest text has the same label.
"""

from typing import NamedTuple

import numpy as np
import torch
from datasets import Dataset
from sklearn.decomposition import PCA
from transformers import PreTrainedTokenizerBase

from multitask_encoder.modeling import MultiTaskModel
from multitask_encoder.training.retention import embed

from .confusions import is_single_label

MOST_TEXTS = 500  # on one map


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
