"""The help of `train`, `evaluate`, `predict`, `inspect` and `compare`: every key, by subject."""

import dataclasses
import textwrap
from enum import Enum

from transformers import TrainingArguments

from multitask_encoder.modeling.configuration_multitask import TASK_TYPES

from .run_arguments import DataArguments, ModelArguments, MultiTaskTrainingArguments
from .tasks import TaskArguments

WIDTH = 100
USAGE = """\
usage: multitask-encoder COMMAND [config.yaml] [--key value ...]

Keys are those of the YAML file; the command line wins. A key without a value is true, null is its
default, and a list is several values. COMMAND is train, evaluate, predict, inspect or compare;
run_multitask.py is train."""
TASKS, SEARCH, TEACHERS = "tasks", "search", "teachers"
OTHERS = "keys of transformers.TrainingArguments"
# Subject -> its keys in training; keys of `ModelArguments` and `DataArguments` are found by name.
TRAINING_SUBJECTS = {
    "training": (
        *("do_train", "output_dir", "overwrite_output_dir", "resume_from_checkpoint", "run_name"),
        *("seed", "num_train_epochs", "max_steps", "learning_rate", "head_learning_rate"),
        *("layer_learning_rate_decay", "l2_sp", "per_device_train_batch_size", "max_batch_tokens"),
        *("gradient_accumulation_steps", "bf16", "use_cpu", "logging_steps"),
        *("logging_nan_inf_filter", "save_strategy", "save_total_limit"),
        *("ddp_find_unused_parameters", "ddp_broadcast_buffers", "remove_unused_columns"),
    ),
    "freezing": (
        *("freeze", "freeze_layers", "unfreeze_layers_per_epoch", "cache_frozen_layers"),
        "lora_rank",
    ),
    "evaluation": (
        *("do_eval", "do_test", "eval_strategy", "per_device_eval_batch_size", "report"),
        *("load_best_model_at_end", "metric_for_best_model", "greater_is_better"),
        "early_stopping_patience",
    ),
    TEACHERS: ("teacher_weight", "teacher_temperature"),
    "inspection": ("do_inspect",),
    "comparison": ("compare_single_task", "compare_seeds"),
    SEARCH: ("search_trials",),
    "prediction": (
        *("do_predict", "predict_file", "predict_output", "predict_format", "predict_shard_size"),
        *("predict_columns", "predict_without", "backend", "examples"),
    ),
    "publishing": (
        *("push_to_hub", "hub_model_id", "hub_revision", "hub_private_repo", "hub_token"),
    ),
}


def subjects() -> dict[str, list[dataclasses.Field]]:
    """Subject -> its keys; every key has one subject."""
    named = {key for keys in TRAINING_SUBJECTS.values() for key in keys}
    known = {
        key.name: key
        for group in (ModelArguments, DataArguments, MultiTaskTrainingArguments)
        for key in dataclasses.fields(group)
        if key.init
    }

    def rest(group: type) -> list[dataclasses.Field]:
        return [
            known[key.name]
            for key in dataclasses.fields(group)
            if key.init and key.name not in named
        ]

    return {
        "model": rest(ModelArguments),
        "data": rest(DataArguments),
        TASKS: list(dataclasses.fields(TaskArguments)),
        **{title: [known[key] for key in keys] for title, keys in TRAINING_SUBJECTS.items()},
        OTHERS: rest(TrainingArguments),
    }


def help_text() -> str:
    """Every key with its values, default and meaning, in lines of at most 100 columns."""
    lines = [*USAGE.splitlines()]
    for title, keys in subjects().items():
        lines += ["", f"{title}:"]
        if title == "data":
            lines += _wrapped(
                "Of several data sets, the keys of each are --datasets.NAME.KEY: those from "
                "dataset to test_fraction, columns (task: column) and weight.",
                2,
            )
        if title == TEACHERS:
            lines += _wrapped(
                "--teachers.TASK takes finished models that label the training rows of that task.",
                2,
            )
        if title == SEARCH:
            lines += _wrapped(
                "--search.KEY takes the values to try: two numbers with a point or an exponent are "
                "a range, any other list is tried value by value.",
                2,
            )
        for key in keys:
            lines += _key_lines(key, f"{TASKS}.NAME." if title == TASKS else "")
    return "\n".join(lines)


def _key_lines(key: dataclasses.Field, prefix: str) -> list[str]:
    metadata = key.metadata
    says = [" ".join(str(metadata.get("help", "")).split())]
    if metadata.get("choices"):
        says.append(f"One of {', '.join(map(str, metadata['choices']))}.")
    of_types = metadata.get("of_types", TASK_TYPES)
    if of_types != TASK_TYPES:
        says.append(f"For {' and '.join(of_types)}.")
    default = key.default.value if isinstance(key.default, Enum) else key.default
    if default not in (None, dataclasses.MISSING, "") and "Default:" not in says[0]:
        says.append(f"Default: {str(default).lower() if isinstance(default, bool) else default}.")
    return [f"  --{prefix}{key.name}", *_wrapped(" ".join(filter(None, says)), 6)]


def _wrapped(text: str, indent: int) -> list[str]:
    margin = " " * indent
    return textwrap.wrap(text, WIDTH, initial_indent=margin, subsequent_indent=margin)
