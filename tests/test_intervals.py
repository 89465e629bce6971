"""Intervals over rows: equal to the metrics on drawn rows, and what they say on known cases."""

import json
import math

import numpy as np
import pytest
from conftest import results
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, spearmanr
from seqeval.metrics import f1_score

from multitask_encoder.reporting.results import results_table
from multitask_encoder.training.bootstrap import (
    RESAMPLES,
    interval,
    rank_correlation,
    ratio,
    resampled,
)
from multitask_encoder.training.intervals import intervals, main_estimates
from multitask_encoder.training.metrics import (
    METRICS,
    ClassificationMetric,
    EntityMetric,
    RegressionMetric,
)
from multitask_encoder.training.row_answers import Answers, RowAnswers
from multitask_encoder.training.row_scores import metrics_of

TOPIC = {"type": "sequence_classification", "problem_type": "single_label_classification"}
TASKS: dict[str, dict] = {
    "topic": {**TOPIC, "score_weight": 1.0},
    "tags": {**TOPIC, "problem_type": "multi_label_classification", "score_weight": 1.0},
    "stars": {**TOPIC, "problem_type": "regression", "score_weight": 1.0},
    "parts": {
        "type": "token_classification",
        "problem_type": "single_label_classification",
        "score_weight": 1.0,
    },
    "vector": {"type": "sentence_embedding", "score_weight": 1.0},
}
ANSWERS = {
    "topic": Answers(np.array([0, 1, 3]), [1, 0, 2], [1, 1, 2]),
    "tags": Answers(np.array([0, 1]), [[1, 0], [0, 0]], [[1, 0], [0, 1]]),
    "stars": Answers(np.array([0, 1, 2]), [[1.0], [3.0], [2.0]], [[1.0], [2.0], [3.0]]),
    "parts": Answers(
        np.array([0, 2, 3]),
        [["B-A", "O"], ["B-A", "I-A"], ["O"]],
        [["B-A", "O"], ["B-A", "O"], ["B-A"]],
    ),
    "vector": Answers(np.array([1, 2]), [[0.5], [0.25]], [[1.0], [0.0]]),
}


def answers_of(by_task: dict[str, Answers], num_rows: int = 5) -> RowAnswers:
    return RowAnswers(np.zeros(num_rows, dtype=int), np.arange(num_rows), by_task)


def mean(values) -> np.ndarray:
    return resampled(ratio(np.asarray(values), np.ones(len(values))), len(values))


# Estimates on drawn rows

drawn = st.lists(st.integers(0, 3), min_size=1, max_size=6).filter(any)
tags = st.lists(st.sampled_from(["O", "B-A", "I-A", "B-B", "I-B"]), min_size=1, max_size=5)


@settings(deadline=None)
@given(drawn, st.data())
def test_entity_f1_is_that_of_seqeval_on_the_drawn_rows(weights, data):
    expected = [data.draw(tags) for _ in weights]
    predicted = [
        data.draw(st.lists(st.sampled_from(["O", "B-A", "I-B"]), min_size=n, max_size=n))
        for n in map(len, expected)
    ]
    estimate = EntityMetric.estimates(predicted, expected)["f1"]
    for counts in (np.ones(len(weights)), np.array(weights, dtype=float)):
        rows = np.repeat(np.arange(len(weights)), counts.astype(int))
        sides = ([side[row] for row in rows] for side in (expected, predicted))
        assert estimate(counts) == pytest.approx(f1_score(*sides, zero_division=0), abs=1e-12)


@settings(deadline=None)
@given(drawn, st.data())
def test_spearman_is_that_of_scipy_on_the_drawn_rows(weights, data):
    few = st.lists(st.integers(-2, 2).map(float), min_size=len(weights), max_size=len(weights))
    a, b = np.array(data.draw(few)), np.array(data.draw(few))
    rows = np.repeat(np.arange(len(weights)), weights)
    constant = len(set(a[rows])) < 2 or len(set(b[rows])) < 2
    expected = 0.0 if constant else spearmanr(a[rows], b[rows]).statistic
    if len(set(a)) < 2 or len(set(b)) < 2:  # also where all rows are drawn
        expected = math.nan
    found = rank_correlation(a, b)(np.array(weights, dtype=float))
    assert found == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_undrawn_estimates_are_the_metrics():
    answers = answers_of(ANSWERS)
    metrics = metrics_of(answers, TASKS)
    estimates = main_estimates(answers, TASKS)
    assert set(estimates) == {
        *("topic_accuracy", "tags_accuracy", "stars_spearman", "parts_f1", "vector_spearman"),
        "exact_match",
    }
    found = {key: of_rows.estimate(np.ones(of_rows.num_rows)) for key, of_rows in estimates.items()}
    assert found == pytest.approx({key: metrics[key] for key in estimates})
    # Of rows 0 to 3: the second has a wrong topic, the third and the fourth wrong parts.
    assert metrics["exact_match"] == 1 / 4


def test_several_numbers_per_row_have_the_mean_of_their_correlations():
    sides = [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]], [[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]]
    estimate = RegressionMetric.estimates(*sides)["spearman"]
    assert estimate(np.ones(3)) == pytest.approx(0.0)
    assert (
        estimate(np.array([1.0, 1.0, 1.0]))
        == metrics_of(answers_of({"stars": Answers(np.arange(3), *sides)}), TASKS)["stars_spearman"]
    )


# Intervals


def test_rows_that_are_alike_leave_no_doubt():
    assert interval(mean([1, 1, 1])) == [1.0, 1.0]
    assert interval(mean([0, 0])) == [0.0, 0.0]
    assert interval(mean([0.25])) == [0.25, 0.25]


def test_two_rows_say_nothing():
    """Both draws of the same row have a chance of a quarter each."""
    assert interval(mean([0, 1])) == [0.0, 1.0]


def test_the_interval_of_a_share_is_that_of_the_binomial_distribution():
    found = mean([1] * 90 + [0] * 10)
    assert len(found) == RESAMPLES
    assert interval(found) == pytest.approx(binom.ppf([0.025, 0.975], 100, 0.9) / 100, abs=0.011)


def test_intervals_are_the_same_every_time():
    assert intervals(answers_of(ANSWERS), TASKS) == intervals(answers_of(ANSWERS), TASKS)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=30))
def test_the_interval_of_a_mean_holds_the_mean(values):
    low, high = interval(mean(values))
    assert low - 1e-9 <= np.mean(values) <= high + 1e-9


def test_a_mean_of_four_times_the_rows_has_half_the_interval():
    few, many = (interval(mean([0, 1, 1, 1] * count)) for count in (100, 400))
    assert few[1] - few[0] == pytest.approx(2 * (many[1] - many[0]), rel=0.1)


def test_two_models_are_scored_on_the_same_draws():
    rng = np.random.default_rng(0)
    one = rng.random(200) < 0.8
    other = one.copy()
    other[:4] = ~other[:4]
    assert interval(mean(one) - mean(one)) == [0.0, 0.0]
    low, high = interval(mean(one) - mean(other))
    assert high - low < 0.05 < np.ptp(interval(mean(one)))


def test_predictions_that_are_no_numbers_have_no_interval():
    values = np.array([1.0, 2.0, math.nan])
    assert np.isnan(interval(resampled(rank_correlation(values, np.arange(3.0)), 3))).all()


def test_tasks_without_labels_and_tasks_left_out_have_no_interval():
    nothing = Answers(np.empty(0, dtype=int), [], [])
    answers = answers_of({**ANSWERS, "topic": nothing})
    assert set(intervals(answers, {"topic": TASKS["topic"], "stars": TASKS["stars"]})) == {
        "stars_spearman_interval"
    }
    assert intervals(answers_of({"topic": nothing}), TASKS) == {}


def test_a_metric_of_another_name_has_no_interval(monkeypatch):
    class Errors(ClassificationMetric):
        main = "errors"

    of_sentences = METRICS["sequence_classification"]
    monkeypatch.setitem(of_sentences, "single_label_classification", Errors)
    answers = answers_of({"topic": ANSWERS["topic"]})
    assert set(intervals(answers, TASKS)) == {"exact_match_interval"}


# Where they are shown


def test_a_table_shows_them_beside_their_metrics():
    found = {
        "eval_topic_accuracy": 0.9124,
        "eval_topic_accuracy_interval": [0.895, 0.93],
        "eval_topic_macro_f1": 0.5,
        "eval_score": 0.9,
        "test_topic_accuracy": 1.0,
        "test_score": 1.0,
    }
    assert [line.split() for line in results_table(found, TASKS).splitlines()] == [
        ["validation", "test"],
        ["topic_accuracy", "91.24", "(89.50", "to", "93.00)", "100.00"],
        ["topic_macro_f1", "50.00"],
        ["score", "90.00", "100.00"],
    ]


def test_a_run_keeps_them_in_its_results_and_out_of_its_log(run, capsys):
    folder = run()
    found, shown = results(folder), capsys.readouterr().out
    lines = [line.split() for line in shown.splitlines()]
    for key in ("eval_topic_accuracy", "eval_exact_match"):
        low, high = found[f"{key}_interval"]
        assert 0 <= low <= found[key] <= high <= 1
        value = f"{100 * found[key]:.2f} ({100 * low:.2f} to {100 * high:.2f})"
        assert [key.removeprefix("eval_"), *value.split()] in lines
    logged = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    assert not [key for entry in logged for key in entry if key.endswith("_interval")]
