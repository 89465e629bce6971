"""How good the answers are: one `evaluate.Metric` per kind of task, computed offline.

All values are fractions in 0..1 (Spearman: -1..1).
"""

from typing import Any

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
    """Rank correlation, by scipy; 0 where either side is constant."""

    value = Value("float64")
    names = ("spearman",)

    def _compute(self, predictions, references):
        if len(set(predictions)) < 2 or len(set(references)) < 2:
            return {"spearman": 0.0}
        return {"spearman": float(spearmanr(predictions, references).statistic)}


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


# Task type and problem type -> metric, and which of its values counts in `score`.
METRICS: dict[str, dict[str, tuple[type[_OfflineMetric], str]] | None] = {
    "sequence_classification": {
        "single_label_classification": (ClassificationMetric, "accuracy"),
        "multi_label_classification": (MultiLabelMetric, "accuracy"),
        "regression": (SpearmanMetric, "spearman"),
    },
    "token_classification": {"single_label_classification": (EntityMetric, "f1")},
    "sentence_embedding": None,
}


def metric_names(tasks: dict[str, dict]) -> list[str]:
    """What an evaluation of all tasks gives, without the prefix of the split."""
    names = ["score", "exact_match", "loss"]
    for name, task in tasks.items():
        known = METRICS[task["type"]]
        if known is not None:
            metric, _ = known[task["problem_type"]]
            names += [f"loss_{name}", *(f"{name}_{one}" for one in metric.names)]
    return names


def compute_metrics(
    predictions: dict[str, np.ndarray], rows: Dataset, tasks: dict[str, dict]
) -> dict[str, float]:
    """All metrics of a data set.

    Args:
        predictions (`dict[str, np.ndarray]`): per task `(num_rows,)` class ids, `(num_rows,
            num_labels)` logits or values, or `(num_rows, longest)` token label ids, in the order
            of `rows`.
        rows (`Dataset`): preprocessed rows.
        tasks (`dict[str, dict]`): as in the model's config.

    Returns:
        `dict[str, float]`: `<task>_<metric>` for tasks that have labels here; `exact_match`: the
        share of rows with every labelled task right, regression left out; `score`: the mean of
        each task's main metric, weighted as the losses are.
    """
    results: dict[str, float] = {}
    main: list[tuple[float, float]] = []
    right = np.ones(len(rows), dtype=bool)
    judged = np.zeros(len(rows), dtype=bool)
    for name, task in tasks.items():
        known = METRICS[task["type"]]
        if known is None:
            continue
        metric, main_value = known[task["problem_type"]]
        labelled, predicted, expected = _pairs(predictions[name], rows, name, task)
        if not labelled:
            continue
        values = metric().compute(predictions=predicted, references=expected)
        results |= {f"{name}_{key}": value for key, value in values.items()}
        main.append((values[main_value], task["weight"]))
        if task["problem_type"] != "regression":
            judged[labelled] = True
            right[labelled] &= [
                one == other for one, other in zip(predicted, expected, strict=True)
            ]
    if judged.any():
        results["exact_match"] = float(right[judged].mean())
    weight = sum(one for _, one in main)
    if weight > 0:
        results["score"] = sum(value * one for value, one in main) / weight
    return results


def _pairs(predicted: np.ndarray, rows: Dataset, name: str, task: dict) -> tuple[list, list, list]:
    """Indices of the labelled rows; and for each what was predicted and what was expected."""
    labels = rows[name][:]
    found: list
    if task["type"] == "token_classification":
        tags, positions = rows[f"{name}_tags"][:], rows[f"{name}_positions"][:]
        labelled = [index for index, row in enumerate(tags) if row and row[0] >= 0]
        names = task["labels"]
        expected = [[names[tag] for tag in tags[index]] for index in labelled]
        # A word that yields no token is predicted `O`, and stays in the metric.
        found = [
            [names[predicted[index][at]] if at >= 0 else "O" for at in positions[index]]
            for index in labelled
        ]
        return labelled, found, expected
    if task["problem_type"] == "single_label_classification":
        labelled = [index for index, label in enumerate(labels) if label >= 0]
        found = [int(predicted[index]) for index in labelled]
        return labelled, found, [labels[index] for index in labelled]
    labelled = [index for index, label in enumerate(labels) if not np.isnan(label[0])]
    if task["problem_type"] == "regression":
        found = [float(predicted[index][0]) for index in labelled]
        return labelled, found, [labels[index][0] for index in labelled]
    found = [[int(value > 0) for value in predicted[index]] for index in labelled]
    return labelled, found, [[int(value) for value in labels[index]] for index in labelled]
