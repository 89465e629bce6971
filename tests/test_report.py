"""What a comparison says, from results made by hand."""

import json
import math

import numpy as np
import pytest

from multitask_encoder.comparison.differences import (
    difference_intervals,
    in_words,
    metrics_rows,
    paired,
)
from multitask_encoder.comparison.markdown import report_text
from multitask_encoder.comparison.report import make_report, write_report
from multitask_encoder.reporting.figures import can_plot
from multitask_encoder.training.row_answers import Answers, RowAnswers

TASKS: dict[str, dict] = {
    "intent": {
        "type": "sequence_classification",
        "problem_type": "single_label_classification",
        "labels": ["a", "b"],
    },
    "slots": {"type": "token_classification", "problem_type": "single_label_classification"},
    "vector": {"type": "sentence_embedding"},
}
SEEDS = [0, 1, 2]


def results(intent: dict[str, list[float]], slots: dict[str, list[float]]) -> dict[str, dict]:
    """all_results.json of each run; both metrics of `intent` and all of `slots` are alike."""
    found = {}
    for seed in range(len(intent["multi"])):
        of_intent, of_slots = (
            {
                side: {f"test_{name}_{metric}": values[side][seed] for metric in metrics}
                for side in ("multi", "single")
            }
            for name, values, metrics in (
                ("intent", intent, ("accuracy", "macro_f1")),
                ("slots", slots, ("precision", "recall", "f1", "strict_f1")),
            )
        )
        found[f"multi-seed{seed}"] = {
            **of_intent["multi"],
            **of_slots["multi"],
            "test_exact_match": slots["multi"][seed],
            "test_vector_spearman": 0.7 + 0.01 * seed,
        }
        found[f"intent-seed{seed}"] = of_intent["single"]
        found[f"slots-seed{seed}"] = of_slots["single"]
    return {**found, "untrained": {"test_vector_spearman": 0.8}}


HURTS = results(
    intent={"multi": [0.98, 0.97, 0.99], "single": [0.97, 0.98, 0.98]},
    slots={"multi": [0.940, 0.943, 0.940], "single": [0.946, 0.946, 0.946]},
)


@pytest.fixture
def report() -> dict:
    spreads = {"slots_f1": [-0.75, 0.125], "exact_match": [0.5, 2]}
    return make_report(HURTS, TASKS, SEEDS, "test", [0.9, 0.94, 0.95], spreads)


# Statistics


def test_intervals_are_of_the_mean_difference_over_the_seeds_in_points():
    task = {"type": "sequence_classification", "problem_type": "single_label_classification"}

    def answers(predicted: list[int]) -> RowAnswers:
        rows = np.arange(len(predicted))
        return RowAnswers(0 * rows, rows, {"topic": Answers(rows, predicted, [1] * len(rows))})

    right, wrong = answers([1] * 8), answers([0] * 8)
    half, fewer = answers([0, 1] * 4), answers([1] * 5)
    for multi, single, expected in [
        ([right, right], [wrong, wrong], [100.0, 100.0]),
        ([right, wrong], [wrong, right], [0.0, 0.0]),
        ([half], [half], [0.0, 0.0]),
        ([right, fewer], [wrong, fewer], [50.0, 50.0]),  # seeds may differ in their rows
    ]:
        found = difference_intervals(multi, single, {"topic": task})
        assert found == {"topic_accuracy": expected, "exact_match": expected}
    low, high = difference_intervals([right], [half], {"topic": task})["topic_accuracy"]
    assert 0 < low < 50 < high < 100


def test_differences_are_paired_in_points():
    found = paired([0.940, 0.943, 0.940], [0.946, 0.946, 0.946])
    assert found["differences"] == [-0.6, -0.3, -0.6]
    assert found["difference"] == pytest.approx(-0.5)
    # The sample's standard deviation is sqrt((0.01 + 0.04 + 0.01) / 2) = sqrt(0.03).
    assert found["standard_error"] == pytest.approx(0.1)
    assert found["multi"] == pytest.approx(0.941)
    assert found["single"] == pytest.approx(0.946)
    assert found["verdict"] == "worse"


@pytest.mark.parametrize(
    ("multi", "single", "verdict", "words"),
    [
        (
            [0.92, 0.94],
            [0.90, 0.90],
            "better",
            "multi-task is 3 points better (3.0 standard errors)",
        ),
        (
            [0.90, 0.88],
            [0.90, 0.90],
            "no clear difference",
            "no clear difference: multi-task is 1 points worse (1.0 standard errors)",
        ),
        # Two standard errors are within.
        (
            [0.87, 0.89],
            [0.90, 0.90],
            "no clear difference",
            "no clear difference: multi-task is 2 points worse (2.0 standard errors)",
        ),
        ([0.7, 0.8], [0.9, 1.0], "worse", "multi-task is 20 points worse (with every seed)"),
        ([0.7, 0.8], [0.7, 0.8], "no clear difference", "multi-task is as good"),
        ([0.7], [0.9], "one seed", "multi-task is 20 points worse, with one seed"),
        ([0.7], [0.7], "one seed", "multi-task is as good, with one seed"),
    ],
)
def test_a_difference_within_two_standard_errors_is_none(multi, single, verdict, words):
    found = paired(multi, single)
    assert found["verdict"] == verdict
    assert in_words(found) == words


def test_errors_of_numbers_are_in_their_units_and_better_where_they_are_lower():
    found = paired([0.90, 0.92], [0.50, 0.51], errors=True)
    assert found["differences"] == [0.4, 0.41] and found["verdict"] == "worse"
    assert in_words(found) == "multi-task is 0.405 worse (81.0 standard errors)"
    lower = paired([0.50, 0.51], [0.90, 0.92], errors=True)
    assert lower["verdict"] == "better"
    assert in_words(lower) == "multi-task is 0.405 better (81.0 standard errors)"
    task = {"main": "spearman", "metrics": {"spearman": paired([0.9], [0.8]), "mae": found}}
    rows = metrics_rows({"tasks": {"stars": task}, "exact_match": None})
    assert rows[0][1][2:5] == ["90.00", "80.00", "+10.00"]
    assert rows[1][1][2:6] == ["0.91", "0.505", "+0.405", "0.005"]


def test_the_order_of_the_seeds_counts():
    assert paired([0.1, 0.9], [0.1, 0.9])["standard_error"] == 0
    assert paired([0.1, 0.9], [0.9, 0.1])["standard_error"] == pytest.approx(80)


# What is said


def test_it_says_where_sharing_hurts(report):
    assert report["summary"] == [
        "Sharing hurts: slots.",
        "intent: no clear difference: multi-task is 0.333 points better (0.5 standard errors).",
        "slots: multi-task is 0.5 points worse (5.0 standard errors).",
        "whole rows: no clear difference: multi-task is 1.1 points better (0.7 standard errors).",
    ]
    text = report_text(report)
    assert all(f"- {line}\n" in text for line in report["summary"])
    assert "| slots | **f1** | 94.10 | 94.60 | -0.50 | 0.10 | -0.75 to +0.12 |" in text
    assert "| slots | recall | 94.10 | 94.60 | -0.50 | 0.10 | - |" in text
    assert (
        "| whole rows | **exact_match** | 94.10 | 93.00 | +1.10 | 1.50 | +0.50 to +2.00 |" in text
    )
    assert "come from 3 seeds, too few for a precise estimate. " in text
    assert "a paired bootstrap: rows are resampled 1,000 times, the same rows for both" in text


def test_it_says_where_nothing_hurts():
    same = {"multi": [0.9, 0.8], "single": [0.9, 0.8]}
    better = {"multi": [0.9, 0.8], "single": [0.8, 0.7]}
    report = make_report(results(same, better), TASKS, [0, 1], "test", [0.9, 0.8], {})
    assert report["summary"] == [
        "Sharing hurts nowhere: nothing is worse by more than two standard errors.",
        "Sharing helps: slots.",
        "intent: multi-task is as good.",
        "slots: multi-task is 10 points better (with every seed).",
        "whole rows: multi-task is as good.",
    ]


def test_one_seed_shows_no_spread():
    one = {"multi": [0.9], "single": [0.8]}
    report = make_report(results(one, one), TASKS, [0], "test", [0.9], {})
    assert report["summary"][0].startswith("One seed shows no spread: ")
    assert report["tasks"]["intent"]["metrics"]["accuracy"]["standard_error"] is None
    assert "| intent | **accuracy** | 90.00 | 80.00 | +10.00 | - | - |" in report_text(report)


def test_a_task_with_an_undefined_metric_is_compared_by_its_others():
    star = {"type": "sequence_classification", "problem_type": "regression", "labels": ["star"]}
    found = {
        f"{name}-seed0": {"test_star_spearman": correlation, "test_star_mae": 0.5}
        for name, correlation in (("multi", None), ("star", 0.3))
    }
    for one in found.values():
        one["test_star_rmse"] = 0.7
    report = make_report(found, {"star": star}, [0], "test", [None], {})
    assert report["tasks"]["star"]["main"] == "mae"
    assert report["summary"][-1].startswith("star: spearman is undefined where all labels or ")
    for one in found.values():
        one |= dict.fromkeys(("test_star_mae", "test_star_rmse"))
    report = make_report(found, {"star": star}, [0], "test", [None], {})
    assert report["summary"][-1] == "star: its metrics are undefined in the test split."


def test_a_task_without_labels_in_the_split_is_named():
    found = {
        name: {key: value for key, value in one.items() if "slots" not in key}
        for name, one in HURTS.items()
    }
    report = make_report(found, TASKS, SEEDS, "test", [None] * 3, {})
    assert list(report["tasks"]) == ["intent"]
    assert report["exact_match"] is None
    assert report["summary"][-1] == "slots: no labels in the test split."


def test_embeddings_are_compared_with_those_before_training(report):
    assert report["embedding"] == {
        "vector": {"metric": "spearman", "before": 0.8, "after": pytest.approx([0.7, 0.71, 0.72])}
    }
    assert "| vector | spearman | 80.00 | 71.00 | -9.00 |" in report_text(report)
    report["embedding"] = {}
    assert "Embeddings" not in report_text(report)
    report["similarity_to_start"] = [0.5, 0.25, 0.75]
    assert "a text's embeddings before and after training: 0.500." in report_text(report)


def test_models_are_added_up(report):
    one = {"parameters": 1000, "bytes": 4_000_000, "steps": 10, "seconds": 60.4}
    report["models"] = {"multi": one, "intent": one, "slots": {**one, "parameters": 1500}}
    report["speed"] = {"texts": 50, "multi": [20.0, 30.0, 40.0], "single": [10.0, 10.0, 10.0]}
    text = report_text(report)
    assert "| multi | 1,000 | 4.0 | 10 | 60 |" in text
    assert "| single-task models together | 2,500 | 8.0 | 20 | 121 |" in text
    assert "30 (20 to 40) sentences per second by the multi-task model, 10 (10 to 10) by 2" in text
    assert "Ratio: 3.00 (2.00 to 4.00)." in text
    report["models"]["slots"]["seconds"] = None
    text = report_text(report)
    assert "| single-task models together | 2,500 | 8.0 | 20 | - |" in text
    assert "No training time is shown for a resumed run" in text


def test_one_single_task_model_is_not_added_up(report):
    one = {"parameters": 1000, "bytes": 4_000_000, "steps": 10, "seconds": 60.4}
    report["models"] = {"multi": one, "slots": one}
    report["speed"] = {"texts": 50, "multi": [20.0], "single": [10.0]}
    text = report_text(report)
    assert "together" not in text
    assert "10 (10 to 10) by the single-task model. Ratio: 2.00 (2.00 to 2.00)." in text


# Files


def test_the_files_hold_the_numbers_and_the_picture(report, tmp_path, capsys):
    assert can_plot()
    write_report(report, tmp_path)
    assert json.loads((tmp_path / "report.json").read_text()) == report
    text = (tmp_path / "report.md").read_text()
    assert "![Differences of each seed](report.png)" in text
    assert text in capsys.readouterr().out
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")
    assert math.isclose(report["tasks"]["slots"]["metrics"]["f1"]["difference"], -0.5)
