"""Loads rows from files, the Hub or the generator (see normalization.py)."""

import textwrap
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import datasets
from datasets import Dataset, Features, IterableDataset

from .bad_rows import BadRows
from .caching import file_state, fingerprint, unweighted
from .cells import detect_separator
from .dataset_arguments import SPLITS, DatasetArguments
from .labels import check_label_maps, tag_reading, unify_labels, unify_row
from .normalization import label_columns, loaded_features, normalized_rows
from .readers import detect_format, find_files, read_file
from .synthetic import load_synthetic
from .tables import named_classes
from .task_kinds import kind_of

# Columns of loaded and of preprocessed rows, which a task's labels must not replace.
RESERVED_COLUMNS = (
    "source", "text", "tokens", "texts", "repairs", "problem", "raw", "input_ids", "others",
    "attention_mask", "length", "labels", "row", "dataset", "window", "widened",
    "unalignable", "cut_tokens", "cut_entities", "of_sample",
)  # fmt: skip

SHOWN_REASON = 300  # characters
ROWS_THAT_TELL = 1000  # streamed rows that are read to learn columns and tag schemes


class RawRows(NamedTuple):
    """A split before loading: its name for messages, a function that starts reading it, and the
    state that goes into its fingerprint."""

    name: str
    rows: Callable[[], Iterable[tuple[str, dict | ValueError]]]
    state: Any


def load_splits(
    tasks: dict[str, dict], source: DatasetArguments, seed: int = 0, streaming: bool = False
) -> tuple[dict[str, Dataset], list[str]]:
    """Load every split of the run's one data set, good rows and bad ones, and unify their labels.

    For several data sets, call `read_splits`, `check_label_maps` and `unify_labels`.

    Args:
        tasks (`dict[str, dict]`): the tasks that it labels: name to `type` and, if set,
            `problem_type`, `column` (default: the name), `tag_scheme`, `on_broken_tags`, `overlap`,
            `label_map`, and `optional_in`, the splits of which no row need have the column.
        source (`DatasetArguments`): the location of the data set.
        seed (`int`): of `synthetic`.
        streaming (`bool`): leave the training split to `stream_rows`.

    Returns:
        `tuple[dict[str, Dataset], list[str]]`: split to loaded rows, and a note for each change
        to their labels. `good_rows` is the next step.

    Raises:
        FileNotFoundError: a file or data set does not exist.
        ValueError: settings that contradict each other, a file that can't be read, a column that no
            row has, tags of several schemes, a `label_map` that names what no row has.
    """
    splits = read_splits(tasks, source, seed, streaming)
    if not streaming:
        check_label_maps(splits.values(), tasks)
    return unify_labels(splits, tasks)


def read_splits(
    tasks: dict[str, dict], source: DatasetArguments, seed: int = 0, streaming: bool = False
) -> dict[str, Dataset]:
    """Load every split of one data set, leaving its labels as they are."""
    for name in tasks:
        if name in RESERVED_COLUMNS:
            raise ValueError(
                f"A task can't be named {name!r}: rows have a column of that name. Use another, "
                f"and `column: {name}` if its labels are there."
            )
    for split in SPLITS:
        size = source.size(split)
        if size is not None and size < 1:
            raise ValueError(f"{split}_size should be at least 1. Found {size}.")
    raw = _raw_splits(source, seed, streaming)
    if streaming:
        raw.pop("train", None)
    tasks = _with_separators(list(raw.values()), tasks)
    return {split: _load(rows, split, tasks, source) for split, rows in raw.items()}


def _with_separators(
    raw: list[RawRows], tasks: dict[str, dict], limit: int | None = None
) -> dict[str, dict]:
    """The tasks with their separators, found in the first `limit` rows of each split, or in all."""
    columns = {
        name: column
        for name, (column, *_) in label_columns(tasks, "text").items()
        if kind_of(tasks[name]).separable
        and tasks[name].get("separator") is None
        and not isinstance(tasks[name].get("column"), list)
    }
    cells: dict[str, set[str]] = {name: set() for name in columns}
    for rows in raw if columns else ():
        for _, row in islice(rows.rows(), limit):
            if isinstance(row, dict):
                for name, column in columns.items():
                    if isinstance(cell := row.get(column), str):
                        cells[name].add(cell)
    found = dict(tasks)
    for name, texts in cells.items():
        try:
            several = texts - {*(tasks[name].get("labels") or ())}
            found[name] = {**tasks[name], "separator": detect_separator(several)}
        except ValueError as error:
            raise ValueError(f"Task {name!r}: {error}") from None
    return found


def stream_rows(
    tasks: dict[str, dict], source: DatasetArguments, seed: int = 0
) -> Callable[[], Iterator[dict]]:
    """A function that reads the training rows once: loaded rows, bad ones included, one by one.

    A tag scheme that is not set is detected from the first 1,000 rows, which should contain every
    column.

    Raises:
        FileNotFoundError, ValueError: as `load_splits`; also where there are no training rows.
        BadRows: while reading, for what `load_splits` would have raised.
    """
    raw = _raw_splits(source, seed, streaming=True).get("train")
    if raw is None:
        raise ValueError("There is no train data. Set train_file or a dataset that has it.")
    columns, form = _form(raw, source, tasks)
    tasks = _with_separators([raw], tasks, ROWS_THAT_TELL)

    def rows() -> Iterator[dict]:
        limited = islice(raw.rows(), source.train_size)
        return normalized_rows(limited, raw.name, tasks, columns, form)

    # A column missing from all of them is an error: its task would never train on anything.
    first = islice(raw.rows(), min(source.train_size or ROWS_THAT_TELL, ROWS_THAT_TELL))
    deque(normalized_rows(first, raw.name, tasks, columns, form), maxlen=0)
    readings = {}
    for name, task in tasks.items():
        if form == "tokens" and kind_of(task).by_token:
            tags = [row[name] for row in islice(rows(), ROWS_THAT_TELL) if row[name]]
            distinct = set(chain.from_iterable(tags)) - {None}
            readings[name] = tag_reading(name, task, distinct, tags.copy)
    renamed = [name for name, task in tasks.items() if task.get("label_map")]

    def unified() -> Iterator[dict]:
        try:
            for row in rows():
                yield unify_row(row, readings, renamed, tasks)
        except (ValueError, OSError) as error:  # an error of a whole file, met during training
            raise BadRows([str(error)]) from None

    return unified


# Reading


def _raw_splits(source: DatasetArguments, seed: int, streaming: bool = False) -> dict[str, RawRows]:
    files = {split: source.files(split) for split in SPLITS if source.files(split)}
    if source.dataset is None:
        return {
            split: _file_rows(find_files(names, source.data_dir), source)
            for split, names in files.items()
        }
    if files:
        found = ", ".join(chain.from_iterable(files.values()))
        raise ValueError(f"Set `dataset` or files, not both. Found {source.dataset!r} and {found}.")
    if source.dataset != "synthetic":
        return {
            split: _dataset_rows(f"{source.dataset} {split}", rows)
            for split, rows in _load_hub(source, streaming).items()
        }
    for split in SPLITS:
        if source.size(split) is None:
            raise ValueError(f"`synthetic` needs {split}_size: how many rows to make.")
    made = {split: load_synthetic(split, source.size(split), seed) for split in SPLITS}
    return {split: _dataset_rows(f"synthetic {split}", rows) for split, rows in made.items()}


def _load_hub(source: DatasetArguments, streaming: bool) -> dict:
    """The splits of a Hub data set; only `train` is streamed."""
    name, config, revision = source.dataset, source.dataset_config, source.dataset_revision
    load = partial(datasets.load_dataset, name, config, revision=revision)
    try:
        loaded = dict(load(streaming=streaming))
        for split in {"validation", "test"} & set(loaded if streaming else ()):
            loaded[split] = load(split=split)
    # A RuntimeError is of a data set that is a script.
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise FileNotFoundError(
            f"Can't load data set {source.dataset!r}: {reason_of(error)}"
        ) from None
    found = {split: loaded[split] for split in SPLITS if split in loaded}
    if not found:
        raise ValueError(
            f"Data set {source.dataset!r} should have a train, validation or test split. "
            f"Found: {', '.join(loaded)}."
        )
    return found


def _dataset_rows(name: str, dataset: Dataset | IterableDataset) -> RawRows:
    named = named_classes(dataset.features or Features())

    def rows() -> Iterator[tuple[str, dict | ValueError]]:
        for number, row in enumerate(dataset, start=1):
            try:
                yield f"{name}, row {number}", named(row)
            except ValueError as error:
                yield f"{name}, row {number}", error

    # Streamed rows are never cached.
    return RawRows(name, rows, getattr(dataset, "_fingerprint", None))


def _file_rows(paths: list[Path], source: DatasetArguments) -> RawRows:
    formats = [source.format or detect_format(path, source.encoding) for path in paths]
    name = str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
    options = source.file_options()

    def rows() -> Iterator[tuple[str, dict | ValueError]]:
        for path, file_format in zip(paths, formats, strict=True):
            for place, row in read_file(path, file_format, options):
                yield f"{path}, {place}", row

    state = (formats, options, [file_state(path) for path in paths])
    return RawRows(name, rows, state)


def _form(raw: RawRows, source: DatasetArguments, tasks: dict[str, dict]) -> tuple[list[str], str]:
    """The source columns of the text, words or texts, and the matching entry of `FORMS`."""
    if source.tokens_column is not None:
        return [source.tokens_column], "tokens"
    if source.text_column is not None:
        columns, form = source.text_column, "text" if len(source.text_column) == 1 else "texts"
    else:
        first = next((row for _, row in raw.rows() if isinstance(row, dict)), {})
        form = next((name for name in ("tokens", "texts") if name in first), "text")
        columns = [form]
    for name, task in tasks.items():
        if form == "texts" and form not in kind_of(task).forms:
            raise ValueError(
                f"{raw.name}: rows of several texts are for sentence_embedding tasks. Found "
                f"{name!r}, which is {task['type']}."
            )
    return columns, form


def _load(raw: RawRows, split: str, tasks: dict[str, dict], source: DatasetArguments) -> Dataset:
    columns, form = _form(raw, source, tasks)
    size = source.size(split)
    tasks = {
        name: {**task, "optional": split in task.get("optional_in", ())}
        for name, task in tasks.items()
    }

    def generate() -> Iterator[dict]:
        yield from normalized_rows(islice(raw.rows(), size), raw.name, tasks, columns, form)

    state = fingerprint(raw.state, raw.name, split, unweighted(tasks), columns, form, size)
    features = loaded_features(tasks, form)
    with _clear_errors():
        return Dataset.from_generator(generate, features=features, split=split, fingerprint=state)


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Raise the original of an error that `datasets` wraps, without its log lines."""
    before = datasets.logging.get_verbosity()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    try:
        yield
    except datasets.exceptions.DatasetGenerationError as error:
        cause = error.__cause__
        if isinstance(cause, OSError | ValueError):
            raise cause from None
        raise
    finally:
        datasets.logging.set_verbosity(before)


def reason_of(error: BaseException) -> str:
    """The message of the root cause of an error in one line, cut after some sentences."""
    while error.__cause__ is not None:
        error = error.__cause__
    return textwrap.shorten(str(error), SHOWN_REASON, placeholder="...") or type(error).__name__
