"""The columns of answered rows, and the files they are written to: JSON Lines or Parquet."""

import json
import os
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from multitask_encoder.data.texts import TextRow
from multitask_encoder.files import for_json
from multitask_encoder.modeling import MultiTaskConfig

# Columns that can be left out of the answers.
EMBEDDING, SCORES = "embedding", "scores"
# Rows held before they are written to a Parquet file; fewer where texts are long.
HELD_ROWS, HELD_CHARACTERS = 5000, 2**22

ENTITY = pa.struct(
    {
        "start": pa.int64(),
        "end": pa.int64(),
        "text": pa.string(),
        "label": pa.string(),
        "score": pa.float32(),
    }
)
KEPT_TYPES = {
    "bool": pa.bool_(),
    "int": pa.int64(),
    "float": pa.float64(),
    "text": pa.string(),
    "json": pa.string(),
}


class Column(NamedTuple):
    """A column of answers: its name, its type, and how its value is read from the pipeline's answer
    for a text."""

    name: str
    type: pa.DataType
    value: Callable[[dict], Any]


def _label_columns(name: str, task: dict, scores: bool) -> list[Column]:
    def field(key: str) -> Callable[[dict], Any]:
        return lambda answer: answer["labels"][name][key]

    by_label = pa.struct([(label, pa.float32()) for label in task["labels"]])
    if task["problem_type"] == "regression":
        if len(task["labels"]) == 1:
            return [Column(name, pa.float32(), field("score"))]
        return [Column(name, by_label, field("scores"))]
    several = task["problem_type"] == "multi_label_classification"
    text, number = pa.string(), pa.float32()
    columns = [
        Column(name, pa.list_(text) if several else text, field("label")),
        Column(f"{name}_score", pa.list_(number) if several else number, field("score")),
    ]
    if "out_of_scope" in task:
        columns.append(Column(f"{name}_out_of_scope", number, field("out_of_scope")))
    return columns + ([Column(f"{name}_scores", by_label, field("scores"))] if scores else [])


def _entity_columns(name: str, task: dict, scores: bool) -> list[Column]:
    return [Column(name, pa.list_(ENTITY), lambda answer: answer["entities"][name])]


# Task types whose answers are not labels of a text.
OTHER_COLUMNS: dict[str, Callable[[str, dict, bool], list[Column]]] = {
    "token_classification": _entity_columns,
    "sentence_embedding": lambda name, task, scores: [],
}


class Layout:
    """The columns of answered rows.

    `file` and `index` (from 0) identify the row of the input; then come columns of the input,
    `text`, for each task in turn

    | task | columns |
    |---|---|
    | single label | `<task>`, `<task>_score`, `<task>_scores`: label, its score, all scores; with a
    `Scope` `<task>_out_of_scope` before the last |
    | multi label | the same, the first two being lists: the labels that apply |
    | regression | `<task>`: the number, or several numbers by name |
    | token_classification | `<task>`: a list of `{"start", "end", "text", "label", "score"}` |

    and finally `embedding`.

    Args:
        config (`MultiTaskConfig`): of the model.
        tasks (`list[str]`): the tasks to answer.
        kept (`dict[str, str]`): columns of the input, each with its type, one of `KEPT_TYPES`.
        without (`Collection[str]`): columns to leave out: `EMBEDDING`, `SCORES` (`<task>_scores`).

    Raises:
        ValueError: two columns have the same name.
    """

    def __init__(
        self,
        config: MultiTaskConfig,
        tasks: list[str],
        kept: dict[str, str],
        without: Collection[str],
    ):
        self.tasks, self.without = tasks, without
        self.answers: list[Column] = []
        for name in tasks:
            task = config.tasks[name]
            columns_of = OTHER_COLUMNS.get(task["type"], _label_columns)
            self.answers += columns_of(name, task, SCORES not in without)
        if EMBEDDING not in without:
            vector = pa.list_(pa.float32(), config.hidden_size)
            self.answers.append(Column(EMBEDDING, vector, lambda answer: answer["embedding"]))
        columns = [
            ("file", pa.string()),
            ("index", pa.int64()),
            *((name, KEPT_TYPES[kind]) for name, kind in kept.items()),
            ("text", pa.string()),
            *((column.name, column.type) for column in self.answers),
        ]
        names = [name for name, _ in columns]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            remedy = "rename a task, or leave it out"
            if twice[0] in kept:
                remedy = "rename the column of the file, or leave it out of predict_columns"
            raise ValueError(
                f"The columns of the answers should have different names. Found {twice[0]!r} twice "
                f"in {', '.join(names)}: {remedy}."
            )
        self.schema = pa.schema(columns)

    def row(self, row: TextRow, kept: dict[str, Any], answer: dict) -> dict[str, Any]:
        """An answered row, from a row of the input, its values to copy, and the pipeline's answer
        for its text."""
        return {
            "file": row.file,
            "index": row.index,
            **kept,
            "text": row.text,
            **{column.name: column.value(answer) for column in self.answers},
        }


class TableFile(Protocol):
    """A file to write rows to, made from a path and the schema of a `Layout`."""

    def __init__(self, path: Path, schema: pa.Schema): ...

    def write(self, row: dict[str, Any]) -> None:
        """Add a row."""

    def close(self) -> None:
        """Finish the file: it is complete and on the disk when this returns."""


class JsonlFile:
    """One JSON object per line."""

    def __init__(self, path: Path, schema: pa.Schema):
        self._file = path.open("w", encoding="utf-8")

    def write(self, row: dict[str, Any]) -> None:
        self._file.write(_as_json(row) + "\n")

    def close(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


class ParquetFile:
    """A table with a schema; in a column of texts, other values are written as JSON."""

    def __init__(self, path: Path, schema: pa.Schema):
        self._file = path.open("wb")
        self._writer = pq.ParquetWriter(self._file, schema)
        self._held: list[dict[str, Any]] = []
        self._characters = 0

    def write(self, row: dict[str, Any]) -> None:
        self._held.append(row)
        self._characters += len(row["text"])
        if len(self._held) == HELD_ROWS or self._characters >= HELD_CHARACTERS:
            self._write_held()

    def _write_held(self) -> None:
        arrays = [self._array(field) for field in self._writer.schema]
        table = pa.Table.from_arrays(arrays, schema=self._writer.schema)
        self._writer.write_table(table)
        self._held, self._characters = [], 0

    def _array(self, field: pa.Field) -> pa.Array:
        values = [row[field.name] for row in self._held]
        if field.type == pa.string():
            values = [one if isinstance(one, str | None) else _as_json(one) for one in values]
        return pa.array(values, field.type)

    def close(self) -> None:
        if self._held:
            self._write_held()
        self._writer.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


def _as_json(value: Any) -> str:
    """As JSON; copied columns may hold values that JSON lacks: dates become text, and NaN and
    infinite numbers null."""
    to_json = partial(json.dumps, ensure_ascii=False, default=str, allow_nan=False)
    try:
        return to_json(value)
    except ValueError:  # few rows have such a number, and a search in each takes its time
        return to_json(for_json(value))


FORMATS: dict[str, type[TableFile]] = {"jsonl": JsonlFile, "parquet": ParquetFile}
