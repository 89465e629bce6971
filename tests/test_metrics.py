"""Metrics: equal to seqeval and scikit-learn on literal rows, and honest about what is missing."""

import math

import numpy as np
import pytest
from datasets import Dataset
from seqeval.metrics import f1_score

from training.metrics import EntityMetric, compute_metrics

NAN = math.nan
TAGS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]


def task(kind: str, labels: list[str], problem: str = "single_label_classification", weight=1.0):
    return {"type": kind, "labels": labels, "problem_type": problem, "weight": weight}


def test_all_tasks_on_literal_rows():
    tasks = {
        "topic": task("sequence_classification", ["a", "b"]),
        "entities": task("token_classification", TAGS, weight=3.0),
    }
    rows = Dataset.from_dict(
        {
            "topic": [0, 1, -100, 1],
            "entities": [[-100]] * 4,
            "entities_tags": [[1, 2, 0], [0, 3], [3], [-100, -100]],
            # The third word of the first row and the word of the third row yield no token.
            "entities_positions": [[1, 2, -1], [1, 3], [-1], [1, 2]],
        }
    )
    predictions = {
        "topic": np.array([0, 0, 1, 1]),
        "entities": np.array(
            [[0, 1, 2, 4, -100], [0, 0, 1, 3, 0], [0, 3, 0, -100, -100], [0, 1, 1, 0, 0]]
        ),
    }
    results = compute_metrics(predictions, rows, tasks)
    expected = [["B-LOC", "I-LOC", "O"], ["O", "B-PER"], ["B-PER"]]
    found = [["B-LOC", "I-LOC", "O"], ["O", "B-PER"], ["O"]]
    assert results["topic_accuracy"] == pytest.approx(2 / 3)
    assert results["entities_f1"] == pytest.approx(f1_score(expected, found))
    assert results["entities_precision"] == 1.0
    assert results["entities_recall"] == pytest.approx(2 / 3)
    # Right: the first row, and the fourth by its topic alone.
    assert results["exact_match"] == pytest.approx(2 / 4)
    assert results["score"] == pytest.approx(
        (results["topic_accuracy"] + 3 * results["entities_f1"]) / 4
    )


def test_strict_f1_wants_whole_iob2():
    metric = EntityMetric()
    values = metric.compute(predictions=[["O", "I-PER"]], references=[["O", "B-PER"]])
    assert (values["f1"], values["strict_f1"]) == (1.0, 0.0)


def test_rows_without_entities_give_zero_and_no_warning():
    values = EntityMetric().compute(predictions=[["O", "O"]], references=[["O", "O"]])
    assert values == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "strict_f1": 0.0}


def test_multi_label_and_regression():
    tasks = {
        "tags": task("sequence_classification", ["a", "b"], "multi_label_classification"),
        "stars": task("sequence_classification", ["stars"], "regression"),
    }
    rows = Dataset.from_dict(
        {
            "tags": [[1.0, 0.0], [0.0, 1.0], [NAN, NAN], [1.0, 1.0]],
            "stars": [[1.0], [2.0], [3.0], [NAN]],
        }
    )
    predictions = {
        "tags": np.array([[2.0, -1.0], [-1.0, -1.0], [5.0, 5.0], [1.0, 1.0]]),
        "stars": np.array([[0.1], [0.2], [0.3], [9.0]]),
    }
    results = compute_metrics(predictions, rows, tasks)
    assert results["tags_accuracy"] == pytest.approx(2 / 3)
    assert results["stars_spearman"] == pytest.approx(1.0)
    assert results["exact_match"] == pytest.approx(2 / 3)  # regression is left out


def test_tasks_without_labels_here_are_left_out():
    tasks = {"topic": task("sequence_classification", ["a", "b"])}
    rows = Dataset.from_dict({"topic": [-100, -100]})
    assert compute_metrics({"topic": np.array([0, 1])}, rows, tasks) == {}
