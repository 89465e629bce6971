"""What an answered row looks like, and the files of such rows: JSON Lines or Parquet."""

import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from multitask_encoder.data.texts import TextRow
from multitask_encoder.modeling import MultiTaskConfig

# What can be left out of the answers.
EMBEDDING, SCORES = "embedding", "scores"
# Rows of a Parquet file that are held until they are written; fewer where texts are long.
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


class Layout:
    """The columns of answered rows.

    `file` and `index` (from 0) say which row of the input it is; then come columns of the input,
    `text`, and of each task in turn

    | task | columns |
    |---|---|
    | single label | `<task>`, `<task>_score`, `<task>_scores`: the label, its score, that of each |
    | multi label | the same, the first two being lists: those above 0.5 |
    | regression | `<task>`: the number, or several of them by name |
    | token_classification | `<task>`: a list of `{"start", "end", "text", "label", "score"}` |

    and at last `embedding`.

    Args:
        config (`MultiTaskConfig`): of the model.
        tasks (`list[str]`): which of its tasks are answered.
        kept (`dict[str, str]`): columns of the input, and which of `KEPT_TYPES` their values are.
        without (`Collection[str]`): `EMBEDDING`, `SCORES` (`<task>_scores`), both or none.

    Raises:
        ValueError: two columns would have one name.
    """

    def __init__(
        self,
        config: MultiTaskConfig,
        tasks: list[str],
        kept: dict[str, str],
        without: Collection[str],
    ):
        self.tasks = {name: config.tasks[name] for name in tasks}
        self.kept = kept
        self.without = without
        columns = [("file", pa.string()), ("index", pa.int64())]
        columns += [(name, KEPT_TYPES[kind]) for name, kind in kept.items()]
        columns.append(("text", pa.string()))
        for name, task in self.tasks.items():
            columns += self._columns(name, task)
        if EMBEDDING not in without:
            columns.append(("embedding", pa.list_(pa.float32(), config.hidden_size)))
        names = [name for name, _ in columns]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(
                f"The columns of the answers should have different names. Found {twice[0]!r} twice "
                f"in {', '.join(names)}."
            )
        self.schema = pa.schema(columns)

    def _columns(self, name: str, task: dict) -> list[tuple[str, pa.DataType]]:
        if task["type"] == "token_classification":
            return [(name, pa.list_(ENTITY))]
        if task["type"] == "sentence_embedding":
            return []
        scores = pa.struct([(label, pa.float32()) for label in task["labels"]])
        if task["problem_type"] == "regression":
            return [(name, pa.float32() if len(task["labels"]) == 1 else scores)]
        several = task["problem_type"] == "multi_label_classification"
        columns = [
            (name, pa.list_(pa.string()) if several else pa.string()),
            (f"{name}_score", pa.list_(pa.float32()) if several else pa.float32()),
            (f"{name}_scores", scores),
        ]
        return columns[:2] if SCORES in self.without else columns

    def row(self, row: TextRow, kept: dict[str, Any], answer: dict) -> dict[str, Any]:
        """One row from a row of the input, what is kept of it, and its pipeline's answer."""
        columns = {"file": row.file, "index": row.index, **kept, "text": row.text}
        for name, task in self.tasks.items():
            if task["type"] == "token_classification":
                columns[name] = answer["entities"][name]
            elif task["type"] != "sentence_embedding":
                columns |= self._labels(name, task, answer["labels"][name])
        if EMBEDDING not in self.without:
            columns["embedding"] = answer["embedding"]
        return columns

    def _labels(self, name: str, task: dict, found: dict) -> dict[str, Any]:
        if task["problem_type"] == "regression":
            return {name: found["score"] if len(task["labels"]) == 1 else found["scores"]}
        columns = {name: found["label"], f"{name}_score": found["score"]}
        if SCORES not in self.without:
            columns[f"{name}_scores"] = found["scores"]
        return columns


class TableFile(Protocol):
    """A file that rows are written to, made of a path and the schema of a `Layout`."""

    def __init__(self, path: Path, schema: pa.Schema): ...

    def write(self, row: dict[str, Any]) -> None:
        """Add a row."""

    def close(self) -> None:
        """The file is whole, and on the disk, when this returns."""


class JsonlFile:
    """One JSON object a line."""

    def __init__(self, path: Path, schema: pa.Schema):
        self._file = path.open("w", encoding="utf-8")

    def write(self, row: dict[str, Any]) -> None:
        self._file.write(_as_json(row) + "\n")

    def close(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


class ParquetFile:
    """A table with a schema; what is no text in a column of texts is written as JSON."""

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
            values = [
                value if isinstance(value, str | None) else _as_json(value) for value in values
            ]
        return pa.array(values, field.type)

    def close(self) -> None:
        if self._held:
            self._write_held()
        self._writer.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


def _as_json(value: Any) -> str:
    """Columns of a table that go along may hold what JSON does not know, such as dates."""
    return json.dumps(value, ensure_ascii=False, default=str)


FORMATS: dict[str, type[TableFile]] = {"jsonl": JsonlFile, "parquet": ParquetFile}
