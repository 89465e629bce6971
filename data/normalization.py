"""Checks rows of any source and brings them into one form.

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

An absent label is None. `repairs` counts the labels that had to be repaired. A bad row has
`problem`, a line that says why, and `raw`, the row as read; it is not used.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from datasets import Features, List, Value

from .bad_rows import listed, shown
from .cells import is_empty, parsed
from .task_kinds import kind_of

FORMS = ("text", "tokens", "texts")


def loaded_features(tasks: dict[str, dict], form: str) -> Features:
    """The columns of loaded rows of one of `FORMS`."""
    features: dict[str, Any] = {"source": Value("string")}
    features[form] = Value("string") if form == "text" else List(Value("string"))
    features |= {
        name: kind_of(task).loaded_feature(form)
        for name, task in tasks.items()
        if form in kind_of(task).forms
    }
    features |= {"repairs": Value("int32"), "problem": Value("string"), "raw": Value("string")}
    return Features(features)


def normalized_rows(
    rows: Iterable[tuple[str, dict | ValueError]],
    name: str,
    tasks: dict[str, dict],
    source_columns: list[str],
    form: str,
) -> Iterator[dict]:
    """Yield one loaded row per raw row.

    Args:
        rows (`Iterable[tuple[str, dict | ValueError]]`): the place of each row, and the row or the
            error met while reading it.
        name (`str`): the file or data set, for messages.
        tasks (`dict[str, dict]`): name to `type`, `problem_type`, `overlap`, `separator` and
            `column` (by default the name; a sentence_embedding that has none needs no score; of
            several labels or numbers, it may be a list of columns, each with one of them);
            `optional` if no row need have the column.
        source_columns (`list[str]`): the column of the text, of the words or of a list of texts; or
            the columns of several texts.
        form (`str`): one of `FORMS`.

    Raises:
        ValueError: at the end, if there was no row, or no row had one of the columns.
    """
    columns = label_columns(tasks, form)
    needed = [names for task, names in columns.items() if not tasks[task].get("optional")]
    absent = [*source_columns, *chain.from_iterable(needed)]
    met: dict[str, None] = {}  # a set that keeps the order
    count = 0
    bad_row = ""  # the first that can't be read, and why: it may have had the column
    for place, row in rows:
        count += 1
        try:
            if isinstance(row, ValueError):
                raise row
            absent = [column for column in absent if column not in row]
            met |= dict.fromkeys(row)
            normal = _normalize_row(row, source_columns, form, columns, tasks)
            yield {"source": place, **normal, "problem": None, "raw": None}
        except ValueError as error:
            raw = None if isinstance(row, ValueError) else row
            if raw is None and not bad_row:
                bad_row = f"{place}: {error}"
            yield problem_row(place, tasks, str(error), raw, form)
    if count == 0:
        raise ValueError(f"{name}: has no rows.")
    if met and absent:
        also = f" A row can't be read: {bad_row}" if bad_row else ""
        raise ValueError(f"{name}: has no column {absent[0]!r}. Found: {listed(met)}.{also}")


def label_columns(tasks: dict[str, dict], form: str) -> dict[str, list[str]]:
    """The columns of each task that rows of one of `FORMS` can label."""
    columns = {}
    for name, task in tasks.items():
        if form in kind_of(task).forms:
            given = task.get("column") or (None if form == "texts" else name)
            columns[name] = given if isinstance(given, list) else [given] if given else []
    return columns


def problem_row(
    place: str, tasks: dict[str, dict], problem: str, raw: dict | None, form: str
) -> dict:
    """The loaded row that stands for a bad row."""
    return {
        "source": place,
        "repairs": 0,
        "problem": problem,
        "raw": json.dumps(raw, ensure_ascii=False, default=str),
        **{name: None for name, task in tasks.items() if form in kind_of(task).forms},
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
    for task_name, names in columns.items():
        try:
            label, repairs = _label(row, names, tasks[task_name], normal)
        except ValueError as error:
            raise ValueError(f"{', '.join(map(repr, names))} {error}") from None
        normal[task_name] = label
        normal["repairs"] += repairs
    return normal


def check_columns(row: dict, columns: list[str]) -> None:
    """Raise a ValueError for the first of `columns` missing from a row. The message lists the row's
    columns, which often reveals a misspelling."""
    for column in columns:
        if column not in row:
            raise ValueError(f"has no {column!r}. Found: {listed(row) or 'nothing'}.")


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
    """False for half of a surrogate pair, which JSON can hold; Arrow and tokenizers would raise."""
    try:
        "".join(value).encode()
    except UnicodeEncodeError:
        return False
    return True


def words_of(value: Any, column: str) -> list[str]:
    """The words of a cell: a list, a JSON list, or words separated by spaces.

    Raises:
        ValueError: the cell holds something else, no word or an empty word.
    """
    try:
        words = parsed(value)
    except ValueError as error:
        raise ValueError(f"{column!r} {error}") from None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError(f"{column!r} should be a list of words. Found {shown(value)}.")
    if not all(words):
        raise ValueError(f"{column!r} should have no empty word. Found {shown(value)}.")
    if not "".join(words).strip():
        raise ValueError(f"{column!r} should have at least one word. Found {shown(value)}.")
    return words


def _label(row: dict, columns: list[str], task: dict, normal: dict) -> tuple[Any, int]:
    """The label in the form of the table above, and the number of repairs."""
    kind = kind_of(task)
    cells = {column: row.get(column) for column in columns}
    is_listed = isinstance(task.get("column"), list)
    cell = kind.joined(cells) if is_listed else next(iter(cells.values()), None)
    if is_empty(cell):
        return kind.missing(task), 0
    if isinstance(cell, ValueError):  # of an export, whose other cells may be good
        raise cell
    return kind.read(cell, task, normal)
