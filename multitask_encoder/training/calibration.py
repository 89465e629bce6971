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
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from multitask_encoder.modeling import MultiTaskModel
from multitask_encoder.modeling.losses import LOSSES

from .scoring import FOLDS, LEAST_ROWS, SEVERAL, SINGLE, Scored

logger = logging.getLogger("multitask_encoder")

LEAST_MISTAKES = 5  # fewer that are quite sure would decide the temperature of all
LEAST_OF_A_LABEL = 50  # rows with and without it, for a temperature of its own
LOWEST, HIGHEST = 1 / 20, 20.0  # a fit beyond has found no mistakes, or no right answers
ROUNDING = 1e-6  # of that loss's slope, where it is 0
BINS = 15


def calibrate(model: MultiTaskModel, rows: dict[str, Scored]) -> dict[str, dict[str, Any]]:
    """Divide the weights of each head by its temperature, and its logits in `rows`, and log it.
    Heads stay as they are where fewer than 100 texts are labelled, with fewer than 5 mistakes, or
    where temperatures fitted to four fifths of the rows leave the fifth no likelier.

    Args:
        model (`MultiTaskModel`): a trained model; its heads are changed in place.
        rows (`dict[str, Scored]`): what they say of validation rows, by `score_rows`.

    Returns:
        `dict[str, dict]`: by task with 100 rows `temperature` (several labels: by label; 1 where
        the head stays), and `validation`, the `errors` `before` and `after`; those after are of the
        fifths.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, scored in rows.items():
        logits, labels, kind = scored.logits, scored.labels, scored.problem_type
        if scored.num_rows < LEAST_ROWS:
            logger.info(
                "The scores of %s are not calibrated, and it has no thresholds: %d validation rows "
                "are fewer than %d.",
                *(name, scored.num_rows, LEAST_ROWS),
            )
            continue
        temperatures, crossed = _cross_fitted(logits, labels, kind)
        if reason := _reason_to_stay(scored, temperatures, crossed):
            logger.info("The scores of %s stay as they are: %s", name, reason)
            temperatures, crossed = torch.ones_like(logits[0]), logits
        assert temperatures is not None
        _divide(model.heads[name], temperatures)
        scored.divide(temperatures)
        before, after = errors(logits, labels, kind), errors(crossed, labels, kind)
        by_label = dict(zip(scored.task["labels"], temperatures.tolist(), strict=True))
        found[name] = {
            "temperature": by_label if kind == SEVERAL else temperatures[0].item(),
            "validation": {"before": before, "after": after},
        }
        if not reason:
            logger.info(
                "The scores of %s are calibrated: their error on validation rows is %.2f %%, and "
                "was %.2f %%.",
                *(name, 100 * after["calibration_error"], 100 * before["calibration_error"]),
            )
    return found


def _reason_to_stay(
    scored: Scored, temperatures: torch.Tensor | None, crossed: torch.Tensor
) -> str | None:
    """Why scores can't be calibrated, as a sentence; arguments from `_cross_fitted`."""
    logits, labels, kind = scored.logits, scored.labels, scored.problem_type
    if (mistakes := _mistakes(logits, labels, kind)) < LEAST_MISTAKES:
        return f"{mistakes} mistakes on validation rows are fewer than {LEAST_MISTAKES}."
    if temperatures is None or loss(crossed, labels, kind) >= loss(logits, labels, kind):
        return f"the mistakes on {scored.num_rows} validation rows calibrate them no better."
    return None


def measure(
    rows: dict[str, Scored], calibration: dict[str, dict[str, Any]]
) -> dict[str, dict[str, dict[str, Any]]]:
    """By task the `errors` on other rows, `before` and `after`.

    Args:
        rows (`dict[str, Scored]`): what the calibrated model says of them.
        calibration (`dict[str, dict]`): from `calibrate`.
    """
    found = {}
    for name in calibration.keys() & rows.keys():
        logits, labels, kind = rows[name].logits, rows[name].labels, rows[name].problem_type
        given = calibration[name]["temperature"]
        temperatures = torch.tensor([*given.values()] if kind == SEVERAL else given)
        before, after = errors(logits * temperatures, labels, kind), errors(logits, labels, kind)
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


def errors(logits: torch.Tensor, labels: torch.Tensor, problem_type: str) -> dict[str, Any]:
    """How far scores are from how often they are right, arguments as in `Scored`.

    Returns:
        `dict[str, Any]`: `calibration_error`, in 0 to 1: the mean over answers of the difference
        between the mean score and the share that is right, in 15 bins of equal width (Guo et al.
        2017), of the likeliest label or, where there are several, of each; and `brier`, the mean
        squared difference of scores and truth (Brier 1950), summed over classes, in 0 to 2; and
        `bins`, for each that has answers their mean score, the share that is right, and their
        number.
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
    counts = bins.bincount()
    empty = torch.zeros(len(counts), dtype=best.dtype)
    scored, hits = (empty.index_add(0, bins, of) for of in (best, right))
    return {
        "calibration_error": ((scored - hits).abs().sum() / len(best)).item(),
        "brier": brier.item(),
        "bins": [
            [(score / count).item(), (hit / count).item(), int(count)]
            for score, hit, count in zip(scored, hits, counts, strict=True)
            if count
        ],
    }


def _divide(head: nn.Module, temperatures: torch.Tensor) -> None:
    weight, bias = head.classifier.weight, head.classifier.bias
    factors = temperatures.to(weight.device)
    with torch.no_grad():
        weight.copy_(weight / factors[:, None])
        bias.copy_(bias / factors)
