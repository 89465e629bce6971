"""Labels of loaded rows: unified to one tag scheme, renamed, and collected."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from .caching import fingerprint, unweighted
from .label_schemes import detect_scheme, to_iob2
from .normalization import problem_row
from .tag_styles import TagStyle, detect_style
from .task_kinds import kind_of

SHOWN_TAGS = 3


class TagReading(NamedTuple):
    """How the tags of a task are read: their style, and their scheme in the common style."""

    style: TagStyle
    scheme: str


def unify_labels(
    splits: dict[str, Dataset], tasks: dict[str, dict]
) -> tuple[dict[str, Dataset], list[str]]:
    """Convert tags to IOB2 and rename labels by `label_map`, in all splits of one data set.

    Args:
        splits (`dict[str, Dataset]`): loaded rows.
        tasks (`dict[str, dict]`): name to `type` and, if set, `tag_scheme`,
            `on_broken_tags`, `label_map` and `column`.

    Returns:
        `tuple[dict[str, Dataset], list[str]]`: the same rows, and a note for each change.

    Raises:
        ValueError: tags of several schemes or styles.
    """
    notes: list[str] = []
    readings: dict[str, TagReading] = {}
    for name, task in tasks.items():
        in_words = [rows for rows in splits.values() if "tokens" in rows.column_names]
        if not kind_of(task).by_token or not in_words:
            continue
        distinct = set().union(*(distinct_labels(rows, name) for rows in in_words))
        readings[name] = tag_reading(name, task, distinct, partial(_tag_rows, in_words, name))
        style, scheme = readings[name]
        spelled = {tag: style.common(tag, name) for tag in sorted(distinct)}
        changed = [f"{tag!r} as {common!r}" for tag, common in spelled.items() if tag != common]
        if changed:
            rest = f" and {len(changed) - SHOWN_TAGS} more" if len(changed) > SHOWN_TAGS else ""
            notes.append(f"Tags of {name}: read {', '.join(changed[:SHOWN_TAGS])}{rest}.")
        if scheme != "iob2":
            notes.append(f"Tags of {name} are {scheme.upper()}; read as IOB2.")
    renamed = [name for name, task in tasks.items() if task.get("label_map")]
    if not readings and not renamed:
        return splits, notes
    arguments = {"readings": readings, "renamed": renamed, "tasks": tasks}
    unified = {
        split: rows.map(
            unify_row,
            fn_kwargs=arguments,
            desc=f"Reading labels of {split}",
            new_fingerprint=fingerprint(rows._fingerprint, readings, renamed, unweighted(tasks)),
        )
        for split, rows in splits.items()
    }
    return unified, notes


def tag_reading(
    name: str, task: dict, tags: Iterable[str], rows: Callable[[], Iterable[list[str | None]]]
) -> TagReading:
    """How the tags of a task are read: by the scheme that is set, or as detected.

    Args:
        name, task: with `tag_scheme` if it is set.
        tags (`Iterable[str]`): each tag once.
        rows (`Callable`): gives the tags of each row.

    Raises:
        ValueError: tags of several schemes or styles.
    """
    given = task.get("tag_scheme") or "auto"
    if given == "io":
        return TagReading(TagStyle(), given)
    try:
        style = detect_style(tags)
        if given != "auto":
            return TagReading(style, given)
        common = ([style.common(tag, name) for tag in row if tag is not None] for row in rows())
        return TagReading(style, detect_scheme(common))
    except ValueError as error:
        raise ValueError(f"Task {name!r}: {error}") from None


def _tag_rows(parts: Iterable[Dataset], name: str) -> Iterator[list[str | None]]:
    return (tags for rows in parts for tags in rows.select_columns(name)[name] if tags)


def check_label_maps(
    parts: Iterable[Dataset], tasks: dict[str, dict], of_models: Mapping[str, Collection[str]] = {}
) -> None:
    """Refuse a `label_map` that names a label absent from all rows. Call before unifying labels.

    Args:
        parts (`Iterable[Dataset]`): loaded rows of all splits and data sets.
        tasks (`dict[str, dict]`): name to `type` and, if set, `label_map`.
        of_models (`Mapping[str, Collection[str]]`): labels that finished models have of tasks.
    """
    parts = list(parts)
    for name, task in tasks.items():
        if not task.get("label_map"):
            continue
        known: set[str] = set()
        for rows in [rows for rows in parts if name in rows.column_names]:
            labels = distinct_labels(rows, name)
            if kind_of(task).by_token and "tokens" in rows.column_names:
                style, scheme = tag_reading(name, task, labels, partial(_tag_rows, [rows], name))
                tags = {style.common(label, name) for label in labels} - {"O"}
                labels = {tag if scheme == "io" else tag[2:] for tag in tags}
            known |= labels
        models = set(kind_of(task).names_in(of_models.get(name, ())))
        known |= models
        for label, new in task["label_map"].items():
            renamed_before = models and (new is None or new in models)
            # Without any, the rows are what is wrong.
            if known and label not in known and not renamed_before:
                raise ValueError(
                    f"label_map of task {name!r} should name labels that rows have: "
                    f"{', '.join(sorted(known))}. Found {label!r}."
                )


def unify_row(
    row: dict, readings: dict[str, TagReading], renamed: list[str], tasks: dict[str, dict]
) -> dict:
    """A loaded row with IOB2 tags and renamed labels, or with the problem it has."""
    if row["problem"] is not None:
        return row
    changed: dict[str, Any] = {}
    repairs = row["repairs"]
    for name, (style, scheme) in readings.items():
        if row[name] is None or "tokens" not in row:
            continue
        try:
            tags = [style.common(tag, name) for tag in row[name]]
            changed[name], repaired = to_iob2(tags, scheme)
            if repaired and tasks[name].get("on_broken_tags") == "refuse":
                raise ValueError(f"should have whole {scheme.upper()} tags. Found {row[name]}.")
        except ValueError as error:
            column = tasks[name].get("column") or name
            raw = {key: row[key] for key in ("tokens", *tasks) if key in row}
            problem = problem_row(row["source"], tasks, f"{column!r} {error}", raw, "tokens")
            return {**row, **problem}
        repairs += repaired
    for name in renamed:
        label = changed.get(name, row[name])
        if label is not None:
            changed[name] = _renamed(label, tasks[name])
    return {**row, **changed, "repairs": repairs}


def _renamed(label: Any, task: dict) -> Any:
    return kind_of(task).renamed(label, lambda name: task["label_map"].get(name, name))


def renamed_labels(labels: list[str], task: dict) -> list[str | None]:
    """What a model's labels are called by the task's `label_map`, in the same order: None for a
    class that it drops, and `O` for the tags of a dropped type.

    Args:
        labels (`list[str]`): as in a model's config.
        task (`dict`): its `type` and, if set, `problem_type` and `label_map`.
    """
    if not task.get("label_map"):
        return list(labels)
    if kind_of(task).by_token:
        return _renamed(labels, task)
    return [task["label_map"].get(label, label) for label in labels]


def has_labels(name: str, rows: Dataset) -> bool:
    """Whether some of these loaded rows have a label of a task."""
    return name in rows.column_names and any(label is not None for label in rows[name])


def collect_labels(parts: Iterable[Dataset], tasks: dict[str, dict]) -> dict[str, list[str] | None]:
    """Collect the sorted labels of each task; for a token task `O`, then `B-`, `I-` of each type.

    None for tasks without labels to collect. `labels` that are set stay as they are.

    Raises:
        ValueError: a task has no label in any row.
    """
    parts = list(parts)
    return {
        name: task.get("labels") or _labels_of(parts, name, task) for name, task in tasks.items()
    }


def _labels_of(parts: list[Dataset], name: str, task: dict) -> list[str] | None:
    kind = kind_of(task)
    if kind.numeric:
        return kind.collected(name, set())
    names = names_of(parts, name, task)
    if not names:
        if kind.by_token and any(has_labels(name, part) for part in parts):
            raise ValueError(f"No row of the training data has an entity of task {name!r}.")
        raise ValueError(f"No row of the training data has a label of task {name!r}.")
    return kind.collected(name, names)


def names_of(parts: Iterable[Dataset], name: str, task: dict) -> set[str]:
    """The names of a task's labels in unified rows; entities by type."""
    distinct = _entity_types if kind_of(task).by_token else distinct_labels
    return set(chain.from_iterable(distinct(rows, name) for rows in parts))


def distinct_labels(rows: Dataset, name: str) -> set[str]:
    """All labels of a column: tags, entity types, or classes."""
    if name not in rows.column_names:
        return set()
    if rows._indices is not None:
        rows = rows.flatten_indices()
    column = rows.data[name]
    if pa.types.is_list(column.type):
        column = pc.list_flatten(column)
    if pa.types.is_struct(column.type):
        column = pc.struct_field(column, "label")
    return set(pc.unique(column).to_pylist()) - {None}


def _entity_types(rows: Dataset, name: str) -> set[str]:
    """The entity types of IOB2 tags or of spans, whose types may look like tags."""
    labels = distinct_labels(rows, name)
    return {tag[2:] for tag in labels - {"O"}} if "tokens" in rows.column_names else labels
