"""Reads files of every supported format into raw rows.

| format | content |
|---|---|
| json | an array of objects, or one object per line |
| jsonl | one object per line |
| csv, tsv | a table with a header; every value is text, exactly as written |
| parquet | a table; class ids become names |
| arrow | an Arrow file, or a folder written by `Dataset.save_to_disk`; class ids become names |
| conll | one token per line, its tags in further columns, a blank line after each sentence |
| intent_slots | a folder of `seq.in`, `seq.out` and `label`: one sentence per line |
| doccano | its JSON or JSON lines: labels of texts, spans, or spans with relations |
| label_studio | its exports JSON and JSON_MIN |
| spacy | pairs `["text", {"entities": ..., "cats": ...}]`, or objects with a text and the same |
| text | one text per line |

Spans of annotation tools become `{"start", "end", "label"}`. They are checked against the text
later, as is the rest of the row: see normalization.py. Only JSON arrays and Label Studio exports
are held in memory as a whole.
"""

import csv
import glob
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import groupby, islice, zip_longest
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Features, LargeList, List

from .annotation_exports import (
    doccano_row,
    exporter_of,
    is_spacy_pair,
    json_object,
    label_studio_row,
    spacy_row,
)
from .bad_rows import shown

Rows = Iterator[tuple[str, dict | ValueError]]  # place in the file, and the row or its error
Records = Iterator[tuple[str, Any]]  # the same before it is known to be a row

ENDINGS = {
    **{f".{format}": format for format in ("csv", "tsv", "parquet", "arrow", "conll")},
    **dict.fromkeys((".bio", ".iob", ".iob2"), "conll"),
}
FOLDERS = {"state.json": "arrow", "seq.in": "intent_slots"}  # a file in it -> the folder's format
BATCH = 1000
LONGEST_FIELD = 10_000_000  # the csv module's default is too short for long documents
ESCAPED_BYTE = re.compile("[\udc80-\udcff]")  # how `surrogateescape` keeps invalid UTF-8
ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
WORDS = re.compile(r"[^ \t]+")  # not str.split(): a word may hold a no-break space


def find_files(patterns: list[str], data_dir: str | None) -> list[Path]:
    """Expand names and globs to files, and to folders that are data files themselves.

    Each path appears once, even if several patterns match; matches of one glob are sorted.

    Raises:
        FileNotFoundError: a name or glob without a match.
    """
    files: list[Path] = []
    for pattern in patterns:
        folder = os.path.expanduser(data_dir or "")
        path = Path(folder, os.path.expanduser(pattern))
        matches = [path]
        if not _is_data(path):  # names may hold the characters of a glob
            inside = os.path.join(glob.escape(folder), os.path.expanduser(pattern))
            matches = [Path(match) for match in sorted(glob.glob(inside, recursive=True))]
            matches = [match for match in matches if _is_data(match)]
        if not matches:
            hint = f" It is a folder: name its files, like {path}/*.jsonl." if path.is_dir() else ""
            raise FileNotFoundError(f"No file {path}.{hint}")
        files += matches
    return list(dict.fromkeys(files))


def detect_format(path: Path) -> str:
    """Detect the format of a file or folder from its ending, for JSON from its content.

    Raises:
        ValueError: an ending that is unknown or stands for several formats, or JSON that could be
            several.
    """
    ending = path.suffix.lower()
    if path.is_dir():
        for name, format in FOLDERS.items():
            if (path / name).is_file():
                return format
        raise ValueError(
            f"{path}: a folder that is a data file should hold one of {', '.join(FOLDERS)}."
        )
    if ending in (".json", ".jsonl"):
        with _named_errors(path):
            records = islice(_read_json_values(path), BATCH)
            kinds = sorted({kind for _, record in records if (kind := exporter_of(record))})
        if len(kinds) > 1:
            raise ValueError(f"{path}: could be {' or '.join(kinds)}. Set `format`.")
        return kinds[0] if kinds else ending[1:]
    if ending == ".txt":
        raise ValueError(f"{path}: a file ending in '.txt' could be conll or text. Set `format`.")
    if ending not in ENDINGS:
        raise ValueError(
            f"{path}: should end in one of .json, .jsonl, {', '.join(ENDINGS)}. Found {ending!r}. "
            f"Or set `format` to one of {', '.join(FORMATS)}."
        )
    return ENDINGS[ending]


def read_file(path: Path, format: str, column_names: list[str] | None = None) -> Rows:
    """Lazily read the rows of a file.

    Args:
        path (`Path`): the file, or a folder that is a data file.
        format (`str`): one of `FORMATS`.
        column_names (`list[str]`, *optional*): of a CoNLL file. By default `tokens`, `column_2`
            and so on, and `tags` for the last.

    Yields:
        `tuple[str, dict | ValueError]`: a place like `line 7` (in line-based formats: the first
        line of the record) or `row 7`, and the row, or its error without file and place.

    Raises:
        ValueError: an unknown format, or a file that can't be read as a whole or has no rows.
        OSError: a file that does not exist or can't be opened.
    """
    if format not in FORMATS:
        raise ValueError(f"`format` should be one of {', '.join(FORMATS)}. Found {format!r}.")
    has_rows = False
    with _named_errors(path):
        for place_and_row in FORMATS[format](path, column_names):
            has_rows = True
            yield place_and_row
        if not has_rows:
            raise ValueError("has no rows.")


def named_classes(features: Features) -> Callable[[dict], dict]:
    """A function that replaces the class ids of a row with their names, in lists and spans too.

    None and -1, which stands for no label in some data sets, become None. The function raises
    ValueError for an id without a name.
    """
    return _class_namer(dict(features)) or (lambda row: row)


def _class_namer(feature: Any) -> Callable | None:
    """A function that names the class ids in a feature's values; None if it has none."""
    if isinstance(feature, ClassLabel):
        return partial(_class_name, feature.names)
    if isinstance(feature, List | LargeList) and (name_value := _class_namer(feature.feature)):
        return lambda values: values and [name_value(value) for value in values]
    if isinstance(feature, dict):
        namers = {key: namer for key, value in feature.items() if (namer := _class_namer(value))}
        if namers:
            return lambda value: value and value | {key: namers[key](value[key]) for key in namers}
    return None


def _class_name(names: list[str], index: int | None) -> str | None:
    if index is None or index == -1:
        return None
    if not 0 <= index < len(names):
        raise ValueError(f"class ids should be from 0 to {len(names) - 1}, or -1. Found {index}.")
    return names[index]


def _is_data(path: Path) -> bool:
    return path.is_file() or any((path / name).is_file() for name in FOLDERS)


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    """Turn an error of a whole file into a line that begins with the file's name."""
    try:
        yield
    except (ValueError, pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # it names its file; pyarrow's errors for damaged files have no errno
        reason, *_ = str(error).split("\n")
        raise ValueError(f"{path}: {reason}") from None


def _check_utf8(text: str) -> None:
    if not text.isascii() and ESCAPED_BYTE.search(text):
        raw = text.encode("utf-8", "surrogateescape")
        raise ValueError(f"should be UTF-8. Found {shown(raw)}.")


def _check_distinct(names: list[str]) -> None:
    if len(set(names)) < len(names):
        raise ValueError(f"the columns should have different names. Found {', '.join(names)}.")


def _each(records: Iterable[tuple[str, Any]], convert: Callable[[Any], Any]) -> Records:
    """Convert records, with an error in place of each that can't be read or converted."""
    for place, record in records:
        if not isinstance(record, ValueError):
            try:
                record = convert(record)
            except ValueError as error:
                record = error
        yield place, record


def _read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Physical lines. Only a line feed ends a line; other separators are part of the text."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            yield f"line {number}", line.removesuffix("\n").removesuffix("\r")


def _reader(records: Callable[[Path], Records], convert: Callable[[Any], dict]) -> Callable:
    """Reads a format in which each of a file's records becomes a row."""
    return lambda path, _: _each(records(path), convert)


def _text_row(line: str) -> dict:
    _check_utf8(line)
    return {"text": line}


# JSON


def _read_json_lines(path: Path) -> Records:
    return _each(((place, line) for place, line in _read_lines(path) if line.strip()), _parse_json)


def _read_json_values(path: Path) -> Records:
    """The values of a JSON array or, if the file is not an array, of each line."""
    if path.suffix.lower() == ".jsonl" or _is_json_lines(path):
        return _read_json_lines(path)
    return _read_json_array(path)


def _is_json_lines(path: Path) -> bool:
    """Whether the first line is a record, maybe broken, rather than the start of an array."""
    first = next((line.strip() for _, line in _read_lines(path) if line.strip()), "")
    try:
        value = _parse_json(first)
    except ValueError:
        return not first.startswith("[") and (first.endswith("}") or not first.startswith("{"))
    return not isinstance(value, list) or is_spacy_pair(value)


def _read_json_array(path: Path) -> Records:
    try:
        text = path.read_text(encoding="utf-8-sig")
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"should be a JSON array, or have one object per line ({error.msg} in line "
            f"{error.lineno}, character {error.colno})."
        ) from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"should be a JSON array in UTF-8 ({error}).") from None
    if not isinstance(values, list):
        raise ValueError(
            f"should be a JSON array, or have one object per line. Found {shown(values)}."
        )
    records = ((f"row {index}", value) for index, value in enumerate(values, start=1))
    return _each(records, _check_surrogates) if ESCAPED_SURROGATE.search(text) else records


def _parse_json(line: str) -> Any:
    _check_utf8(line)
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at character {error.pos + 1}"
    except (ValueError, RecursionError) as error:
        reason = str(error)
    else:
        return _check_surrogates(value) if ESCAPED_SURROGATE.search(line) else value
    raise ValueError(f"should be JSON ({reason}). Found {shown(line)}.")


def _check_surrogates(value: Any) -> Any:
    """Refuse half of a surrogate pair: JSON can escape it, but it can't be encoded as UTF-8."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"should be Unicode text. Found half of a surrogate pair: {shown(value)}."
        ) from None
    return value


def _read_label_studio(path: Path, _) -> Rows:
    span_columns: dict[str, None] = {}  # in order of appearance
    rows = list(_each(_read_json_values(path), partial(label_studio_row, span_columns)))
    for place, row in rows:
        if isinstance(row, ValueError):
            yield place, row
        else:
            columns, is_annotated = row
            # An annotator who marked nothing leaves no result.
            yield place, ({name: [] for name in span_columns} if is_annotated else {}) | columns


# Tables


def _read_table(path: Path, _, delimiter: str) -> Rows:
    """Read a CSV or TSV file without guessing types: "NA" and "007" stay text.

    In CSV, quoted fields may contain commas and line breaks; in TSV, quotes are text.
    """
    records = _read_records(path, delimiter)
    _, header = next(records, ("", []))
    _check_utf8("".join(header))
    _check_distinct(header)
    yield from _each(records, partial(_table_row, header))


def _table_row(header: list[str], fields: list[str]) -> dict:
    _check_utf8("".join(fields))
    if len(fields) != len(header):
        raise ValueError(f"should have {len(header)} fields. Found {len(fields)}: {shown(fields)}.")
    return dict(zip(header, fields, strict=True))


def _read_records(path: Path, delimiter: str) -> Iterator[tuple[str, list[str]]]:
    csv.field_size_limit(LONGEST_FIELD)
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        options: dict[str, Any] = {"quoting": csv.QUOTE_NONE} if delimiter == "\t" else {}
        reader = csv.reader(file, delimiter=delimiter, strict=True, **options)
        while True:
            place = f"line {reader.line_num + 1}"
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise ValueError(f"{place}: {error}.") from None
            if any("\0" in field for field in fields):
                raise ValueError(f"{place}: should be text. Found a null byte.")
            if fields:
                yield place, fields


def _read_parquet(path: Path, _) -> Rows:
    with pq.ParquetFile(path) as file:
        yield from _read_batches(file.schema_arrow, file.iter_batches(batch_size=BATCH))


def _read_arrow(path: Path, _) -> Rows:
    if path.is_dir():
        try:
            dataset = datasets.load_from_disk(str(path)).with_format("arrow")
        except IndexError:  # `datasets` can't load what it saves for zero rows
            return
        except (KeyError, TypeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise ValueError(
                f"should be a folder written by Dataset.save_to_disk ({reason})."
            ) from None
        yield from _read_batches(dataset.features.arrow_schema, dataset.iter(BATCH))
        return
    with path.open("rb") as file:
        is_stream = file.read(6) != b"ARROW1"
    with pa.memory_map(str(path)) as source:
        if is_stream:
            stream = pa.ipc.open_stream(source)
            yield from _read_batches(stream.schema, stream)
        else:
            file = pa.ipc.open_file(source)
            batches = (file.get_batch(index) for index in range(file.num_record_batches))
            yield from _read_batches(file.schema, batches)


def _read_batches(schema: pa.Schema, batches: Iterable) -> Rows:
    """Rows of record batches or tables, whose schema may hold class names."""
    _check_distinct(schema.names)
    described = b"huggingface" in (schema.metadata or {})
    features = Features.from_arrow_schema(schema) if described else Features()
    rows = (
        row
        for batch in batches
        for start in range(0, batch.num_rows, BATCH)  # a file may be one batch
        for row in batch.slice(start, BATCH).to_pylist()
    )
    places = ((f"row {index}", row) for index, row in enumerate(rows, start=1))
    yield from _each(places, named_classes(features))


# Tokens


def _read_conll(path: Path, column_names: list[str] | None) -> Rows:
    """Sentences of a CoNLL file. A line that begins with `#` is a comment unless it has the columns
    of a token."""
    place, first = _first_token_line(path)
    if not first:
        return
    split = (lambda line: line.split("\t")) if "\t" in first else WORDS.findall
    count = len(split(first))
    if count < 2:
        raise ValueError(
            f"{place} should have two or more columns, separated by tabs or spaces. "
            f"Found {shown(first)}."
        )
    others = [f"column_{number}" for number in range(2, count)]
    names = column_names or ["tokens", *others, "tags"]
    if len(names) != count:
        raise ValueError(
            f"{place} should have the {len(names)} columns {', '.join(names)}. "
            f"Found {count}: {shown(first)}."
        )
    _check_distinct(names)
    for is_between, lines in groupby(_read_lines(path), _is_between_sentences):
        if is_between:
            continue
        sentence = [
            (place, line, columns)
            for place, line in lines
            if len(columns := split(line)) == count or not line.startswith("#")
        ]
        if sentence:
            yield from _each([(sentence[0][0], sentence)], partial(_sentence_row, names))


def _first_token_line(path: Path) -> tuple[str, str]:
    """The first line that can't be a comment, or else the first that may be a token."""
    first = ("", "")
    for numbered in _read_lines(path):
        if not _is_between_sentences(numbered):
            if not numbered[1].startswith("#"):
                return numbered
            if not first[1]:
                first = numbered
    return first


def _is_between_sentences(numbered: tuple[str, str]) -> bool:
    _, line = numbered
    return not line.strip() or line.startswith("-DOCSTART-")


def _sentence_row(names: list[str], sentence: list[tuple[str, str, list[str]]]) -> dict:
    for place, line, columns in sentence:
        try:
            _check_utf8(line)
        except ValueError as error:
            raise ValueError(f"{place} {error}") from None
        if len(columns) != len(names):
            raise ValueError(
                f"{place} should have {len(names)} columns. Found {len(columns)}: {shown(line)}."
            )
        if not columns[0]:
            raise ValueError(f"{place} should have a token. Found {shown(line)}.")
    values = zip(*(columns for _, _, columns in sentence), strict=True)
    return dict(zip(names, map(list, values), strict=True))


def _read_intent_slots(path: Path, _) -> Rows:
    files = [path / name for name in ("seq.in", "seq.out", "label")]
    counts = [sum(1 for _ in _read_lines(file)) for file in files]
    if len(set(counts)) > 1:
        raise ValueError(
            "seq.in, seq.out and label should have the same number of lines. "
            f"Found {', '.join(map(str, counts))}."
        )
    lines = zip_longest(*map(_read_lines, files))
    numbered = ((same[0][0], [line for _, line in same]) for same in lines)
    return _each((row for row in numbered if any(map(str.strip, row[1]))), _intent_row)


def _intent_row(lines: list[str]) -> dict:
    for line in lines:
        _check_utf8(line)
    tokens, slots = (WORDS.findall(line) for line in lines[:2])
    if len(tokens) != len(slots):
        raise ValueError(
            f"should have a tag in seq.out for each of the {len(tokens)} words in seq.in. "
            f"Found {len(slots)}."
        )
    return {"tokens": tokens, "slots": slots, "intent": lines[2].strip()}


FORMATS: dict[str, Callable[..., Rows]] = {  # each (path, column_names) -> rows
    "json": _reader(_read_json_values, json_object),
    "jsonl": _reader(_read_json_lines, json_object),
    "csv": partial(_read_table, delimiter=","),
    "tsv": partial(_read_table, delimiter="\t"),
    "parquet": _read_parquet,
    "arrow": _read_arrow,
    "conll": _read_conll,
    "intent_slots": _read_intent_slots,
    "doccano": _reader(_read_json_values, doccano_row),
    "label_studio": _read_label_studio,
    "spacy": _reader(_read_json_values, spacy_row),
    "text": _reader(_read_lines, _text_row),
}
