"""Records of files: where each is, and the value or the error met while reading it."""

import bz2
import codecs
import gzip
import lzma
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import pyarrow as pa

from .bad_rows import listed, shown

Rows = Iterator[tuple[str, dict | ValueError]]  # place in the file, and the row or its error
Records = Iterator[tuple[str, Any]]  # the same before it is known to be a row

ESCAPED_BYTE = re.compile("[\udc80-\udcff]")  # how `surrogateescape` keeps invalid bytes
OPEN: dict[str, Callable] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}  # by ending
DAMAGED = (EOFError, zlib.error, lzma.LZMAError)  # what is compressed
# UTF-8 is the default, with or without a mark.
MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


class FileOptions(NamedTuple):
    """What is known of a file besides its format; None is found out.

    Args:
        column_names (`list[str]`, *optional*): of a CoNLL file (by default `tokens`, `column_2`
            and so on, and `tags` for the last), or of a CSV or TSV file without a header.
        delimiter (`str`, *optional*): what parts the columns of a CSV file.
        encoding (`str`, *optional*): of a file of text, as Python names it. By default UTF-8, and
            UTF-16 if the file begins with its mark.
    """

    column_names: list[str] | None = None
    delimiter: str | None = None
    encoding: str | None = None


def ending_of(path: Path) -> str:
    """The ending that tells a file's format, in lower case: `.csv` of `a.CSV` and of `a.csv.gz`."""
    ending = path.suffix.lower()
    return path.with_suffix("").suffix.lower() if ending in OPEN else ending


def open_text(path: Path, encoding: str | None, newline: str) -> TextIO:
    """Open a file of text, also a compressed one. Bytes that its encoding lacks are kept as
    `check_encoding` finds them.

    Raises:
        ValueError: there is no such encoding.
    """
    opened = OPEN.get(path.suffix.lower(), open)
    if encoding is None:
        with opened(path, "rb") as file:
            encoding = MARKS.get(file.read(2), "utf-8-sig")
    try:
        if codecs.lookup(encoding).name == "utf-8":  # a mark of its order is no text
            encoding = "utf-8-sig"
        return opened(path, "rt", encoding=encoding, errors="surrogateescape", newline=newline)
    except LookupError:
        raise ValueError(
            f"`encoding` should be one that Python knows. Found {encoding!r}."
        ) from None


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Turn an error of a whole file into a line that begins with the file's name."""
    try:
        yield
    except (ValueError, OverflowError, LookupError, pa.ArrowException, OSError, *DAMAGED) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # it names its file; pyarrow's errors for damaged files have no errno
        reason, *_ = str(error).split("\n")
        raise ValueError(f"{path}: {reason}") from None


def check_encoding(text: str) -> None:
    """Raise a ValueError for bytes that the encoding lacks."""
    if not text.isascii() and ESCAPED_BYTE.search(text):
        raw = text.encode("utf-8", "surrogateescape")
        raise ValueError(f"should be UTF-8 (or set `encoding`). Found {shown(raw)}.")


def check_distinct(names: list[str]) -> None:
    """Raise a ValueError unless all columns have different names."""
    if len(set(names)) < len(names):
        raise ValueError(f"the columns should have different names. Found {listed(names)}.")


def each(records: Iterable[tuple[str, Any]], convert: Callable[[Any], Any]) -> Records:
    """Convert records, with an error in place of each that can't be read or converted."""
    for place, record in records:
        if not isinstance(record, ValueError):
            try:
                record = convert(record)
            except ValueError as error:
                record = error
        yield place, record


def read_lines(path: Path, encoding: str | None = None) -> Iterator[tuple[str, str]]:
    """Physical lines. Only a line feed ends a line; other separators are part of the text."""
    with open_text(path, encoding, newline="\n") as file:
        for number, line in enumerate(file, start=1):
            yield f"line {number}", line.removesuffix("\n").removesuffix("\r")
