"""What a run's results say about its settings."""

import numpy as np
import pytest

from multitask_encoder.reporting.advice import advice
from multitask_encoder.training.row_answers import Answers

TOPIC = {
    "type": "sequence_classification",
    "problem_type": "single_label_classification",
    "labels": ["a", "b", "c"],
}
TAGS = {**TOPIC, "problem_type": "multi_label_classification"}


def history(*values: float, key: str = "eval_score") -> list[dict]:
    return [{"loss": 1.0}, *({key: value} for value in values)]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([1.0, 1.0], "100 % in every evaluation"),
        ([0.5, 0.8], "still getting better in the last evaluation (0.5, then 0.8)"),
    ],
)
def test_the_pace_of_the_score(values, says):
    (line,) = advice(history(*values), "score", {}, {})
    assert says in line


@pytest.mark.parametrize("values", [[], [0.5], [0.8, 0.802], [0.8, 0.7], [0.9, 0.7, 0.8]])
def test_a_score_that_has_settled_says_nothing(values):
    assert advice(history(*values), None, {}, {}) == []


def test_a_loss_gets_better_by_falling():
    falling = history(0.9, 0.5, key="eval_loss_topic")
    assert "more epochs" in advice(falling, "loss_topic", {}, {}, higher_is_better=False)[0]
    assert advice(falling[::-1], "loss_topic", {}, {}, higher_is_better=False) == []


def test_an_error_of_one_in_every_evaluation_is_no_percentage():
    ones = history(1.0, 1.0, key="eval_stars_mae")
    assert advice(ones, "stars_mae", {}, {}, higher_is_better=False) == []


def test_classes_that_are_never_predicted_are_named():
    expected = [0, 0, 0, 1, 1, 1, 2, 2]  # too few rows of c to say so
    answers = {"topic": Answers(np.arange(8), [0] * 8, expected, ["a", "b", "c"])}
    (line,) = advice([], None, {"topic": TOPIC}, answers)
    assert line.startswith("topic never predicts 1 of its labels on the validation split: b. ")


def test_labels_of_a_multi_label_task_are_counted_each():
    rows = [[1, 0, 1]] * 3
    answers = {"tags": Answers(np.arange(3), [[1, 0, 0]] * 3, rows, ["a", "b", "c"])}
    (line,) = advice([], None, {"tags": TAGS}, answers)
    assert ": c. " in line


def test_other_tasks_have_no_classes_to_miss():
    tokens = {"type": "token_classification", "labels": ["O", "B-X", "I-X"]}
    tokens["problem_type"] = "single_label_classification"
    answers = {"tags": Answers(np.arange(3), [["O"]] * 3, [["B-X"]] * 3, [])}
    assert advice([], None, {"tags": tokens}, answers) == []
