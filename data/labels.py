"""Labels of loaded rows: unified to one tag scheme, renamed, and collected."""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from .caching import fingerprint, unweighted
from .label_schemes import detect_scheme, to_iob2
from .normalization import problem_row
from .task_kinds import kind_of


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
        ValueError: tags of several schemes.
    """
    notes: list[str] = []
    schemes: dict[str, str] = {}
    for name, task in tasks.items():
        in_words = [rows for rows in splits.values() if "tokens" in rows.column_names]
        if not kind_of(task).by_token or not in_words:
            continue
        tags = (row for rows in in_words for row in _tag_rows(rows, name))
        schemes[name] = scheme_of(name, task, tags)
        if schemes[name] != "iob2":
            notes.append(f"Tags of {name} are {schemes[name].upper()}; read as IOB2.")
    renamed = [name for name, task in tasks.items() if task.get("label_map")]
    if not schemes and not renamed:
        return splits, notes
    arguments = {"schemes": schemes, "renamed": renamed, "tasks": tasks}
    unified = {
        split: rows.map(
            unify_row,
            fn_kwargs=arguments,
            desc=f"Reading labels of {split}",
            new_fingerprint=fingerprint(rows._fingerprint, schemes, renamed, unweighted(tasks)),
        )
        for split, rows in splits.items()
    }
    return unified, notes


def scheme_of(name: str, task: dict, tags: Iterable[list[str]]) -> str:
    """The tag scheme of a task: as set, or detected."""
    scheme = task.get("tag_scheme") or "auto"
    if scheme != "auto":
        return scheme
    try:
        return detect_scheme(tags)
    except ValueError as error:
        raise ValueError(f"Task {name!r}: {error} Set its tag_scheme.") from None


def _tag_rows(rows: Dataset, name: str) -> Iterator[list[str]]:
    return (tags for tags in rows.select_columns(name)[name] if tags)


def check_label_maps(parts: Iterable[Dataset], tasks: dict[str, dict]) -> None:
    """Refuse a `label_map` that names a label absent from all rows. Call before unifying labels.

    Args:
        parts (`Iterable[Dataset]`): loaded rows of all splits and data sets.
        tasks (`dict[str, dict]`): name to `type` and, if set, `label_map`.
    """
    parts = list(parts)
    for name, task in tasks.items():
        if not task.get("label_map"):
            continue
        known: set[str] = set()
        for rows in parts:
            labels = _distinct(rows, name)
            tags = kind_of(task).by_token and "tokens" in rows.column_names
            prefixed = tags and scheme_of(name, task, _tag_rows(rows, name)) != "io"
            known |= {label[2:] if prefixed else label for label in labels - {"O"}}
        for label in task["label_map"]:
            if label not in known:
                raise ValueError(
                    f"label_map of task {name!r} should name labels that rows have: "
                    f"{', '.join(sorted(known))}. Found {label!r}."
                )


def unify_row(
    row: dict, schemes: dict[str, str], renamed: list[str], tasks: dict[str, dict]
) -> dict:
    """A loaded row with IOB2 tags and renamed labels, or with the problem it has."""
    if row["problem"] is not None:
        return row
    changed: dict[str, Any] = {}
    repairs = row["repairs"]
    for name, scheme in schemes.items():
        if row[name] is None or "tokens" not in row:
            continue
        try:
            changed[name], repaired = to_iob2(row[name], scheme)
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
    distinct = _entity_types if kind.by_token else _distinct
    names = set(chain.from_iterable(distinct(rows, name) for rows in parts))
    if not names:
        raise ValueError(f"No row of the training data has a label of task {name!r}.")
    return kind.collected(name, names)


def _distinct(rows: Dataset, name: str) -> set[str]:
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
    labels = _distinct(rows, name)
    return {tag[2:] for tag in labels - {"O"}} if "tokens" in rows.column_names else labels
