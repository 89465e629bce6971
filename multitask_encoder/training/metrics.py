"""Metrics of predictions: one `evaluate.Metric` per kind of task, computed offline.

All values are fractions in 0..1 (Spearman: -1..1).
"""

from typing import Any, NamedTuple

import evaluate
import numpy as np
from datasets import Dataset, Features, List, Value
from scipy.stats import spearmanr
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.scheme import IOB2
from sklearn.metrics import accuracy_score
from sklearn.metrics import f1_score as classification_f1_score

DESCRIPTION = "Offline metric of a multi-task encoder."


class _OfflineMetric(evaluate.Metric):
    """An `evaluate.Metric` used as an instance: `evaluate.load` would ask the Hub."""

    value: Any
    names: tuple[str, ...]

    def __init__(self, **kwargs):
        super().__init__(keep_in_memory=True, **kwargs)

    def _info(self):
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            inputs_description="One prediction and one reference per row.",
            features=Features({"predictions": self.value, "references": self.value}),
        )


class ClassificationMetric(_OfflineMetric):
    """Accuracy and macro F1 of class ids, by scikit-learn."""

    value = Value("int64")
    names = ("accuracy", "macro_f1")

    def _compute(self, predictions, references):
        return {
            "accuracy": float(accuracy_score(references, predictions)),
            "macro_f1": float(
                classification_f1_score(references, predictions, average="macro", zero_division=0)
            ),
        }


class MultiLabelMetric(ClassificationMetric):
    """Accuracy (of whole rows) and macro F1 of rows of 0 and 1, by scikit-learn."""

    value = List(Value("int64"))


class SpearmanMetric(_OfflineMetric):
    """Rank correlation, by scipy; 0 if either side is constant. With several values per row, the
    mean over the values."""

    value = List(Value("float64"))
    names = ("spearman",)

    def _compute(self, predictions, references):
        columns = zip(zip(*predictions, strict=True), zip(*references, strict=True), strict=True)
        return {"spearman": float(np.mean([self._of_one_value(*sides) for sides in columns]))}

    def _of_one_value(self, predictions, references):
        if len(set(predictions)) < 2 or len(set(references)) < 2:
            return 0.0
        return spearmanr(predictions, references).statistic


class EntityMetric(_OfflineMetric):
    """Precision, recall and F1 of whole entities, by seqeval; also F1 in its strict IOB2 mode."""

    value = List(Value("string"))
    names = ("precision", "recall", "f1", "strict_f1")

    def _compute(self, predictions, references):
        sides = (references, predictions)
        return {
            "precision": float(precision_score(*sides, zero_division=0)),
            "recall": float(recall_score(*sides, zero_division=0)),
            "f1": float(f1_score(*sides, zero_division=0)),
            "strict_f1": float(f1_score(*sides, zero_division=0, mode="strict", scheme=IOB2)),
        }


# Task type and problem type -> metric, and the value of it that counts in `score`.
METRICS: dict[str, dict[str | None, tuple[type[_OfflineMetric], str]]] = {
    "sequence_classification": {
        "single_label_classification": (ClassificationMetric, "accuracy"),
        "multi_label_classification": (MultiLabelMetric, "accuracy"),
        "regression": (SpearmanMetric, "spearman"),
    },
    "token_classification": {"single_label_classification": (EntityMetric, "f1")},
    # For pairs of texts: the cosines of their embeddings against their scores.
    "sentence_embedding": {None: (SpearmanMetric, "spearman")},
}


def is_ranked(task: dict) -> bool:
    """Whether a task's predictions are ranked, and so are neither right nor wrong."""
    metric, _ = METRICS[task["type"]][task.get("problem_type")]
    return metric is SpearmanMetric


def metric_names(tasks: dict[str, dict], datasets: dict[str, list[str]]) -> list[str]:
    """Names of the metrics of an evaluation of all tasks, without the prefix of the split.

    Args:
        tasks (`dict[str, dict]`): as in the model's config.
        datasets (`dict[str, list[str]]`): the tasks that each data set labels.
    """
    names = ["score", "exact_match", "loss"]
    of_task: dict[str, list[str]] = {}
    for name, task in tasks.items():
        metric, _ = METRICS[task["type"]][task.get("problem_type")]
        of_task[name] = [f"{name}_{value}" for value in metric.names]
        names += [f"loss_{name}", *of_task[name]]
    for dataset in datasets if len(datasets) > 1 else ():
        names += [f"{dataset}_score", f"{dataset}_exact_match"]
        for shared in datasets[dataset]:
            if _is_shared(shared, datasets):
                names += [f"{dataset}_{metric_name}" for metric_name in of_task.get(shared, ())]
    return names


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
        the mean of the tasks' main metrics, weighted like the losses. With several data sets, also
        `<dataset>_score`, `<dataset>_exact_match`, and `<dataset>_<task>_<metric>` for tasks that
        several data sets label.
    """
    answers = row_answers(predictions, windows, tasks, sentence_windows)
    return metrics_of(answers, tasks, datasets)


class Answers(NamedTuple):
    """The labelled rows of one task, and the predicted and expected value of each: a class id, a
    list of 0 and 1 or of numbers, or the tags of its units."""

    rows: np.ndarray
    predicted: list
    expected: list


class RowAnswers(NamedTuple):
    """The answers of a split: data set and number of each row, `np.ndarray` of shape `(num_rows,)`,
    as in the columns `dataset` and `row`; and each task's answers, whose rows index these."""

    datasets: np.ndarray
    rows: np.ndarray
    by_task: dict[str, Answers]


def row_answers(
    predictions: dict[str, np.ndarray],
    windows: Dataset,
    tasks: dict[str, dict],
    sentence_windows: str = "first",
) -> RowAnswers:
    """Combine predictions for windows into answers for rows; arguments as in `compute_metrics`."""
    keys = [np.asarray(windows[key][:]) for key in ("window", "row", "dataset")]
    order = np.lexsort(keys)
    windows = windows.select(order)
    _, rows, sets = (key[order] for key in keys)
    changes = (np.diff(rows) != 0) | (np.diff(sets) != 0)
    starts = np.flatnonzero(np.concatenate([[True], changes]))
    answers = {
        name: _answers(predictions[name][order], windows, starts, name, task, sentence_windows)
        for name, task in tasks.items()
        if name in predictions
    }
    return RowAnswers(sets[starts], rows[starts], answers)


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


def _is_shared(task: str, datasets: dict[str, list[str]]) -> bool:
    return sum(task in labelled for labelled in datasets.values()) > 1


def _results(answers: dict[str, Answers], tasks: dict[str, dict], counted: np.ndarray) -> dict:
    """Metrics of the rows selected by `counted`, `np.ndarray` of bool of shape `(num_rows,)`."""
    results: dict[str, float] = {}
    main: list[tuple[float, float]] = []
    right, judged = np.ones(len(counted), dtype=bool), np.zeros(len(counted), dtype=bool)
    for name, (rows, predicted, expected) in answers.items():
        chosen = np.flatnonzero(counted[rows])
        if not len(chosen):
            continue
        predicted, expected = ([side[index] for index in chosen] for side in (predicted, expected))
        task = tasks[name]
        metric, main_value = METRICS[task["type"]][task.get("problem_type")]
        values = metric().compute(predictions=predicted, references=expected)
        results |= {f"{name}_{key}": value for key, value in values.items()}
        main.append((values[main_value], task["weight"]))
        if not is_ranked(task):
            judged[rows[chosen]] = True
            right[rows[chosen]] &= [
                value == label for value, label in zip(predicted, expected, strict=True)
            ]
    if judged.any():
        results["exact_match"] = float(right[judged].mean())
    total = sum(weight for _, weight in main)
    if total > 0:
        results["score"] = sum(value * weight for value, weight in main) / total
    return results


def _answers(
    predicted: np.ndarray,
    windows: Dataset,
    starts: np.ndarray,
    name: str,
    task: dict,
    sentence_windows: str,
) -> Answers:
    """Combine a task's predictions for windows into answers for the rows starting at `starts`."""
    if task["type"] == "token_classification":
        return _token_answers(predicted, windows, starts, name, task["labels"])
    if task["type"] == "sentence_embedding":
        return _pair_answers(predicted, windows, starts, name)
    column = windows[name][:]
    labels = [column[start] for start in starts]
    if sentence_windows == "mean":
        counts = np.diff(np.append(starts, len(windows)))
        logits = np.add.reduceat(predicted, starts) / counts[:, None]
    else:
        logits = predicted[starts]
    if task["problem_type"] == "single_label_classification":
        rows = np.flatnonzero(np.asarray(labels) >= 0)
        return Answers(rows, logits.argmax(-1)[rows].tolist(), [labels[row] for row in rows])
    rows = np.flatnonzero([not np.isnan(label[0]) for label in labels])
    if task["problem_type"] == "regression":
        return Answers(rows, logits[rows].tolist(), [labels[row] for row in rows])
    return Answers(
        rows,
        (logits[rows] > 0).astype(int).tolist(),
        [[int(value) for value in labels[row]] for row in rows],
    )


def _pair_answers(
    predicted: np.ndarray, windows: Dataset, starts: np.ndarray, name: str
) -> Answers:
    """The cosines of scored pairs; empty if all scores are equal, as for positive pairs."""
    scores = np.asarray(windows[name][:], dtype=float)[starts]
    rows = np.flatnonzero(~np.isnan(scores))
    if len(set(scores[rows])) < 2:
        rows = rows[:0]
    return Answers(rows, predicted[starts][rows, None].tolist(), scores[rows, None].tolist())


def _token_answers(
    predicted: np.ndarray, windows: Dataset, starts: np.ndarray, name: str, names: list[str]
) -> Answers:
    """The tags of each row's units, from all of its windows in order."""
    tags, positions = windows[f"{name}.tags"][:], windows[f"{name}.positions"][:]
    ends = [*starts[1:], len(windows)]
    rows, predicted_tags, expected = [], [], []
    for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
        ids = [tag for window in range(start, end) for tag in tags[window]]
        if not ids or ids[0] < 0:
            continue
        rows.append(row)
        expected.append([names[tag] for tag in ids])
        # A word without tokens is predicted as `O`, and stays in the metric.
        predicted_tags.append(
            [
                names[predicted[window][position]] if position >= 0 else "O"
                for window in range(start, end)
                for position in positions[window]
            ]
        )
    return Answers(np.asarray(rows, dtype=int), predicted_tags, expected)
