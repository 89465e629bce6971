"""Defaults that follow from the encoder and the training rows.

A run that sets none of these keys trains well on 300 rows and on 300,000:

| key | default |
|---|---|
| `per_device_train_batch_size` | a step has 16 rows below 5,000 training rows, and 32 from there |
| `learning_rate` | 3e-4 for a `hidden_size` of 384, by its inverse square; thrice that for LoRA |
| `num_train_epochs` | 800 / sqrt(rows), from 3 to 100; twice as many where teachers label all |
| `head_learning_rate` | 5 times `learning_rate` with new token tasks, to 300 steps, 1/3 of all |
| `warmup_steps` | a tenth of all steps |
| `weight_decay` | 0.01 |
| `l2_sp` | 0.1 / (learning_rate * sqrt(rows)); 0 with `sentence_embedding`, in shards, in LoRA |
| `eval_strategy`, `save_strategy` | each epoch, and ten times a run with more than ten epochs |

The batch size counts all processes and accumulated batches: a step is the same however it is split.
Heads have no rate of their own in LoRA, streams and shards. Where a finished model is held to tasks
that it has learned, `l2_sp` has 0.75 in place of 0.1, also with `sentence_embedding`,
`load_best_model_at_end` is false, and `freeze` has the heads that no row labels, but in shards.
The rules were chosen on validation splits (docs/quality.md).
"""

import logging
import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import parse_flag_from_env

from multitask_encoder.arguments.run_arguments import MultiTaskTrainingArguments, RunArguments
from multitask_encoder.data.labels import has_labels
from multitask_encoder.inference.precision import computes
from multitask_encoder.modeling import MultiTaskModel

from .checkpoints import config_beside
from .run_rows import Rows

logger = logging.getLogger("multitask_encoder")

ROWS_OF_SMALL_STEPS = 5000
SMALL_STEP, LARGE_STEP = 16, 32
WIDTH, LEARNING_RATE, HIGHEST_RATE = 384, 3e-4, 1e-3
HEAD_RATE = 5  # times the learning rate, in short runs: of so many steps, and of the default's
SHORT_STEPS, SHORT_RUN = 300, 1 / 3  # epochs at most this part
LORA_RATE = 3  # times the learning rate of the weights themselves
FEWEST_EPOCHS, MOST_EPOCHS = 3, 100
# Where all labels are teachers' (Beyer et al. 2022, "Knowledge distillation: A good teacher is
# patient and consistent", arXiv 2106.05237).
PATIENCE = 2
# The fraction of the way back to the start in a step at the full learning rate, times the square
# root of the rows. The steps of a run grow with that root, so its whole pull stays the same.
PULL = 0.1
HELD_PULL = 0.75  # the same for a model that is held to what it has learned
EVALUATIONS = 10
PACE_KEYS = ("eval_strategy", "eval_steps", "save_strategy", "save_steps")  # set all or none


def learning_rate_of(width: int, lora: bool = False) -> float:
    """The learning rate for an encoder whose hidden states have `width` numbers."""
    rate = LEARNING_RATE * (WIDTH / width) ** 2 * (LORA_RATE if lora else 1)
    return min(float(f"{rate:.2g}"), HIGHEST_RATE)


def epochs_of(rows: int, taught: bool = False) -> int:
    """The number of epochs for so many training rows, of which teachers label all or not."""
    patience = PATIENCE if taught else 1
    return max(FEWEST_EPOCHS, min(MOST_EPOCHS, round(patience * 800 / math.sqrt(max(rows, 1)))))


def l2_sp_of(rate: float, rows: int | None, held: bool = False) -> float:
    """The pull to the starting weights for a learning rate and so many training rows (None: of a
    stream, which has many), where the model is held to what it has learned or not."""
    if rows is None or rate <= 0:
        return 0.0
    return float(f"{(HELD_PULL if held else PULL) / math.sqrt(max(rows, 1)) / rate:.2g}")


def choose_precision(run: RunArguments, model: MultiTaskModel) -> None:
    """Train in float32 where bfloat16 is the processor's default and the encoder can't use it."""
    if not run.training.bf16 or run.given.get("bf16") is not None:
        return
    with torch.autocast(model.device.type, dtype=torch.bfloat16):
        works = computes(model)
    if not works:
        run.training.bf16 = False
        run.training.mixed_precision = "no"
        logger.info("The encoder can't compute in bfloat16, so it trains in float32.")


def fill_defaults(
    run: RunArguments,
    rows: Rows,
    model: MultiTaskModel,
    checkpoint: str | None = None,
    old_tasks: Collection[str] = (),
    held: Collection[str] = (),
    kept_heads: Collection[str] = (),
) -> None:
    """Set the keys above that the run leaves open, and log them. A run that is resumed from a
    checkpoint with its config beside it chooses no rate for its heads: the groups of the saved
    optimizer have rates.

    Args:
        old_tasks (`Collection[str]`): the tasks that the model has learned before.
        held (`Collection[str]`): those of them that it is held to.
        kept_heads (`Collection[str]`): those of these that no training row labels.
    """
    if not run.training.do_train or run.training.do_inspect:
        return
    chosen = {
        key: value
        for key, value in _rules(run, rows, model, old_tasks, held, kept_heads).items()
        if run.given.get(key) is None
    }
    if checkpoint is not None and config_beside(Path(checkpoint)) is not None:
        chosen.pop("head_learning_rate", None)
    for key, value in chosen.items():
        setattr(run.training, key, value)
    run.given.update(chosen)
    run.chosen = list(chosen)
    if chosen:
        shown = ", ".join(f"{key} {value}" for key, value in chosen.items())
        logger.info("Not set, so chosen by the encoder and the rows: %s.", shown)


def _rules(
    run: RunArguments,
    rows: Rows,
    model: MultiTaskModel,
    old_tasks: Collection[str],
    held: Collection[str],
    kept_heads: Collection[str],
) -> dict[str, Any]:
    count = sum(map(len, rows["train"].values())) if not run.data.streaming else None
    step = SMALL_STEP if count is not None and count < ROWS_OF_SMALL_STEPS else LARGE_STEP
    batches = run.training.world_size * run.training.gradient_accumulation_steps
    rules: dict[str, Any] = {
        "per_device_train_batch_size": max(1, step // batches),
        "learning_rate": learning_rate_of(
            model.config.hidden_size, lora=run.training.lora_rank is not None
        ),
        "warmup_steps": 0.1,
        "weight_decay": 0.01,
    }
    unset_rate = run.given.get("learning_rate") is None
    rate = rules["learning_rate"] if unset_rate else run.training.learning_rate
    # The retention loss holds an embedding, but no head.
    embeds = any(task.is_embedding for task in run.tasks.values()) and not held
    stays = embeds or in_shards(run.training) or run.training.lora_rank is not None
    rules["l2_sp"] = 0.0 if stays else l2_sp_of(rate, count, bool(held))
    # Rows of the new task choose epochs in which the encoder is far from what the old ones need.
    if held and run.training.early_stopping_patience is None:
        rules["load_best_model_at_end"] = False
    if kept_heads and not in_shards(run.training):
        # They would follow what the model says of a few texts, and fit all others less.
        rules["freeze"] = [f"heads.{name}" for name in kept_heads]
    if count is None:
        return rules
    usual = epochs_of(count, taught=bool(run.teachers) and not _labelled(run, rows))
    epochs = float(run.given.get("num_train_epochs") or usual)
    size = run.given.get("per_device_train_batch_size") or rules["per_device_train_batch_size"]
    step = int(size) * batches
    if run.training.max_steps > 0:
        epochs = run.training.max_steps * step / max(count, 1)
    short = epochs * count <= SHORT_STEPS * step and epochs <= SHORT_RUN * usual
    tags = any(task.labels_tokens for name, task in run.tasks.items() if name not in old_tasks)
    if short and tags and rate and run.training.lora_rank is None and not in_shards(run.training):
        # Heads of tokens begin at random: at the encoder's rate, a short run hardly moves them.
        rules["head_learning_rate"] = float(f"{HEAD_RATE * rate:.2g}")
    if run.training.max_steps > 0:
        return rules
    rules["num_train_epochs"] = usual
    unset = all(run.given.get(key) is None for key in PACE_KEYS)
    if unset and run.training.do_eval and epochs > EVALUATIONS:
        rules |= zip(PACE_KEYS, ("steps", 1 / EVALUATIONS) * 2, strict=True)
    return rules


def _labelled(run: RunArguments, rows: Rows) -> bool:
    """Whether a training row has a label of any task."""
    return any(has_labels(name, part) for name in run.tasks for part in rows["train"].values())


def in_shards(training: MultiTaskTrainingArguments) -> bool:
    """Whether FSDP or DeepSpeed, set here or by `accelerate launch`, splits the weights."""
    return asks_for_fsdp(training) or bool(training.deepspeed_plugin)


def asks_for_fsdp(training: MultiTaskTrainingArguments) -> bool:
    """Whether FSDP is set, here or by `accelerate launch`."""
    return bool(training.fsdp or parse_flag_from_env("ACCELERATE_USE_FSDP"))
