"""From files, Hub ids or the generator to loaded rows (see normalization.py)."""

import csv
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import datasets
from datasets import Dataset, Features, Value

from .normalization import normalize
from .synthetic import load_synthetic

SPLITS = ("train", "validation", "test")
FILE_TYPES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
# Columns of loaded and of preprocessed rows, which a task's labels must not replace.
RESERVED_COLUMNS = ("source", "text", "tokens", "input_ids", "attention_mask", "length", "labels")


def load_splits(
    tasks: dict[str, dict],
    dataset: str | None = None,
    files: dict[str, str | None] | None = None,
    data_dir: str | None = None,
    dataset_config: str | None = None,
    revision: str | None = None,
    text_column: str | None = None,
    tokens_column: str | None = None,
    sizes: dict[str, int] | None = None,
    seed: int = 0,
) -> dict[str, Dataset]:
    """Load every split there is.

    Args:
        tasks (`dict[str, dict]`): name to `type`, `problem_type` and `column` (by default the
            name).
        dataset (`str`, *optional*): `synthetic`, or a Hub id or data set folder.
        files (`dict[str, str | None]`, *optional*): split to file, instead of `dataset`. JSON,
            JSONL, CSV, TSV or Parquet, by their endings.
        data_dir (`str`, *optional*): the folder that the files are in.
        dataset_config, revision (`str`, *optional*): of the Hub id.
        text_column (`str`, *optional*): by default `text`, where the data has no `tokens`.
        tokens_column (`str`, *optional*): by default `tokens`, where the data has it.
        sizes (`dict[str, int]`, *optional*): rows per split; of `synthetic` all it makes, of other
            data the first so many. By default all.
        seed (`int`): of `synthetic`.

    Returns:
        `dict[str, Dataset]`: split to loaded rows.

    Raises:
        FileNotFoundError: a file or data set is not there.
        ValueError: a column that is not there or a row that is not as it should be.
    """
    for name in tasks:
        if name in RESERVED_COLUMNS:
            raise ValueError(
                f"A task can't be named {name!r}: rows have a column of that name. Use another, "
                f"and `column: {name}` if its labels are there."
            )
    sizes = {split: size for split, size in (sizes or {}).items() if size is not None}
    for split, size in sizes.items():
        if size < 1:
            raise ValueError(f"{split}_size should be at least 1. Found {size}.")
    given = {split: file for split, file in (files or {}).items() if file is not None}
    if dataset is None:
        raw = _load_files(given, data_dir)
    elif given:
        found = ", ".join(given.values())
        raise ValueError(f"Set `dataset` or files, not both. Found {dataset!r} and {found}.")
    elif dataset == "synthetic":
        raw = _make_synthetic(sizes, seed)
    else:
        raw = _load_hub(dataset, dataset_config, revision)
    loaded = {}
    for split, (rows, name) in raw.items():
        if split in sizes:
            rows = rows.select(range(min(sizes[split], len(rows))))
        loaded[split] = normalize(rows, name, tasks, text_column, tokens_column)
    return loaded


def collect_labels(dataset: Dataset, tasks: dict[str, dict]) -> dict[str, list[str] | None]:
    """Per task the labels of a data set's rows, sorted; of a token task `O` and then `B-` and `I-`
    of each type. None for tasks that have none to collect. Given `labels` are kept as they are.

    Raises:
        ValueError: a task has no label in any row.
    """
    return {
        name: task.get("labels") or _labels_of(dataset, name, task) for name, task in tasks.items()
    }


def _labels_of(dataset: Dataset, name: str, task: dict) -> list[str] | None:
    if task["type"] == "sentence_embedding":
        return None
    if task.get("problem_type") == "regression":
        return [name]
    found: set[str] = set()
    for label in dataset[name]:
        if isinstance(label, list):
            found.update(one["label"] if isinstance(one, dict) else one for one in label)
        elif label is not None:
            found.add(label)
    if task["type"] == "token_classification":
        types = sorted({tag.removeprefix("B-").removeprefix("I-") for tag in found - {"O"}})
        found_labels = ["O", *(f"{prefix}-{one}" for one in types for prefix in "BI")]
    else:
        found_labels = sorted(found)
    if not found - {"O"}:
        raise ValueError(f"No row of the training data has a label of task {name!r}.")
    return found_labels


def _make_synthetic(sizes: dict[str, int], seed: int) -> dict:
    for split in SPLITS:
        if split not in sizes:
            raise ValueError(f"`synthetic` needs {split}_size: how many rows to make.")
    return {
        split: (load_synthetic(split, sizes[split], seed), f"synthetic {split}") for split in SPLITS
    }


def _load_hub(name: str, config: str | None, revision: str | None) -> dict:
    try:
        loaded = datasets.load_dataset(name, config, revision=revision)
    except (OSError, ValueError) as error:
        raise FileNotFoundError(f"Can't load data set {name!r}: {_first_line(error)}") from None
    return {split: (loaded[split], f"{name} {split}") for split in SPLITS if split in loaded}


def _load_files(files: dict[str, str], data_dir: str | None) -> dict:
    raw = {}
    for split, file in files.items():
        path = Path(os.path.expanduser(data_dir or ""), os.path.expanduser(file))
        if not path.is_file():
            raise FileNotFoundError(f"No file {path} ({split} split).")
        if path.suffix not in FILE_TYPES:
            raise ValueError(
                f"{path}: a data file should end in one of {', '.join(FILE_TYPES)}. "
                f"Found {path.suffix!r}."
            )
        raw[split] = (_read(path), str(path))
    return raw


def _read(path: Path) -> Dataset:
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: has no rows.")
    try:
        if path.suffix in (".csv", ".tsv"):
            return _read_table(path, "\t" if path.suffix == ".tsv" else ",")
        reader = "parquet" if path.suffix == ".parquet" else "json"
        with _quiet_datasets():
            return datasets.load_dataset(reader, data_files=str(path), split="train")
    except (OSError, ValueError, csv.Error, datasets.exceptions.DatasetGenerationError) as error:
        reason = _first_line(error)
        if "corresponds to no data" in reason:
            raise ValueError(f"{path}: has no rows.") from None
        if path.suffix == ".jsonl":
            reason = _broken_line(path) or reason
        raise ValueError(f"{path}: can't be read: {reason}") from None


def _read_table(path: Path, delimiter: str) -> Dataset:
    """Texts as they are written: "NA" is a word, "007" no number."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file, delimiter=delimiter, strict=True)
        header = next(lines, [])
        if len(set(header)) < len(header):
            raise ValueError(f"the columns should have different names. Found {header}.")
        rows = []
        for row in filter(None, lines):
            if len(row) != len(header):
                raise ValueError(
                    f"line {lines.line_num} should have {len(header)} fields. Found {len(row)}."
                )
            rows.append(row)
    return Dataset.from_dict(
        {name: [row[index] for row in rows] for index, name in enumerate(header)},
        features=Features(dict.fromkeys(header, Value("string"))),
    )


@contextmanager
def _quiet_datasets() -> Iterator[None]:
    """Without the log lines of errors that we report ourselves."""
    before = datasets.logging.get_verbosity()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    try:
        yield
    finally:
        datasets.logging.set_verbosity(before)


def _broken_line(path: Path) -> str | None:
    """What is wrong with the first line that is no JSON object, None where each is one."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                if line.strip() and not isinstance(json.loads(line), dict):
                    return f"line {number} should be a JSON object."
            except json.JSONDecodeError as error:
                return f"line {number} is no JSON: {error.msg} at character {error.pos + 1}."
            except UnicodeDecodeError as error:
                return f"line {number} is no UTF-8: {error}"
    return None


def _first_line(error: BaseException) -> str:
    """The first line of what went wrong at the bottom of a chain of errors."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().split("\n")[0] or type(error).__name__
