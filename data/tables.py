"""Reads tables: CSV, TSV, Parquet and Arrow."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Features, LargeList, List

from .bad_rows import shown
from .records import FileOptions, Rows, check_distinct, check_encoding, each, open_text
from .token_files import refuse_webanno

BATCH = 1000
LONGEST_FIELD = 10_000_000  # the csv module's default is too short for long documents
DELIMITERS = (",", ";", "\t")  # in CSV
FIRST_RECORDS = 100  # that say which it is
# A field of a TSV file in quotes, and as many characters of a file as tell whether quotes are that.
QUOTED = re.compile(r'(?<![^\t\n])"((?:[^"\t]|"")*)"(?=[\t\r\n]|\Z)')
HEAD = 2**20
NAMED_DELIMITER = "sep="  # the line before the header, as Excel writes and reads it


def read_csv(path: Path, options: FileOptions) -> Rows:
    """A CSV file, without guessing types: "NA" and "007" stay text. Quoted fields may contain
    delimiters and line breaks. The delimiter is as set, as the file names it (`sep=;`), or the
    first of DELIMITERS that parts the header; without one, that by which most of the first records
    have as many fields as there are `column_names`."""
    delimiter = options.delimiter or _delimiter_of(path, options)
    yield from _read_table(path, delimiter, options, {})


def read_tsv(path: Path, options: FileOptions) -> Rows:
    """A table parted by tabs. Quotes are text, unless all of them are around whole fields, as
    spreadsheets and pandas write fields with quotes or line breaks in them."""
    refuse_webanno(path, options.encoding)
    has_quoted = _has_quoted_fields(path, options.encoding)
    yield from _read_table(path, "\t", options, {} if has_quoted else {"quoting": csv.QUOTE_NONE})


def _has_quoted_fields(path: Path, encoding: str | None) -> bool:
    with open_text(path, encoding, newline="") as file:
        head = file.read(HEAD)
    if len(head) == HEAD:  # its last line may be cut, and a field of several lines
        head = head[: head.rfind("\n") + 1]
        if head.count('"') % 2:
            head = head[: head.rfind('"')]
    fields, rest = QUOTED.findall(head), QUOTED.sub("", head)
    if not fields or '"' in rest:
        return False
    if any('""' in field for field in fields):
        return True
    if "," not in rest and all("," in field for field in fields):  # Excel quotes these, too
        return True
    return any("\n" in field for field in fields) and _is_rectangular(head)


def _is_rectangular(table: str) -> bool:
    """Whether the records of a table with quoted fields have equally many, and more than one."""
    try:
        records = _reader(io.StringIO(table, newline=""), "\t")
        lengths = {len(record) for record in records if record}
    except csv.Error:
        return False
    return len(lengths) == 1 and lengths != {1}


def _reader(lines: Iterable[str], delimiter: str, **form: Any) -> Any:
    """The csv module's reader, also of long fields."""
    csv.field_size_limit(LONGEST_FIELD)
    return csv.reader(lines, delimiter=delimiter, strict=True, **form)


def _delimiter_of(path: Path, options: FileOptions) -> str:
    with open_text(path, options.encoding, newline="") as file:
        first = file.readline()
        if first.startswith(NAMED_DELIMITER):
            return first.removeprefix(NAMED_DELIMITER)[:1]
        records = {delimiter: _first_records(file, delimiter) for delimiter in DELIMITERS}
    if options.column_names is None:
        parts = [delimiter for delimiter, found in records.items() if found and len(found[0]) > 1]
        return (parts or DELIMITERS)[0]
    count = len(options.column_names)
    return max(records, key=lambda delimiter: [*map(len, records[delimiter])].count(count))


def _first_records(file: TextIO, delimiter: str) -> list[list[str]]:
    """Some records, up to one that can't be read: a quoted field may end in another delimiter."""
    file.seek(0)
    records = filter(None, _reader(file, delimiter))
    found: list[list[str]] = []
    with suppress(csv.Error):
        while len(found) < FIRST_RECORDS and (record := next(records, None)):
            found.append(record)
    return found


def _read_table(path: Path, delimiter: str, options: FileOptions, form: dict[str, Any]) -> Rows:
    records = _read_records(path, delimiter, options.encoding, form)
    place, first = next(records, ("", []))
    header = options.column_names
    if header is None:
        check_encoding("".join(first))
        header = _without_end(first) or first
    elif first and first != header:  # there is no header
        records = chain([(place, first)], records)
    check_distinct(header)
    yield from each(_without_empty_end(records), partial(_table_row, header))


def _without_end(fields: list[str]) -> list[str]:
    """The fields without the empty ones at their end."""
    count = len(fields)
    while count and not fields[count - 1]:
        count -= 1
    return fields[:count]


def _without_empty_end(records: Iterable[tuple[str, list[str]]]) -> Iterator:
    """The records without those of delimiters alone at the end, as spreadsheets write them."""
    empty: list[tuple[str, list[str]]] = []
    for place, fields in records:
        if len(fields) > 1 and not any(fields):
            empty.append((place, fields))
        else:
            yield from empty
            empty = []
            yield place, fields


def _table_row(header: list[str], fields: list[str]) -> dict:
    check_encoding("".join(fields))
    if len(fields) > len(header):
        fields = fields[: max(len(header), len(_without_end(fields)))]
    if len(fields) != len(header):
        raise ValueError(f"should have {len(header)} fields. Found {len(fields)}: {shown(fields)}.")
    return dict(zip(header, fields, strict=True))


def _read_records(
    path: Path, delimiter: str, encoding: str | None, form: dict[str, Any]
) -> Iterator[tuple[str, list[str]]]:
    with open_text(path, encoding, newline="") as file:
        skipped = int(file.readline().startswith(NAMED_DELIMITER))
        if not skipped:
            file.seek(0)
        try:
            reader = _reader(file, delimiter, **form)
        except TypeError:
            raise ValueError(f"`delimiter` should be one character. Found {delimiter!r}.") from None
        while True:
            place = f"line {reader.line_num + 1 + skipped}"
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


def read_parquet(path: Path, options: FileOptions) -> Rows:
    with pq.ParquetFile(path) as file:
        yield from _read_batches(file.schema_arrow, file.iter_batches(batch_size=BATCH))


def read_arrow(path: Path, options: FileOptions) -> Rows:
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
    check_distinct(schema.names)
    described = b"huggingface" in (schema.metadata or {})
    features = Features.from_arrow_schema(schema) if described else Features()
    rows = (
        row
        for batch in batches
        for start in range(0, batch.num_rows, BATCH)  # a file may be one batch
        for row in batch.slice(start, BATCH).to_pylist()
    )
    places = ((f"row {index}", row) for index, row in enumerate(rows, start=1))
    yield from each(places, named_classes(features))


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
