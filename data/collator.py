"""Rows of different lengths to one padded batch."""

from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase

from .label_alignment import IGNORE_INDEX


@dataclass
class MultiTaskCollator:
    """Pads preprocessed rows to the longest of them.

    Args:
        tokenizer (`PreTrainedTokenizerBase`): its padding token is used. Padding goes to the right:
            positions count from the first token, which it must not push aside.
        tasks (`dict[str, dict]`): as in the model's config.

    Returns a dict of `input_ids` and `attention_mask`, `torch.LongTensor` of shape
    `(batch_size, seq_len)`, and `labels`: per task a `torch.LongTensor` of shape `(batch_size,)` or
    `(batch_size, seq_len)`, or a `torch.FloatTensor` of shape `(batch_size, num_labels)`. The keys
    are the same in every batch; absent labels are -100 or NaN.
    """

    tokenizer: PreTrainedTokenizerBase
    tasks: dict[str, dict]

    def __call__(self, rows: list[dict]) -> dict:
        longest = max(len(row["input_ids"]) for row in rows)

        def pad(sequences: list[list[int]], value: int) -> torch.Tensor:
            padded = torch.full((len(rows), longest), value, dtype=torch.long)
            for index, sequence in enumerate(sequences):
                padded[index, : len(sequence)] = torch.tensor(sequence)
            return padded

        input_ids = [row["input_ids"] for row in rows]
        labels = {}
        for name, task in self.tasks.items():
            if task["type"] == "token_classification":
                labels[name] = pad([row[name] for row in rows], IGNORE_INDEX)
            elif task["type"] == "sequence_classification":
                single = task["problem_type"] == "single_label_classification"
                labels[name] = torch.tensor(
                    [row[name] for row in rows], dtype=torch.long if single else torch.float
                )
        return {
            "input_ids": pad(input_ids, self.tokenizer.pad_token_id),
            "attention_mask": pad([[1] * len(ids) for ids in input_ids], 0),
            "labels": labels,
        }
