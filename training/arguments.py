"""The keys of a run: a YAML file, overridden on the command line, checked, as dataclasses."""

import difflib
import json
import math
import sys
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import HfArgumentParser, TrainingArguments

from data.bad_rows import ON_BAD_ROW
from data.label_schemes import OVERLAPS, SCHEMES
from data.loading import SPLITS, DatasetArguments
from data.preprocessing import LONG_TEXTS
from data.sampler import MIXINGS
from modeling.configuration_multitask import (
    LABELLINGS,
    PROBLEM_TYPES,
    SENTENCE_WINDOWS,
    TASK_NAME,
    TASK_TYPES,
)

from .processor import has_fast_bf16

# As in inference/, which is above this.
BACKENDS = ("torch", "onnx", "openvino")
PREDICT_FORMATS = ("jsonl", "parquet")
PREDICT_WITHOUT = ("embedding", "scores")

DEFAULT_CONFIG = Path(__file__).parent.parent / "configs" / "quickstart.yaml"


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
            "help": "Refuse data with rows that are not as they should be, or skip those rows and "
            "write them to bad_rows.jsonl.",
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
class TaskArguments:
    """One task. `column` is where its labels are (pairs' scores, of an embedding), `tag_scheme`,
    `on_broken_tags`, `overlap` and `label_map` say how they are read; the rest goes to the model's
    config."""

    type: str
    column: str | None = None
    labels: list[str] | None = None
    problem_type: str | None = None
    pooling: str | None = None
    weight: float = 1.0
    tag_scheme: str = "auto"
    on_broken_tags: str = "repair"
    overlap: str = "refuse"
    label_map: dict[str, str | None] | None = None
    loss: str | None = None
    dimensions: list[int] | None = None


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
    bf16: bool | None = field(
        default=None,
        metadata={"help": "bfloat16 autocast. Default: where the processor multiplies it fast."},
    )
    overwrite_output_dir: bool = field(
        default=False,
        metadata={"help": "Whether a new run may replace an earlier run's checkpoints."},
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

    def resolved(self) -> dict[str, Any]:
        """The keys that start the run again."""
        resolved = {**asdict(self.model), **asdict(self.data), **self.given}
        for key in ("hub_token", "resume_from_checkpoint", "overwrite_output_dir"):
            resolved.pop(key, None)  # a secret, and what belongs to one start only
        return {key: value for key, value in resolved.items() if value is not None}

    def save(self, path: Path) -> None:
        """Write the run as one YAML file that starts it again."""
        path.write_text(yaml.safe_dump(self.resolved(), sort_keys=False, allow_unicode=True))


class _Parser(HfArgumentParser):
    def error(self, message: str):
        raise ValueError(message)


GROUPS = (ModelArguments, DataArguments, MultiTaskTrainingArguments)
# How labels are read: keys of tasks, and their values.
READINGS = {
    "tag_scheme": ("auto", *SCHEMES),
    "on_broken_tags": ("repair", "refuse"),
    "overlap": OVERLAPS,
}
OF_ONE_DATA_SET = [
    f"{split}_{key}"
    for key in ("file", "size", "fraction")
    for split in ("train", "validation", "test")
    if (split, key) != ("train", "fraction")
]


def parse_arguments(argv: list[str]) -> RunArguments:
    """Read `[config.yaml] [--key value ...]`. Without a config, `--model` and `--do_predict` answer
    with that model; else it is the quickstart.

    Args:
        argv (`list[str]`): the command line without the program's name. Keys of tasks are dotted:
            `--tasks.intent.weight 2`. A key with no value is true, and `null` is the default.

    Raises:
        FileNotFoundError: no such config file.
        ValueError: a key that is not known (the nearest valid one is named) or a value of the wrong
            type.
    """
    if "--help" in argv or "-h" in argv:
        _Parser(GROUPS, prog="run_multitask.py [config.yaml]").print_help()
        sys.exit(0)
    path = None
    if argv and not argv[0].startswith("--"):
        path, argv = Path(argv[0]), argv[1:]
    overrides = _overrides(argv)
    keys_given = {key for (key, *_), _ in overrides}
    if path is None and not {"model", "do_predict"} <= keys_given:  # which says it all
        path = DEFAULT_CONFIG
        print(f"No config given: running configs/{path.name}.")
    given = read_yaml(path) if path else {}
    for keys, value in overrides:
        _set_nested(given, keys, value)
    return resolve(given)


def resolve(given: dict[str, Any]) -> RunArguments:
    """The run that a mapping of keys describes; raises what `parse_arguments` does."""
    flat = {key: value for key, value in given.items() if key not in ("tasks", "datasets")}
    model, data, training = _parse_groups(flat, GROUPS, also=("tasks", "datasets"))
    all_of_model = training.only_predicts and given.get("tasks") is None
    tasks = {} if all_of_model else _parse_tasks(given.get("tasks"))
    if model.backend != "torch" and not training.only_predicts:
        raise ValueError(
            f"backend: {model.backend} is for do_predict with do_train false, and nothing else "
            "to do."
        )
    if model.only_task is not None:
        _check_choice("only_task", model.only_task, tuple(tasks))
    datasets = _parse_datasets(given.get("datasets"), data, tasks)
    return RunArguments(model, data, training, tasks, datasets, given)


def _parse_groups(flat: dict, groups: tuple, also: tuple = (), prefix: str = "") -> tuple:
    """The dataclasses of `groups` from a mapping of keys; `also` names keys that are read apart."""
    flat = {key: value for key, value in flat.items() if value is not None}
    known = [one.name for group in groups for one in fields(group) if one.init]
    for key in flat:
        _check_key(key, [*known, *also], prefix)
    parser = _Parser(groups)
    lists = [action.dest for action in parser._actions if action.nargs == "+"]
    for key, value in flat.items():
        if isinstance(value, list) and len(value) != 1 and key not in lists:
            raise ValueError(f"{prefix}{key} should be one value. Found {value!r}.")
    return parser.parse_args_into_dataclasses(_as_argv(flat), look_for_args_file=False)


def read_yaml(path: Path) -> dict[str, Any]:
    """The keys of a run's YAML file.

    Raises:
        FileNotFoundError, ValueError: there is none, or it holds something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"No config file {path}.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: should hold keys and values. Found {content!r}.")
    return content


def _overrides(argv: list[str]) -> list[tuple[list[str], Any]]:
    overrides: list[tuple[list[str], Any]] = []
    for word in argv:
        if word.startswith("--"):
            key, has_value, value = word[2:].partition("=")
            overrides.append((key.split("."), [value] if has_value else []))
        elif not overrides:
            raise ValueError(f"Expected a key like --seed. Found {word!r}.")
        else:
            overrides[-1][1].append(word)
    return [(keys, _value(words)) for keys, words in overrides]


def _value(words: list[str]) -> Any:
    if not words:
        return "true"
    if words == ["null"]:
        return None
    return words[0] if len(words) == 1 else words


def _set_nested(target: dict, keys: list[str], value: Any) -> None:
    *parents, last = keys
    for key in parents:
        target = target.setdefault(key, {})
        if not isinstance(target, dict):
            raise ValueError(f"--{'.'.join(keys)}: {key!r} has no keys of its own.")
    target[last] = value


def _parse_tasks(tasks: Any) -> dict[str, TaskArguments]:
    if not isinstance(tasks, dict) or not tasks:
        raise ValueError(f"`tasks` should map names to tasks. Found {tasks!r}.")
    parsed = {}
    known = [one.name for one in fields(TaskArguments)]
    for name, task in tasks.items():
        if not isinstance(task, dict) or "type" not in task:
            raise ValueError(f"tasks.{name} should be a mapping with a `type`. Found {task!r}.")
        for key in task:
            _check_key(key, known, prefix=f"tasks.{name}.")
        # Here, for the rows are read by them before a model's config checks the rest.
        _check_choice(f"tasks.{name}.type", task["type"], TASK_TYPES)
        if task.get("problem_type") is not None:
            _check_choice(f"tasks.{name}.problem_type", task["problem_type"], PROBLEM_TYPES)
        for key, allowed in READINGS.items():
            if task.get(key) is not None:
                _check_choice(f"tasks.{name}.{key}", task[key], allowed)
        _check_label_map(name, task.get("label_map"))
        if task.get("label_map") and task.get("problem_type") == "regression":
            raise ValueError(f"tasks.{name}.label_map is for labels. Found a regression task.")
        if not isinstance(task.get("column"), str | None):
            raise ValueError(f"tasks.{name}.column should be a text. Found {task['column']!r}.")
        task = {key: value for key, value in task.items() if value is not None}
        if task["type"] == "sentence_embedding":
            task.setdefault("loss", "retention")
        task["weight"] = _number(f"tasks.{name}.weight", task.get("weight", 1.0))
        if task.get("dimensions") is not None:
            task["dimensions"] = _whole_numbers(f"tasks.{name}.dimensions", task["dimensions"])
        if task.get("labels") is not None:
            labels = task["labels"] if isinstance(task["labels"], list) else [task["labels"]]
            if any(isinstance(label, bool | list | dict | None) for label in labels):
                raise ValueError(
                    f"tasks.{name}.labels should be texts; YAML reads yes, no, true and false "
                    f"as booleans, and null as none, unless they are in quotes. Found {labels!r}."
                )
            task["labels"] = [str(label) for label in labels]
        parsed[str(name)] = TaskArguments(**task)
    return parsed


def _check_label_map(name: str, label_map: Any) -> None:
    if label_map is None:
        return
    if not isinstance(label_map, dict) or not all(
        isinstance(label, str) and isinstance(new, str | None) and new != ""
        for label, new in label_map.items()
    ):
        raise ValueError(
            f"tasks.{name}.label_map should map labels to new names, or to null to drop them. "
            f"Found {label_map!r}."
        )


def _number(key: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{key} should be a number. Found {value!r}.") from None


def _whole_numbers(key: str, value: Any) -> list[int]:
    values = value if isinstance(value, list) else [value]
    try:
        return [int(str(one)) for one in values]
    except ValueError:
        raise ValueError(f"{key} should be whole numbers. Found {value!r}.") from None


def _parse_datasets(
    given: Any, data: DataArguments, tasks: dict[str, TaskArguments]
) -> dict[str, DataSource]:
    """The data sets of a run: those of `datasets`, or the one that the top level describes."""
    every = {name: _default_column(name, task) for name, task in tasks.items()}
    retains = any(task.loss == "retention" for task in tasks.values())
    if given is None:
        return {"data": DataSource(data, every)}
    if not isinstance(given, dict) or not given:
        raise ValueError(f"`datasets` should map names to data sets. Found {given!r}.")
    for key in ("dataset", *OF_ONE_DATA_SET):
        if getattr(data, key) is not None:
            raise ValueError(
                f"{key} is of one data set: set it in each of `datasets`, or leave those out. "
                f"Found {getattr(data, key)!r}."
            )
    datasets = {}
    for name, entry in given.items():
        if not isinstance(name, str) or not TASK_NAME.fullmatch(name):
            raise ValueError(
                "A data set's name should be a letter followed by letters, digits and underscores. "
                f"Found {name!r}."
            )
        if not isinstance(entry, dict):
            raise ValueError(f"datasets.{name} should be a mapping. Found {entry!r}.")
        prefix, own = f"datasets.{name}.", ("columns", "weight")
        flat = {key: value for key, value in entry.items() if key not in own}
        (arguments,) = _parse_groups(flat, (DatasetArguments,), also=own, prefix=prefix)
        folders = [folder for folder in (data.data_dir, arguments.data_dir) if folder]
        arguments.data_dir = str(Path(*folders)) if folders else None
        columns = entry.get("columns")
        if columns is None:
            columns = every
        if not isinstance(columns, dict) or not (columns or retains):
            raise ValueError(
                f"{prefix}columns should map the tasks it labels to columns. Found {columns!r}."
            )
        for task, column in columns.items():
            _check_choice(f"A task in {prefix}columns", task, tuple(tasks))
            if not isinstance(column, str) and column != every[task]:
                raise ValueError(f"{prefix}columns.{task} should be a text. Found {column!r}.")
        if arguments.dataset is None and not any(map(arguments.files, SPLITS)):
            raise ValueError(f"datasets.{name} should have files, or a `dataset`. Found neither.")
        weight = _number(f"{prefix}weight", entry.get("weight", 1.0))
        if not 0 <= weight < math.inf:
            raise ValueError(f"{prefix}weight should be at least 0, and finite. Found {weight}.")
        datasets[name] = DataSource(arguments, columns, weight)
    for name, task in tasks.items():
        needed = every[name] is not None or task.loss == "in_batch_negatives"
        if needed and not any(name in source.columns for source in datasets.values()):
            raise ValueError(f"Task {name!r} is labelled by none of the `datasets`.")
    return datasets


def _default_column(name: str, task: TaskArguments) -> str | None:
    """Where a task's labels are, if nothing is said of it; None where it needs none."""
    if task.type == "sentence_embedding" and task.loss != "cosent":
        return task.column
    return task.column or name


def _check_key(key: str, known: list[str], prefix: str = "") -> None:
    if key in known:
        return
    nearest = difflib.get_close_matches(str(key), known, n=1, cutoff=0.4)
    hint = f" Did you mean {prefix}{nearest[0]}?" if nearest else ""
    raise ValueError(f"Unknown key {prefix}{key}.{hint}")


def _check_choice(key: str, found: Any, allowed: tuple[str, ...]) -> None:
    if found not in allowed:
        raise ValueError(f"{key} should be one of {', '.join(allowed)}. Found {found!r}.")


def _as_argv(flat: dict[str, Any]) -> list[str]:
    """The mapping as a command line: one place, argparse, then checks and converts every value."""
    argv = []
    for key, value in flat.items():
        values = value if isinstance(value, list) else [value]
        # `--key=value`, so that a value may begin with a dash; lists take one `--key` and many
        # values.
        texts = [json.dumps(one) if isinstance(one, dict) else str(one) for one in values]
        argv += [f"--{key}={texts[0]}"] if len(texts) == 1 else [f"--{key}", *texts]
    return argv
