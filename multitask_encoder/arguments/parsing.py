"""Reads a YAML file and the command line, which overrides it, into a run's checked arguments."""

import copy
import difflib
import json
import math
import os
import sys
from collections.abc import Collection
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from transformers import HfArgumentParser

from multitask_encoder.data.dataset_arguments import SPLITS, DatasetArguments
from multitask_encoder.data.task_kinds import kind_of
from multitask_encoder.modeling.configuration_multitask import TASK_NAME, WEIGHTS

from .help import help_text
from .run_arguments import (
    ERROR_ENDINGS,
    DataArguments,
    DataSource,
    ModelArguments,
    MultiTaskTrainingArguments,
    RunArguments,
)
from .search_space import flat_keys, parse_space, values_at
from .tasks import BALANCED, CHOSEN_BEFORE_LOADING, EMBEDDING, TASK_FIELDS, TaskArguments

LARGEST_NUMBER = 2**32 - 1  # of seeds; everything else is smaller
MOST_LEVELS, MOST_VALUES = 20, 10**6  # of a config
MERGED = "tag:yaml.org,2002:merge"  # `<<`
UNQUOTED = (
    "YAML reads yes, no, true and false as booleans, and null as none, unless they are in quotes"
)
DEFAULT_CONFIG = Path(__file__).parent.parent / "configs" / "quickstart.yaml"


class _Loader(yaml.SafeLoader):
    """Refuses a key that a mapping has twice, as the last would win unnoticed, and files that are
    nested so deep that reading them fails."""

    depth = 0

    def compose_node(self, parent, index):
        self.depth += 1
        if self.depth > MOST_LEVELS:
            raise yaml.composer.ComposerError(
                None, None, f"found more than {MOST_LEVELS} levels", self.peek_event().start_mark
            )
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key) for key, _ in node.value if key.tag != MERGED]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"found the key {key!r} twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


class _Parser(HfArgumentParser):
    def error(self, message: str):
        raise ValueError(message)


GROUPS = (ModelArguments, DataArguments, MultiTaskTrainingArguments)
OF_ONE_DATA_SET = [key.name for key in fields(DatasetArguments) if key.name != "data_dir"]
# Those that say how `predict_file` is read, too.
OF_TEXTS = ("format", "column_names", "delimiter", "encoding", "text_column", "tokens_column")
OF_FILES = ("format", "column_names", "delimiter", "encoding")  # not of a `dataset`
OF_DATASET = ("dataset_config", "dataset_revision")  # not of files


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
    flat = {key: value for key, value in given.items() if key not in nested}
    model, data, training = _parse_groups(flat, GROUPS, also=nested)
    given = _without_dropped_tasks(given)
    all_of_model = training.only_predicts and given.get("tasks") is None
    tasks = {} if all_of_model else parse_tasks(given.get("tasks"))
    if model.backend != "torch" and not training.only_predicts:
        raise ValueError(
            f"backend: {model.backend} is for do_predict with do_train false, and nothing else "
            "to do."
        )
    if model.only_task is not None and not all_of_model:
        _check_choice("only_task", model.only_task, tuple(tasks))
    teachers = _parse_teachers(given.get("teachers"), tasks)
    # A finished model teaches the tasks that it has, and new ones need labels.
    taught = tasks if model.model is not None else teachers
    datasets = _parse_datasets(given.get("datasets"), data, tasks, taught)
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
    given = {**given, "tasks": {name: task for name, task in tasks.items() if task is not None}}
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


def _is_map(value: Any) -> bool:
    return isinstance(value, dict)


def _without(mapping: dict, keys: list[str]) -> dict:
    return {key: value for key, value in mapping.items() if key not in keys}


def _parse_groups(flat: dict, groups: tuple, also: tuple = (), prefix: str = "") -> tuple:
    """The dataclasses of `groups` from a mapping of keys; keys in `also` are read elsewhere."""
    flat = {key: value for key, value in flat.items() if value is not None}
    known = [one.name for group in groups for one in fields(group) if one.init]
    for key in flat:
        _check_key(key, [*known, *also], prefix)
    parser = _Parser(groups)
    lists = [action.dest for action in parser._actions if action.nargs == "+"]
    for key, value in flat.items():
        if isinstance(value, list) and len(value) != 1 and key not in lists:
            raise ValueError(f"{prefix}{key} should be one value. Found {value!r}.")
    for action in parser._actions:
        if action.dest in flat and action.type in (int, float):
            _check_number(f"{prefix}{action.dest}", flat[action.dest], action.default)
    return parser.parse_args_into_dataclasses(_as_argv(flat), look_for_args_file=False)


def _check_number(key: str, value: Any, default: Any) -> None:
    """Refuse numbers that no key takes: infinite ones, and negative ones unless the default is."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return  # the parser says it
    lowest = default if isinstance(default, int | float) and default < 0 else 0
    if not lowest <= number <= LARGEST_NUMBER:
        raise ValueError(
            f"{key} should be a number from {lowest} to {LARGEST_NUMBER:,}. Found {value}."
        )


def read_yaml(path: Path) -> dict[str, Any]:
    """The keys of a run's YAML file.

    Raises:
        FileNotFoundError, ValueError: the file is missing, or holds something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"No config file {path}.")
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: is not valid YAML: {' '.join(str(error).split())}") from None
    if _size(content, {}) > MOST_VALUES:
        raise ValueError(f"{path}: should hold at most {MOST_VALUES:,} values, aliases included.")
    if not isinstance(content, dict):
        raise ValueError(f"{path}: should hold keys and values. Found {content!r}.")
    return _unshared(content)


def _unshared(value: Any) -> Any:
    """A copy of a value of YAML in which aliases are values of their own: a key of one task must
    not change another."""
    if isinstance(value, dict):
        return {key: _unshared(one) for key, one in value.items()}
    return list(map(_unshared, value)) if isinstance(value, list) else value


def _size(value: Any, known: dict[int, float]) -> float:
    """The number of values in a value of YAML, which aliases can make huge, or infinite."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        known[id(value)] = math.inf  # should it be in itself
        inside = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_size(one, known) for one in inside)
    return known[id(value)]


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


def parse_tasks(tasks: Any) -> dict[str, TaskArguments]:
    """The tasks of a run's YAML. Raises a ValueError for what is none."""
    if not isinstance(tasks, dict) or not tasks:
        raise ValueError(f"`tasks` should map names to tasks. Found {tasks!r}.")
    parsed = {}
    for name, task in tasks.items():
        if not isinstance(task, dict) or "type" not in task:
            raise ValueError(f"tasks.{name} should be a mapping with a `type`. Found {task!r}.")
        for key in task:
            _check_key(key, list(TASK_FIELDS), prefix=f"tasks.{name}.")
        for key in CHOSEN_BEFORE_LOADING:
            if key == "type" or task.get(key) is not None:
                _check_choice(
                    f"tasks.{name}.{key}", task[key], TASK_FIELDS[key].metadata["choices"]
                )
        if task.get("column") is not None:
            _check_column(f"tasks.{name}.column", task["column"], task)
        if not isinstance(task.get("separator"), str | None):
            raise ValueError(
                f"tasks.{name}.separator should be a text. Found {task['separator']!r}."
            )
        task = {key: value for key, value in task.items() if value is not None}
        if "label_map" in task:
            task["label_map"] = _label_map(name, task["label_map"])
        _check_keys_of_kind(name, task)
        if task["type"] == EMBEDDING:
            task.setdefault("loss", "retention")
        if task["type"] == "token_classification" and "label_map" in task:  # O is no type
            task["label_map"] = {
                label: None if new == "O" else new for label, new in task["label_map"].items()
            }
        for key in WEIGHTS:
            task[key] = _number(f"tasks.{name}.{key}", task.get(key, 1.0))
        if "out_of_scope" in task:
            task["out_of_scope"] = _share(f"tasks.{name}.out_of_scope", task)
        if "unlabelled_tag" in task:
            tag = task["unlabelled_tag"]
            if isinstance(tag, bool | list | dict):
                raise ValueError(
                    f"tasks.{name}.unlabelled_tag should be a text; {UNQUOTED}. Found {tag!r}."
                )
            task["unlabelled_tag"] = str(tag)
        if "class_weights" in task:
            task["class_weights"] = _class_weights(f"tasks.{name}.class_weights", task)
        if task.get("dimensions") is not None:
            task["dimensions"] = _whole_numbers(f"tasks.{name}.dimensions", task["dimensions"])
        if task.get("problem_type") == "regression" and isinstance(task.get("column"), list):
            task.setdefault("labels", task["column"])
        if "labels" in task:
            labels = task["labels"] if isinstance(task["labels"], list) else [task["labels"]]
            if any(isinstance(label, bool | list | dict | None) for label in labels):
                raise ValueError(
                    f"tasks.{name}.labels should be texts; {UNQUOTED}. Found {labels!r}."
                )
            task["labels"] = [str(label) for label in labels]
        parsed[str(name)] = TaskArguments(**task)
    return parsed


def _check_keys_of_kind(name: str, task: dict) -> None:
    """Refuse keys that tasks of this kind don't read: they would be ignored unnoticed."""
    kind = kind_of(task)
    for key in ("label_map", "class_weights"):
        if task.get(key) and kind.numeric:
            found = task.get("problem_type") or task["type"]
            raise ValueError(f"tasks.{name}.{key} is for labels. Found a {found} task.")
    for key in task:
        of_types = TASK_FIELDS[key].metadata["of_types"]
        if task["type"] not in of_types:
            raise ValueError(
                f"`{key}` is for {' and '.join(of_types)}. Found it in task {name!r}, which is "
                f"{task['type']}."
            )
    if "separator" in task and not kind.separable:
        raise ValueError(
            f"tasks.{name}.separator is for multi_label_classification. Found "
            f"{task.get('problem_type', 'single_label_classification')}."
        )


def _check_column(key: str, column: Any, task: dict) -> None:
    """A column, or a list of columns for labels or numbers that have one each."""
    several = task.get("problem_type") in ("multi_label_classification", "regression")
    columns = column if several and isinstance(column, list) else [column]
    if not columns or not all(isinstance(one, str) for one in columns):
        also = ", or a list of texts" if several else ""
        raise ValueError(f"{key} should be a text{also}. Found {column!r}.")


def _label_map(name: str, label_map: Any) -> dict[str, str | None]:
    """A checked map, whose numbers are texts, as `labels` may be numbers, too."""
    if not isinstance(label_map, dict) or not all(
        isinstance(label, str | int | float)
        and isinstance(new, str | int | float | None)
        and new != ""
        for label, new in label_map.items()
    ):
        raise ValueError(
            f"tasks.{name}.label_map should map labels to new names, or to null to drop them. "
            f"Found {label_map!r}."
        )
    if any(isinstance(one, bool) for pair in label_map.items() for one in pair):
        raise ValueError(
            f"tasks.{name}.label_map should map labels to new names; {UNQUOTED}. "
            f"Found {label_map!r}."
        )
    return {str(label): None if new is None else str(new) for label, new in label_map.items()}


def _share(key: str, task: dict) -> float:
    if task.get("problem_type", "single_label_classification") != "single_label_classification":
        raise ValueError(f"{key} is for one label a text. Found {task['problem_type']}.")
    share = _number(key, task["out_of_scope"])
    if not 0 < share < 1:
        raise ValueError(f"{key} should be in (0, 1): 0.05, say. Found {share}.")
    return share


def _class_weights(key: str, task: dict) -> str | dict[str, float]:
    weights = task["class_weights"]
    if weights == BALANCED:
        return BALANCED
    if not isinstance(weights, dict) or any(isinstance(label, bool | None) for label in weights):
        raise ValueError(
            f"{key} should be {BALANCED}, or map labels to numbers; {UNQUOTED}. Found {weights!r}."
        )
    return {str(label): _number(f"{key}.{label}", weight) for label, weight in weights.items()}


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
    given: Any, data: DataArguments, tasks: dict[str, TaskArguments], taught: Collection[str]
) -> dict[str, DataSource]:
    """The data sets of a run: those of `datasets`, or the one that the top level describes. Tasks
    in `taught` need none."""
    if given is None:
        _check_location(data, also=OF_TEXTS if data.predict_file else ())
        return {"data": DataSource(data, _default_columns(tasks))}
    if not isinstance(given, dict) or not given:
        raise ValueError(f"`datasets` should map names to data sets. Found {given!r}.")
    for key in OF_ONE_DATA_SET:
        is_of_texts = key in OF_TEXTS and data.predict_file is not None
        if getattr(data, key) is not None and not is_of_texts:
            raise ValueError(
                f"{key} is of one data set: set it in each of `datasets`, or leave those out. "
                f"Found {getattr(data, key)!r}."
            )
    datasets = {
        name: _parse_dataset(name, entry, data, tasks, bool(taught))
        for name, entry in given.items()
    }
    for name, column in _default_columns(tasks).items():
        needed = column is not None or tasks[name].loss == "in_batch_negatives"
        if (
            needed
            and name not in taught
            and not any(name in source.columns for source in datasets.values())
        ):
            raise ValueError(f"Task {name!r} is labelled by none of the `datasets`.")
    return datasets


def _parse_dataset(
    name: Any, entry: Any, data: DataArguments, tasks: dict[str, TaskArguments], is_taught: bool
) -> DataSource:
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
    columns = _parse_columns(entry.get("columns"), prefix, tasks, is_taught)
    if arguments.dataset is None and not any(map(arguments.files, SPLITS)):
        raise ValueError(f"datasets.{name} should have files, or a `dataset`. Found neither.")
    _check_location(arguments, prefix)
    weight = 1.0 if entry.get("weight") is None else _number(f"{prefix}weight", entry["weight"])
    if not 0 <= weight < math.inf:
        raise ValueError(f"{prefix}weight should be at least 0, and finite. Found {weight}.")
    return DataSource(arguments, columns, weight)


def _check_location(data: DatasetArguments, prefix: str = "", also: Collection[str] = ()) -> None:
    """Raise a ValueError for a key of files beside a `dataset`, or the reverse; those in `also` may
    be there."""
    keys, kind = (OF_DATASET, "a `dataset`") if data.dataset is None else (OF_FILES, "files")
    for key in keys:
        if getattr(data, key) is not None and key not in also:
            raise ValueError(f"{prefix}{key} is of {kind}. Found {getattr(data, key)!r}.")


def _parse_teachers(given: Any, tasks: dict[str, TaskArguments]) -> dict[str, list[str]]:
    """The folders or Hub ids of each task's teachers."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise ValueError(f"`teachers` should map tasks to finished models. Found {given!r}.")
    teachers = {}
    for name, folders in given.items():
        _check_choice("A task in teachers", name, tuple(tasks))
        folders = folders if isinstance(folders, list) else [folders]
        if not folders or not all(isinstance(folder, str) and folder for folder in folders):
            raise ValueError(
                f"teachers.{name} should be a folder or Hub id, or a list of them. "
                f"Found {given[name]!r}."
            )
        if tasks[name].is_embedding and (tasks[name].loss != "retention" or len(folders) > 1):
            raise ValueError(
                f"teachers.{name} should be one model, for the loss retention. Found "
                f"{', '.join(folders)} for {tasks[name].loss}."
            )
        teachers[name] = list(map(os.path.expanduser, folders))
    return teachers


def _parse_columns(
    columns: Any, prefix: str, tasks: dict[str, TaskArguments], is_taught: bool
) -> dict[str, str | list[str] | None]:
    default = _default_columns(tasks)
    if columns is None:
        columns = default
    learns = is_taught or any(task.loss == "retention" for task in tasks.values())
    if not isinstance(columns, dict) or not (columns or learns):
        raise ValueError(
            f"{prefix}columns should map the tasks it labels to columns. Found {columns!r}."
        )
    for task, column in columns.items():
        _check_choice(f"A task in {prefix}columns", task, tuple(tasks))
        if column != default[task]:
            _check_column(f"{prefix}columns.{task}", column, vars(tasks[task]))
    return columns


def _default_columns(tasks: dict[str, TaskArguments]) -> dict[str, str | list[str] | None]:
    return {name: task.default_column(name) for name, task in tasks.items()}


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
