"""Soft labels: what a teacher says of a text, in place of one label or beside it.

A loaded row has them in two columns per task, made of the `k` likeliest labels of each unit:

| column | content |
|---|---|
| `<task>.soft` | `k` probabilities per unit; of several labels or numbers, one value per label |
| `<task>.soft_ids` | their indices in the task's labels, in the same order |
| `<task>.soft_starts` | of token tasks: the first character of each unit |

A unit is a word or a token; a sentence has one. The rest of a unit's probability is spread evenly
over the other labels that the teacher knows; a sentence may have more labels than these, of
probability 0. Preprocessed rows have `<task>.soft_places`, the position of each unit's first token,
in place of its first character. Rows without soft labels have empty lists.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from datasets import List, Value

from .label_alignment import IGNORE_INDEX, UNSEEN

LIKELIEST = 8  # labels that are kept of a unit
UNKNOWN = -1.0  # of a label that the teacher doesn't know


def soft_features(name: str, by_token: bool, loaded: bool, numeric: bool = False) -> dict:
    """The columns of a task's soft labels, in loaded or in preprocessed rows. Numbers are of any
    size, probabilities are not."""
    values = Value("float32" if numeric else "float16")
    features = {f"{name}.soft": List(values), f"{name}.soft_ids": List(Value("int32"))}
    if by_token:
        features[f"{name}.soft_{'starts' if loaded else 'places'}"] = List(Value("int32"))
    return features


def likeliest(
    probabilities: np.ndarray, known: Sequence[int], impossible: Sequence[int] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """The largest of each unit's probabilities, and the labels that they are of, both of shape
    `(num_units, k)`; after them the impossible labels, of probability 0.

    Args:
        probabilities (`np.ndarray` of shape `(num_units, len(known))`): each row sums to 1.
        known (`Sequence[int]`): the label of each column.
        impossible (`Sequence[int]`): labels that the teacher doesn't know; of sentences only.
    """
    k = min(LIKELIEST, probabilities.shape[1])
    best = np.argpartition(-probabilities, k - 1, axis=1)[:, :k]
    values = np.take_along_axis(probabilities, best, 1)
    labels = np.asarray(known, dtype=np.int32)[best]
    if len(impossible):
        values = np.pad(values, [(0, 0), (0, len(impossible))])
        labels = np.hstack(
            [labels, np.tile(np.asarray(impossible, dtype=np.int32), (len(labels), 1))]
        )
    return values, labels


@dataclass(frozen=True)
class Taught:
    """A task as its teacher knows it.

    Args:
        known (`list[int]`): the labels that the teacher knows, as indices into the task's.
        size (`int`): the number of the task's labels.
        by_token (`bool`): whether tokens are labelled.
        of_classes (`bool`): whether a unit has one label, with probabilities that sum to 1.
        none (`int`, *optional*): the label that says "none of these", `O` of a token task.
        new_only (`bool`): whether the rows say nothing of the labels that the teacher knows: where
            they leave these out, its word counts.
    """

    known: list[int]
    size: int
    by_token: bool
    of_classes: bool
    none: int | None = None
    new_only: bool = False

    def batch(self, name: str, rows: list[dict], longest: int) -> torch.Tensor:
        """The soft labels of a batch whose longest row has `longest` tokens: of shape `(num_rows,
        size)` or `(num_rows, longest, size)`, NaN where absent, `UNKNOWN` for labels that the
        teacher lacks."""
        shape = (len(rows), longest, self.size) if self.by_token else (len(rows), self.size)
        dense = np.full(shape, np.nan, dtype=np.float32)
        for index, row in enumerate(rows):
            if len(row[f"{name}.soft"]):
                place = row[f"{name}.soft_places"] if self.by_token else slice(None)
                dense[index, place] = self._spread(row[f"{name}.soft"], row[f"{name}.soft_ids"])
        return torch.from_numpy(dense)

    def _spread(self, values: list[float], ids: list[int]) -> np.ndarray:
        if not self.of_classes:
            dense = np.full((1, self.size), np.nan, dtype=np.float32)
            dense[0, ids] = values
            return dense
        kept = min(LIKELIEST, len(self.known))
        k = kept if self.by_token else len(ids)
        largest = np.asarray(values, dtype=np.float32).reshape(-1, k)
        dense = np.full((len(largest), self.size), UNKNOWN, dtype=np.float32)
        rest = np.clip(1 - largest.sum(1, keepdims=True), 0, None)
        dense[:, self.known] = rest / max(len(self.known) - kept, 1)
        np.put_along_axis(dense, np.asarray(ids, dtype=np.int64).reshape(-1, k), largest, 1)
        return dense


class SoftUnits:
    """The soft labels of a loaded row for one task."""

    def __init__(self, name: str, row: dict):
        self.name, self.values, self.ids = name, row[f"{name}.soft"], row[f"{name}.soft_ids"]
        starts = row.get(f"{name}.soft_starts")
        self.by_start = None if starts is None else {start: i for i, start in enumerate(starts)}
        self.each = len(self.values) // len(starts) if starts else 0

    def of_window(self, label, window, tokenized, is_first: bool) -> dict:
        """The columns of one window: of a token task, the soft labels of the units that begin
        there; of a sentence, those of the text in the first."""
        values, ids, places = [], [], []
        if self.by_start is None:
            values, ids = (self.values, self.ids) if is_first else ([], [])
            return {f"{self.name}.soft": values, f"{self.name}.soft_ids": ids}
        for start, place in label.places_in(window, tokenized).items():
            if start in self.by_start:
                unit = slice(*(self.each * (self.by_start[start] + more) for more in (0, 1)))
                values, ids = values + self.values[unit], ids + self.ids[unit]
                places.append(place)
        columns = {"soft": values, "soft_ids": ids, "soft_places": places}
        return {f"{self.name}.{key}": column for key, column in columns.items()}


def beside_labels(
    targets: torch.Tensor, labels: torch.Tensor, taught: Taught
) -> tuple[torch.Tensor, torch.Tensor]:
    """Soft labels that agree with the labels beside them, and these labels.

    A teacher that lacks some labels says nothing of them, unless the row's own label is one that it
    knows: then they are impossible. Where only a teacher labels a unit, its label is `UNSEEN`.

    Args:
        targets (`torch.FloatTensor` of shape `(..., num_labels)`): from `Taught.batch`.
        labels (`torch.LongTensor` of shape `(...)`): class ids, negative where absent; or floats.
    """
    if not taught.of_classes:
        if taught.new_only:
            labels = torch.where(targets.isnan(), labels, torch.nan)
        return targets, labels
    there = ~targets[..., 0].isnan()
    of_label = targets.gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    agrees = there & (labels >= 0) & (of_label >= 0)
    targets = torch.where(agrees.unsqueeze(-1), targets.clamp(min=0), targets)
    if taught.new_only and taught.none is not None:
        labels = torch.where(agrees & (labels == taught.none), UNSEEN, labels)
    return targets, torch.where(there & (labels == IGNORE_INDEX), UNSEEN, labels)
