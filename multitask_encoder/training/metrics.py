"""Metrics of predictions: one `evaluate.Metric` per kind of task, computed offline.

A metric also says how predictions for windows become answers for rows. `METRICS` maps each task
type and problem type to its metric; a new kind is a class and a line there. All values but errors
are fractions in 0..1 (Spearman: -1..1).
"""

import math
from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Any, NamedTuple

import evaluate
import numpy as np
from datasets import Dataset, Features, List, Value
from scipy.special import logit
from scipy.stats import spearmanr
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import IOB2
from sklearn.metrics import accuracy_score
from sklearn.metrics import f1_score as classification_f1_score

from multitask_encoder.data.task_kinds import tags_of

from .bootstrap import Estimate, rank_correlation, ratio

# Metrics in the units of the labels; all others are fractions.
ERRORS = ("mae", "rmse")
DESCRIPTION = "Offline metric of a multi-task encoder."


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
    `compute_metrics`."""

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
        return {"accuracy": ratio(_right(predicted, expected), np.ones(len(expected)))}

    def _compute(self, predictions, references):
        return {
            "accuracy": float(accuracy_score(references, predictions)),
            "macro_f1": float(
                classification_f1_score(references, predictions, average="macro", zero_division=0)
            ),
        }


def _right(predicted: list, expected: list) -> np.ndarray:
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


def compute_metrics(
    predictions: dict[str, np.ndarray],
    windows: Dataset,
    tasks: dict[str, dict],
    sentence_windows: str = "first",
    datasets: dict[str, list[str]] | None = None,
) -> dict[str, float]:
    """All metrics of a split.

    Args:
        predictions (`dict[str, np.ndarray]`): per task `(num_windows, num_labels)` logits,
            `(num_windows, longest)` token label ids or `(num_windows,)` cosines of pairs, in the
            order of `windows`.
        windows (`Dataset`): preprocessed rows, in any order.
        tasks (`dict[str, dict]`): as in the model's config.
        sentence_windows (`str`): windows that predict sentence tasks: `first`, or the `mean` of
            all.
        datasets (`dict[str, list[str]]`, *optional*): the data sets that the column `dataset`
            numbers, in order, and the tasks that each labels.

    Returns:
        `dict[str, float]`: `<task>_<metric>` for tasks with labels in this split; `exact_match`:
        the share of rows with every labelled task right, except regression and embeddings; `score`:
        the mean of the tasks' main metrics, by `score_weight`. With several data sets, also
        `<dataset>_score`, `<dataset>_exact_match`, and `<dataset>_<task>_<metric>` for tasks that
        several data sets label.
    """
    answers = row_answers(predictions, windows, tasks, sentence_windows)
    return metrics_of(answers, tasks, datasets)


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


def row_answers(
    predictions: dict[str, np.ndarray],
    windows: Dataset,
    tasks: dict[str, dict],
    sentence_windows: str = "first",
) -> RowAnswers:
    """Combine predictions for windows into answers for rows; arguments as in `compute_metrics`."""
    order, split = in_row_order(windows, sentence_windows)
    rows, sets = (split.labels(key) for key in ("row", "dataset"))
    answers = {
        name: metric_of(task).answers(predictions[name][order], split, name, task)
        for name, task in tasks.items()
        if name in predictions
    }
    return RowAnswers(sets, rows, answers)


def metrics_of(
    answers: RowAnswers, tasks: dict[str, dict], datasets: dict[str, list[str]] | None = None
) -> dict[str, float]:
    """Like `compute_metrics`, from the result of `row_answers`."""
    results = _results(answers.by_task, tasks, np.ones(len(answers.rows), dtype=bool))
    datasets = datasets or {}
    known = metric_names(tasks, datasets)
    for number, dataset in enumerate(datasets if len(datasets) > 1 else ()):
        for key, value in _results(answers.by_task, tasks, answers.datasets == number).items():
            if f"{dataset}_{key}" in known:
                results[f"{dataset}_{key}"] = value
    return results


def judged_rows(
    answers: dict[str, Answers], tasks: dict[str, dict]
) -> tuple[np.ndarray, np.ndarray]:
    """The rows with an answer that is right or wrong, in order, and whether all such answers of
    each are right; both `np.ndarray` of shape `(num_judged,)`."""
    judged = [of for name, of in answers.items() if not metric_of(tasks[name]).ranked]
    rows = np.concatenate([np.empty(0, dtype=int), *(of.rows for of in judged)])
    wrong = np.concatenate([np.empty(0), *(~_right(of.predicted, of.expected) for of in judged)])
    rows, places = np.unique(rows, return_inverse=True)
    return rows, np.bincount(places, wrong, len(rows)) == 0


def _is_shared(task: str, datasets: dict[str, list[str]]) -> bool:
    return sum(task in labelled for labelled in datasets.values()) > 1


def _results(answers: dict[str, Answers], tasks: dict[str, dict], counted: np.ndarray) -> dict:
    """Metrics of the rows selected by `counted`, `np.ndarray` of bool of shape `(num_rows,)`."""
    results: dict[str, float] = {}
    main: list[tuple[float, float]] = []
    for name, (rows, predicted, expected, _) in answers.items():
        chosen = np.flatnonzero(counted[rows])
        if not len(chosen):
            continue
        predicted, expected = ([side[index] for index in chosen] for side in (predicted, expected))
        metric = metric_of(tasks[name])
        values = metric().compute(predictions=predicted, references=expected)
        results |= {f"{name}_{key}": value for key, value in values.items()}
        # An undefined correlation says nothing, and counts as none.
        value = values[metric.main] if math.isfinite(values[metric.main]) else 0.0
        main.append((value, tasks[name]["score_weight"]))
    judged, right = judged_rows(answers, tasks)
    if counted[judged].any():
        results["exact_match"] = float(right[counted[judged]].mean())
    total = sum(weight for _, weight in main)
    if total > 0:
        results["score"] = sum(value * weight for value, weight in main) / total
    return results
