"""From scores to the answer for a text: which labels apply, above which thresholds."""

from collections.abc import Callable, Collection
from functools import partial
from typing import NamedTuple

import torch

# The default threshold of each problem type whose scores are probabilities; -1 lets all through.
THRESHOLDS = {"single_label_classification": -1.0, "multi_label_classification": 0.5}


def limits(
    tasks: dict[str, dict],
    known: dict[str, dict],
    thresholds: float | dict[str, float] | None = None,
    precision: float | None = None,
    coverage: float | None = None,
) -> tuple[dict[str, float | dict[str, float]], dict[str, float]]:
    """What scores have to exceed for an answer, by task, and in a `label_set`.

    Args:
        tasks (`dict[str, dict]`): those to answer.
        known (`dict[str, dict]`): all of the model, which thresholds may name.
        thresholds, precision, coverage: as of `MultiTaskPipeline`.

    Raises:
        ValueError: a threshold out of range, or of a task that has none; a precision or coverage
            that a task has no threshold for, or both of them.
    """
    if precision is not None and coverage is not None:
        raise ValueError("precision and coverage can't be asked for together.")
    found = _thresholds(thresholds, known)
    found = {name: of for name, of in found.items() if name in tasks}
    if isinstance(thresholds, dict):
        given: Collection[str] = [name for name, of in thresholds.items() if of is not None]
    else:
        given = () if thresholds is None else tasks
    covering = _chosen("coverage", coverage, tasks, given)
    sets = {name: of for name, of in covering.items() if has_one_label(tasks[name])}
    found |= {name: of for name, of in covering.items() if name not in sets}
    return {**found, **_chosen("precision", precision, tasks, given)}, sets


def in_scope(answer: dict, strange: float, task: dict) -> dict:
    """The answer of a task with a `Scope`, which gives no label to a text that is too strange.

    Args:
        strange (`float`): the share of in-scope texts that are less so, in 0 to 1.
    """
    refused = strange > 1 - task["out_of_scope"]["false_alarms"]
    return {**answer, **({"label": None} if refused else {}), "out_of_scope": strange}


def has_one_label(task: dict) -> bool:
    """Whether a text has one label of the task."""
    return task["problem_type"] == "single_label_classification" and "labelling" not in task


def _chosen(
    purpose: str, share: float | None, tasks: dict[str, dict], given: Collection[str]
) -> dict[str, float]:
    """The thresholds that were chosen for a share, of the tasks that have no other given."""
    if share is None:
        return {}
    found = {}
    for name, task in tasks.items():
        if name in given or task.get("problem_type") not in THRESHOLDS:
            continue
        known = task.get("thresholds", {}).get(purpose, {})
        key = f"{share:g}" if isinstance(share, int | float) else None
        if key not in known:
            raise ValueError(
                f"{purpose} of {name!r} should be one that validation rows gave a threshold for: "
                f"{', '.join(known) or 'none'}. Found {share!r}."
            )
        found[name] = known[key]
    return found


def _thresholds(
    asked: float | dict[str, float] | None, tasks: dict[str, dict]
) -> dict[str, float | dict[str, float]]:
    """The threshold of each task whose scores are probabilities."""
    defaults = {
        name: task.get("thresholds", {}).get("f1", THRESHOLDS[task["problem_type"]])
        for name, task in tasks.items()
        if task.get("problem_type") in THRESHOLDS
    }
    by_task = asked if isinstance(asked, dict) else dict.fromkeys(defaults, asked)
    for name, value in by_task.items():
        if name not in defaults:
            names = ", ".join(defaults)
            raise ValueError(f"thresholds should name some of {names}. Found {name!r}.")
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (number and 0 <= value <= 1):
            raise ValueError(f"A threshold should be from 0 to 1. Found {value!r} for {name!r}.")
    return defaults | {name: value for name, value in by_task.items() if value is not None}


def _likeliest(
    scores: dict[str, float], top_k: int | None, threshold: float, in_set: float | None
) -> dict:
    best = max(scores, key=scores.__getitem__)
    label = best if scores[best] > threshold else None
    answer = {"label": label, "score": scores[best], "scores": _highest(scores, top_k)}
    if in_set is not None:
        above = [name for name in _by_score(scores) if scores[name] > in_set]
        answer["label_set"] = above or [best]
    return answer


def _all_above(
    scores: dict[str, float],
    top_k: int | None,
    threshold: float | dict[str, float],
    in_set: None,
) -> dict:
    limits = threshold if isinstance(threshold, dict) else dict.fromkeys(scores, threshold)
    above = [label for label, score in scores.items() if score > limits[label]]
    chosen = [scores[label] for label in above]
    return {"label": above, "score": chosen, "scores": _highest(scores, top_k)}


def _values(scores: dict[str, float], top_k: int | None, threshold: None, in_set: None) -> dict:
    labels, values = list(scores), list(scores.values())
    if len(labels) == 1:
        return {"label": labels[0], "score": values[0], "scores": scores}
    return {"label": labels, "score": values, "scores": scores}


def _highest(scores: dict[str, float], top_k: int | None) -> dict[str, float]:
    if top_k is None:
        return scores
    return {label: scores[label] for label in _by_score(scores)[:top_k]}


def _by_score(scores: dict[str, float]) -> list[str]:
    return sorted(scores, key=scores.__getitem__, reverse=True)


class Answering(NamedTuple):
    """The scores from logits, both of shape `(num_texts, num_labels)`, and the answer from one
    text's scores by label, `top_k`, the threshold, and that of a `label_set`."""

    scores: Callable[[torch.Tensor], torch.Tensor]
    answer: Callable[..., dict]


# How the logits of each problem type become an answer.
ANSWERS = {
    "single_label_classification": Answering(partial(torch.softmax, dim=-1), _likeliest),
    "multi_label_classification": Answering(torch.sigmoid, _all_above),
    "regression": Answering(lambda logits: logits, _values),
}
