"""Sentence heads that begin as linear probes of the encoder.

Each is fitted to the vectors of the untrained encoder by logistic regression (ridge regression for
numbers), and training goes on from there: few rows then lose less of what the encoder knows (Kumar
et al. 2022, "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution",
arXiv 2202.10054).
"""

import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import numpy as np
import torch
from datasets import Dataset
from torch import nn
from torch.nn import functional as F

from multitask_encoder.data.soft_labels import Taught
from multitask_encoder.modeling import MultiTaskModel
from multitask_encoder.modeling.losses import present_labels

from .distillation import teacher_loss
from .passes import encoded_batches, first_windows

logger = logging.getLogger("multitask_encoder")

MAX_ROWS = 10_000
ITERATIONS = 60
LEAST_SPREAD = 0.3  # of the vectors, as a share of their root mean square


def begin_as_probes(
    model: MultiTaskModel,
    rows: Dataset,
    padding_id: int,
    seed: int,
    autocast: Callable[[], AbstractContextManager] = nullcontext,
    taught: Mapping[str, Taught] | None = None,
    trained: Collection[str] = (),
) -> None:
    """Fit the sentence heads to training rows: to 10,000 of them, drawn by `seed`, where there are
    more. Dropout has no part in it.

    Args:
        model (`MultiTaskModel`): the model before training; its weights are set in place.
        rows (`Dataset`): preprocessed training rows.
        padding_id (`int`): the padding token.
        seed (`int`): decides which rows are used.
        autocast (`Callable`, *optional*): a context for the encoder's passes.
        taught (`Mapping[str, Taught]`, *optional*): tasks that a teacher labels where rows don't.
        trained (`Collection[str]`, *optional*): tasks whose heads have learned already, and stay.
    """
    heads = {name: head for name, head in model.heads.items() if name not in trained}
    names = [name for name, head in heads.items() if not head.reads_tokens]
    if not names:
        return
    rows = first_windows(rows)
    if len(rows) > MAX_ROWS:
        rows = rows.shuffle(seed=seed).select(range(MAX_ROWS))
    if not len(rows):
        return
    model.eval()
    # Not the fit: autocast would go on with its first copy of the weights.
    with autocast():
        vectors = _vectors(model, rows["input_ids"][:], padding_id, names)
    fitted = []
    for name in names:
        head = model.heads[name]
        labels = torch.tensor(np.asarray(rows[name][:]))
        known = present_labels(labels).view(len(labels), -1).all(1)
        loss: Callable = head.loss
        if taught and name in taught:
            soft = rows.select_columns([f"{name}.soft", f"{name}.soft_ids"]).to_list()
            targets = taught[name].batch(name, soft, longest=0)
            known |= present_labels(targets).any(1)
            loss = partial(_hard_or_soft, head, targets[known])
        if known.any():
            size = len(model.config.tasks[name]["labels"])
            of_outputs = partial(_of_outputs, head, loss)
            weight, bias = fit(of_outputs, vectors[name][known], labels[known], size)
            with torch.no_grad():
                head.classifier.weight.copy_(weight)
                head.classifier.bias.copy_(bias)
            fitted.append(name)
    if fitted:
        logger.info("The heads of %s begin as linear probes of the encoder.", ", ".join(fitted))


def _hard_or_soft(
    head: nn.Module, targets: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """The loss of each row by its label, or where it has none, by its soft label."""
    soft = teacher_loss(head, logits, targets)
    return torch.where(present_labels(labels), head.loss(logits, labels), soft)


def _of_outputs(
    head: nn.Module, loss: Callable, outputs: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """A loss of outputs of the head's linear layer."""
    return loss(head.in_units(outputs), labels)


def _vectors(
    model: MultiTaskModel, input_ids: list[list[int]], padding_id: int, names: list[str]
) -> dict[str, torch.Tensor]:
    """By task the vectors that its head reads, of shape `(num_rows, hidden_size)`."""
    config = model.config
    poolings = {name: config.pooling_of(name) for name in names}
    pooled = {
        pooling: torch.empty(len(input_ids), config.hidden_size)
        for pooling in set(poolings.values())
    }
    for batch, output, mask in encoded_batches(input_ids, model, padding_id):
        for pooling, vectors in pooled.items():
            rows = model.embedding_head.pool(output.last_hidden_state, mask, pooling)
            vectors[batch] = rows.float().cpu()
    return {name: pooled[pooling] for name, pooling in poolings.items()}


def fit(
    loss: Callable, vectors: torch.Tensor, labels: torch.Tensor, num_labels: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The weight, `(num_labels, hidden_size)`, and bias, `(num_labels,)`, with the least sum of
    losses and half the squared weights, by L-BFGS; the vectors are taken as standardised.

    Args:
        loss (`Callable`): of logits and labels, as in losses.py.
        vectors (`torch.Tensor` of shape `(num_rows, hidden_size)`): of the rows.
        labels (`torch.Tensor`): of the rows, in the shape that the loss takes.
        num_labels (`int`): the number of labels.
    """
    mean, scale = vectors.mean(0), vectors.std(0, correction=0).mean()
    # Where vectors hardly differ, weights would be so large that rounding shows in the answers.
    scale = scale.clamp(min=max(LEAST_SPREAD * vectors.square().mean().sqrt().item(), 1e-6))
    inputs = (vectors - mean) / scale
    weight = torch.zeros(num_labels, inputs.shape[1], requires_grad=True)
    bias = torch.zeros(num_labels, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=ITERATIONS, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        total = loss(F.linear(inputs, weight, bias), labels).sum() + weight.square().sum() / 2
        (total / len(inputs)).backward()
        return total / len(inputs)

    optimizer.step(closure)
    weight = weight.detach() / scale
    return weight, bias.detach() - weight @ mean
