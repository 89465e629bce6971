"""Mistakes in sentence labels: which labels are confused, and in which sentences."""

from collections import defaultdict
from typing import Any

import numpy as np

from multitask_encoder.data.task_kinds import MultiLabel, SingleLabel, kind_of
from multitask_encoder.training.row_answers import Answers

from .examples import SHOWN, Examples
from .report_page import confusion_plot, most_confused

MOST_CONFUSIONS = 10  # pairs of labels with sentences
MOST_ROWS = 60  # labels in a table
PER_LABEL = ["label", "precision", "recall", "F1", "right", "missed", "spurious"]


def is_single_label(task: dict) -> bool:
    """Whether a task gives each sentence exactly one label."""
    return type(kind_of(task)) is SingleLabel


def confusion_of(answers: Answers, labels: list[str]) -> np.ndarray:
    """How often each label was predicted where each was expected: `np.ndarray` of int of shape
    `(num_labels, num_labels)`, expected labels down."""
    counts = np.zeros((len(labels), len(labels)), dtype=int)
    np.add.at(counts, (np.asarray(answers.expected), np.asarray(answers.predicted)), 1)
    return counts


def confusion_matrices(
    tasks: dict[str, dict], by_task: dict[str, Answers]
) -> dict[str, np.ndarray]:
    """The matrix of each single-label task with answers, see `confusion_of`."""
    return {
        name: confusion_of(by_task[name], task["labels"])
        for name, task in tasks.items()
        if name in by_task and is_single_label(task)
    }


def sentence_section(
    tasks: dict[str, dict],
    by_task: dict[str, Answers],
    matrices: dict[str, np.ndarray],
    examples: Examples,
) -> list[dict]:
    """The page's section on labels of sentences, an entry per task."""
    section = []
    for name, task in tasks.items():
        if name in matrices:
            entry = _confusions(name, task["labels"], matrices[name], by_task[name], examples)
            section.append(entry)
        elif name in by_task and type(kind_of(task)) is MultiLabel:
            section.append(_label_counts(name, task["labels"], by_task[name]))
    return section


def _confusions(
    name: str, labels: list[str], counts: np.ndarray, answers: Answers, examples: Examples
) -> dict[str, Any]:
    wrong = int(counts.sum() - np.trace(counts))
    says = f"{wrong:,} of {counts.sum():,} sentences have a wrong label."
    chosen = len(most_confused(counts))
    if chosen < len(labels):
        says += f" The {chosen} of {len(labels)} labels with the most mistakes are shown."
    confused: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row, predicted, expected in zip(*answers[:3], strict=True):
        if expected != predicted:
            confused[expected, predicted].append(row)
    most_frequent = sorted(confused.items(), key=lambda item: -len(item[1]))[:MOST_CONFUSIONS]
    groups = [
        {
            "title": f"{labels[expected]} mistaken for {labels[predicted]}",
            "count": len(rows),
            "examples": [examples.example(row, [], "") for row in rows[:SHOWN]],
        }
        for (expected, predicted), rows in most_frequent
    ]
    if len(confused) > len(groups):
        says += f" Below are the {len(groups)} most frequent of {len(confused)} confusions."
    in_words = " ".join([says, *(f"{group['title']}: {group['count']}." for group in groups)])
    return {
        "title": name,
        "says": says,
        "header": PER_LABEL,
        "rows": _per_label(labels, *_counts_of(counts)),
        "plot": confusion_plot(name, counts, labels, in_words),
        "mistakes": groups,
    }


def _label_counts(name: str, labels: list[str], answers: Answers) -> dict[str, Any]:
    """How often each label of a multi-label task was right, missed or spurious."""
    expected, predicted = (
        np.asarray(side, dtype=bool) for side in (answers.expected, answers.predicted)
    )
    right = (expected & predicted).sum(0)
    missed = (expected & ~predicted).sum(0)
    spurious = (~expected & predicted).sum(0)
    wrong = int((expected != predicted).any(1).sum())
    return {
        "title": name,
        "says": f"{wrong:,} of {len(expected):,} sentences have a missing or an extra label.",
        "plot": None,
        "header": PER_LABEL,
        "rows": _per_label(labels, right, missed, spurious),
        "mistakes": [],
    }


def _counts_of(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How often each label of a confusion matrix was right, missed, and predicted in vain."""
    right = np.diag(matrix)
    return right, matrix.sum(1) - right, matrix.sum(0) - right


def _per_label(
    labels: list[str], right: np.ndarray, missed: np.ndarray, spurious: np.ndarray
) -> list[list]:
    """A row per label, those with the most mistakes if there are very many. Precision and recall
    are in percent, and a dash where nothing was predicted or expected."""
    shown = np.arange(len(labels))
    if len(labels) > MOST_ROWS:
        shown = np.sort(np.argsort(-(missed + spurious), kind="stable")[:MOST_ROWS])
    return [
        [
            labels[index],
            _percent(right[index], right[index] + spurious[index]),
            _percent(right[index], right[index] + missed[index]),
            _percent(2 * right[index], 2 * right[index] + missed[index] + spurious[index]),
            *(f"{counts[index]:,}" for counts in (right, missed, spurious)),
        ]
        for index in shown
    ]


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}" if whole else "–"
