"""Rows of any source in one form, checked one by one.

A loaded row has `source` (its file and line, for messages), and `text`, `tokens` (words) or `texts`
(a pair, a triplet or more), which is its form. There is one column per task:

| task | column |
|---|---|
| sequence_classification, single label | a text |
| ... multi label | a list of texts |
| ... regression | a list of numbers |
| token_classification on `tokens` | tags, one per word |
| token_classification on `text` | spans `{"start", "end", "label"}` in characters |
| sentence_embedding, of `texts` only | the score of a pair; 1 for in-batch negatives |

The other tasks have no labels for `texts`.


A label that is absent is None. `repairs` counts the labels that had to be changed to make sense.
A row that is not as it should be has `problem`, the line that says why, and `raw`, the row as it
was read; nothing of it is used.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from datasets import Features, List, Value

from .bad_rows import shown
from .label_schemes import resolve_overlaps

FORMS = ("text", "tokens", "texts")


def loaded_features(tasks: dict[str, dict], form: str) -> Features:
    """The columns of loaded rows of one of `FORMS`."""
    features: dict[str, Any] = {"source": Value("string")}
    features[form] = Value("string") if form == "text" else List(Value("string"))
    features |= {
        name: _label_feature(task, form) for name, task in tasks.items() if _has_labels(task, form)
    }
    features |= {"repairs": Value("int32"), "problem": Value("string"), "raw": Value("string")}
    return Features(features)


def _has_labels(task: dict, form: str) -> bool:
    return (task["type"] == "sentence_embedding") == (form == "texts")


def _label_feature(task: dict, form: str) -> Any:
    if task["type"] == "sentence_embedding":
        return Value("float64")
    if task["type"] == "token_classification":
        span = {"start": Value("int32"), "end": Value("int32"), "label": Value("string")}
        return List(Value("string")) if form == "tokens" else List(span)
    return {
        "multi_label_classification": List(Value("string")),
        "regression": List(Value("float64")),
    }.get(task.get("problem_type"), Value("string"))


def normalized_rows(
    rows: Iterable[tuple[str, dict | ValueError]],
    name: str,
    tasks: dict[str, dict],
    source_columns: list[str],
    form: str,
) -> Iterator[dict]:
    """Loaded rows from raw ones, one for one.

    Args:
        rows (`Iterable[tuple[str, dict | ValueError]]`): where each row is, and the row or what
            kept it from being read.
        name (`str`): the file or data set, for messages.
        tasks (`dict[str, dict]`): name to `type`, `problem_type`, `overlap` and `column` (by
            default the name; a sentence_embedding that has none needs no score).
        source_columns (`list[str]`), form (`str`): the column of the text, of the words or of a
            list of texts, or those of several texts; and which of `FORMS`.

    Raises:
        ValueError: at the end, when there was no row, or a column was in none of them.
    """
    columns = {
        task_name: task.get("column") if form == "texts" else task.get("column") or task_name
        for task_name, task in tasks.items()
        if _has_labels(task, form)
    }
    absent = [*source_columns, *filter(None, columns.values())]
    found: dict[str, None] = {}  # a set that keeps the order
    count = 0
    for place, row in rows:
        count += 1
        try:
            if isinstance(row, ValueError):
                raise row
            absent = [column for column in absent if column not in row]
            found |= dict.fromkeys(row)
            normal = _normalize_row(row, source_columns, form, columns, tasks)
            yield {"source": place, **normal, "problem": None, "raw": None}
        except ValueError as error:
            raw = None if isinstance(row, ValueError) else row
            yield problem_row(place, tasks, str(error), raw, form)
    if count == 0:
        raise ValueError(f"{name}: has no rows.")
    if found and absent:
        raise ValueError(f"{name}: has no column {absent[0]!r}. Found: {', '.join(found)}.")


def problem_row(
    place: str, tasks: dict[str, dict], problem: str, raw: dict | None, form: str
) -> dict:
    """The loaded row that stands for one that is not as it should be."""
    return {
        "source": place,
        "repairs": 0,
        "problem": problem,
        "raw": json.dumps(raw, ensure_ascii=False, default=str),
        **{name: None for name, task in tasks.items() if _has_labels(task, form)},
    }


def _normalize_row(row, source_columns, form, columns, tasks) -> dict:
    normal: dict[str, Any] = {"repairs": 0}
    check_columns(row, source_columns)
    if form == "tokens":
        normal["tokens"] = words_of(row.get(source_columns[0]), source_columns[0])
    elif form == "text":
        normal["text"] = _text_of(row.get(source_columns[0]), source_columns[0])
    else:
        normal["texts"] = _texts_of(row, source_columns)
    if not _is_unicode(normal[form]):
        raise ValueError(
            f"{', '.join(map(repr, source_columns))} should be Unicode text. Found half of a "
            f"surrogate pair in {shown(normal[form])}."
        )
    for task_name, column in columns.items():
        try:
            label, repairs = _label(row.get(column), tasks[task_name], normal)
        except ValueError as error:
            raise ValueError(f"{column!r} {error}") from None
        normal[task_name] = label
        normal["repairs"] += repairs
    return normal


def check_columns(row: dict, columns: list[str]) -> None:
    """Raise a ValueError for the first of `columns` that a row does not have; those it has often
    show one that is spelled otherwise."""
    for column in columns:
        if column not in row:
            raise ValueError(f"has no {column!r}. Found: {', '.join(map(str, row)) or 'nothing'}.")


def _text_of(value: Any, column: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{column!r} should be a text. Found {shown(value)}.")
    return value


def _texts_of(row: dict, columns: list[str]) -> list[str]:
    if len(columns) > 1:
        return [_text_of(row.get(column), column) for column in columns]
    (column,) = columns
    texts = row.get(column)
    if not isinstance(texts, list) or len(texts) < 2:
        raise ValueError(f"{column!r} should be a list of at least 2 texts. Found {shown(texts)}.")
    return [_text_of(text, column) for text in texts]


def _is_unicode(value: str | list[str]) -> bool:
    """Not so where JSON held half of a character; Arrow and tokenizers would raise."""
    try:
        "".join(value).encode()
    except UnicodeEncodeError:
        return False
    return True


def words_of(value: Any, column: str) -> list[str]:
    """The words of a cell: a list, JSON of one, or words with spaces between them.

    Raises:
        ValueError: it is something else, or holds no word or an empty one.
    """
    try:
        words = _parsed(value)
    except ValueError as error:
        raise ValueError(f"{column!r} {error}") from None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError(f"{column!r} should be a list of words. Found {shown(value)}.")
    if not all(words):
        raise ValueError(f"{column!r} should have no empty word. Found {shown(value)}.")
    if not "".join(words).strip():
        raise ValueError(f"{column!r} should have at least one word. Found {shown(value)}.")
    return words


def _label(label: Any, task: dict, row: dict) -> tuple[Any, int]:
    """The label in the form of the table above, and the number of repairs. None and an empty cell
    are absent."""
    if task["type"] == "sentence_embedding" and task.get("column") is None:
        return (1.0 if task.get("loss") == "in_batch_negatives" else None), 0
    if label is None or label == "":
        return None, 0
    if task["type"] == "sentence_embedding":
        numbers = _numbers(label)
        if len(numbers) != 1:
            raise ValueError(f"should be one number. Found {shown(label)}.")
        return numbers[0], 0
    if task["type"] == "token_classification":
        if "tokens" in row:
            return _tags(label, row["tokens"]), 0
        return resolve_overlaps(_spans(label, row["text"]), task.get("overlap") or "refuse")
    if task.get("problem_type") == "regression":
        return _numbers(label), 0
    if task.get("problem_type") == "multi_label_classification":
        bare = isinstance(label, str) and not label.lstrip().startswith("[")
        labels = [label] if bare else _parsed(label)
        if not isinstance(labels, list) or any(
            one is None or isinstance(one, list | dict) for one in labels
        ):
            raise ValueError(f"should be a list of labels. Found {shown(label)}.")
        return [str(one) for one in labels], 0
    if isinstance(label, list) and len(label) == 1:  # as annotation tools write one label
        label = label[0]
    if isinstance(label, list | dict | None) or label != label:  # NaN
        raise ValueError(f"should be one label. Found {shown(label)}.")
    return str(label), 0


def _numbers(label: Any) -> list[float]:
    if isinstance(label, str) and label.lstrip().startswith("["):
        label = _parsed(label)
    try:
        numbers = [float(one) for one in (label if isinstance(label, list) else [label])]
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"should be a number. Found {shown(label)}.") from None
    if any(number - number != 0 for number in numbers):  # not finite
        raise ValueError(f"should be a finite number. Found {shown(label)}.")
    return numbers


def _parsed(label: Any) -> Any:
    """Lists stand in CSV cells as JSON or, of plain words, with spaces between them."""
    if not isinstance(label, str):
        return label
    if not label.lstrip().startswith("["):
        return label.split()
    try:
        return json.loads(label)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"should be JSON ({error}). Found {shown(label)}.") from None


def _tags(label: Any, words: list[str]) -> list[str]:
    tags = _parsed(label)
    if not isinstance(tags, list) or len(tags) != len(words):
        found = len(tags) if isinstance(tags, list) else shown(tags)
        raise ValueError(f"should have one tag for each of the {len(words)} words. Found {found}.")
    for tag in tags:
        if not isinstance(tag, str) or not tag:
            raise ValueError(f"should have tags that are texts. Found {shown(tag)}.")
    return tags


def _spans(label: Any, text: str) -> list[dict]:
    """In order of their start."""
    spans = _parsed(label)
    if not isinstance(spans, list):
        raise ValueError(f"should be a list of spans. Found {shown(label)}.")
    normal = [_span(span, text) for span in spans]
    return sorted(normal, key=lambda span: (span["start"], span["end"]))


def _span(span: Any, text: str) -> dict:
    given = span
    try:
        if isinstance(span, list):
            span = dict(zip(("start", "end", "label"), span, strict=True))
        start, end, name = int(span["start"]), int(span["end"]), span["label"]
    except (TypeError, KeyError, ValueError, OverflowError):
        raise ValueError(
            f"should have spans of start, end and label. Found {shown(given)}."
        ) from None
    if (start, end) != (span["start"], span["end"]):
        raise ValueError(f"should have whole numbers for start and end. Found {shown(given)}.")
    if not isinstance(name, str) or not name or not 0 <= start < end <= len(text):
        raise ValueError(
            f"should have named spans within the text's {len(text)} characters. "
            f"Found {shown(given)}."
        )
    if isinstance(span.get("text"), str) and span["text"] != text[start:end]:
        raise ValueError(
            f"should have spans in characters: {start} to {end} is {text[start:end]!r}. "
            f"Found {shown(given)}."
        )
    return {"start": start, "end": end, "label": name}
