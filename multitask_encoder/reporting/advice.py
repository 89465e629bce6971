"""What the results of a training run say about its settings, one line for each finding."""

from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import Any

from multitask_encoder.data.task_kinds import kind_of
from multitask_encoder.training.metrics import metric_of
from multitask_encoder.training.row_answers import Answers

RISE = 0.005  # of the metric, from the evaluation before the last to the last
FEWEST_ROWS = 3  # of a class, so that not to predict it says something
SHOWN = 10


def advice(
    history: list[dict[str, Any]],
    metric: str | None,
    tasks: dict[str, dict],
    answers: dict[str, Answers],
    higher_is_better: bool = True,
) -> list[str]:
    """The findings of a finished training run.

    Args:
        history (`list[dict]`): the Trainer's log, with the evaluations in it.
        metric (`str`, *optional*): the metric that chooses the best checkpoint.
        tasks (`dict[str, dict]`): as in the model's config.
        answers (`dict[str, Answers]`): on the validation split, by task.
        higher_is_better (`bool`, *optional*): whether a higher value of the metric is better.
    """
    key = f"eval_{(metric or 'score').removeprefix('eval_')}"
    values = [entry[key] for entry in history if key in entry]
    return [*_pace(key, values, higher_is_better), *_never_predicted(tasks, answers)]


def _pace(key: str, values: list[float], higher_is_better: bool) -> Iterator[str]:
    """Lines about the metric's values in all evaluations."""
    if len(values) < 2:
        return
    if higher_is_better and min(values) == max(values) == 1:
        yield (
            f"{key} was 100 % in every evaluation: the validation split is too small or too easy "
            "to choose a checkpoint by. Give it more rows."
        )
    sign = 1 if higher_is_better else -1
    before, last = values[-2:]
    if sign * (last - before) > RISE and sign * last == max(sign * value for value in values):
        yield (
            f"{key} was still getting better in the last evaluation ({before:.4g}, then "
            f"{last:.4g}): more epochs (num_train_epochs) may help."
        )


def _never_predicted(tasks: dict[str, dict], answers: dict[str, Answers]) -> Iterator[str]:
    """A line for each task with classes that have rows, but are never predicted."""
    for name, (_, predicted, expected, _) in answers.items():
        if name not in tasks or metric_of(tasks[name]).ranked or kind_of(tasks[name]).by_token:
            continue
        given, wanted = (
            Counter(chain.from_iterable(map(_classes, side))) for side in (predicted, expected)
        )
        missed = [
            label
            for index, label in enumerate(tasks[name]["labels"])
            if given[index] == 0 and wanted[index] >= FEWEST_ROWS
        ]
        if missed:
            shown = ", ".join(missed[:SHOWN]) + (", ..." if len(missed) > SHOWN else "")
            yield (
                f"{name} never predicts {len(missed)} of its labels on the validation split: "
                f"{shown}. More epochs, more rows of them or class_weights: balanced may help."
            )


def _classes(value: int | list[int]) -> set[int]:
    """The classes of a row, from its class id or its zeros and ones."""
    if isinstance(value, list):
        return {index for index, chosen in enumerate(value) if chosen}
    return {value}
