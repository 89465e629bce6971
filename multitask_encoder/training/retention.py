"""The target of the retention loss: the sentence embeddings before training."""

from collections.abc import Collection

import torch
import torch.nn.functional as F
from datasets import Dataset, Features, List, Value

from multitask_encoder.data.caching import fingerprint
from multitask_encoder.modeling import MultiTaskModel

from .passes import encoded_batches, hash_of_weights

ROWS_AT_ONCE = 5000


def add_targets(
    splits: dict[str, Dataset],
    model: MultiTaskModel,
    padding_id: int,
    device: torch.device,
    taught: Collection[str] = (),
    bf16: bool = False,
) -> dict[str, Dataset]:
    """Preprocessed rows with a column `<task>.target` for every task whose loss is `retention`: the
    unit vector of the row's first text before training, `hidden_size` numbers in float32.

    The vectors are cached: another run with the same initial weights and rows reuses them.

    Args:
        splits (`dict[str, Dataset]`): preprocessed rows.
        model (`MultiTaskModel`): the model before training.
        padding_id (`int`): the padding token.
        device (`torch.device`): the device to compute on.
        taught (`Collection[str]`): tasks that get their targets from elsewhere.
        bf16 (`bool`): whether the encoder computes them in bfloat16, as it will when it is trained.
    """
    names = [
        name
        for name, task in model.config.tasks.items()
        if task.get("loss") == "retention" and name not in taught
    ]
    if not names:
        return splits
    state = hash_of_weights(model.encoder)
    home = model.device
    model.eval().to(device)
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            return {
                split: _with_targets(rows, split, names, model, padding_id, [state, bf16])
                for split, rows in splits.items()
            }
    finally:
        model.to(home)


def _with_targets(
    rows: Dataset, split: str, names: list[str], model: MultiTaskModel, padding_id: int, state: list
) -> Dataset:
    vector = List(Value("float32"))

    def targets(batch: dict[str, list]) -> dict[str, list]:
        vectors = embed(batch["input_ids"], model, padding_id).numpy()
        return {f"{name}.target": list(vectors) for name in names}

    return rows.map(
        targets,
        batched=True,
        batch_size=ROWS_AT_ONCE,
        features=Features({**rows.features, **{f"{name}.target": vector for name in names}}),
        desc=f"Embedding {split}",
        new_fingerprint=fingerprint(
            rows._fingerprint,
            names,
            model.config.pooling,
            state,
            functions=(embed, encoded_batches),
        ),
    )


def embed(input_ids: list[list[int]], model: MultiTaskModel, padding_id: int) -> torch.Tensor:
    """The unit vectors of texts, `torch.FloatTensor` of shape `(num_texts, hidden_size)`."""
    vectors = torch.empty(len(input_ids), model.config.hidden_size)
    for batch, output, _ in encoded_batches(input_ids, model, padding_id):
        vectors[batch] = F.normalize(output.sentence_embedding.float(), dim=-1).cpu()
    return vectors
