"""What is to be answered: rows of files, looked through once before the first is answered.

That pass costs little beside the answers. It finds the bad rows before any work is done, says how
much there is to do, and which type each column that goes along has; and the hash of each shard's
rows tells later whether answers that are there belong to them.
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


class InputChanged(ValueError):
    """The input is not what it was when it was looked through."""


class Shard(NamedTuple):
    """How many rows it has, how many more are bad, and a hash of both."""

    rows: int
    bad: int
    digest: str


class Inputs(NamedTuple):
    """All rows, bad ones too, cut into shards by their order alone.

    Args:
        read (`Callable`): starts reading them.
        shard_size (`int`): how many of them are in each shard but the last.
        shards (`list[Shard]`): what was found in each.
        asked (`list[str]`): the columns to go along with the answers, where there are such.
        kept (`dict[str, str]`): those that there are, and what their values are: `bool`, `int`,
            `float`, `text`, or else `json`.
    """

    read: Callable[[], Iterator[TextRow]]
    shard_size: int
    shards: list[Shard]
    asked: list[str]
    kept: dict[str, str]

    def again(self) -> Iterator["ShardRows"]:
        """The rows once more, shard by shard; those of one that nobody reads are passed over.

        Raises (while iterating):
            InputChanged: a shard that was read is another than before, or is missing.
            OSError: a file is not there any more.
        """
        rows = self._same_files()
        for shard in self.shards:
            part = ShardRows(self, rows, shard)
            yield part
            part.pass_over()

    def _same_files(self) -> Iterator[TextRow]:
        try:
            yield from self.read()
        except ValueError as error:  # a file can't be read any more
            raise InputChanged(f"predict_file changed while it was answered. {error}") from None


class ShardRows:
    """Rows of one shard, from all that follow; those that are bad are in `bad` at the end."""

    def __init__(self, inputs: Inputs, rows: Iterator[TextRow], shard: Shard):
        self._inputs, self._shard = inputs, shard
        self._rows = islice(rows, shard.rows + shard.bad)
        self.bad: list[TextRow] = []

    def good(self) -> Iterator[tuple[TextRow, dict[str, Any]]]:
        """Rows that have a text, and what goes along with it."""
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

    def pass_over(self) -> None:
        """Come to the end of the shard."""
        deque(self._rows, maxlen=0)


def look_through(
    read: Callable[[], Iterator[TextRow]],
    shard_size: int,
    columns: list[str] | None = None,
    on_bad_row: str = "refuse",
    show: bool = True,
) -> Inputs:
    """Read and check all rows.

    Args:
        read (`Callable`): starts reading them; see `multitask_encoder.data.texts.read_texts`.
        shard_size (`int`): rows per shard.
        columns (`list[str]`, *optional*): columns that go along with the answers. By default `id`,
            where there is one.
        on_bad_row (`str`): `refuse` or `skip`.
        show (`bool`): whether a progress bar is shown.

    Raises:
        BadRows: rows without a text, and they are refused.
        FileNotFoundError, ValueError: a file that is not there or can't be read, a column that no
            row has, a shard size below 1, not one good row.
    """
    if shard_size < 1:
        raise ValueError(f"predict_shard_size should be at least 1. Found {shard_size}.")
    asked = [DEFAULT_COLUMN] if columns is None else columns
    shards: list[Shard] = []
    problems: list[str] = []
    kinds: dict[str, set[str]] = defaultdict(set)
    rows = iter(tqdm(read(), desc="Reading", unit=" rows", disable=not show))
    for first in rows:
        hasher, count, bad = hashlib.sha256(), 0, 0
        for row in chain([first], islice(rows, shard_size - 1)):
            kept = kept_values(row, asked)
            _update(hasher, row, kept)
            if row.problem is None:
                count += 1
                for name in asked:
                    if name in row.raw:
                        kinds[name] |= _kind(kept[name])
            else:
                bad += 1
                if on_bad_row == "refuse" or not problems:
                    problems.append(f"{row.source}: {row.problem}")
        shards.append(Shard(count, bad, hasher.hexdigest()))
    if problems and on_bad_row == "refuse":
        raise BadRows(problems)
    if problems and not any(shard.rows for shard in shards):
        raise ValueError(
            f"predict_file: all of its rows are bad, the first one being {problems[0]}"
        )
    for name in columns or ():
        if name not in kinds:
            raise ValueError(f"predict_columns: no row of predict_file has a column {name!r}.")
    kept = {name: _joined(kinds[name]) for name in asked if name in kinds}
    return Inputs(read, shard_size, shards, asked, kept)


def kept_values(row: TextRow, names: Iterable[str]) -> dict[str, Any]:
    """Values that go along; None for those that the row has not, and for NaN, which no JSON has."""
    raw = row.raw or {}
    return {
        name: value if (value := raw.get(name)) == value else None  # NaN is not even like itself
        for name in names
    }


def _update(hasher, row: TextRow, kept: dict[str, Any]) -> None:
    # In a third of the time that JSON takes.
    hasher.update(repr((row.file, row.index, row.text, row.problem, kept)).encode())


def _kind(value: Any) -> set[str]:
    """What a value is; nothing for None, which any column can hold."""
    if value is None:
        return set()
    if isinstance(value, bool):
        return {"bool"}
    if isinstance(value, int):
        return {"int" if -(2**63) <= value < 2**63 else "json"}
    if isinstance(value, float):
        return {"float"}
    return {"text" if isinstance(value, str) else "json"}


def _joined(kinds: set[str]) -> str:
    """What can hold values of several kinds."""
    if kinds == {"int", "float"}:
        return "float"
    return "json" if len(kinds) > 1 else next(iter(kinds), "text")
