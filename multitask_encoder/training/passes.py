"""Splits a batch into passes that fit in memory."""

import torch

from multitask_encoder.modeling.batching import length_batches


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
        of_tokens = (
            tensor.dim() == 2 and not tensor.is_floating_point()
        )  # floats: several labels each
        return tensor[rows, :width] if of_tokens else tensor[rows]

    return {
        "input_ids": take(batch["input_ids"]),
        "attention_mask": take(batch["attention_mask"]),
        "labels": {name: take(labels) for name, labels in batch["labels"].items()},
    }
