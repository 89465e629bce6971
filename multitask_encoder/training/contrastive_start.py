"""A contrastive start with few rows: texts of one label come together before the heads are trained.

Pairs of rows say more than the rows: of 70 there are 2,415. Their cosines are trained towards 1 or
0 as their labels agree or not (Tunstall et al. 2022, "Efficient Few-Shot Learning Without Prompts",
arXiv 2209.11055). With several tasks a pair aims at the share of tasks on whose labels it agrees.
"""

import logging
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import numpy as np
import torch
from datasets import Dataset
from torch.nn import functional as F
from tqdm.auto import tqdm

from multitask_encoder.arguments.run_arguments import MultiTaskTrainingArguments
from multitask_encoder.modeling import MultiTaskModel
from multitask_encoder.modeling.batching import pad
from multitask_encoder.modeling.losses import IGNORE_INDEX

from .defaults import learning_rate_of
from .embedding_rows import only_used_rows
from .freezing import freezing_keys
from .passes import first_windows

logger = logging.getLogger("multitask_encoder")

MOST_ROWS = 1000
STEPS, PAIRS = 250, 16  # at most half as many as the run has; half of a step's pairs agree
RATE = 1 / 15  # of the learning rate of training, or of its default where that is lower
WARMUP = 0.1


class Classes(NamedTuple):
    """A task's class id by row, and the rows that have a pair which agrees, and one that doesn't.

    A single class, or no class with two rows, leaves none.
    """

    ids: np.ndarray
    alike: np.ndarray
    unlike: np.ndarray

    @classmethod
    def of(cls, ids: np.ndarray) -> "Classes":
        known = ids != IGNORE_INDEX
        counts = (ids[:, None] == ids[known]).sum(1)
        alike, unlike = known & (counts > 1), known & (counts < known.sum())
        return cls(ids, np.flatnonzero(alike), np.flatnonzero(unlike))

    def pairs(self, agree: bool, number: int, random: np.random.Generator) -> np.ndarray:
        """Pairs of different rows whose labels agree, or don't: of shape `(number, 2)`."""
        known = self.ids != IGNORE_INDEX
        pairs = []
        for one in random.choice(self.alike if agree else self.unlike, number):
            fits = known & ((self.ids == self.ids[one]) == agree)
            fits[one] = False
            pairs.append((one, random.choice(np.flatnonzero(fits))))
        return np.array(pairs)


def begin_contrastively(
    model: MultiTaskModel,
    rows: Dataset,
    padding_id: int,
    args: MultiTaskTrainingArguments,
    autocast: Callable[[], AbstractContextManager] = nullcontext,
) -> None:
    """Train the encoder for some steps on pairs of rows. Nothing happens above 1,000 rows, without
    a task of one label per text, beside a `sentence_embedding`, and where parts of the encoder are
    frozen, have rates of their own, or LoRA is trained in their place.

    Every process does the same steps, so that the number of processes changes nothing.

    Args:
        model (`MultiTaskModel`): the model before training; its encoder is trained in place.
        rows (`Dataset`): preprocessed training rows.
        padding_id (`int`): the padding token.
        args (`MultiTaskTrainingArguments`): of the run: its learning rate, length and seed.
        autocast (`Callable`, *optional*): a context for the encoder's passes.
    """
    tasks = model.config.tasks
    kept = any(task["type"] == "sentence_embedding" for task in tasks.values())
    parts = {*freezing_keys(args)} - {"head_learning_rate"}
    if kept or args.lora_rank is not None or parts:
        return
    rows = first_windows(rows)
    if len(rows) > MOST_ROWS:
        return
    classes = {
        name: found
        for name, task in tasks.items()
        if task["type"] == "sequence_classification"
        and task["problem_type"] == "single_label_classification"
        and min(map(len, (found := Classes.of(np.asarray(rows[name][:])))[1:]))
    }
    steps = min(STEPS, steps_of(args, len(rows)) // 2)
    if not classes or not steps:
        return
    logger.info(
        "The encoder begins with %d contrastive steps on the labels of %s.",
        *(steps, ", ".join(classes)),
    )
    mixed = nullcontext if args.fp16 else autocast  # small gradients vanish in float16
    devices = [model.device] if model.device.type == "cuda" else []
    with (
        only_used_rows(model.encoder, rows, padding_id),
        torch.random.fork_rng(devices),
    ):
        torch.manual_seed(args.seed)
        _train(model, rows["input_ids"][:], classes, padding_id, args, steps, mixed)


def steps_of(args: MultiTaskTrainingArguments, rows: int) -> int:
    """The optimizer steps of a run on so many rows."""
    if args.max_steps > 0:
        return args.max_steps
    batch = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    return math.ceil(args.num_train_epochs * rows / batch)


def _train(
    model: MultiTaskModel,
    input_ids: list[list[int]],
    classes: dict[str, Classes],
    padding_id: int,
    args: MultiTaskTrainingArguments,
    steps: int,
    autocast: Callable[[], AbstractContextManager],
) -> None:
    random, names = np.random.default_rng(args.seed), list(classes)
    rate = RATE * min(args.learning_rate, learning_rate_of(model.config.hidden_size))
    optimizer = torch.optim.Adam(model.encoder.parameters(), lr=rate)
    warmup = max(1, round(WARMUP * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / warmup, (steps - step) / max(1, steps - warmup)),
    )
    model.train()
    for step in tqdm(range(steps), disable=None, leave=False, unit="step"):
        name = names[step % len(names)]
        drawn = [classes[name].pairs(agree, PAIRS // 2, random) for agree in (True, False)]
        pairs = np.concatenate(drawn)
        ids, mask = pad([input_ids[row] for row in pairs.T.flatten()], padding_id)
        ids, mask = ids.to(model.device), mask.to(model.device)
        pooling = model.config.pooling_of(name)
        with autocast():
            states = model(input_ids=ids, attention_mask=mask, tasks=[]).last_hidden_state
            vectors = model.embedding_head.pool(states, mask, pooling).float()
        cosines = F.cosine_similarity(*vectors.chunk(2))
        aims = torch.from_numpy(agreement(pairs, list(classes.values()))).to(cosines)
        optimizer.zero_grad()
        F.mse_loss(cosines, aims).backward()
        torch.nn.utils.clip_grad_norm_(model.encoder.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    optimizer.zero_grad()


def agreement(pairs: np.ndarray, tasks: list[Classes]) -> np.ndarray:
    """The share of tasks on which each pair of rows agrees, of those that label both: from 0 to 1,
    of shape `(num_pairs,)`."""
    ids = np.stack([task.ids[pairs] for task in tasks])  # (num_tasks, num_pairs, 2)
    both = (ids != IGNORE_INDEX).all(-1)
    agree = both & (ids[..., 0] == ids[..., 1])
    return agree.sum(0) / both.sum(0)
