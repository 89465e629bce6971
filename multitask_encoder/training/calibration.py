"""Scores that are right as often as they say.

After training, the logits of each head are divided by the temperature with the least negative
log-likelihood of validation labels (Guo et al. 2017, "On Calibration of Modern Neural Networks",
arXiv 1706.04599), in a task of several labels by one for each label that has enough rows. What is
divided is the head's weights: so every runtime and every export gives calibrated scores, and a
model that is trained further has nothing stale. Temperatures are above 0: no label changes.
"""

import logging
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from datasets import Dataset
from torch import nn
from torch.nn import functional as F

from multitask_encoder.modeling import MultiTaskModel
from multitask_encoder.modeling.losses import LOSSES, present_labels

from .metrics import RowWindows, in_row_order
from .passes import encoded_batches

logger = logging.getLogger("multitask_encoder")

SINGLE, SEVERAL = "single_label_classification", "multi_label_classification"
LEAST_ROWS = 100
LEAST_MISTAKES = 10  # a few that are quite sure would decide the temperature of all
LEAST_OF_A_LABEL = 50  # rows with and without it, for a temperature of its own
MAX_WINDOWS = 10_000
LOWEST, HIGHEST = 1 / 20, 20.0  # a fit beyond has found no mistakes, or no right answers
ROUNDING = 1e-6  # of that loss's slope, where it is 0
FOLDS = 5
BINS = 15


class Scored(NamedTuple):
    """What a head says of labelled texts or words: logits of shape `(num_answers, num_labels)`, in
    double precision; labels, class ids of shape `(num_answers,)` or 0 and 1 of the logits' shape;
    and the number of texts."""

    logits: torch.Tensor
    labels: torch.Tensor
    num_rows: int


def calibrate(
    model: MultiTaskModel,
    windows: Dataset,
    padding_id: int,
    autocast: Callable[[], AbstractContextManager] = nullcontext,
) -> dict[str, dict[str, Any]]:
    """Divide the weights of each head by its temperature, and log it. Heads stay as they are where
    fewer than 100 texts are labelled, with fewer than 10 mistakes, or where temperatures fitted to
    four fifths of the rows leave the fifth no likelier.

    Args:
        model (`MultiTaskModel`): a trained model; its heads are changed in place.
        windows (`Dataset`): preprocessed validation rows, of which 10,000 are read, from all
            over them.
        padding_id (`int`): the padding token.
        autocast (`Callable`, *optional*): a context for the encoder's passes.

    Returns:
        `dict[str, dict]`: by task `temperature` (several labels: by label), and `validation`, the
        `errors` `before` and `after`; those after are of the fifths.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, scored in _scored(model, windows, padding_id, autocast).items():
        logits, labels, num_rows = scored
        if not num_rows:  # a task that other rows have taught
            continue
        if num_rows < LEAST_ROWS:
            logger.info(
                "The scores of %s are not calibrated: %d validation rows are fewer than %d.",
                *(name, num_rows, LEAST_ROWS),
            )
            continue
        kind = model.heads[name].problem_type
        if (mistakes := _mistakes(logits, labels, kind)) < LEAST_MISTAKES:
            logger.info(
                "The scores of %s stay as they are: %d mistakes on validation rows are fewer than "
                "%d.",
                *(name, mistakes, LEAST_MISTAKES),
            )
            continue
        temperatures, crossed = _cross_fitted(logits, labels, kind)
        if temperatures is None or loss(crossed, labels, kind) >= loss(logits, labels, kind):
            logger.info(
                "The scores of %s stay as they are: the mistakes on %d validation rows calibrate "
                "them no better.",
                *(name, num_rows),
            )
            continue
        _divide(model.heads[name], temperatures)
        before, after = errors(logits, labels, kind), errors(crossed, labels, kind)
        by_label = dict(zip(model.config.tasks[name]["labels"], temperatures.tolist(), strict=True))
        found[name] = {
            "temperature": by_label if kind == SEVERAL else temperatures[0].item(),
            "validation": {"before": before, "after": after},
        }
        logger.info(
            "The scores of %s are calibrated: their error on validation rows is %.2f %%, and was "
            "%.2f %%.",
            *(name, 100 * after["calibration_error"], 100 * before["calibration_error"]),
        )
    return found


def measure(
    model: MultiTaskModel,
    windows: Dataset,
    padding_id: int,
    calibration: dict[str, dict[str, Any]],
    autocast: Callable[[], AbstractContextManager] = nullcontext,
) -> dict[str, dict[str, dict[str, float]]]:
    """By task the `errors` on other rows, `before` and `after`; arguments as for `calibrate`, which
    gave `calibration`."""
    found = {}
    for name, (logits, labels, num_rows) in _scored(model, windows, padding_id, autocast).items():
        if name in calibration and num_rows:
            kind, given = model.heads[name].problem_type, calibration[name]["temperature"]
            temperatures = torch.tensor([*given.values()] if kind == SEVERAL else given)
            before, after = (
                errors(logits * temperatures, labels, kind),
                errors(logits, labels, kind),
            )
            found[name] = {"before": before, "after": after}
    return found


def _mistakes(logits: torch.Tensor, labels: torch.Tensor, problem_type: str) -> int:
    """The answers that are wrong: the likeliest label, or each of several."""
    found = logits.argmax(-1) if problem_type == SINGLE else logits > 0
    return int((found != labels).sum())


def _cross_fitted(
    logits: torch.Tensor, labels: torch.Tensor, problem_type: str
) -> tuple[torch.Tensor | None, torch.Tensor]:
    """The temperatures, and the logits of each fifth divided by those of the other four."""
    temperatures, crossed = fit(logits, labels, problem_type), logits.clone()
    for fold in range(FOLDS):
        held = torch.arange(len(logits)) % FOLDS == fold
        of_others = fit(logits[~held], labels[~held], problem_type)
        if of_others is not None:
            crossed[held] /= of_others
    return temperatures, crossed


def loss(logits: torch.Tensor, labels: torch.Tensor, problem_type: str) -> float:
    """The mean negative log-likelihood, arguments as in `Scored`."""
    return LOSSES[problem_type](logits, labels).mean().item()


def fit(logits: torch.Tensor, labels: torch.Tensor, problem_type: str) -> torch.Tensor | None:
    """The temperatures of the labels, of shape `(num_labels,)`, that divide the logits; None where
    a sharper answer is always better, or a blunter one. Arguments as in `Scored`."""
    if problem_type == SINGLE:
        expected = F.one_hot(labels, logits.shape[1]).to(logits)
        common = _least(lambda scale: ((logits * scale).softmax(-1) - expected) * logits)
        return None if common is None else torch.full_like(logits[0], common)

    def of(column: slice) -> float | None:
        own = logits[:, column]
        return _least(lambda scale: ((own * scale).sigmoid() - labels[:, column]) * own)

    common = of(slice(None))
    if common is None:
        return None
    temperatures = torch.full_like(logits[0], common)
    rows_with = labels.sum(0)
    for index in range(logits.shape[1]):
        if min(rows_with[index], len(labels) - rows_with[index]) >= LEAST_OF_A_LABEL:
            temperatures[index] = of(slice(index, index + 1)) or common
    return temperatures


def _least(slope: Callable[[float], torch.Tensor]) -> float | None:
    """The temperature at which the loss is least. It is convex in the inverse of the temperature,
    `scale`; the sum of `slope` is its derivative by that, and bisection finds where it is 0."""
    low, high = math.log(1 / HIGHEST), math.log(1 / LOWEST)
    if slope(math.exp(low)).sum() >= 0 or slope(math.exp(high)).sum() <= ROUNDING:
        return None
    for _ in range(50):
        middle = (low + high) / 2
        if slope(math.exp(middle)).sum() > 0:
            high = middle
        else:
            low = middle
    return math.exp(-(low + high) / 2)


def errors(logits: torch.Tensor, labels: torch.Tensor, problem_type: str) -> dict[str, float]:
    """How far scores are from how often they are right, arguments as in `Scored`.

    Returns:
        `dict[str, float]`: `calibration_error`, in 0 to 1: the mean over answers of the difference
        between the mean score and the share that is right, in 15 bins of equal width (Guo et al.
        2017), of the likeliest label or, where there are several, of each; and `brier`, the mean
        squared difference of scores and truth (Brier 1950), summed over classes, in 0 to 2.
    """
    if problem_type == SINGLE:
        scores = logits.softmax(-1)
        best, chosen = scores.max(-1)
        right = (chosen == labels).to(scores)
        brier = (scores - F.one_hot(labels, scores.shape[1])).square().sum(-1).mean()
    else:
        scores = logits.sigmoid()
        best, right = scores.flatten(), labels.to(scores).flatten()
        brier = (scores - labels).square().mean()
    bins = (best * BINS).long().clamp(max=BINS - 1)
    gaps = torch.zeros(BINS, dtype=best.dtype).index_add(0, bins, best - right)
    return {
        "calibration_error": (gaps.abs().sum() / len(best)).item(),
        "brier": brier.item(),
    }


def _divide(head: nn.Module, temperatures: torch.Tensor) -> None:
    weight, bias = head.classifier.weight, head.classifier.bias
    factors = temperatures.to(weight.device)
    with torch.no_grad():
        weight.copy_(weight / factors[:, None])
        bias.copy_(bias / factors)


@torch.inference_mode()
def _scored(
    model: MultiTaskModel,
    windows: Dataset,
    padding_id: int,
    autocast: Callable[[], AbstractContextManager],
) -> dict[str, Scored]:
    """What each head of classes says of the labelled rows, by task."""
    names = [
        name
        for name, head in model.heads.items()
        if head.problem_type in (SINGLE, SEVERAL) and name in windows.column_names
    ]
    if not names or not len(windows):
        return {}
    places = np.linspace(0, len(windows) - 1, min(len(windows), MAX_WINDOWS), dtype=int)
    _, split = in_row_order(windows.select(places), model.config.sentence_windows)
    windows = split.windows
    known = {
        name: [present_labels(torch.tensor(row)) for row in windows[name][:]]
        for name in names
        if model.heads[name].reads_tokens
    }
    logits: dict[str, list] = {name: [None] * len(windows) for name in names}
    model.eval()
    with autocast():
        ids = windows["input_ids"][:]
        for batch, output, _ in encoded_batches(ids, model, padding_id, names):
            for name in names:
                for row, answer in zip(batch, output.logits[name], strict=True):
                    if name in known:
                        answer = answer[: len(known[name][row])][known[name][row].to(answer.device)]
                    logits[name][row] = answer.double().cpu()
    return {
        name: _of_words(windows[name][:], known[name], logits[name])
        if name in known
        else _of_texts(split, name, logits[name])
        for name in names
    }


def _of_words(labels: list[list[int]], known: list[torch.Tensor], logits: list) -> Scored:
    ids = [torch.tensor(row)[there] for row, there in zip(labels, known, strict=True)]
    return Scored(torch.cat(logits), torch.cat(ids), sum(bool(there.any()) for there in known))


def _of_texts(split: RowWindows, name: str, logits: list) -> Scored:
    labels = torch.from_numpy(split.labels(name))
    combined = torch.from_numpy(split.combined(torch.stack(logits).numpy()))
    there = present_labels(labels).view(len(labels), -1).all(1)
    return Scored(combined[there], labels[there], int(there.sum()))
