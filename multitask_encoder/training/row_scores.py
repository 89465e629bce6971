"""All metrics of a split, from what is said of its windows."""

import math

import numpy as np
from datasets import Dataset

from .metrics import is_right, metric_names, metric_of
from .row_answers import Answers, RowAnswers, in_row_order


def row_answers(
    predictions: dict[str, np.ndarray],
    windows: Dataset,
    tasks: dict[str, dict],
    sentence_windows: str = "first",
) -> RowAnswers:
    """Combine predictions for windows into answers for rows.

    Args:
        predictions (`dict[str, np.ndarray]`): per task `(num_windows, num_labels)` logits,
            `(num_windows, longest)` token label ids or `(num_windows,)` cosines of pairs, in the
            order of `windows`.
        windows (`Dataset`): preprocessed rows, in any order.
        tasks (`dict[str, dict]`): as in the model's config.
        sentence_windows (`str`): windows that predict sentence tasks: `first`, or the `mean` of
            all.
    """
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
    """All metrics of a split.

    Args:
        answers (`RowAnswers`): from `row_answers`.
        tasks (`dict[str, dict]`): as in the model's config.
        datasets (`dict[str, list[str]]`, *optional*): the data sets that the column `dataset`
            numbers, in order, and the tasks that each labels.

    Returns:
        `dict[str, float]`: `<task>_<metric>` for tasks with labels in this split; `exact_match`:
        the share of rows with every labelled task right, except regression and embeddings; `score`:
        the mean of the tasks' main metrics, by `score_weight`. With several data sets, also
        `<dataset>_score`, `<dataset>_exact_match`, and `<dataset>_<task>_<metric>` for tasks that
        several data sets label.
    """
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
    wrong = np.concatenate([np.empty(0), *(~is_right(of.predicted, of.expected) for of in judged)])
    rows, places = np.unique(rows, return_inverse=True)
    return rows, np.bincount(places, wrong, len(rows)) == 0


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
