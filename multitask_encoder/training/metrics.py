"""Metrics of predictions: one `evaluate.Metric` per kind of task, computed offline.

A metric also says how predictions for windows become answers for rows. `METRICS` maps each task
type and problem type to its metric; a new kind is a class and a line there. All values but errors
are fractions in 0..1 (Spearman: -1..1).
"""

import math
from itertools import pairwise
from typing import Any

import evaluate
import numpy as np
from datasets import Features, List, Value
from scipy.special import logit
from scipy.stats import spearmanr
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import IOB2
from sklearn.metrics import accuracy_score
from sklearn.metrics import f1_score as classification_f1_score

from multitask_encoder.data.task_kinds import tags_of

from .bootstrap import Estimate, rank_correlation, ratio
from .row_answers import Answers, RowWindows

# Metrics in the units of the labels; all others are fractions.
ERRORS = ("mae", "rmse")
DESCRIPTION = "Offline metric of a multi-task encoder."


class _OfflineMetric(evaluate.Metric):
    """An `evaluate.Metric` used as an instance: `evaluate.load` would ask the Hub."""

    value: Any  # the feature of an answer
    names: tuple[str, ...]
    main: str  # the name that counts in `score`
    ranked = False  # whether answers are ranked, and so are neither right nor wrong

    def __init__(self, **kwargs):
        super().__init__(keep_in_memory=True, **kwargs)

    def _info(self):
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            inputs_description="One prediction and one reference per row.",
            features=Features({"predictions": self.value, "references": self.value}),
        )

    @classmethod
    def answers(cls, predicted: np.ndarray, split: RowWindows, name: str, task: dict) -> Answers:
        """Combine a task's predictions for windows into answers for the labelled rows."""
        raise NotImplementedError

    @staticmethod
    def estimates(predicted: list, expected: list) -> dict[str, Estimate]:
        """The values that get an interval, as functions of how often each row counts."""
        return {}


class ClassificationMetric(_OfflineMetric):
    """Accuracy and macro F1 of class ids, by scikit-learn."""

    value = Value("int64")
    names = ("accuracy", "macro_f1")
    main = "accuracy"

    @classmethod
    def answers(cls, predicted, split, name, task):
        ids, logits = split.labels(name), split.combined(predicted)
        labels, unseen = split.unseen(name, task["labels"])
        for row, own in enumerate(unseen):
            if own:
                ids[row] = own[0]
        rows = np.flatnonzero(ids >= 0)
        return Answers(rows, logits[rows].argmax(-1).tolist(), ids[rows].tolist(), labels)

    @staticmethod
    def estimates(predicted, expected):
        return {"accuracy": ratio(is_right(predicted, expected), np.ones(len(expected)))}

    def _compute(self, predictions, references):
        return {
            "accuracy": float(accuracy_score(references, predictions)),
            "macro_f1": float(
                classification_f1_score(references, predictions, average="macro", zero_division=0)
            ),
        }


def is_right(predicted: list, expected: list) -> np.ndarray:
    """Whether each prediction is what is expected, of shape `(num_rows,)`."""
    pairs = zip(predicted, expected, strict=True)
    return np.array([value == label for value, label in pairs], dtype=bool)


class MultiLabelMetric(ClassificationMetric):
    """Accuracy (of whole rows) and macro F1 of rows of 0 and 1, by scikit-learn. Labels are those
    above the thresholds that the model has for F1, or 0.5."""

    value = List(Value("int64"))

    @classmethod
    def answers(cls, predicted, split, name, task):
        known, logits = split.labels(name), split.combined(predicted)
        labels, unseen = split.unseen(name, task["labels"])
        more = ((0, 0), (0, len(labels) - known.shape[1]))
        limits = [task.get("thresholds", {}).get("f1", {}).get(one, 0.5) for one in task["labels"]]
        expected, chosen = np.pad(known, more), np.pad(logits > logit(limits), more)
        for row, own in enumerate(unseen):
            expected[row, own] = 1
        rows = np.flatnonzero(~np.isnan(known[:, 0]))
        return Answers(
            rows, chosen[rows].astype(int).tolist(), expected[rows].astype(int).tolist(), labels
        )


class RegressionMetric(_OfflineMetric):
    """Rank correlation, by scipy, NaN if either side is constant; and the mean absolute and root
    mean squared error, in the units of the labels. With several values per row, each is the mean
    over the values."""

    value = List(Value("float64"))
    names: tuple[str, ...] = ("spearman", *ERRORS)
    main = "spearman"
    ranked = True

    @classmethod
    def answers(cls, predicted, split, name, task):
        labels, logits = split.labels(name), split.combined(predicted)
        rows = np.flatnonzero(~np.isnan(labels[:, 0]))
        return Answers(rows, logits[rows].tolist(), labels[rows].tolist())

    @staticmethod
    def estimates(predicted, expected):
        sides = zip(np.transpose(predicted), np.transpose(expected), strict=True)
        columns = [rank_correlation(*side) for side in sides]
        return {"spearman": lambda weights: float(np.mean([of(weights) for of in columns]))}

    def _compute(self, predictions, references):
        predicted, expected = (np.asarray(side, dtype=float) for side in (predictions, references))
        errors = predicted - expected
        columns = zip(predicted.T, expected.T, strict=True)
        return {
            "spearman": float(np.mean([_spearman(*sides) for sides in columns])),
            "mae": float(np.abs(errors).mean()),
            "rmse": float(np.sqrt((errors**2).mean(0)).mean()),
        }


def _spearman(predicted: np.ndarray, expected: np.ndarray) -> float:
    if len(set(predicted)) < 2 or len(set(expected)) < 2:
        return math.nan
    return spearmanr(predicted, expected).statistic


class PairMetric(RegressionMetric):
    """Rank correlation of the cosines of pairs with their scores, whose units differ."""

    names = ("spearman",)

    @classmethod
    def answers(cls, predicted, split, name, task):
        scores, cosines = split.labels(name), predicted[split.starts]
        rows = np.flatnonzero(~np.isnan(scores))
        if len(set(scores[rows])) < 2:  # all equal, as for positive pairs
            rows = rows[:0]
        return Answers(rows, cosines[rows, None].tolist(), scores[rows, None].tolist())

    def _compute(self, predictions, references):
        return {"spearman": super()._compute(predictions, references)["spearman"]}


class EntityMetric(_OfflineMetric):
    """Precision, recall and F1 of whole entities, by seqeval; also F1 in its strict IOB2 mode."""

    value = List(Value("string"))
    names = ("precision", "recall", "f1", "strict_f1")
    main = "f1"

    @classmethod
    def answers(cls, predicted, split, name, task):
        names, count = task["labels"], len(split.windows)
        tags, positions, unseen = (
            split.windows[f"{name}.{key}"][:] for key in ("tags", "positions", "unseen")
        )
        rows, predicted_tags, expected = [], [], []
        for row, (start, end) in enumerate(pairwise([*split.starts, count])):
            ids = [tag for window in range(start, end) for tag in tags[window]]
            if not ids or max(ids) < 0:
                continue
            rows.append(row)
            known = [*names, *tags_of(unseen[start])]
            # A word without a label is `O` on both sides.
            expected.append([known[tag] if tag >= 0 else "O" for tag in ids])
            # A word without tokens is predicted as `O`, and stays in the metric.
            predicted_tags.append(
                [
                    names[predicted[window][position]] if position >= 0 <= tag else "O"
                    for window in range(start, end)
                    for tag, position in zip(tags[window], positions[window], strict=True)
                ]
            )
        return Answers(np.asarray(rows, dtype=int), predicted_tags, expected)

    @staticmethod
    def estimates(predicted, expected):
        counts = map(_count_entities, predicted, expected)
        right, guessed, true = np.array(list(counts)).T
        return {"f1": ratio(2 * right, guessed + true)}

    def _compute(self, predictions, references):
        sides = (references, predictions)
        return {
            "precision": float(precision_score(*sides, zero_division=0)),
            "recall": float(recall_score(*sides, zero_division=0)),
            "f1": float(f1_score(*sides, zero_division=0)),
            "strict_f1": float(f1_score(*sides, zero_division=0, mode="strict", scheme=IOB2)),
        }


def _count_entities(predicted: list[str], expected: list[str]) -> tuple[int, int, int]:
    """A row's right, predicted and expected entities, as seqeval's default mode reads the tags."""
    guessed, true = (set(get_entities(tags)) for tags in (predicted, expected))
    return len(guessed & true), len(guessed), len(true)


METRICS: dict[str, dict[str | None, type[_OfflineMetric]]] = {
    "sequence_classification": {
        "single_label_classification": ClassificationMetric,
        "multi_label_classification": MultiLabelMetric,
        "regression": RegressionMetric,
    },
    "token_classification": {"single_label_classification": EntityMetric},
    "sentence_embedding": {None: PairMetric},
}


def metric_of(task: dict) -> type[_OfflineMetric]:
    """The metric of a task with `type` and, where it is set, `problem_type`."""
    return METRICS[task["type"]][task.get("problem_type")]


def metric_names(tasks: dict[str, dict], datasets: dict[str, list[str]]) -> list[str]:
    """Names of the metrics of an evaluation of all tasks, without the prefix of the split.

    Args:
        tasks (`dict[str, dict]`): as in the model's config.
        datasets (`dict[str, list[str]]`): the tasks that each data set labels.
    """
    names = ["score", "exact_match", "loss"]
    of_task: dict[str, list[str]] = {}
    for name, task in tasks.items():
        of_task[name] = [f"{name}_{value}" for value in metric_of(task).names]
        names += [f"loss_{name}", *of_task[name]]
    for dataset in datasets if len(datasets) > 1 else ():
        names += [f"{dataset}_score", f"{dataset}_exact_match"]
        for shared in datasets[dataset]:
            if _is_shared(shared, datasets):
                names += [f"{dataset}_{metric_name}" for metric_name in of_task.get(shared, ())]
    return names


def is_error(key: str) -> bool:
    """Whether a metric is an error, in the units of the labels: lower is better."""
    return key.rpartition("_")[2] in ERRORS


def is_share(key: str) -> bool:
    """Whether a metric, without the prefix of its split, is shown in percent: no error or loss."""
    return not key.startswith("loss") and not is_error(key)


def task_of_metric(key: str, tasks: dict[str, dict]) -> str | None:
    """The task that a metric, named without the prefix of its split, is of; None for a loss, and
    for a metric of all tasks or of a data set."""
    for name, task in tasks.items():
        if key in (f"{name}_{value}" for value in metric_of(task).names):
            return name
    return None


def _is_shared(task: str, datasets: dict[str, list[str]]) -> bool:
    return sum(task in labelled for labelled in datasets.values()) > 1
