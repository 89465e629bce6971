"""Rows of any source in one form, checked one by one.

A loaded row has `source` (its file and row, for messages), `text` or `tokens`, and one column per
task:

| task | column |
|---|---|
| sequence_classification, single label | a text |
| ... multi label | a list of texts |
| ... regression | a list of numbers |
| token_classification on `tokens` | IOB2 tags, one per word |
| token_classification on `text` | spans `{"start", "end", "label"}` in characters |

A label that is absent is None.
"""

import json
from itertools import pairwise
from typing import Any

from datasets import ClassLabel, Dataset, Features, List, Value


def normalize(
    rows: Dataset,
    name: str,
    tasks: dict[str, dict],
    text_column: str | None,
    tokens_column: str | None,
) -> Dataset:
    """Loaded rows from raw ones.

    Args:
        rows (`Dataset`): as they were read.
        name (`str`): their file or data set, for messages.
        tasks (`dict[str, dict]`): name to `type`, `problem_type` and `column` (by default the
            name).
        text_column, tokens_column (`str`, *optional*): by default `tokens`, where there is such a
            column, and else `text`.

    Raises:
        ValueError: no rows, a column that is not there, or a row that is not as it should be.
    """
    if len(rows) == 0:
        raise ValueError(f"{name}: has no rows.")
    if tokens_column is None and text_column is None and "tokens" in rows.column_names:
        tokens_column = "tokens"
    in_words = tokens_column is not None
    source_column = tokens_column if in_words else text_column or "text"
    columns = {
        task_name: task.get("column") or task_name
        for task_name, task in tasks.items()
        if task["type"] != "sentence_embedding"
    }
    for column in [source_column, *columns.values()]:
        if column not in rows.column_names:
            raise ValueError(
                f"{name}: has no column {column!r}. Found: {', '.join(rows.column_names)}."
            )
    features = {"source": Value("string")}
    features |= {"tokens": List(Value("string"))} if in_words else {"text": Value("string")}
    features |= {task: _label_feature(tasks[task], in_words) for task in columns}
    return rows.map(
        _normalize_row,
        with_indices=True,
        remove_columns=rows.column_names,
        features=Features(features),
        desc=f"Reading {name}",
        fn_kwargs={
            "name": name,
            "source_column": source_column,
            "in_words": in_words,
            "columns": columns,
            "tasks": tasks,
            "class_names": {
                column: _class_names(rows.features[column]) for column in columns.values()
            },
        },
    )


def _label_feature(task: dict, in_words: bool) -> Any:
    if task["type"] == "token_classification":
        span = {"start": Value("int32"), "end": Value("int32"), "label": Value("string")}
        return List(Value("string")) if in_words else List(span)
    return {
        "multi_label_classification": List(Value("string")),
        "regression": List(Value("float64")),
    }.get(task.get("problem_type"), Value("string"))


def _class_names(feature: Any) -> list[str] | None:
    """The names behind class ids, where a column has such."""
    if isinstance(feature, List):
        feature = feature.feature
    return feature.names if isinstance(feature, ClassLabel) else None


def _normalize_row(row, index, name, source_column, in_words, columns, tasks, class_names) -> dict:
    source = f"{name}, row {index + 1}"
    normal: dict[str, Any] = {"source": source}
    try:
        text = row[source_column]
        if in_words:
            normal["tokens"] = _words(text, source_column)
        else:
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"{source_column!r} should be a text. Found {text!r}.")
            normal["text"] = text
        for task_name, column in columns.items():
            label = _named(row[column], class_names[column])
            try:
                normal[task_name] = _label(label, tasks[task_name], normal)
            except ValueError as error:
                raise ValueError(f"{column!r} {error}") from None
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    return normal


def _words(value: Any, column: str) -> list[str]:
    words = _parsed(value)
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError(f"{column!r} should be a list of words. Found {value!r}.")
    if not all(words):
        raise ValueError(f"{column!r} should have no empty word. Found {value!r}.")
    if not "".join(words).strip():
        raise ValueError(f"{column!r} should have at least one word. Found {value!r}.")
    return words


def _named(label: Any, names: list[str] | None) -> Any:
    """Class ids as names; None and -1, which stands for no label in some data sets, as None."""
    if names is None or label is None:
        return label
    if isinstance(label, list):
        return [_named(one, names) for one in label]
    return None if label == -1 else names[label]


def _label(label: Any, task: dict, row: dict) -> Any:
    """The label in the form of the table above; None and an empty cell are absent."""
    if label is None or label == "":
        return None
    if task["type"] == "token_classification":
        return _tags(label, row["tokens"]) if "tokens" in row else _spans(label, row["text"])
    if task.get("problem_type") == "regression":
        try:
            return [float(one) for one in (label if isinstance(label, list) else [label])]
        except (TypeError, ValueError):
            raise ValueError(f"should be a number. Found {label!r}.") from None
    if task.get("problem_type") == "multi_label_classification":
        label = _parsed(label)
        if not isinstance(label, list) or any(isinstance(one, list | dict | None) for one in label):
            raise ValueError(f"should be a list of labels. Found {label!r}.")
        return [str(one) for one in label]
    if isinstance(label, list | dict):
        raise ValueError(f"should be one label. Found {label!r}.")
    return str(label)


def _parsed(label: Any) -> Any:
    """Lists stand in CSV cells as JSON or, of plain words, with spaces between them."""
    if not isinstance(label, str):
        return label
    if not label.lstrip().startswith("["):
        return label.split()
    try:
        return json.loads(label)
    except json.JSONDecodeError as error:
        raise ValueError(f"should be JSON ({error}). Found {label!r}.") from None


def _tags(label: Any, words: list[str]) -> list[str]:
    tags = _parsed(label)
    if not isinstance(tags, list) or len(tags) != len(words):
        found = len(tags) if isinstance(tags, list) else repr(tags)
        raise ValueError(f"should have one tag for each of the {len(words)} words. Found {found}.")
    for tag in tags:
        if tag != "O" and not (isinstance(tag, str) and tag[:2] in ("B-", "I-") and tag[2:]):
            raise ValueError(f"should have tags `O`, `B-...` and `I-...`. Found {tag!r}.")
    return tags


def _spans(label: Any, text: str) -> list[dict]:
    spans = _parsed(label)
    if not isinstance(spans, list):
        raise ValueError(f"should be a list of spans. Found {label!r}.")
    normal: list[dict[str, Any]] = []
    for span in spans:
        try:
            start, end, name = int(span["start"]), int(span["end"]), span["label"]
        except (TypeError, KeyError, ValueError):
            raise ValueError(
                f"should have spans of start, end and label. Found {span!r}."
            ) from None
        if (start, end) != (span["start"], span["end"]):
            raise ValueError(f"should have whole numbers for start and end. Found {span!r}.")
        if not isinstance(name, str) or not name or not 0 <= start < end <= len(text):
            raise ValueError(
                f"should have named spans within the text's {len(text)} characters. Found {span!r}."
            )
        normal.append({"start": start, "end": end, "label": name})
    normal.sort(key=lambda span: (span["start"], span["end"]))
    for left, right in pairwise(normal):
        if right["start"] < left["end"]:
            raise ValueError(f"should have spans that do not overlap. Found {left} and {right}.")
    return normal
