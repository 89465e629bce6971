"""Trains only the rows of the token embedding whose tokens occur in the training data.

In most encoders this table is far larger than a data set needs: it holds a third to two thirds of
all weights, and a small data set uses a tenth of the tokens. A row that no batch reads gets no
gradient, and without weight decay AdamW never moves it: its moments stay zero. So training a table
of the used rows gives the same weights, and the unused rows cost no gradient, no moments, no
clipping, no step and no exchange between ranks.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F
from datasets import Dataset
from torch import nn


class EmbeddingRows(nn.Module):
    """Replaces an embedding by one with only some rows as parameters.

    Evaluation, saving and loading use the whole table.

    Args:
        embedding (`nn.Embedding`): the whole table, updated when the module is set to evaluation or
            saved, and by `write_back`.
        rows (`torch.LongTensor` of shape `(num_rows,)`): indices of the rows to train.
    """

    def __init__(self, embedding: nn.Embedding, rows: torch.Tensor):
        super().__init__()
        whole = embedding.weight.detach()
        self._whole = whole  # no buffer: distributed training would broadcast it
        self._padding_idx = embedding.padding_idx
        self.weight = nn.Parameter(whole[rows])
        # Other tokens get an index that is out of range, which raises an error.
        places = torch.full((len(whole),), len(rows), device=whole.device)
        places[rows] = torch.arange(len(rows), device=whole.device)
        self.register_buffer("rows", rows.to(whole.device), persistent=False)
        self.register_buffer("places", places, persistent=False)
        self._padding_place = None if self._padding_idx is None else int(places[self._padding_idx])

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Like `nn.Embedding`: ids of any shape to vectors of shape `(..., hidden_size)`."""
        if self.training:
            return F.embedding(self.places[input_ids], self.weight, self._padding_place)
        return F.embedding(input_ids, self._whole, self._padding_idx)

    @torch.no_grad()
    def write_back(self) -> None:
        """Copy the trained rows into the whole table."""
        self._whole[self.rows] = self.weight.to(self._whole.dtype)

    def train(self, mode: bool = True) -> "EmbeddingRows":
        if self.training and not mode:
            self.write_back()
        return super().train(mode)

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        self.write_back()
        destination[f"{prefix}weight"] = self._whole

    @torch.no_grad()
    def _load_from_state_dict(self, state_dict, prefix, local_metadata, strict, missing, *args):
        key = f"{prefix}weight"
        if key not in state_dict:
            missing.append(key)
            return
        self._whole.copy_(state_dict[key])
        self.weight.copy_(self._whole[self.rows])


@contextmanager
def only_used_rows(encoder: nn.Module, dataset: Dataset, padding_id: int) -> Iterator[bool]:
    """Context in which the encoder trains only the token embeddings that `dataset` uses.

    Args:
        encoder (`nn.Module`): any `PreTrainedModel`; unchanged if its token embedding is frozen,
            shared or not a plain `nn.Embedding`.
        dataset (`Dataset`): rows with `input_ids`.
        padding_id (`int`): the collator's padding token.

    Yields whether an `EmbeddingRows` replaces the embedding.
    """
    embedding = encoder.get_input_embeddings()
    names = [name for name, module in encoder.named_modules() if module is embedding]
    shared = sum(
        parameter is embedding.weight
        for _, parameter in encoder.named_parameters(remove_duplicate=False)
    )
    if (
        type(embedding) is not nn.Embedding
        or embedding.max_norm is not None
        or not embedding.weight.requires_grad
        or (len(names), shared) != (1, 1)
    ):
        yield False
        return
    used = used_ids(dataset, embedding.num_embeddings)
    used[padding_id] = True
    parent_name, _, name = names[0].rpartition(".")
    parent = encoder.get_submodule(parent_name)
    rows = EmbeddingRows(embedding, torch.from_numpy(np.flatnonzero(used)))
    setattr(parent, name, rows)
    try:
        yield True
    finally:
        rows.write_back()
        setattr(parent, name, embedding)


def used_ids(dataset: Dataset, vocab_size: int) -> np.ndarray:
    """Whether each token occurs in the rows: `np.ndarray` of bool of shape `(vocab_size,)`."""
    used = np.zeros(vocab_size, dtype=bool)
    names = [name for name in ("input_ids", "others") if name in dataset.column_names]
    for batch in dataset.select_columns(names).with_format("arrow").iter(batch_size=10_000):
        for column in batch.columns:
            ids = column.combine_chunks().flatten()
            used[(ids.flatten() if pa.types.is_list(ids.type) else ids).to_numpy()] = True
    return used
