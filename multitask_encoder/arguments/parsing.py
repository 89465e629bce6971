"""Reads a YAML file and the command line, which overrides it, into a run's checked arguments."""

import copy
import sys
from pathlib import Path
from typing import Any

from .help import help_text
from .key_groups import check_choice, parse_groups
from .label_sources import parse_datasets, parse_teachers
from .run_arguments import (
    ERROR_ENDINGS,
    DataArguments,
    ModelArguments,
    MultiTaskTrainingArguments,
    RunArguments,
)
from .search_space import flat_keys, parse_space, values_at
from .task_keys import parse_tasks
from .yaml_file import read_yaml

GROUPS = (ModelArguments, DataArguments, MultiTaskTrainingArguments)
DEFAULT_CONFIG = Path(__file__).parent.parent / "configs" / "quickstart.yaml"


def parse_arguments(argv: list[str], given: dict[str, Any] | None = None) -> RunArguments:
    """Read `[config.yaml] [--key value ...]`. Without a config, `--model` and `--do_predict` answer
    with that model; otherwise the config is the quickstart's.

    Args:
        argv (`list[str]`): the command line without the program's name. Keys of tasks are dotted:
            `--tasks.intent.weight 2`. A key with no value is true, and `null` is the default.
        given (`dict`, *optional*): the keys of the config, in place of one.

    Raises:
        FileNotFoundError: no such config file.
        ValueError: a key is unknown (the nearest valid one is named), or a value is invalid.
    """
    if "--help" in argv or "-h" in argv:
        print(help_text())
        sys.exit(0)
    path = None
    if given is None and argv and not argv[0].startswith("--"):
        path, argv = Path(argv[0]), argv[1:]
    overrides = _overrides(argv)
    keys_given = {key for (key, *_), _ in overrides}
    if (
        path is None and given is None and not {"model", "do_predict"} <= keys_given
    ):  # which says it all
        path = DEFAULT_CONFIG
        print(f"No config given: running configs/{path.name}.")
    given = read_yaml(path) if path else dict(given or {})
    for keys, value in overrides:
        _set_nested(given, keys, value)
    if path is None and "tasks" not in given:  # there is nothing to train
        given.setdefault("do_train", False)
    return resolve(given)


def resolve(given: dict[str, Any]) -> RunArguments:
    """The run that a mapping of keys describes; raises what `parse_arguments` does."""
    nested = ("tasks", "datasets", "teachers", "search")
    given = {key: _given_of(value) if key in nested[1:] else value for key, value in given.items()}
    flat = {key: value for key, value in given.items() if key not in nested}
    model, data, training = parse_groups(flat, GROUPS, also=nested)
    given = _without_dropped_tasks(given)
    all_of_model = training.only_predicts and given.get("tasks") is None
    tasks = {} if all_of_model else parse_tasks(given.get("tasks"))
    if model.backend != "torch" and not training.only_predicts:
        raise ValueError(
            f"backend: {model.backend} is for do_predict with do_train false, and nothing else "
            "to do."
        )
    if model.only_task is not None and not all_of_model:
        check_choice("only_task", model.only_task, tuple(tasks))
    teachers = parse_teachers(given.get("teachers"), tasks)
    # A finished model teaches the tasks that it has, and new ones need labels.
    taught = tasks if model.model is not None else teachers
    datasets = parse_datasets(given.get("datasets"), data, tasks, taught)
    scored = any(
        task.default_column(name) is not None and task.loss != "in_batch_negatives"
        for name, task in tasks.items()
    )
    if given.get("metric_for_best_model") is None and not scored:  # then there is no score
        training.metric_for_best_model, training.greater_is_better = "loss", False
    metric = (training.metric_for_best_model or "").removeprefix("eval_")
    of_task = metric.startswith("loss_") and metric.removeprefix("loss_") not in tasks
    if given.get("greater_is_better") is None and of_task:  # of a task named `loss_...`
        training.greater_is_better = not metric.endswith(ERROR_ENDINGS)
    space = None if given.get("search") is None else parse_space(given["search"])
    for key, value in values_at(space or {}):  # each has to be a value of that key
        resolve(with_keys({**given, "search": None}, {key: value}))
    return RunArguments(model, data, training, tasks, datasets, teachers, space, given)


def with_keys(given: dict[str, Any], keys: dict[str, Any]) -> dict[str, Any]:
    """A copy of a mapping with other values of these keys, which are dotted where they are
    nested."""
    given = copy.deepcopy(given)
    for key, value in keys.items():
        _set_nested(given, key.split("."), value)
    return given


def _without_dropped_tasks(given: dict[str, Any]) -> dict[str, Any]:
    """The keys without the tasks that are null, and without what other keys say of these: their
    columns in data sets, their teachers, and the values to try."""
    tasks = given.get("tasks")
    dropped = [name for name, task in tasks.items() if task is None] if _is_map(tasks) else []
    if not dropped or len(dropped) == len(tasks):
        return given
    given = {**given, "tasks": _given_of(tasks)}
    if _is_map(given.get("datasets")):
        given["datasets"] = {
            name: {**entry, "columns": _without(entry["columns"], dropped)}
            if _is_map(entry) and _is_map(entry.get("columns"))
            else entry
            for name, entry in given["datasets"].items()
        }
    if _is_map(given.get("teachers")):
        given["teachers"] = _without(given["teachers"], dropped)
    if _is_map(given.get("search")):
        given["search"] = {
            key: values
            for key, values in flat_keys(given["search"])
            if not key.startswith(tuple(f"tasks.{name}." for name in dropped))
        } or None
    return given


def _given_of(value: Any) -> Any:
    """A mapping without the keys that are null, or None if all are; another value as it is."""
    if not _is_map(value) or None not in value.values():
        return value
    return {key: one for key, one in value.items() if one is not None} or None


def _is_map(value: Any) -> bool:
    return isinstance(value, dict)


def _without(mapping: dict, keys: list[str]) -> dict:
    return {key: value for key, value in mapping.items() if key not in keys}


def _overrides(argv: list[str]) -> list[tuple[list[str], Any]]:
    overrides: list[tuple[list[str], Any]] = []
    for word in argv:
        if word.startswith("--"):
            key, has_value, value = word[2:].partition("=")
            # A key of `search` is dotted itself.
            keys = key.split(".", 1 if key.startswith("search.") else -1)
            overrides.append((keys, [value] if has_value else []))
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
