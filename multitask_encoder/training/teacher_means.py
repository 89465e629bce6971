"""The mean of what several teachers say of a text, in the labels of the run's task.

A teacher's words are matched to those of others by their first characters; a word that begins where
a teacher has none gets nothing from it.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np

from multitask_encoder.data.soft_labels import Taught

from .teachers import Answer, Teacher

LEAST_KNOWN = 0.5  # of a class's probabilities, without those that label_map drops


def mean_answers(
    teachers: list[Teacher], task: dict, taught: Taught, answers: list[list[Answer]]
) -> Iterator[Answer]:
    """Per text the ranges of its units and what its teachers say of each, one column per known
    label: the mean over the teachers that have the unit and know the label. Where they
    cut a text differently, units end where the next begins."""
    carried = [_carrying(teacher, task, taught) for teacher in teachers]
    for of_teachers in zip(*answers, strict=True):
        ends: dict[int, int] = {}
        sums: dict[int, np.ndarray] = {}
        counts: dict[int, np.ndarray] = {}
        for (ranges, values), (carry, known) in zip(of_teachers, carried, strict=True):
            for (start, end), value in zip(ranges, carry(values), strict=True):
                if np.isnan(value[known]).any():
                    continue
                ends.setdefault(start, end)
                sums.setdefault(start, np.zeros(len(taught.known)))[known] += value[known]
                counts.setdefault(start, np.zeros(len(taught.known)))[known] += 1
        starts = sorted(sums)
        means = np.array([sums[start] / counts[start].clip(min=1) for start in starts])
        means = means.reshape(-1, len(taught.known))
        if taught.of_classes:
            means = means / means.sum(1, keepdims=True).clip(min=1e-9)
        nexts = [*starts[1:], math.inf]
        ranges = [(one, int(min(ends[one], nexts[i]))) for i, one in enumerate(starts)]
        yield ranges, means


def _carrying(
    teacher: Teacher, task: dict, taught: Taught
) -> tuple[Callable[[np.ndarray], np.ndarray], np.ndarray]:
    """A function from a teacher's answers, of shape `(num_units, its_labels)`, to the task's, of
    shape `(num_units, known)`, and which of these the teacher knows. Labels of one new name are
    added up (of several labels, the largest counts); where the dropped classes together are
    likelier than the rest, the teacher says nothing: NaN."""
    size = len(taught.known)
    column_of = {task["labels"][index]: column for column, index in enumerate(taught.known)}
    places = np.array([column_of.get(label, -1) for label in teacher.labels])
    kept = np.flatnonzero(places >= 0)
    known = np.bincount(places[kept], minlength=size) > 0

    def carry(values: np.ndarray) -> np.ndarray:
        found = np.zeros((len(values), size))
        if task["problem_type"] == "regression":
            found[:, places] = values
            return found
        if taught.of_classes:
            np.add.at(found.T, places[kept], values[:, kept].T)
            rest = found.sum(1, keepdims=True)
            return np.where(rest < LEAST_KNOWN, np.nan, found / rest.clip(min=LEAST_KNOWN))
        np.maximum.at(found.T, places[kept], values[:, kept].T)
        return found

    return carry, known
