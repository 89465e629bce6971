"""Reads texts to predict on, from files of any supported format."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .bad_rows import shown
from .dataset_arguments import DatasetArguments
from .normalization import check_columns, words_of
from .readers import detect_format, find_files, read_file
from .records import ending_of


@dataclass(slots=True)
class TextRow:
    """A row to predict on: its file, its index there from 0, both in one for messages, its text or
    its problem, and the row as read."""

    file: str
    index: int
    source: str
    text: str | None
    problem: str | None
    raw: dict | None


def read_texts(names: list[str], source: DatasetArguments) -> Iterator[TextRow]:
    """Lazily read the rows of files to predict on, empty texts included.

    Words are joined by spaces. If `text_column` has several columns, the first is the text.

    Args:
        names (`list[str]`): files as in `DatasetArguments`. A `.txt` file has one text per line,
            whatever the `format` of other files, unless that is conll.
        source (`DatasetArguments`): their folder, format and columns.

    Raises (while iterating):
        FileNotFoundError, ValueError: as `load_splits`.
    """
    paths = find_files(names, source.data_dir)
    formats = [_format_of_texts(path, source) for path in paths]
    for path, file_format in zip(paths, formats, strict=True):
        rows = read_file(path, file_format, source.file_options())
        for index, (place, row) in enumerate(rows):
            text = problem = None
            try:
                text = _text_of(row, source)
            except ValueError as error:
                problem = str(error)
            raw = row if isinstance(row, dict) else None
            yield TextRow(str(path), index, f"{path}, {place}", text, problem, raw)


def _format_of_texts(path: Path, source: DatasetArguments) -> str:
    if ending_of(path) == ".txt" and source.format != "conll":
        return "text"
    return source.format or detect_format(path, source.encoding)


def _text_of(row: dict | ValueError, source: DatasetArguments) -> str:
    if isinstance(row, ValueError):
        raise row
    tokens_column = source.tokens_column
    if tokens_column is None and source.text_column is None and "tokens" in row:
        tokens_column = "tokens"
    column = tokens_column or (source.text_column or ["text"])[0]
    check_columns(row, [column])
    value = row[column]
    if tokens_column is not None:
        return " ".join(words_of(value, column))
    if not isinstance(value, str):
        raise ValueError(f"{column!r} should be a text. Found {shown(value)}.")
    return value
