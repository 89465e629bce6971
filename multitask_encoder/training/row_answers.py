"""Predictions for windows as answers for rows."""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from datasets import Dataset


class Answers(NamedTuple):
    """The labelled rows of one task, and the predicted and expected value of each: a class id, a
    list of 0 and 1 or of numbers, or the tags of its units. `labels` are the names of classes: the
    task's, then those that only this split has."""

    rows: np.ndarray
    predicted: list
    expected: list
    labels: Sequence[str] = ()


class RowWindows(NamedTuple):
    """Preprocessed windows in the order of their rows; the place of each row's first window,
    `np.ndarray` of shape `(num_rows,)`; and the windows that predict sentence tasks, as in
    `row_answers`."""

    windows: Dataset
    starts: np.ndarray
    sentence_windows: str

    def labels(self, column: str) -> np.ndarray:
        """The labels of the rows, of shape `(num_rows, ...)`."""
        return np.asarray(self.windows[column][:])[self.starts]

    def unseen(self, name: str, labels: list[str]) -> tuple[list[str], list[list[int]]]:
        """A task's labels, then those that training lacks; and for each row, the ids of its own of
        the latter."""
        column = self.windows[f"{name}.unseen"][:]
        of_rows = [column[start] for start in self.starts]
        everything = [*labels, *sorted(set(chain.from_iterable(of_rows)))]
        ids = {label: index for index, label in enumerate(everything)}
        return everything, [[ids[label] for label in row] for row in of_rows]

    def combined(self, logits: np.ndarray) -> np.ndarray:
        """Logits of the rows, from those of the windows."""
        if self.sentence_windows == "mean":
            counts = np.diff(np.append(self.starts, len(self.windows)))
            return np.add.reduceat(logits, self.starts) / counts[:, None]
        return logits[self.starts]


class RowAnswers(NamedTuple):
    """The answers of a split: data set and number of each row, `np.ndarray` of shape `(num_rows,)`,
    as in the columns `dataset` and `row`; and each task's answers, whose rows index these."""

    datasets: np.ndarray
    rows: np.ndarray
    by_task: dict[str, Answers]


def in_row_order(windows: Dataset, sentence_windows: str) -> tuple[np.ndarray, RowWindows]:
    """The order that brings the windows of each row together, and the windows in it."""
    keys = [np.asarray(windows[key][:]) for key in ("window", "row", "dataset")]
    order = np.lexsort(keys)
    _, rows, sets = (key[order] for key in keys)
    changes = (np.diff(rows) != 0) | (np.diff(sets) != 0)
    starts = np.flatnonzero(np.concatenate([[True], changes]))
    return order, RowWindows(windows.select(order), starts, sentence_windows)
