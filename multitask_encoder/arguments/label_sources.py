"""Reads the `datasets` and `teachers` of a config: where each task's labels come from."""

import math
import os
from collections.abc import Collection
from dataclasses import fields
from pathlib import Path
from typing import Any

from multitask_encoder.data.dataset_arguments import SPLITS, DatasetArguments
from multitask_encoder.modeling.configuration_multitask import TASK_NAME

from .key_groups import check_choice, parse_groups, to_number
from .run_arguments import DataArguments, DataSource
from .task_keys import check_column
from .tasks import TaskArguments

OF_ONE_DATA_SET = [key.name for key in fields(DatasetArguments) if key.name != "data_dir"]
OF_FILES = ("format", "column_names", "delimiter", "encoding")  # not of a `dataset`
OF_TEXTS = (*OF_FILES, "text_column", "tokens_column")  # they say how `predict_file` is read, too
OF_DATASET = ("dataset_config", "dataset_revision")  # not of files


def parse_datasets(
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
    (arguments,) = parse_groups(flat, (DatasetArguments,), also=own, prefix=prefix)
    folders = [folder for folder in (data.data_dir, arguments.data_dir) if folder]
    arguments.data_dir = str(Path(*folders)) if folders else None
    columns = _parse_columns(entry.get("columns"), prefix, tasks, is_taught)
    if arguments.dataset is None and not any(map(arguments.files, SPLITS)):
        raise ValueError(f"datasets.{name} should have files, or a `dataset`. Found neither.")
    _check_location(arguments, prefix)
    weight = 1.0 if entry.get("weight") is None else to_number(f"{prefix}weight", entry["weight"])
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
        check_choice(f"A task in {prefix}columns", task, tuple(tasks))
        if column != default[task]:
            check_column(f"{prefix}columns.{task}", column, vars(tasks[task]))
    return columns


def _default_columns(tasks: dict[str, TaskArguments]) -> dict[str, str | list[str] | None]:
    return {name: task.default_column(name) for name, task in tasks.items()}


def parse_teachers(given: Any, tasks: dict[str, TaskArguments]) -> dict[str, list[str]]:
    """The folders or Hub ids of each task's teachers."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise ValueError(f"`teachers` should map tasks to finished models. Found {given!r}.")
    teachers = {}
    for name, folders in given.items():
        check_choice("A task in teachers", name, tuple(tasks))
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
