"""Metrics: equal to seqeval and scikit-learn on literal rows, and honest about what is missing."""

import math
import random

import numpy as np
import pytest
from datasets import Dataset, Features, List, Value
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score, precision_score, recall_score

from multitask_encoder.data.preprocessing import preprocess
from multitask_encoder.modeling.decoding import UNITS
from multitask_encoder.modeling.windows import tokenize
from multitask_encoder.training.metrics import (
    METRICS,
    EntityMetric,
    metric_names,
    metric_of,
    task_of_metric,
)
from multitask_encoder.training.row_scores import metrics_of, row_answers

NAN = math.nan
TAGS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]


def task(kind: str, labels: list[str], problem: str = "single_label_classification"):
    return {"type": kind, "labels": labels, "problem_type": problem, "score_weight": 1.0}


TOPIC = task("sequence_classification", ["a", "b"])
ENTITIES = task("token_classification", TAGS)


def windows_of(dataset=0, row=None, window=0, **columns) -> Dataset:
    """Preprocessed rows; by default each is a whole row of the first data set."""
    count = len(next(iter(columns.values())))
    numbers = {"dataset": dataset, "row": row or list(range(count)), "window": window}
    same = {key: [one] * count if one == 0 else one for key, one in numbers.items()}
    unseen: dict = {f"{name.partition('.')[0]}.unseen": [[]] * count for name in columns}
    return Dataset.from_dict({**same, **unseen, **columns})


def compute_metrics(
    predictions: dict, windows: Dataset, tasks: dict, sentence_windows="first", datasets=None
) -> dict[str, float]:
    answers = row_answers(predictions, windows, tasks, sentence_windows)
    return metrics_of(answers, tasks, datasets)


def test_words_without_a_label_are_neither_right_nor_wrong():
    rows = windows_of(
        **{
            "entities": [[-100]] * 2,
            "entities.tags": [[-100, 1, 0], [-100, 3]],
            "entities.positions": [[1, 2, 3], [1, 2]],
        }
    )
    predicted = np.array([[0, 3, 1, 0], [0, 1, 3, 0]])  # both predict an entity where no label is
    results = compute_metrics({"entities": predicted}, rows, {"entities": ENTITIES})
    assert (results["entities_f1"], results["exact_match"]) == (1.0, 1.0)


def test_all_tasks_on_literal_rows():
    tasks = {"topic": TOPIC, "entities": {**ENTITIES, "score_weight": 3.0}}
    rows = windows_of(
        **{
            "topic": [0, 1, -100, 1],
            "entities": [[-100]] * 4,
            "entities.tags": [[1, 2, 0], [0, 3], [3], [-100, -100]],
            # The third word of the first row and the word of the third row yield no token.
            "entities.positions": [[1, 2, -1], [1, 3], [-1], [1, 2]],
        }
    )
    predictions = {
        "topic": np.array([[2.0, 1.0], [2.0, 1.0], [0.0, 1.0], [0.0, 1.0]]),
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
    rows = windows_of(
        tags=[[1.0, 0.0], [0.0, 1.0], [NAN, NAN], [1.0, 1.0]],
        stars=[[1.0], [2.0], [3.0], [NAN]],
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
    predictions = {"topic": np.array([[1.0, 0.0], [0.0, 1.0]])}
    assert compute_metrics(predictions, windows_of(topic=[-100, -100]), {"topic": TOPIC}) == {}


def test_an_embedding_without_scored_pairs_has_no_metric():
    tasks = {"topic": TOPIC, "vector": {"type": "sentence_embedding", "score_weight": 1.0}}
    results = compute_metrics({"topic": np.array([[1.0, 0.0]])}, windows_of(topic=[0]), tasks)
    # The class that no row has counts for nothing in the macro F1.
    assert results == {
        "topic_accuracy": 1.0,
        "topic_macro_f1": 1.0,
        "exact_match": 1.0,
        "score": 1.0,
    }


def test_tasks_of_score_weight_0_are_reported_and_do_not_score():
    tasks = {"topic": {**TOPIC, "score_weight": 0.0}, "mood": TOPIC}
    logits = np.array([[1.0, 0.0], [1.0, 0.0]])
    rows = windows_of(topic=[1, 1], mood=[0, 1])
    results = compute_metrics({"topic": logits, "mood": logits}, rows, tasks)
    assert (results["topic_accuracy"], results["score"]) == (0.0, 0.5)
    results = compute_metrics({"topic": logits}, rows, {"topic": tasks["topic"]})
    assert "score" not in results


# Windows

LONG = {
    "row": [0, 0, 0, 1, 2, 2],
    "window": [0, 1, 2, 0, 0, 1],
    "topic": [0, -100, -100, 1, 1, -100],
    "entities.tags": [[0, 1], [2], [], [3], [1, 0], [1]],
    # The last word of the last row has no token.
    "entities.positions": [[1, 2], [3], [], [1], [1, 2], [-1]],
}
PREDICTIONS = {
    "topic": np.array([[3.0, 0], [0, 2.0], [0, 2.0], [0, 1.0], [5.0, 0], [0, 7.0]]),
    "entities": np.array(
        [[0, 0, 1, 4], [3, 3, 3, 2], [4, 4, 4, 4], [0, 3, 1, 1], [0, 1, 1, 1], [1, 1, 1, 1]]
    ),
}


def in_order(order: list[int]) -> tuple[dict, Dataset]:
    windows = windows_of(**LONG).select(order)
    return {name: logits[order] for name, logits in PREDICTIONS.items()}, windows


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [5, 3, 2, 0, 4, 1], [1, 0, 5, 4, 3, 2]])
def test_windows_of_a_row_are_joined_whatever_their_order(order):
    tasks = {"topic": TOPIC, "entities": ENTITIES}
    results = compute_metrics(*in_order(order), tasks)
    expected = [["O", "B-LOC", "I-LOC"], ["B-PER"], ["B-LOC", "O", "B-LOC"]]
    found = [["O", "B-LOC", "I-LOC"], ["B-PER"], ["B-LOC", "B-LOC", "O"]]
    assert results["entities_precision"] == pytest.approx(precision_score(expected, found))
    assert results["entities_recall"] == pytest.approx(recall_score(expected, found))
    assert results["topic_accuracy"] == pytest.approx(2 / 3)  # by the first windows
    assert results["exact_match"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [5, 3, 2, 0, 4, 1]])
def test_the_mean_of_all_windows_answers_where_asked(order):
    results = compute_metrics(*in_order(order), {"topic": TOPIC}, sentence_windows="mean")
    # Means of (1, 4/3), (0, 1) and (2.5, 3.5): all b.
    assert results["topic_accuracy"] == pytest.approx(2 / 3)
    first = compute_metrics(*in_order(order), {"topic": TOPIC})
    assert results["topic_macro_f1"] != first["topic_macro_f1"]


@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(st.data())
def test_entities_are_those_of_seqeval_on_the_words(tokenizer, data):
    word = st.sampled_from(["the", "paris", "Ulm", "in", "\u200b", "x-y", "東京"])
    tag = st.sampled_from(TAGS)
    rows = data.draw(
        st.lists(
            st.lists(st.tuples(word, tag, tag), min_size=1, max_size=9), min_size=1, max_size=4
        )
    )
    loaded = Dataset.from_dict(
        {
            "source": [str(index) for index in range(len(rows))],
            "tokens": [[word for word, _, _ in row] for row in rows],
            "entities": [[tag for _, tag, _ in row] for row in rows],
        },
        Features(
            {
                "source": Value("string"),
                "tokens": List(Value("string")),
                "entities": List(Value("string")),
            }
        ),
    )
    entities = {**ENTITIES, "labelling": "first"}
    windows = preprocess(loaded, tokenizer, {"entities": entities}, tokenize, UNITS, max_length=7)
    predictions = np.full((len(windows), 7), TAGS.index("I-PER"))
    answers = {index: iter(row) for index, row in enumerate(rows)}
    for number, window in enumerate(windows):
        for position in window["entities.positions"]:
            _, _, predicted = next(answers[window["row"]])
            if position >= 0:
                predictions[number, position] = TAGS.index(predicted)
    order = random.Random(0).sample(range(len(windows)), len(windows))
    results = compute_metrics(
        {"entities": predictions[order]}, windows.select(order), {"entities": entities}
    )
    expected = [[tag for _, tag, _ in row] for row in rows]
    found = [["O" if word == "\u200b" else tag for word, _, tag in row] for row in rows]
    exact = sum(one == other for one, other in zip(expected, found, strict=True))
    assert results["entities_f1"] == pytest.approx(f1_score(expected, found, zero_division=0))
    assert results["exact_match"] == pytest.approx(exact / len(rows))


# Several data sets

SETS = {"first": ["topic", "mood"], "second": ["topic", "topic_of_words"]}
SET_TASKS = {
    "topic": {**TOPIC, "score_weight": 1.0},
    "mood": {**TOPIC, "score_weight": 3.0},
    "topic_of_words": {**TOPIC, "score_weight": 1.0},
}


def of_two_sets() -> tuple[dict, Dataset]:
    """Rows 0 and 1 of both data sets, mixed. The first class is always predicted."""
    windows = windows_of(
        dataset=[1, 0, 0, 1],
        row=[0, 1, 0, 1],
        topic=[0, 0, 1, 0],
        mood=[-100, 0, 0, -100],
        topic_of_words=[1, -100, -100, 0],
    )
    return dict.fromkeys(SET_TASKS, np.array([[1.0, 0.0]] * 4)), windows


def test_each_data_set_has_its_score_and_shared_tasks():
    results = compute_metrics(*of_two_sets(), SET_TASKS, datasets=SETS)
    assert results["topic_accuracy"] == 0.75
    assert results["first_topic_accuracy"] == 0.5
    assert results["second_topic_accuracy"] == 1.0
    assert results["exact_match"] == 0.5
    assert results["first_exact_match"] == results["second_exact_match"] == 0.5
    assert results["first_score"] == (0.5 + 3 * 1.0) / 4
    assert results["second_score"] == (1.0 + 0.5) / 2
    assert results["score"] == pytest.approx((0.75 + 3 * 1.0 + 0.5) / 5)
    of_sets = {key for key in results if key.startswith(("first_", "second_"))}
    assert of_sets == {
        f"{name}_{key}"
        for name in SETS
        for key in ("score", "exact_match", "topic_accuracy", "topic_macro_f1")
    }


def test_rows_of_the_same_number_in_two_data_sets_are_two():
    windows = windows_of(dataset=[0, 1, 0], row=[4, 4, 4], window=[1, 0, 0], topic=[-100, 0, 0])
    logits = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    results = compute_metrics(
        {"topic": logits}, windows, {"topic": TOPIC}, datasets={"a": ["topic"], "b": ["topic"]}
    )
    assert (results["a_topic_accuracy"], results["b_topic_accuracy"]) == (1.0, 1.0)


def test_tasks_that_no_two_data_sets_share_are_not_repeated():
    sets = {"first": ["topic", "mood"], "second": ["topic_of_words"]}
    results = compute_metrics(*of_two_sets(), SET_TASKS, datasets=sets)
    assert {key for key in results if key.startswith(("first_", "second_"))} == {
        "first_score", "first_exact_match", "second_score", "second_exact_match"
    }  # fmt: skip


def test_one_data_set_has_no_results_of_its_own():
    predictions, windows = of_two_sets()
    plain = compute_metrics(predictions, windows, SET_TASKS)
    assert compute_metrics(predictions, windows, SET_TASKS, datasets={"one": ["topic"]}) == plain


@pytest.mark.parametrize("sets", [SETS, {"first": ["topic", "mood", "topic_of_words"]}])
def test_the_names_of_metrics_are_known_beforehand(sets):
    results = compute_metrics(*of_two_sets(), SET_TASKS, datasets=sets)
    losses = {"loss", *(f"loss_{name}" for name in SET_TASKS)}
    assert {*results, *losses} == set(metric_names(SET_TASKS, sets))


def test_metrics_name_what_they_give():
    rows = {
        ENTITIES["type"]: [["O"]],
        "multi_label_classification": [[0, 1]],
        "regression": [[1.0]],
        "sentence_embedding": [[1.0]],
    }
    for kind, metrics in METRICS.items():
        for problem, metric in metrics.items():
            values = rows.get(kind) or rows.get(problem) or [1]
            assert tuple(metric().compute(predictions=values, references=values)) == metric.names
            assert metric.main in metric.names


def test_a_metric_is_of_the_task_that_it_is_named_after():
    names = ["score", "loss", "topic", "topic_fine"]
    tasks = dict.fromkeys(names, TOPIC) | {"entities": ENTITIES}
    for name, task in tasks.items():
        for value in metric_of(task).names:
            assert task_of_metric(f"{name}_{value}", tasks) == name
    for key in ("score", "loss", "loss_score", "loss_topic", "exact_match", "topic_f1"):
        assert task_of_metric(key, tasks) is None
