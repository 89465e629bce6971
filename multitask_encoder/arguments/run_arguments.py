"""The keys of a run, as dataclasses; parsing.py reads them."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import TrainingArguments

from multitask_encoder.data.bad_rows import ON_BAD_ROW
from multitask_encoder.data.dataset_arguments import DatasetArguments
from multitask_encoder.data.preprocessing import LONG_TEXTS
from multitask_encoder.data.sampler import MIXINGS
from multitask_encoder.modeling.configuration_multitask import (
    LABELLINGS,
    SENTENCE_WINDOWS,
)
from multitask_encoder.processor import has_fast_bf16

from .choices import BACKENDS
from .tasks import TaskArguments

PREDICT_FORMATS = ("jsonl", "parquet")
PREDICT_WITHOUT = ("embedding", "scores")


@dataclass
class ModelArguments:
    """Which encoder the run starts from, and what is built on it."""

    encoder: str = field(
        default="backbones/minilm",
        metadata={"help": "Hub id or folder of the pretrained encoder to start from."},
    )
    revision: str = field(
        default="main", metadata={"help": "Branch, tag or commit of the encoder's Hub id."}
    )
    model: str | None = field(
        default=None,
        metadata={
            "help": "Hub id or folder of a finished model to start from, instead of `encoder`."
        },
    )
    backend: str = field(
        default="torch",
        metadata={
            "help": "What runs a finished model to predict; onnx and openvino take a folder that "
            "was exported for them.",
            "choices": list(BACKENDS),
        },
    )
    pooling: str = field(
        default="mean",
        metadata={"help": "How token vectors become the sentence vector: cls, mean or max."},
    )
    normalize: bool = field(
        default=False, metadata={"help": "Whether sentence embeddings are scaled to length 1."}
    )
    prompt: str | None = field(
        default=None, metadata={"help": "Text before every input, for encoders that want one."}
    )
    head_dropout: float = field(
        default=0.1, metadata={"help": "Dropout before each head, in [0, 1)."}
    )
    encoder_dropout: float | None = field(
        default=None,
        metadata={"help": "Dropout inside the encoder, in [0, 1). Default: the encoder's own."},
    )
    attn_implementation: str | None = field(
        default=None, metadata={"help": "eager, sdpa, ...; by default what the encoder prefers."}
    )
    only_task: str | None = field(
        default=None,
        metadata={
            "help": "One of `tasks`, for a model of it alone; rows are read, checked and cut into "
            "splits as for all of them, and its weight is 1."
        },
    )


@dataclass
class DataArguments(DatasetArguments):
    """The run's one data set, or what all of its `datasets` have in common."""

    predict_file: list[str] | None = field(
        default=None, metadata={"help": "Files of texts to answer, by do_predict."}
    )
    predict_output: str | None = field(
        default=None,
        metadata={"help": "Folder for the answers. Default: `predictions` in output_dir."},
    )
    predict_format: str = field(
        default="jsonl",
        metadata={"help": "Of the files of answers.", "choices": list(PREDICT_FORMATS)},
    )
    predict_shard_size: int = field(
        default=10_000,
        metadata={"help": "Rows in a file of answers, which is what a run that broke off repeats."},
    )
    predict_columns: list[str] | None = field(
        default=None,
        metadata={
            "help": "Columns of predict_file that go along with the answers. Default: id, where "
            "there is one."
        },
    )
    predict_without: list[str] | None = field(
        default=None,
        metadata={
            "help": "What the answers leave out: the embedding, or the scores of all labels, or "
            "both.",
            "choices": list(PREDICT_WITHOUT),
        },
    )
    mixing: str = field(
        default="proportional",
        metadata={
            "help": "Share of each of several data sets in an epoch, which has as many rows as all "
            "of them together: as they are, all alike, size ** (1 / mixing_temperature), or by "
            "their `weight`.",
            "choices": list(MIXINGS),
        },
    )
    mixing_temperature: float = field(
        default=2.0, metadata={"help": "Of `mixing: temperature`; more is more alike."}
    )
    on_bad_row: str = field(
        default="refuse",
        metadata={
            "help": "Refuse data with invalid rows, or skip those rows and write them to "
            "bad_rows.jsonl.",
            "choices": list(ON_BAD_ROW),
        },
    )
    labelling: str | None = field(
        default=None,
        metadata={
            "help": "first: label words, at their first token. all: label every token; entities "
            "then begin and end at any token. Default: first.",
            "choices": list(LABELLINGS),
        },
    )
    max_length: int | None = field(
        default=None,
        metadata={"help": "Tokens read at once. Default: as many as the encoder takes."},
    )
    long_texts: str = field(
        default="window",
        metadata={
            "help": "Read longer texts in windows, truncate them, or refuse them.",
            "choices": list(LONG_TEXTS),
        },
    )
    stride: int | None = field(
        default=None,
        metadata={"help": "Tokens that a window shares with the next. Default: a quarter."},
    )
    sentence_windows: str | None = field(
        default=None,
        metadata={
            "help": "Which windows answer sentence tasks: the first, or the mean of all. In "
            "training it is the first. Default: first.",
            "choices": list(SENTENCE_WINDOWS),
        },
    )
    streaming: bool = field(
        default=False,
        metadata={
            "help": "Read the training rows while training, for max_steps; all `labels` are given."
        },
    )
    num_proc: int | None = field(default=None, metadata={"help": "Processes that tokenize."})
    examples: list[str] | None = field(
        default=None, metadata={"help": "Texts whose answers are shown at the end."}
    )


@dataclass
class DataSource:
    """One data set of the run: where it is, which tasks it labels, in which columns, and its weight
    in `mixing: weights`."""

    arguments: DatasetArguments
    columns: dict[str, str | None]
    weight: float = 1.0


@dataclass
class MultiTaskTrainingArguments(TrainingArguments):
    """`transformers.TrainingArguments` with the defaults of multi-task training."""

    do_train: bool = field(default=True, metadata={"help": "Whether to train."})
    do_eval: bool | None = field(
        default=None,
        metadata={
            "help": "Whether to evaluate on the validation split. Default: unless the run is to "
            "predict and not to train."
        },
    )
    do_test: bool | None = field(
        default=None,
        metadata={"help": "Whether to evaluate on the test split. Default: as do_eval."},
    )
    do_inspect: bool = field(
        default=False, metadata={"help": "Show what is in the data, and do nothing else."}
    )
    do_predict: bool = field(default=False, metadata={"help": "Whether to answer predict_file."})
    compare_single_task: bool = field(
        default=False,
        metadata={
            "help": "Train this model and one of each task alone, in subfolders, and write "
            "report.md about them. Starting it again goes on."
        },
    )
    compare_seeds: list[int] | None = field(
        default=None, metadata={"help": "Seeds of compare_single_task. Default: `seed` alone."}
    )
    report: bool = field(
        default=True,
        metadata={
            "help": "Whether the run folder gets report.html: curves, mistakes with their "
            "sentences, embeddings. It needs the extra `report`."
        },
    )
    bf16: bool | None = field(
        default=None,
        metadata={"help": "bfloat16 autocast. Default: where the processor multiplies it fast."},
    )
    overwrite_output_dir: bool = field(
        default=False,
        metadata={"help": "Whether a new run may replace an earlier run's checkpoints."},
    )
    run_name: str | None = field(
        default=None,
        metadata={"help": "Of the run in trackers. Default: its folder's name and the time."},
    )
    logging_steps: float = field(
        default=10,
        metadata={"help": "Steps between two losses in the log; below 1, a share of all steps."},
    )
    eval_strategy: str = field(default="epoch", metadata={"help": "When to evaluate."})
    save_strategy: str = field(default="epoch", metadata={"help": "When to save a checkpoint."})
    save_total_limit: int | None = field(
        default=1, metadata={"help": "Checkpoints to keep, besides the best one."}
    )
    load_best_model_at_end: bool = field(
        default=True, metadata={"help": "Whether the run ends with its best checkpoint."}
    )
    metric_for_best_model: str | None = field(
        default="score", metadata={"help": "What `best` means; score is the mean over tasks."}
    )
    greater_is_better: bool | None = field(
        default=None,
        metadata={"help": "Whether more of it is better. Default: unless it is a loss."},
    )
    early_stopping_patience: int | None = field(
        default=None, metadata={"help": "Stop after so many evaluations without a new best."}
    )
    freeze: list[str] | None = field(
        default=None,
        metadata={
            "help": "What is not trained: encoder, embeddings, heads.<task>, or everything, which "
            "leaves only the evaluation."
        },
    )
    freeze_layers: int | None = field(
        default=None,
        metadata={"help": "The embeddings and so many of the lowest layers are not trained."},
    )
    unfreeze_layers_per_epoch: float | None = field(
        default=None,
        metadata={
            "help": "Train only the heads in the first epoch, then so many more layers with each "
            "epoch, from the highest to the lowest; the embeddings come last."
        },
    )
    cache_frozen_layers: bool = field(
        default=False,
        metadata={
            "help": "Run frozen lower layers once over the training rows and keep what they answer "
            "on the disk."
        },
    )
    layer_learning_rate_decay: float = field(
        default=1.0,
        metadata={
            "help": "Each layer's learning rate as a share of that of the one above, in (0, 1]; "
            "the highest layer has learning_rate, the embeddings the lowest one."
        },
    )
    head_learning_rate: float | None = field(
        default=None, metadata={"help": "Learning rate of the heads. Default: learning_rate."}
    )
    # All heads run in every step, so no parameter is ever without a gradient.
    ddp_find_unused_parameters: bool | None = field(
        default=False, metadata={"help": "See torch.nn.parallel.DistributedDataParallel."}
    )
    # Encoders have no running statistics, and constants need not be sent round in every step.
    ddp_broadcast_buffers: bool | None = field(
        default=False, metadata={"help": "See torch.nn.parallel.DistributedDataParallel."}
    )
    # Looking for NaN makes the host wait for the device in every step, and hides it in the log.
    logging_nan_inf_filter: bool = field(
        default=False, metadata={"help": "Whether a loss that is NaN is left out of the log."}
    )
    max_batch_tokens: int = field(
        default=16384,
        metadata={
            "help": "A batch of more tokens, with padding, is trained in several passes: the same "
            "step in less memory."
        },
    )
    # The collator needs columns that are not arguments of the model.
    remove_unused_columns: bool = field(default=False, metadata={"help": "Not used."})

    def __post_init__(self):
        for key in ("do_eval", "do_test"):
            if getattr(self, key) is None:
                setattr(self, key, self.do_train or not self.do_predict)
        if not torch.accelerator.is_available():
            self.use_cpu = True  # unsaid, bf16 would be refused
        if self.bf16 is None:
            self.bf16 = has_fast_bf16(self.use_cpu)
        if self.use_cpu or not torch.cuda.is_available():
            self.dataloader_pin_memory = False
        if not self.do_eval:
            self.eval_strategy, self.load_best_model_at_end = "no", False
        for key in (
            "per_device_train_batch_size",
            "per_device_eval_batch_size",
            "gradient_accumulation_steps",
            "max_batch_tokens",
        ):
            if getattr(self, key) < 1:
                raise ValueError(f"{key} should be at least 1. Found {getattr(self, key)}.")
        self._check_freezing()
        if self.unfreeze_layers_per_epoch is not None:
            # Ranks then wait for no gradient of a layer that is not trained yet.
            self.ddp_find_unused_parameters = True
        if not self.do_eval and self.early_stopping_patience is not None:
            raise ValueError("early_stopping_patience needs do_eval.")
        for key, expected in NOT_SUPPORTED.items():
            if getattr(self, key) != expected:
                raise ValueError(f"{key} should be {expected}. Found {getattr(self, key)}.")
        if self.greater_is_better is None and (self.metric_for_best_model or "").removeprefix(
            "eval_"
        ).startswith("loss_"):
            self.greater_is_better = False  # transformers knows losses by their last letters
        super().__post_init__()

    @property
    def only_predicts(self) -> bool:
        """Whether a finished model and files of texts are all that the run needs."""
        others = (self.do_train, self.do_eval, self.do_test, self.do_inspect, self.push_to_hub)
        return self.do_predict and not any(others)

    def _check_freezing(self) -> None:
        if self.freeze_layers is not None and self.freeze_layers < 0:
            raise ValueError(f"freeze_layers should be at least 0. Found {self.freeze_layers}.")
        for key in ("unfreeze_layers_per_epoch", "head_learning_rate"):
            value = getattr(self, key)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{key} should be above 0, and finite. Found {value}.")
        if not 0 < self.layer_learning_rate_decay <= 1:
            raise ValueError(
                "layer_learning_rate_decay should be above 0 and at most 1. "
                f"Found {self.layer_learning_rate_decay}."
            )
        if self.cache_frozen_layers and self.unfreeze_layers_per_epoch is not None:
            raise ValueError(
                "cache_frozen_layers needs layers that are frozen for the whole run. "
                f"Found unfreeze_layers_per_epoch: {self.unfreeze_layers_per_epoch}."
            )


# Keys of TrainingArguments that would change losses or metrics unnoticed, or end in a defect.
NOT_SUPPORTED = {
    "auto_find_batch_size": False,
    "batch_eval_metrics": False,
    "dataloader_drop_last": False,
    "label_smoothing_factor": 0.0,
    "prediction_loss_only": False,
    "remove_unused_columns": False,
}


@dataclass
class RunArguments:
    """All keys of a run, and the mapping they were read from."""

    model: ModelArguments
    data: DataArguments
    training: MultiTaskTrainingArguments
    tasks: dict[str, TaskArguments]
    datasets: dict[str, DataSource]
    given: dict[str, Any]

    def set_keys(self) -> dict[str, Any]:
        """The keys that start the run again: those that were set, and what it starts from."""
        start = {} if self.model.model else {"encoder": self.model.encoder}
        keys = start | self.given
        for key in ("hub_token", "resume_from_checkpoint", "overwrite_output_dir"):
            keys.pop(key, None)  # a secret, and what belongs to one start only
        return {key: value for key, value in keys.items() if value is not None}

    def save(self, path: Path) -> None:
        """Write the run as one YAML file that starts it again."""
        path.write_text(yaml.safe_dump(self.set_keys(), sort_keys=False, allow_unicode=True))
