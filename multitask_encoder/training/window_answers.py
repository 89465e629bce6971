"""What evaluation gathers of each window: answers, losses and labels."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from datasets import Dataset

from multitask_encoder.data.task_kinds import kind_of
from multitask_encoder.modeling import MultiTaskModel
from multitask_encoder.modeling.decoding import likeliest_labels
from multitask_encoder.modeling.losses import (
    IGNORE_INDEX,
    begins_group,
    pair_cosines,
    present_labels,
)
from multitask_encoder.modeling.modeling_multitask import MultiTaskOutput


def evaluated(collate: Callable, rows: list[dict]) -> dict:
    """A batch with `continues`: whether each text continues an earlier window."""
    batch = collate(rows)
    continues = torch.tensor([row["window"] > 0 for row in rows])
    groups = batch.get("groups")
    return {**batch, "continues": continues if groups is None else continues[groups]}


def window_answers(
    model: MultiTaskModel, outputs: MultiTaskOutput, inputs: dict, continues: torch.Tensor | None
) -> dict[str, torch.Tensor]:
    """What evaluation gathers of a batch, one entry per preprocessed row: logits of sentence tasks,
    label ids of token tasks, cosines of pairs, and as `<task> loss` and `<task> count` each task's
    sums over a row's labels.

    Args:
        model (`MultiTaskModel`): whose outputs these are.
        outputs (`MultiTaskOutput`), inputs (`dict`): of the batch.
        continues (`torch.Tensor` of shape `(batch_size,)`, *optional*): from `evaluated`.
    """
    labels, answers = inputs.get("labels", {}), {}
    texts = len(inputs["input_ids"])
    groups = inputs.get("groups", torch.arange(texts, device=outputs.last_hidden_state.device))
    for name, task in model.config.tasks.items():
        if name in model.heads:
            head, logits = model.heads[name], outputs.logits[name]
            if head.reads_tokens:
                # Each unit is represented by its labelled token, seen in training or not.
                none = torch.full(logits.shape[:2], IGNORE_INDEX, device=logits.device)
                units = labels.get(name, none) != IGNORE_INDEX
                answers[name] = likeliest_labels(logits, units, task["labels"], continues)
            else:
                answers[name] = logits.float()
            if name not in labels:
                continue
            losses = head.loss(logits, labels[name])
        else:
            answers[name] = pair_cosines(outputs.sentence_embedding, groups)
            if name not in (outputs.losses or {}):
                continue
            # The batch's mean: the loss may compare its texts with each other.
            losses = outputs.losses[name] * present_labels(labels[name])
        answers[f"{name} loss"] = losses.view(texts, -1).sum(1)
        answers[f"{name} count"] = present_labels(labels[name]).view(texts, -1).sum(1)
    if "groups" not in inputs:
        return answers
    of_rows = begins_group(groups)
    return {key: values[of_rows] for key, values in answers.items()}


def label_ids(
    rows: Dataset, tasks: dict[str, dict], predictions: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The labels of preprocessed rows that were evaluated, by task."""
    labels = {}
    for name, task in tasks.items():
        if name in predictions and name in rows.column_names:
            longest = predictions[name].shape[-1]  # of a token task
            labels[name] = kind_of(task).batch(rows[name][:], longest).numpy()
    return labels


def mean_losses(
    names: Sequence[str], gathered: dict[str, np.ndarray]
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Each task's mean loss, and its counts as `count_labels` gives them, from what
    `window_answers` says of all rows."""
    losses, counts = {}, {}
    for name in names:
        of_rows = gathered.get(f"{name} count", np.zeros(0))
        if of_rows.sum() > 0:
            counts[name] = torch.tensor([of_rows.sum(), (of_rows > 0).sum()])
            total = gathered[f"{name} loss"].sum(dtype=np.float64)
            losses[name] = torch.tensor(total / of_rows.sum(), dtype=torch.float64)
    return losses, counts
