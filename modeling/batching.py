"""Batches of sequences of similar length, large enough to keep the processor busy and small enough
for its memory."""

from collections.abc import Sequence

import torch
from torch.nn.utils.rnn import pad_sequence


def length_batches(
    lengths: Sequence[int], max_tokens: int, max_rows: int | None = None
) -> list[list[int]]:
    """Batches of the sequences' indices, from the longest sequence to the shortest.

    A batch that is half full takes no shorter sequence: batches are a little smaller than they
    could be, and nearly free of padding.

    Args:
        lengths (`Sequence[int]`): the number of tokens of each sequence.
        max_tokens (`int`): the most tokens of a batch, padding included; a longer sequence is a
            batch of its own.
        max_rows (`int`, *optional*): the most sequences of a batch; by default any number.
    """
    batches: list[list[int]] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        rows = len(batches[-1]) if batches else 0
        if (
            not rows
            or rows == max_rows
            or (rows + 1) * longest > max_tokens
            or (lengths[index] < longest and 2 * rows * longest >= max_tokens)
        ):
            batches.append([])
            longest = lengths[index]
        batches[-1].append(index)
    return batches


def pad(sequences: Sequence[list[int]], padding_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids padded on the right, and the attention mask, both `torch.LongTensor` of shape
    `(num_sequences, longest)`."""
    lengths = torch.tensor([len(ids) for ids in sequences])
    input_ids = pad_sequence(
        [torch.tensor(ids) for ids in sequences], batch_first=True, padding_value=padding_id
    )
    return input_ids, (torch.arange(input_ids.shape[1]) < lengths.unsqueeze(1)).long()
