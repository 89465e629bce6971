"""The rows to answer, scanned once before the first is answered.

The scan costs little beside the answers. It finds bad rows before any work is done, counts the
rows, and infers the types of the columns copied to the answers; the hash of each shard's rows
tells later whether existing answers belong to them.
"""

import hashlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Any, NamedTuple

from tqdm.auto import tqdm

from multitask_encoder.data.bad_rows import BadRows
from multitask_encoder.data.texts import TextRow

DEFAULT_COLUMN = "id"
EXACT = 2**53  # a float holds every integer up to here


class InputChanged(ValueError):
    """The input has changed since it was scanned."""


class Shard(NamedTuple):
    """The number of good rows, the number of bad ones, and a hash of both."""

    rows: int
    bad: int
    digest: str


class Inputs(NamedTuple):
    """All rows, bad ones too, cut into shards in their order.

    Args:
        read (`Callable`): starts reading them.
        shard_size (`int`): rows of each shard but the last.
        shards (`list[Shard]`): the shards.
        asked (`list[str]`): columns to copy to the answers, if they exist.
        kept (`dict[str, str]`): the existing ones, and the type of their values: `bool`, `int`,
            `float`, `text`, or else `json`.
    """

    read: Callable[[], Iterator[TextRow]]
    shard_size: int
    shards: list[Shard]
    asked: list[str]
    kept: dict[str, str]

    def again(self) -> Iterator["ShardRows"]:
        """The rows once more, shard by shard; a shard that is not read is skipped.

        Raises (while iterating):
            InputChanged: a shard that was read has changed, or is missing.
            OSError: a file is gone.
        """
        rows = self._same_files()
        for shard in self.shards:
            part = ShardRows(self, rows, shard)
            yield part
            part.skip()

    def _same_files(self) -> Iterator[TextRow]:
        try:
            yield from self.read()
        except ValueError as error:  # a file can't be read any longer
            raise InputChanged(f"predict_file changed while it was answered. {error}") from None


class ShardRows:
    """The rows of one shard; after reading, `bad` holds its bad rows."""

    def __init__(self, inputs: Inputs, rows: Iterator[TextRow], shard: Shard):
        self._inputs, self._shard = inputs, shard
        self._rows = islice(rows, shard.rows + shard.bad)
        self.bad: list[TextRow] = []

    def good(self) -> Iterator[tuple[TextRow, dict[str, Any]]]:
        """Rows with a text, each with the values to copy to its answer.

        Raises (at the end):
            InputChanged: the rows differ from those that were scanned.
        """
        hasher = hashlib.sha256()
        for row in self._rows:
            kept = kept_values(row, self._inputs.asked)
            _update(hasher, row, kept)
            if row.problem is None:
                yield row, {name: kept[name] for name in self._inputs.kept}
            else:
                self.bad.append(row)
        if hasher.hexdigest() != self._shard.digest:
            raise InputChanged("predict_file changed while it was answered.")

    def skip(self) -> None:
        """Skip to the end of the shard."""
        deque(self._rows, maxlen=0)


def scan_inputs(
    read: Callable[[], Iterator[TextRow]],
    shard_size: int,
    columns: list[str] | None = None,
    on_bad_row: str = "refuse",
    show: bool = True,
) -> Inputs:
    """Read and check all rows.

    Args:
        read (`Callable`): starts reading them; see `multitask_encoder.data.texts.read_texts`.
        shard_size (`int`): rows per shard, at least 1.
        columns (`list[str]`, *optional*): columns to copy to the answers. By default `id`, if
            there is one.
        on_bad_row (`str`): `refuse` or `skip`.
        show (`bool`): whether to show a progress bar.

    Raises:
        BadRows: rows without a text, unless they are skipped.
        FileNotFoundError, ValueError: a missing or unreadable file, a column that no row has, a
            shard size below 1, no good row at all.
    """
    if shard_size < 1:
        raise ValueError(f"predict_shard_size should be at least 1. Found {shard_size}.")
    asked = [DEFAULT_COLUMN] if columns is None else columns
    shards: list[Shard] = []
    problems: list[str] = []
    kinds: dict[str, set[str]] = defaultdict(set)
    rows = iter(tqdm(read(), desc="Reading", unit=" rows", disable=not show))
    for first in rows:
        shard, bad = _scan_shard(chain([first], islice(rows, shard_size - 1)), asked, kinds)
        shards.append(shard)
        problems += bad if on_bad_row == "refuse" else bad[:1]
    if problems and not any(shard.rows for shard in shards):
        raise ValueError(f"predict_file: all of its rows are bad. The first: {problems[0]}")
    if problems and on_bad_row == "refuse":
        raise BadRows(problems)
    for name in columns or ():
        if name not in kinds:
            raise ValueError(f"predict_columns: no row of predict_file has a column {name!r}.")
    kept = {name: _joined(kinds[name]) for name in asked if name in kinds}
    return Inputs(read, shard_size, shards, asked, kept)


def _scan_shard(
    rows: Iterable[TextRow], asked: list[str], kinds: dict[str, set[str]]
) -> tuple[Shard, list[str]]:
    """One shard and the problems of its bad rows; adds the kinds of values that good rows hold."""
    hasher, count, problems = hashlib.sha256(), 0, []
    for row in rows:
        kept = kept_values(row, asked)
        _update(hasher, row, kept)
        if row.problem is not None:
            problems.append(f"{row.source}: {row.problem}")
            continue
        count += 1
        for name in asked:
            if name in row.raw:
                kinds[name] |= _kind(kept[name])
    return Shard(count, len(problems), hasher.hexdigest()), problems


def kept_values(row: TextRow, names: Iterable[str]) -> dict[str, Any]:
    """Values to copy to the answer; None for missing ones, and for NaN, which JSON lacks."""
    raw = row.raw or {}
    return {
        name: value if (value := raw.get(name)) == value else None  # NaN does not equal itself
        for name in names
    }


def _update(hasher, row: TextRow, kept: dict[str, Any]) -> None:
    # `repr` takes a third of the time of JSON.
    hasher.update(repr((row.file, row.index, row.text, row.problem, kept)).encode())


def _kind(value: Any) -> set[str]:
    """The kind of a value; nothing for None, which any column can hold."""
    if value is None:
        return set()
    if isinstance(value, bool):
        return {"bool"}
    if isinstance(value, int):
        if abs(value) <= EXACT:
            return {"int"}
        return {"large int" if -(2**63) <= value < 2**63 else "json"}
    if isinstance(value, float):
        return {"float"}
    return {"text" if isinstance(value, str) else "json"}


def _joined(kinds: set[str]) -> str:
    """The kind that can hold values of all these kinds."""
    if kinds == {"int", "float"}:
        return "float"
    if kinds and kinds <= {"int", "large int"}:
        return "int"
    return "json" if len(kinds) > 1 else next(iter(kinds), "text")
