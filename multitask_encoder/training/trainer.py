"""A Trainer whose combined loss does not depend on how a step is split."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import DistributedType, broadcast, send_to_device
from datasets import Dataset
from torch import nn
from torch.utils.data import DataLoader
from transformers import EvalPrediction, Trainer, TrainerCallback
from transformers.trainer_utils import PredictionOutput, TrainOutput, rotate_checkpoints

from multitask_encoder.arguments.run_arguments import MultiTaskTrainingArguments
from multitask_encoder.data.bad_rows import BadRows
from multitask_encoder.data.sampler import LengthGroupedBatchSampler
from multitask_encoder.data.streaming import StreamedBatches, StreamedWindows
from multitask_encoder.files import replacing_files
from multitask_encoder.modeling.losses import count_labels
from multitask_encoder.modeling.modeling_multitask import MultiTaskOutput

from .checkpoints import mark_complete, unmark
from .distillation import labels_or_targets, taught_difference
from .embedding_rows import EmbeddingRows, only_used_rows
from .encoder_layers import layer_classes
from .freezing import (
    GradualUnfreezing,
    check_freezing,
    freezing_keys,
    frozen,
    frozen_parameters,
)
from .importance import importance
from .layer_cache import CachedLayers
from .learning_rates import split_by_learning_rate
from .log_lines import print_readably
from .lora import lora
from .passes import split_batch
from .row_answers import RowAnswers
from .row_scores import metrics_of, row_answers
from .starting_point import PullToStart
from .window_answers import evaluated, label_ids, mean_losses, window_answers

LOST_STEPS = 10  # without a finite loss, after which training has no way back


class Diverged(ValueError):
    """Training has ended in losses or weights that are not finite."""


class MultiTaskTrainer(Trainer):
    """Trains a `MultiTaskModel` on preprocessed rows of any subset of its tasks.

    The loss is the sum over tasks of w_t * S_t / N_t: S_t is the task's summed loss and N_t its
    number of labelled rows (of labels, for an embedding; see `MultiTaskModel.combined`), both over
    the whole optimizer step: every micro-batch of every rank. So a batch of 32 rows is the same
    step as 8 x 4 accumulated or 2 ranks x 16.

    Evaluation scores every row once, by words instead of tokens, adds each task's exact loss and
    the weighted mean `score`, and logs them like any metric. Complete checkpoints carry a marker.

    Args (besides those of `transformers.Trainer`; data sets come from
    `data.preprocessing.preprocess`, or are `data.streaming.StreamedWindows` for training):
        compute_metrics (`Callable[[EvalPrediction], dict]`, *optional*): metrics beside the
            package's; one of the same name replaces it. `predictions` and `label_ids` are dicts of
            `np.ndarray` by task, with an entry for each preprocessed row (window) of the split. A
            sentence task has logits `(num_windows, num_labels)` and labels as its loss takes them;
            a token task decoded label ids and labels, both `(num_windows, longest)`, -100 where
            `label_ids` have none; an embedding the cosines of pairs and their scores, both
            `(num_windows,)`. `predictions` also holds each task's `"<task> loss"` and
            `"<task> count"`, its sums over a window's labels.
        datasets (`dict[str, list[str]]`, *optional*): the data sets that the rows' column
            `dataset` numbers, in order, and the tasks that each labels. With several, each gets its
            own metrics.
        draws (`list[int]`, *optional*): training rows per data set in an epoch. By default, every
            row once.
        held (`Sequence[str]`, *optional*): tasks that the model has learned before and shall keep:
            `l2_sp` pulls each weight by what it matters to them.

    Attributes:
        answers (`RowAnswers`, *optional*): what the last evaluation predicted and expected.

    Raises:
        TypeError: `args` are no `MultiTaskTrainingArguments`.
        ValueError: several GPUs in one process (use `accelerate launch`).
    """

    data_collator: Any  # a MultiTaskCollator; wrapped while evaluation loaders are created
    compute_metrics: Callable[[EvalPrediction], dict] | None

    def __init__(
        self,
        *args,
        datasets: dict[str, list[str]] | None = None,
        draws: list[int] | None = None,
        held: Sequence[str] = (),
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        if not isinstance(self.args, MultiTaskTrainingArguments):
            found = type(self.args).__name__
            raise TypeError(f"args should be MultiTaskTrainingArguments. Found {found}.")
        if self.args.run_name is None:
            # Training and the evaluation after it both report to trackers: without a name, each
            # would be a separate run. The time keeps two starts apart.
            started = time.strftime("%Y%m%d-%H%M%S")
            self.args.run_name = f"{Path(self.args.output_dir).name}-{started}"
        self.datasets, self.draws, self.held = datasets, draws, held
        if self.args.n_gpu > 1:
            raise ValueError(
                f"Found {self.args.n_gpu} GPUs in one process. Use: accelerate launch "
                "--num_processes N run_multitask.py ..., or CUDA_VISIBLE_DEVICES for one of them."
            )
        self._shard_by_layer()
        self.loss_is_scaled_for_ga = True
        self._own_metrics, self.compute_metrics = self.compute_metrics, self._metrics
        self.answers: RowAnswers | None = None
        self._evaluated_rows: Dataset | None = None
        self._task_loss_sums: dict[str, torch.Tensor] = {}
        self._unlogged_steps = 0
        self._lost_batches = torch.tensor(0)  # since the loss was last finite
        self._train_sampler: LengthGroupedBatchSampler | None = None
        self.add_callback(_EpochOrder(self))
        print_readably(self)

    def train(self, *args, **kwargs):
        """Like `Trainer.train`, also after `evaluate`; unused token embeddings (see
        embedding_rows.py) and frozen parts (see freezing.py) cost nothing. With everything frozen,
        returns at once. Matrices of `lora_rank` (see lora.py) are in the weights when it ends."""
        self._check_parts()
        if self.model_init is not None:  # of each trial of a search: the model is made in there
            return super().train(*args, **kwargs)
        with lora(self.model, self.args) as adapted, self._freezing():
            if not any(parameter.requires_grad for parameter in self.model.parameters()):
                return TrainOutput(0, 0.0, {})
            self.model.forget_fitted()
            output = self._train_used_rows(*args, **kwargs)
        if adapted:  # they hold parameters that are gone
            self.optimizer = self.lr_scheduler = None
        return output

    def call_model_init(self, trial=None):
        """As `Trainer.call_model_init`; a finished model is without what was fitted to its weights,
        as these are going to change."""
        model = super().call_model_init(trial)
        model.forget_fitted()
        return model

    def _shard_by_layer(self) -> None:
        """FSDP gathers one layer of the encoder at a time, unless the user says otherwise. Its own
        choice, what a device map doesn't split, has BERT's embeddings within each other."""
        if not self.is_fsdp_enabled:
            return
        sharding, layers = self.accelerator.state.fsdp_plugin, layer_classes(self.model.encoder)
        if sharding.transformer_cls_names_to_wrap is None and layers:
            sharding.transformer_cls_names_to_wrap = layers

    def _check_parts(self) -> None:
        """Refuse keys that treat parts of the model differently where they can't be told apart."""
        keys = freezing_keys(self.args)
        keys += [key for key in ("l2_sp", "lora_rank") if getattr(self.args, key)]
        if keys and (self.model_init or self.is_fsdp_enabled or self.is_deepspeed_enabled):
            raise ValueError(
                f"{keys[0]} needs a model in one process or in DistributedDataParallel. "
                "Found FSDP, DeepSpeed or a model_init."
            )

    @contextmanager
    def _freezing(self) -> Iterator[None]:
        """Context of training, in which the parts chosen by the arguments are frozen."""
        check_freezing(self.model, self.args, not isinstance(self.train_dataset, Dataset))
        callbacks: list = []
        if self.args.unfreeze_layers_per_epoch is not None:
            callbacks.append(GradualUnfreezing())
        if self.args.cache_frozen_layers:
            callbacks.append(CachedLayers(self))
        with frozen(self.model, frozen_parameters(self.model, self.args)), ExitStack() as stack:
            for callback in callbacks:
                self.add_callback(callback)
                stack.callback(self.remove_callback, callback)
                stack.callback(callback.close)
            yield

    def _train_used_rows(self, *args, **kwargs):
        # Evaluation marks the model as prepared, although only for evaluation. Training would then
        # silently skip DistributedDataParallel, and each rank would train alone.
        self.model.__dict__.pop("_is_accelerate_prepared", None)
        if not self._may_leave_out_rows():
            return self._train_pulled(*args, **kwargs)
        padding_id = self.data_collator.tokenizer.pad_token_id
        with only_used_rows(self.model.encoder, self.train_dataset, padding_id) as replaced:
            output = self._train_pulled(*args, **kwargs)
        if replaced:  # they hold the replaced parameter
            self.optimizer = self.lr_scheduler = None
        return output

    def _train_pulled(self, *args, **kwargs):
        if not self.args.l2_sp:
            return super().train(*args, **kwargs)
        # Made before a checkpoint is loaded: a resumed run has the same start.
        matters = None
        if self.held and isinstance(self.train_dataset, Dataset):
            padding_id, seed = self.data_collator.tokenizer.pad_token_id, self.args.seed
            matters = importance(self.model, self.train_dataset, padding_id, self.held, seed)
            if self.args.world_size > 1:  # a GPU's sums differ in their last bits
                matters = {one: broadcast(of_one) for one, of_one in matters.items()}
        pull = PullToStart(self.model.encoder, self.args.l2_sp, matters)
        self.add_callback(pull)
        try:
            return super().train(*args, **kwargs)
        finally:
            self.remove_callback(pull)

    def _may_leave_out_rows(self) -> bool:
        """Whether only the model holds its parameters, and the training rows are known."""
        return (
            isinstance(self.train_dataset, Dataset)
            and hasattr(self.data_collator, "tokenizer")
            and self.optimizer is None
            and not (self.is_fsdp_enabled or self.is_deepspeed_enabled)
        )

    # The optimizer

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """Like `Trainer`, without embeddings: decay would shrink the vectors of words that the
        training data lacks."""
        embeddings = {
            f"{name}.weight"
            for name, module in model.named_modules()
            if isinstance(module, nn.Embedding | EmbeddingRows)
        }
        return [name for name in super().get_decay_parameter_names(model) if name not in embeddings]

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Like `Trainer`, with the learning rates of layers and heads."""
        new = self.optimizer is None
        optimizer = super().create_optimizer(model)
        if new:
            split_by_learning_rate(optimizer, self.model, self.args)
        return optimizer

    def _clip_grad_norm(self, model: nn.Module) -> torch.Tensor:
        """Like `Trainer`, but a fused optimizer scales the gradients in its own kernel, which saves
        one pass over them."""
        optimizer = getattr(self.optimizer, "optimizer", self.optimizer)
        alone = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)
        if (
            not isinstance(optimizer, torch.optim.AdamW)
            or not optimizer.defaults["fused"]
            or self.accelerator.distributed_type not in alone
            or self.accelerator.scaler is not None
        ):
            return super()._clip_grad_norm(model)
        gradients = [
            parameter.grad for parameter in model.parameters() if parameter.grad is not None
        ]
        norm = torch.nn.utils.get_total_norm(gradients)
        # The inverse of the factor of `torch.nn.utils.clip_grad_norm_`, in the kernel's type.
        optimizer.grad_scale = ((norm + 1e-6) / self.args.max_grad_norm).clamp(min=1).float()
        return norm

    # The combined loss

    def get_batch_samples(
        self, epoch_iterator: Iterator, num_batches: int, device: torch.device
    ) -> tuple[list, dict[str, torch.Tensor]]:
        """The micro-batches of one optimizer step, and per task the number of labels and of
        labelled rows in the step, summed over all ranks."""
        batches = list(islice(epoch_iterator, num_batches))
        if not batches:
            return [], {}
        for batch in batches:
            if "problems" in batch:
                raise BadRows(batch["problems"])
        self._unlogged_steps += 1
        names = list(batches[0]["labels"])
        counts = torch.stack(
            [sum(count_labels(_to_learn(batch, name)) for batch in batches) for name in names]
        )
        counts = counts.to(device, non_blocking=True)  # returns once they are staged
        counts = self.accelerator.reduce(counts, reduction="sum")
        return batches, dict(zip(names, counts, strict=True))

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Like `Trainer`, but the host goes on while a GPU copies a batch from pinned memory."""
        if self.args.device.type == "cuda":
            inputs = send_to_device(inputs, self.args.device, non_blocking=True)
        return super()._prepare_inputs(inputs)

    def training_step(self, model, inputs, num_items_in_batch=None) -> torch.Tensor:
        """Like `Trainer`, in passes of at most `max_batch_tokens` tokens. The loss is a sum, so the
        passes add up to the same step."""
        # Where ranks share the weights, all need the same number of passes.
        shared = self.is_fsdp_enabled or self.is_deepspeed_enabled
        most = sys.maxsize if shared else self.args.max_batch_tokens
        *parts, last = split_batch(inputs, most)
        loss = 0.0
        for part in parts:
            with self.accelerator.no_sync(model):  # ranks exchange gradients in the last pass only
                loss += super().training_step(model, part, num_items_in_batch)
        loss = loss + super().training_step(model, last, num_items_in_batch)
        # Read at the next log or checkpoint: reading it here would make the host wait.
        lost = self._lost_batches.to(loss.device) + 1
        self._lost_batches = torch.where(loss.isfinite(), 0, lost)
        return loss

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """This micro-batch's share of the step's loss, times the number of ranks: distributed
        training averages gradients, and the loss is a sum. In evaluation, the batch's own mean."""
        targets = inputs.get("targets", {})
        inputs = {key: value for key, value in inputs.items() if key != "targets"}
        outputs = model(**inputs, num_items_in_batch=num_items_in_batch, return_dict=True)
        loss = outputs.loss
        if targets:
            loss = loss + self._taught_loss(outputs, inputs["labels"], targets, num_items_in_batch)
        if num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes
            for name, task_loss in outputs.losses.items():
                total = self._task_loss_sums.get(name, 0.0)
                self._task_loss_sums[name] = total + task_loss.detach()
        return (loss, outputs) if return_outputs else loss

    def _taught_loss(
        self,
        outputs: MultiTaskOutput,
        labels: dict[str, torch.Tensor],
        targets: dict[str, torch.Tensor],
        counts: dict[str, torch.Tensor],
    ) -> torch.Tensor:
        """What soft labels add to the loss; `outputs.losses` gets it, too."""
        weight = self.args.teacher_weight
        if weight is None:  # the same in all micro-batches of a step, and after resuming
            weight = 1 - self.state.global_step / max(self.state.max_steps, 1)
        added = {}
        for name, target in targets.items():
            head, logits = self.model.heads[name], outputs.logits[name]
            total = taught_difference(
                head, logits, labels[name], target, weight, self.args.teacher_temperature
            )
            added[name] = total / counts[name][0].clamp(min=1)
            outputs.losses[name] = outputs.losses[name] + added[name]
        return self.model.combined(added, counts)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add `loss_<task>`, the mean over the steps since the last log, to each training log.

        Raises:
            Diverged: the loss has not been finite for ten steps.
        """
        self._check_loss()
        if "loss" in logs and self._task_loss_sums:
            sums = torch.stack(list(self._task_loss_sums.values()))
            means = (self.accelerator.reduce(sums, reduction="sum") / self._unlogged_steps).tolist()
            names = [f"loss_{name}" for name in self._task_loss_sums]
            logs |= dict(zip(names, means, strict=True))
            self._task_loss_sums, self._unlogged_steps = {}, 0
        super().log(logs, start_time)

    def _check_loss(self) -> None:
        # All ranks end together: one alone would leave the others waiting.
        batches = self.accelerator.gather(self._lost_batches.to(self.args.device)).max()
        steps = int(batches) // self.args.gradient_accumulation_steps
        if steps >= LOST_STEPS:
            raise Diverged(
                f"The loss has not been finite for {steps} steps, up to step "
                f"{self.state.global_step}: lower learning_rate."
            )

    def check_weights(self) -> None:
        """Raise a `Diverged` if a weight is infinite or NaN: such a model answers nothing."""
        for name, parameter in self.model.named_parameters():
            if not parameter.isfinite().all():
                raise Diverged(
                    f"The weights {name} have become infinite or NaN: lower learning_rate."
                )

    # Data

    def get_train_dataloader(self) -> DataLoader:
        """Batches of rows of similar length, already split between ranks."""
        if self.train_dataset is None:
            raise ValueError("Training needs a train_dataset.")
        dealing = {
            "batch_size": self.args.train_batch_size,
            "accumulation_steps": self.args.gradient_accumulation_steps,
            "num_ranks": self.args.world_size,
            "rank": self.args.process_index,
            "seed": self.args.data_seed if self.args.data_seed is not None else self.args.seed,
        }
        source: dict[str, Any]
        if isinstance(self.train_dataset, StreamedWindows):
            source = {
                "dataset": StreamedBatches(self.train_dataset, **dealing),
                "batch_size": None,
                "collate_fn": partial(_collated, self.data_collator),
            }
        else:
            self._train_sampler = LengthGroupedBatchSampler(
                self.train_dataset["length"][:],
                groups=self.train_dataset["dataset"][:],
                draws=self.draws,
                **dealing,
            )
            source = {
                # Columns for metrics alone are left out, so they are not read with every row.
                "dataset": self.train_dataset.select_columns(
                    self.data_collator.columns(self.train_dataset)
                ),
                "batch_sampler": self._train_sampler,
                "collate_fn": self.data_collator,
            }
        return DataLoader(
            **source,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
            persistent_workers=self.args.dataloader_persistent_workers,
            prefetch_factor=self.args.dataloader_prefetch_factor,
        )

    def get_eval_dataloader(self, eval_dataset: str | Dataset | None = None) -> DataLoader:
        """Rows from the longest to the shortest: little padding, and memory runs out in the first
        batch or never."""
        if eval_dataset is None or isinstance(eval_dataset, str):
            dataset = self.eval_dataset if eval_dataset is None else self.eval_dataset[eval_dataset]
        else:
            dataset = eval_dataset
        lengths = np.asarray(dataset["length"][:])
        # With persistent workers the base class would return the loader of another split.
        self.__dict__.pop("_eval_dataloaders", None)
        with self._telling_windows():
            return super().get_eval_dataloader(dataset.select(np.argsort(-lengths, kind="stable")))

    def get_test_dataloader(self, test_dataset: Dataset) -> DataLoader:
        with self._telling_windows():
            return super().get_test_dataloader(test_dataset)

    @contextmanager
    def _telling_windows(self) -> Iterator[None]:
        """Context in which new loaders also mark the texts that continue an earlier window.

        A prepared loader can't change its collator.
        """
        collate = self.data_collator
        self.data_collator = partial(evaluated, collate)
        try:
            yield
        finally:
            self.data_collator = collate

    # Evaluation

    def predict(self, *args, **kwargs) -> PredictionOutput:
        """Like `Trainer.predict`, also of rows without labels, whose token tasks have the likeliest
        label of each token by itself. Predictions and labels are as for `compute_metrics`."""
        output = super().predict(*args, **kwargs)
        labels = label_ids(self._evaluated_rows, self.model.config.tasks, output.predictions)
        return output._replace(label_ids=labels or None)

    def evaluation_loop(self, dataloader, *args, metric_key_prefix="eval", **kwargs):
        """Like `Trainer`, with our metrics, and losses averaged over all labels."""
        self._evaluated_rows = dataloader.dataset
        output = super().evaluation_loop(
            dataloader, *args, metric_key_prefix=metric_key_prefix, **kwargs
        )
        losses, counts = mean_losses(list(self.model.config.tasks), output.predictions)
        for name, loss in losses.items():
            output.metrics[f"{metric_key_prefix}_loss_{name}"] = float(loss)
        # The base class averages the batches' means, which depends on the batch size.
        combined = float(self.model.combined(losses, counts)) if losses else 0.0
        output.metrics[f"{metric_key_prefix}_loss"] = combined
        return output

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        """The values that evaluation gathers, one entry per preprocessed row: logits of
        sentence tasks, label ids of token tasks, cosines of pairs, and each task's loss sum and
        label count."""
        inputs = self._prepare_inputs(inputs)
        continues = inputs.pop("continues", None)
        with torch.no_grad(), self.compute_loss_context_manager():
            loss, outputs = self.compute_loss(model, inputs, return_outputs=True)
            answers = window_answers(self.model, outputs, inputs, continues)
        device = inputs["input_ids"].device
        known = torch.zeros(len(next(iter(answers.values()))), device=device)  # in place of labels
        return known.sum() if loss is None else loss.detach(), answers, known

    def _metrics(self, output: EvalPrediction) -> dict[str, float]:
        config = self.model.config
        columns = self._evaluated_rows.column_names
        labelled = {name: task for name, task in config.tasks.items() if name in columns}
        self.answers = row_answers(
            output.predictions, self._evaluated_rows, labelled, config.sentence_windows
        )
        metrics = metrics_of(self.answers, config.tasks, self.datasets)
        if self._own_metrics is not None:
            labels = label_ids(self._evaluated_rows, config.tasks, output.predictions)
            metrics |= self._own_metrics(
                EvalPrediction(output.predictions, labels, output.inputs, output.losses)
            )
        return metrics

    # Checkpoints

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        """Like `Trainer`, but a model that was there stays whole until all files are written."""
        folder = Path(output_dir or self.args.output_dir)
        if not self.args.should_save:
            super()._save(str(folder), state_dict)
            return
        with replacing_files(folder) as scratch:
            super()._save(str(scratch), state_dict)
            names = {path.name for path in scratch.iterdir()}
        for old in folder.glob("model*.safetensors*"):
            if old.name not in names:  # the earlier one had other shards
                old.unlink()

    def _save_checkpoint(self, model, trial) -> None:
        """Like `Trainer`, but write the marker after every rank has written its part, and delete
        older checkpoints only then."""
        self._check_loss()
        folder = Path(self._get_output_dir(trial), f"checkpoint-{self.state.global_step}")
        if self.args.should_save:
            unmark(folder)
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self.args.save_total_limit = limit
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            mark_complete(folder)
            rotate_checkpoints(
                output_dir=str(folder.parent),
                save_total_limit=limit,
                best_model_checkpoint=self.state.best_model_checkpoint,
                use_mtime=True,
            )


def _to_learn(batch: dict, name: str) -> torch.Tensor:
    """A task's labels in a batch, and in place of those that only a teacher gives, any label."""
    labels, targets = batch["labels"][name], batch.get("targets", {})
    return labels_or_targets(labels, targets[name]) if name in targets else labels


def _collated(collate: Callable, rows: list[dict] | dict) -> dict:
    """A collated streamed batch, or the dict that `StreamedBatches` yields instead of rows."""
    return collate(rows) if isinstance(rows, list) else rows


class _EpochOrder(TrainerCallback):
    """Sets the sampler's epoch: on resuming, neither `Trainer` nor `accelerate` does."""

    def __init__(self, trainer: MultiTaskTrainer):
        self.trainer = trainer

    def on_epoch_begin(self, args, state, control, **kwargs):
        if self.trainer._train_sampler is not None:
            self.trainer._train_sampler.set_epoch(int(state.epoch or 0))
