"""Passes that fit in memory: of a training batch, or of any number of texts."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from datasets import Dataset
from datasets.fingerprint import Hasher
from torch import nn
from tqdm.auto import tqdm

from multitask_encoder.modeling import MultiTaskModel
from multitask_encoder.modeling.batching import length_batches, pad
from multitask_encoder.modeling.modeling_multitask import MultiTaskOutput

MAX_TOKENS = 16384  # of a batch of texts, with padding


def split_batch(batch: dict, max_tokens: int) -> list[dict]:
    """The rows of a batch in batches of at most `max_tokens` tokens, each padded to its own rows.

    A batch with pairs is left whole: losses compare its texts with each other.

    Args:
        batch (`dict`): from `MultiTaskCollator`.
        max_tokens (`int`): at least 1, padding included; a longer row is a batch of its own.
    """
    if batch["input_ids"].numel() <= max_tokens or "groups" in batch:
        return [batch]
    lengths = batch["attention_mask"].sum(1).tolist()
    return [_taken(batch, rows, lengths[rows[0]]) for rows in length_batches(lengths, max_tokens)]


def _taken(batch: dict, rows: list[int], width: int) -> dict:
    """These rows, with token columns cut to `width` tokens."""

    def take(tensor: torch.Tensor) -> torch.Tensor:
        # Floats of two dimensions: several labels each.
        of_tokens = tensor.dim() == 3 or (tensor.dim() == 2 and not tensor.is_floating_point())
        return tensor[rows, :width] if of_tokens else tensor[rows]

    return {
        "input_ids": take(batch["input_ids"]),
        "attention_mask": take(batch["attention_mask"]),
        **{
            key: {name: take(values) for name, values in batch[key].items()}
            for key in ("labels", "targets")
            if key in batch
        },
    }


def first_windows(rows: Dataset) -> Dataset:
    """The preprocessed rows that begin a text: one for each."""
    return rows.select(np.flatnonzero(np.asarray(rows["window"][:]) == 0))


def number_of_parameters(model: nn.Module) -> int:
    """The size of a model, frozen parts included."""
    return sum(parameter.numel() for parameter in model.parameters())


def hash_of_weights(model: nn.Module) -> str:
    """A hash of a model's weights and buffers, by name."""
    hasher = Hasher()
    for key, weight in model.state_dict().items():
        hasher.update(key)
        hasher.update(weight.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return hasher.hexdigest()


@torch.inference_mode()
def encoded_batches(
    input_ids: list[list[int]], model: MultiTaskModel, padding_id: int, tasks: Sequence[str] = ()
) -> Iterator[tuple[list[int], MultiTaskOutput, torch.Tensor]]:
    """Encode texts in batches of similar length, with the heads of `tasks`; shows progress.

    Yields:
        `tuple[list[int], MultiTaskOutput, torch.Tensor]`: the batch's places in `input_ids`, the
        model's output, and the attention mask of shape `(batch_size, seq_len)`.
    """
    batches = length_batches([len(ids) for ids in input_ids], MAX_TOKENS)
    for batch in tqdm(batches, disable=None, leave=False, unit="batch"):
        ids, mask = pad([input_ids[row] for row in batch], padding_id)
        ids, mask = ids.to(model.device), mask.to(model.device)
        yield batch, model(input_ids=ids, attention_mask=mask, tasks=list(tasks)), mask
