"""The keys of a run, as dataclasses; parsing.py reads them."""

import math
import os
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
from .search_space import Space
from .tasks import TaskArguments

PREDICT_FORMATS = ("jsonl", "parquet")
PREDICT_WITHOUT = ("embedding", "scores")


@dataclass
class ModelArguments:
    """The encoder or finished model that the run starts from, and its settings."""

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
            "help": "Library that runs a finished model in prediction; onnx and openvino need a "
            "folder exported for them.",
            "choices": list(BACKENDS),
        },
    )
    pooling: str = field(
        default="mean",
        metadata={
            "help": "Pooling of token vectors into the sentence embedding: cls, mean or max."
        },
    )
    normalize: bool = field(
        default=False, metadata={"help": "Scale sentence embeddings to length 1."}
    )
    prompt: str | None = field(
        default=None,
        metadata={
            "help": "Text put before every input, for encoders that expect one. Default: none."
        },
    )
    head_dropout: float = field(
        default=0.1,
        metadata={"help": "Dropout before heads that give labels, in [0, 1)."},
    )
    encoder_dropout: float | None = field(
        default=None,
        metadata={
            "help": "Dropout inside the encoder, in [0, 1). Default: 0 if a task keeps the "
            "embedding, else the encoder's own."
        },
    )
    attn_implementation: str | None = field(
        default=None,
        metadata={
            "help": "Attention implementation: eager, sdpa, ... Default: the encoder's preferred "
            "one."
        },
    )
    only_task: str | None = field(
        default=None,
        metadata={
            "help": "Train a model of this task alone, one of `tasks`, with weights of 1; rows are "
            "read, checked and split as for all tasks. Default: all tasks."
        },
    )

    def __post_init__(self):
        self.encoder = os.path.expanduser(self.encoder)
        self.model = self.model and os.path.expanduser(self.model)


@dataclass
class DataArguments(DatasetArguments):
    """The run's one data set, or the folder that its `datasets` share; and how rows are used."""

    predict_file: list[str] | None = field(
        default=None, metadata={"help": "Files of texts to predict, with do_predict."}
    )
    predict_output: str | None = field(
        default=None,
        metadata={"help": "Folder for the predictions. Default: `predictions` in output_dir."},
    )
    predict_format: str = field(
        default="jsonl",
        metadata={"help": "Format of the prediction files.", "choices": list(PREDICT_FORMATS)},
    )
    predict_shard_size: int = field(
        default=10_000,
        metadata={"help": "Rows per prediction file; an interrupted run repeats at most one file."},
    )
    predict_columns: list[str] | None = field(
        default=None,
        metadata={
            "help": "Columns of predict_file to copy into the predictions. Default: id, if present."
        },
    )
    predict_without: list[str] | None = field(
        default=None,
        metadata={
            "help": "Outputs to leave out: the embedding, the scores of all labels, or both. "
            "Default: none.",
            "choices": list(PREDICT_WITHOUT),
        },
    )
    mixing: str = field(
        default="proportional",
        metadata={
            "help": "Share of each data set in an epoch, which has as many rows as all data sets "
            "together. proportional: by size. uniform: equal. temperature: by size ** (1 / "
            "mixing_temperature). weights: by `weight`.",
            "choices": list(MIXINGS),
        },
    )
    mixing_temperature: float = field(
        default=2.0,
        metadata={
            "help": "Temperature of `mixing: temperature`, above 0; 1 is proportional, higher is "
            "more uniform."
        },
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
            "help": "Tokens that carry a label. first: the first token of each word. all: every "
            "token, so entities can begin and end inside a word. Default: first.",
            "choices": list(LABELLINGS),
        },
    )
    max_length: int | None = field(
        default=None,
        metadata={"help": "Tokens per window, at most. Default: the encoder's maximum."},
    )
    long_texts: str = field(
        default="window",
        metadata={
            "help": "Handling of texts above max_length: split into windows, truncate, or refuse.",
            "choices": list(LONG_TEXTS),
        },
    )
    stride: int | None = field(
        default=None,
        metadata={"help": "Tokens shared by neighbouring windows. Default: a quarter of a window."},
    )
    sentence_windows: str | None = field(
        default=None,
        metadata={
            "help": "Windows that predict sentence tasks: the first, or the mean of all. "
            "Training uses the first. Default: first.",
            "choices": list(SENTENCE_WINDOWS),
        },
    )
    streaming: bool = field(
        default=False,
        metadata={
            "help": "Read the training rows while training; needs max_steps, and `labels` in the "
            "config or in `model`."
        },
    )
    num_proc: int | None = field(
        default=None, metadata={"help": "Processes for tokenization. Default: 1."}
    )
    examples: list[str] | None = field(
        default=None, metadata={"help": "Texts to predict and show at the end of the run."}
    )

    def __post_init__(self):
        self.predict_output = self.predict_output and os.path.expanduser(self.predict_output)


@dataclass
class DataSource:
    """One data set of the run: its location, the column or columns of each task it labels, and its
    weight in `mixing: weights`."""

    arguments: DatasetArguments
    columns: dict[str, str | list[str] | None]
    weight: float = 1.0


@dataclass
class MultiTaskTrainingArguments(TrainingArguments):
    """`transformers.TrainingArguments` with the defaults of multi-task training."""

    do_train: bool = field(default=True, metadata={"help": "Train the model."})
    do_eval: bool | None = field(
        default=None,
        metadata={
            "help": "Evaluate on the validation split. Default: true, unless do_predict is set "
            "and do_train is not."
        },
    )
    do_test: bool | None = field(
        default=None,
        metadata={
            "help": "Evaluate on the test split. Default: true, unless do_predict is set and "
            "do_train is not."
        },
    )
    do_inspect: bool = field(
        default=False, metadata={"help": "Print an inspection of the data, and stop."}
    )
    do_predict: bool = field(default=False, metadata={"help": "Predict the texts of predict_file."})
    compare_single_task: bool = field(
        default=False,
        metadata={
            "help": "Train this model and one model per task, in subfolders, and write report.md "
            "to compare them. Running it again resumes it."
        },
    )
    compare_seeds: list[int] | None = field(
        default=None, metadata={"help": "Seeds for compare_single_task. Default: `seed` alone."}
    )
    search_trials: int = field(
        default=20, metadata={"help": "Runs of `search`, each with other values of its keys."}
    )
    report: bool = field(
        default=True,
        metadata={
            "help": "Write report.html to the run folder: curves, mistakes with their sentences, "
            "embeddings. Needs the extra `report`."
        },
    )
    bf16: bool | None = field(
        default=None,
        metadata={"help": "Use bfloat16 autocast. Default: true on processors with fast bfloat16."},
    )
    overwrite_output_dir: bool = field(
        default=False,
        metadata={"help": "Let a new run replace an earlier run's checkpoints."},
    )
    run_name: str | None = field(
        default=None,
        metadata={
            "help": "Name of the run in trackers. Default: the folder's name and the start time."
        },
    )
    logging_steps: float = field(
        default=10,
        metadata={"help": "Steps between logged losses; below 1, a fraction of all steps."},
    )
    eval_strategy: str = field(
        default="epoch", metadata={"help": "Interval of evaluation: no, steps or epoch."}
    )
    save_strategy: str = field(
        default="epoch", metadata={"help": "Interval of checkpoints: no, steps, epoch or best."}
    )
    save_total_limit: int | None = field(
        default=1, metadata={"help": "Checkpoints to keep, besides the best one."}
    )
    load_best_model_at_end: bool = field(
        default=True, metadata={"help": "Load the best checkpoint at the end of training."}
    )
    metric_for_best_model: str | None = field(
        default="score",
        metadata={
            "help": "Metric that selects the best checkpoint; score is the mean over tasks, by "
            "`score_weight`."
        },
    )
    greater_is_better: bool | None = field(
        default=None,
        metadata={
            "help": "Whether a higher metric_for_best_model is better. Default: true, unless it "
            "is a loss."
        },
    )
    early_stopping_patience: int | None = field(
        default=None,
        metadata={
            "help": "Evaluations without a new best after which training stops. Default: no "
            "early stopping."
        },
    )
    freeze: list[str] | None = field(
        default=None,
        metadata={
            "help": "Parts to freeze: encoder, embeddings, heads.<task>, everything, which only "
            "evaluates, or nothing. Default: the heads of a finished model's tasks that no "
            "training row labels."
        },
    )
    freeze_layers: int | None = field(
        default=None,
        metadata={
            "help": "Number of lowest layers to freeze, together with the embeddings. Default: "
            "none."
        },
    )
    unfreeze_layers_per_epoch: float | None = field(
        default=None,
        metadata={
            "help": "Layers to unfreeze per epoch, from the highest to the lowest, then the "
            "embeddings; the first epoch trains only the heads. Default: no gradual "
            "unfreezing."
        },
    )
    cache_frozen_layers: bool = field(
        default=False,
        metadata={
            "help": "Run frozen lower layers once over the training rows, and keep their outputs "
            "on disk."
        },
    )
    layer_learning_rate_decay: float = field(
        default=1.0,
        metadata={
            "help": "Factor by which the learning rate falls from each layer to the one below, "
            "in (0, 1]; the highest layer has learning_rate, the embeddings the lowest "
            "rate."
        },
    )
    head_learning_rate: float | None = field(
        default=None,
        metadata={
            "help": "Learning rate of the heads, except those of old tasks that a finished model "
            "keeps. Default: learning_rate."
        },
    )
    l2_sp: float | None = field(
        default=None,
        metadata={
            "help": "Pull of the encoder back to its starting weights, in the units of "
            "weight_decay. Default: by the rows and the learning rate, or 0 beside a "
            "sentence_embedding."
        },
    )
    lora_rank: int | None = field(
        default=None,
        metadata={
            "help": "Rank of LoRA's matrices: they are trained in place of the encoder's weights, "
            "and added to them in the end. Needs the extra `lora`. Default: no LoRA."
        },
    )
    teacher_weight: float | None = field(
        default=None,
        metadata={
            "help": "Weight of what a teacher says, beside a label, in 0 to 1. Default: falls from "
            "1 to 0 over the training. What only a teacher says counts in full."
        },
    )
    teacher_temperature: float = field(
        default=1.0,
        metadata={
            "help": "Temperature of the teachers' and the heads' probabilities, above 0: a higher "
            "one gives unlikely labels more weight."
        },
    )
    # All heads run in every step, so every parameter gets a gradient.
    ddp_find_unused_parameters: bool | None = field(
        default=False, metadata={"help": "See torch.nn.parallel.DistributedDataParallel."}
    )
    # Encoders have no running statistics, and constants need no broadcast in every step.
    ddp_broadcast_buffers: bool | None = field(
        default=False, metadata={"help": "See torch.nn.parallel.DistributedDataParallel."}
    )
    # The NaN filter makes the host wait for the device in every step, and hides NaN in the log.
    logging_nan_inf_filter: bool = field(
        default=False, metadata={"help": "Leave NaN and infinite losses out of the log."}
    )
    max_batch_tokens: int = field(
        default=16384,
        metadata={
            "help": "Tokens per forward pass, at most, with padding; a larger batch is trained "
            "in several passes: the same step in less memory."
        },
    )
    # The collator needs columns that are not arguments of the model.
    remove_unused_columns: bool = field(default=False, metadata={"help": "Not used."})

    def __post_init__(self):
        for key in ("do_eval", "do_test"):
            if getattr(self, key) is None:
                setattr(self, key, self.do_train or not self.do_predict)
        if not torch.accelerator.is_available():
            self.use_cpu = True  # otherwise bf16 would be refused
        if self.bf16 is None:
            self.bf16 = has_fast_bf16(self.use_cpu) and not self.fp16
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
        if self.max_steps == 0:
            raise ValueError("max_steps should be above 0, or -1 for num_train_epochs. Found 0.")
        self._check_freezing()
        if self.unfreeze_layers_per_epoch is not None:
            # Otherwise ranks would wait for gradients of layers that are not trained yet.
            self.ddp_find_unused_parameters = True
        if self.early_stopping_patience is not None:
            if not self.do_eval or self.eval_strategy == "no":
                raise ValueError("early_stopping_patience needs do_eval and an eval_strategy.")
            if self.early_stopping_patience < 1:
                found = self.early_stopping_patience
                raise ValueError(f"early_stopping_patience should be at least 1. Found {found}.")
        for key, expected in NOT_SUPPORTED.items():
            if getattr(self, key) != expected:
                raise ValueError(f"{key} should be {expected}. Found {getattr(self, key)}.")
        metric = (self.metric_for_best_model or "").removeprefix("eval_")
        if self.greater_is_better is None and (
            metric.startswith("loss_") or metric.endswith(ERROR_ENDINGS)
        ):
            self.greater_is_better = False  # transformers knows losses by their suffix alone
        super().__post_init__()

    @property
    def only_predicts(self) -> bool:
        """Whether the run needs only a finished model and files of texts."""
        others = (self.do_train, self.do_eval, self.do_test, self.do_inspect, self.push_to_hub)
        return self.do_predict and not any(others)

    def _check_freezing(self) -> None:
        if self.freeze_layers is not None and self.freeze_layers < 0:
            raise ValueError(f"freeze_layers should be at least 0. Found {self.freeze_layers}.")
        if not 0 <= self.learning_rate < math.inf:
            found = self.learning_rate
            raise ValueError(f"learning_rate should be at least 0, and finite. Found {found}.")
        for key in ("unfreeze_layers_per_epoch", "head_learning_rate"):
            value = getattr(self, key)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{key} should be above 0, and finite. Found {value}.")
        if self.lora_rank is not None and self.lora_rank < 1:
            raise ValueError(f"lora_rank should be at least 1. Found {self.lora_rank}.")
        if self.teacher_weight is not None and not 0 <= self.teacher_weight <= 1:
            raise ValueError(f"teacher_weight should be in 0 to 1. Found {self.teacher_weight}.")
        if not 0 < self.teacher_temperature < math.inf:
            found = self.teacher_temperature
            raise ValueError(f"teacher_temperature should be above 0, and finite. Found {found}.")
        if self.l2_sp is not None and not 0 <= self.l2_sp < math.inf:
            raise ValueError(f"l2_sp should be at least 0, and finite. Found {self.l2_sp}.")
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


CHOSEN = "# Chosen by the encoder and the rows: "
ERROR_ENDINGS = ("_mae", "_rmse")  # of metrics of which a lower value is better
# Keys of TrainingArguments that would silently change losses or metrics, or fail.
NOT_SUPPORTED = {
    "auto_find_batch_size": False,
    "batch_eval_metrics": False,
    "dataloader_drop_last": False,
    "eval_do_concat_batches": True,
    "label_smoothing_factor": 0.0,
    "prediction_loss_only": False,
    "remove_unused_columns": False,
}


@dataclass
class RunArguments:
    """All keys of a run, and the mapping they were read from (`given`). `teachers` has the folders
    or Hub ids of each task's, `chosen` the keys that the run itself has set since."""

    model: ModelArguments
    data: DataArguments
    training: MultiTaskTrainingArguments
    tasks: dict[str, TaskArguments]
    datasets: dict[str, DataSource]
    teachers: dict[str, list[str]]
    search: Space | None
    given: dict[str, Any]
    chosen: list[str] = field(default_factory=list)

    @property
    def answers_in_bf16(self) -> bool | None:
        """Whether texts are answered in bfloat16, if the run says so; None leaves it to the machine
        and the model."""
        return None if self.given.get("bf16") is None else bool(self.training.bf16)

    def set_keys(self) -> dict[str, Any]:
        """The keys that start the run again: those that were set, and its encoder."""
        start = {} if self.model.model else {"encoder": self.model.encoder}
        keys = start | self.given
        for key in ("hub_token", "resume_from_checkpoint", "overwrite_output_dir"):
            keys.pop(key, None)  # a secret, and keys of a single start
        return {key: value for key, value in keys.items() if value is not None}

    def save(self, path: Path) -> None:
        """Write the run as one YAML file that starts it again."""
        text = yaml.safe_dump(self.set_keys(), sort_keys=False, allow_unicode=True)
        if self.chosen:
            text += f"{CHOSEN}{', '.join(self.chosen)}\n"
        path.write_text(text, encoding="utf-8")


def chosen_keys(path: Path) -> list[str]:
    """The keys in a run's file that the run itself chose."""
    *_, last = path.read_text(encoding="utf-8").splitlines() or [""]
    return last.removeprefix(CHOSEN).split(", ") if last.startswith(CHOSEN) else []
