"""Collates rows of different lengths into one padded batch."""

from dataclasses import dataclass, field

import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from .label_alignment import IGNORE_INDEX
from .soft_labels import Taught, beside_labels
from .task_kinds import kind_of, padded


@dataclass
class MultiTaskCollator:
    """Pads preprocessed rows to the longest row.

    Args:
        tokenizer (`PreTrainedTokenizerBase`): provides the padding token. Padding is on the
            right, because positions count from the first token.
        tasks (`dict[str, dict]`): as in the model's config.
        taught (`dict[str, Taught]`): the tasks of which rows have soft labels.

    Returns a dict of `input_ids` and `attention_mask`, `torch.LongTensor` of shape
    `(batch_size, seq_len)`, and `labels`: per task a `torch.LongTensor` of shape `(batch_size,)` or
    `(batch_size, seq_len)`, or a `torch.FloatTensor` of shape `(batch_size,)` or
    `(batch_size, num_labels)`. The keys are the same in every batch; absent labels are -100 or NaN.

    A row of several texts becomes several rows of the batch, which then has `groups`, a
    `torch.LongTensor` of shape `(batch_size,)`: the index of each text's row. The labels of a row
    are at its first text.

    Rows with soft labels give a batch `targets`: by task a `torch.FloatTensor` of shape
    `(batch_size, num_labels)` or `(batch_size, seq_len, num_labels)`, NaN where absent.
    """

    tokenizer: PreTrainedTokenizerBase
    tasks: dict[str, dict]
    taught: dict[str, Taught] = field(default_factory=dict)

    def columns(self, dataset: Dataset) -> list[str]:
        """The columns of preprocessed rows that batches use."""
        soft = [
            f"{name}.{key}" for name in self.taught for key in ("soft", "soft_ids", "soft_places")
        ]
        known = ("input_ids", "others", *map(self._label_column, self.tasks), *soft)
        return [name for name in known if name in dataset.column_names]

    def __call__(self, rows: list[dict]) -> dict:
        input_ids, groups = [], []
        for group, row in enumerate(rows):
            texts = [row["input_ids"], *(row.get("others") or ())]
            input_ids += texts
            groups += [group] * len(texts)
        longest = max(map(len, input_ids))

        labels = {}
        for name, task in self.tasks.items():
            column = self._label_column(name)
            if column not in rows[0]:
                continue
            labels[name] = kind_of(task).batch([row[column] for row in rows], longest)
        targets = {}
        for name, taught in self.taught.items():
            if f"{name}.soft" in rows[0]:
                targets[name] = taught.batch(name, rows, longest)
                targets[name], labels[name] = beside_labels(targets[name], labels[name], taught)
        batch = {
            "input_ids": padded(input_ids, longest, self.tokenizer.pad_token_id),
            "attention_mask": padded([[1] * len(ids) for ids in input_ids], longest, 0),
            "labels": labels,
        }
        if targets:
            batch["targets"] = targets
        if len(groups) > len(rows):
            batch["groups"] = torch.tensor(groups)
            for key in {"labels", "targets"} & batch.keys():
                batch[key] = {
                    name: _at_first_texts(values, batch["groups"])
                    for name, values in batch[key].items()
                }
        return batch

    def _label_column(self, name: str) -> str:
        return f"{name}.target" if self.tasks[name].get("loss") == "retention" else name


def _at_first_texts(labels: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """Spread labels of shape `(num_rows, ...)` to `(num_texts, ...)`: present at the first text of
    each row, absent at the others."""
    absent = float("nan") if labels.is_floating_point() else IGNORE_INDEX
    spread = labels.new_full((len(groups), *labels.shape[1:]), absent)
    spread[torch.searchsorted(groups, torch.arange(len(labels)))] = labels
    return spread
