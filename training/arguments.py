"""The keys of a run: a YAML file, overridden on the command line, checked, as dataclasses."""

import difflib
import json
import sys
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import HfArgumentParser, TrainingArguments

from data.label_alignment import LABELLINGS
from modeling.configuration_multitask import PROBLEM_TYPES, TASK_TYPES

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
    attn_implementation: str | None = field(
        default=None, metadata={"help": "eager, sdpa, ...; by default what the encoder prefers."}
    )


@dataclass
class DataArguments:
    """Where the rows come from and how they are tokenized."""

    dataset: str | None = field(
        default=None,
        metadata={"help": "`synthetic`, a Hub id, or a data set folder; instead of files."},
    )
    dataset_config: str | None = field(
        default=None, metadata={"help": "Which of the data set's configurations."}
    )
    dataset_revision: str | None = field(
        default=None, metadata={"help": "Branch, tag or commit of the data set's Hub id."}
    )
    data_dir: str | None = field(
        default=None, metadata={"help": "The folder that the files below are in."}
    )
    train_file: str | None = field(
        default=None, metadata={"help": "JSON, JSONL, CSV, TSV or Parquet file to train on."}
    )
    validation_file: str | None = field(
        default=None, metadata={"help": "File to choose the best epoch by."}
    )
    test_file: str | None = field(default=None, metadata={"help": "Held-out file for the end."})
    predict_file: str | None = field(
        default=None, metadata={"help": "File of texts to answer, by do_predict."}
    )
    text_column: str | None = field(
        default=None, metadata={"help": "Column of the text. Default: text."}
    )
    tokens_column: str | None = field(
        default=None, metadata={"help": "Column of the words. Default: tokens, where there is one."}
    )
    train_size: int | None = field(
        default=None, metadata={"help": "How many rows to take or to make. Default: all."}
    )
    validation_size: int | None = field(default=None, metadata={"help": "As train_size."})
    test_size: int | None = field(default=None, metadata={"help": "As train_size."})
    labelling: str = field(
        default="first",
        metadata={
            "help": "Label the first token of each word, or all.",
            "choices": list(LABELLINGS),
        },
    )
    max_length: int | None = field(
        default=None,
        metadata={
            "help": "Cut rows to so many tokens. Default: longer than the encoder is refused."
        },
    )
    num_proc: int | None = field(
        default=None, metadata={"help": "Processes that read and tokenize."}
    )
    examples: list[str] | None = field(
        default=None, metadata={"help": "Texts whose answers are shown at the end."}
    )


@dataclass
class TaskArguments:
    """One task. `column` is where its labels are; the rest goes to the model's config."""

    type: str
    column: str | None = None
    labels: list[str] | None = None
    problem_type: str | None = None
    weight: float = 1.0


@dataclass
class MultiTaskTrainingArguments(TrainingArguments):
    """`transformers.TrainingArguments` with the defaults of multi-task training."""

    do_train: bool = field(default=True, metadata={"help": "Whether to train."})
    do_eval: bool = field(
        default=True, metadata={"help": "Whether to evaluate on the validation split."}
    )
    do_test: bool = field(default=True, metadata={"help": "Whether to evaluate on the test split."})
    do_predict: bool = field(default=False, metadata={"help": "Whether to answer predict_file."})
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
    # All heads run in every step, so no parameter is ever without a gradient.
    ddp_find_unused_parameters: bool | None = field(
        default=False, metadata={"help": "See torch.nn.parallel.DistributedDataParallel."}
    )
    # The collator needs columns that are not arguments of the model.
    remove_unused_columns: bool = field(default=False, metadata={"help": "Not used."})

    def __post_init__(self):
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
        ):
            if getattr(self, key) < 1:
                raise ValueError(f"{key} should be at least 1. Found {getattr(self, key)}.")
        super().__post_init__()


def has_fast_bf16(use_cpu: bool) -> bool:
    """Whether this machine's GPU, or processor, multiplies bfloat16 matrices in hardware."""
    if torch.cuda.is_available() and not use_cpu:
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu.get_capabilities().get("amx_bf16", False))


@dataclass
class RunArguments:
    """All keys of a run, and the mapping they were read from."""

    model: ModelArguments
    data: DataArguments
    training: MultiTaskTrainingArguments
    tasks: dict[str, TaskArguments]
    given: dict[str, Any]

    def save(self, path: Path) -> None:
        """Write the run as one YAML file that starts it again."""
        resolved = {**asdict(self.model), **asdict(self.data), **self.given}
        for key in ("hub_token", "resume_from_checkpoint", "overwrite_output_dir"):
            resolved.pop(key, None)  # a secret, and what belongs to one start only
        resolved = {key: value for key, value in resolved.items() if value is not None}
        path.write_text(yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True))


class _Parser(HfArgumentParser):
    def error(self, message: str):
        raise ValueError(message)


GROUPS = (ModelArguments, DataArguments, MultiTaskTrainingArguments)


def parse_arguments(argv: list[str]) -> RunArguments:
    """Read `[config.yaml] [--key value ...]`.

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
    if argv and not argv[0].startswith("--"):
        path, argv = Path(argv[0]), argv[1:]
    else:
        path = DEFAULT_CONFIG
        print(f"No config given: running configs/{path.name}.")
    given = _read_yaml(path)
    for keys, value in _overrides(argv):
        _set_nested(given, keys, value)

    tasks = _parse_tasks(given.get("tasks"))
    flat = {key: value for key, value in given.items() if key != "tasks" and value is not None}
    known = [one.name for group in GROUPS for one in fields(group) if one.init]
    for key in flat:
        _check_key(key, [*known, "tasks"])
    parser = _Parser(GROUPS)
    lists = [action.dest for action in parser._actions if action.nargs == "+"]
    for key, value in flat.items():
        if isinstance(value, list) and len(value) != 1 and key not in lists:
            raise ValueError(f"{key} should be one value. Found {value!r}.")
    model, data, training = parser.parse_args_into_dataclasses(
        _as_argv(flat), look_for_args_file=False
    )
    return RunArguments(model, data, training, tasks, given)


def _read_yaml(path: Path) -> dict:
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
        task = dict(task)
        try:
            task["weight"] = float(task.get("weight", 1.0))
        except (TypeError, ValueError):
            raise ValueError(
                f"tasks.{name}.weight should be a number. Found {task['weight']!r}."
            ) from None
        if task.get("labels") is not None:
            labels = task["labels"] if isinstance(task["labels"], list) else [task["labels"]]
            if any(isinstance(label, bool) for label in labels):
                raise ValueError(
                    f"tasks.{name}.labels should be texts; YAML reads yes, no, true and false as "
                    f"booleans unless they are in quotes. Found {labels!r}."
                )
            task["labels"] = [str(label) for label in labels]
        parsed[str(name)] = TaskArguments(**task)
    return parsed


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
