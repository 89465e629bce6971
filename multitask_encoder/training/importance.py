"""The importance of each weight of the encoder to what a model says.

The square root of the diagonal Fisher information: the root mean square of the gradients of the
loss, for labels that are drawn from the model's own answers. Elastic weight consolidation pulls a
weight by the information itself (Kirkpatrick et al. 2017, "Overcoming catastrophic forgetting in
neural networks", arXiv 1612.00796); the root, since AdamW's steps go with the root of such squares,
too.
"""

from collections.abc import Sequence

import torch
from datasets import Dataset
from torch import nn
from tqdm.auto import tqdm

from multitask_encoder.modeling import MultiTaskModel
from multitask_encoder.modeling.batching import length_batches, pad
from multitask_encoder.modeling.losses import IGNORE_INDEX

from .passes import MAX_TOKENS, first_windows

MAX_TEXTS = 1000
# Labels are drawn one by one, so the square of a sum of gradients is the sum of their squares on
# average: a few texts at once are enough.
TEXTS_AT_ONCE = 8


def importance(
    model: MultiTaskModel, rows: Dataset, padding_id: int, names: Sequence[str], seed: int
) -> dict[nn.Parameter, torch.Tensor]:
    """The importance of each weight of the encoder, by parameter and in its shape, scaled to a mean
    of 1; frozen ones and the token embedding are left out. Dropout has no part in it. Shows
    progress.

    Args:
        model (`MultiTaskModel`): the model before training.
        rows (`Dataset`): preprocessed rows, of which 1,000 texts are used.
        padding_id (`int`): the padding token.
        names (`Sequence[str]`): tasks with heads.
        seed (`int`): decides the texts and the labels.
    """
    model.eval()
    tokens = model.encoder.get_input_embeddings().weight
    parameters = [one for one in model.encoder.parameters() if one.requires_grad]
    parameters = [one for one in parameters if one is not tokens]
    if not parameters:
        return {}
    squares = [torch.zeros_like(one) for one in parameters]
    texts = first_windows(rows).shuffle(seed=seed)
    input_ids = texts.select(range(min(len(texts), MAX_TEXTS)))["input_ids"][:]
    generator = torch.Generator().manual_seed(seed)
    batches = length_batches([len(ids) for ids in input_ids], MAX_TOKENS, TEXTS_AT_ONCE)
    for batch in tqdm(batches, disable=None, leave=False, unit="batch"):
        ids, mask = pad([input_ids[row] for row in batch], padding_id)
        ids, mask = ids.to(model.device), mask.to(model.device)
        logits = model(input_ids=ids, attention_mask=mask, tasks=list(names)).logits
        loss = torch.zeros((), device=model.device)
        for name in names:
            head, labels = model.heads[name], draw(model, name, logits[name], generator)
            if head.reads_tokens:
                labels = labels.masked_fill(mask == 0, IGNORE_INDEX)
            loss = loss + head.loss(logits[name], labels).sum()
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        for square, gradient in zip(squares, gradients, strict=True):
            if gradient is not None:
                square += gradient.square()
    roots = [square.sqrt_() for square in squares]
    count = sum(root.numel() for root in roots)
    mean = sum(root.sum().item() for root in roots) / max(count, 1)
    if not mean:  # nothing depends on them
        return {}
    return {one: root / mean for one, root in zip(parameters, roots, strict=True)}


def draw(
    model: MultiTaskModel, name: str, logits: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Labels of a task at random, as likely as the model says, in the shape that its head takes."""
    head, logits = model.heads[name], logits.detach().float().cpu()
    kind = head.problem_type
    if kind == "regression":  # the squared error is that of a variance of 1/2
        stds = torch.tensor([std for _, std in head.standardization or [(0.0, 1.0)]])
        labels = logits + torch.randn(logits.shape, generator=generator) * 0.5**0.5 * stds
    elif kind == "multi_label_classification":
        labels = torch.bernoulli(logits.sigmoid(), generator=generator)
    else:
        flat = logits.softmax(-1).flatten(0, -2)
        labels = torch.multinomial(flat, 1, generator=generator).view(logits.shape[:-1])
    return labels.to(model.device)
