"""Reads files of every supported format into raw rows.

| format | content |
|---|---|
| json | an array of objects, or one object per line |
| jsonl | one object per line |
| csv, tsv | a table with a header; every value is text, exactly as written |
| parquet | a table; class ids become names |
| arrow | an Arrow file, or a folder written by `Dataset.save_to_disk`; class ids become names |
| conllu | CoNLL-U; `tokens` are its forms, and the keys of its last column are columns as well |
| conll | one token per line, its tags in further columns, a blank line after each sentence |
| intent_slots | a folder of `seq.in`, `seq.out` and `label`: one sentence per line |
| doccano | its JSON or JSON lines: labels of texts, spans, or spans with relations |
| label_studio | its exports JSON and JSON_MIN |
| prodigy | its JSON lines; rejected and ignored rows have no labels |
| spacy | pairs `["text", {"entities": ..., "cats": ...}]`, or objects with a text and the same |
| text | one text per line |

Files of text may be compressed, as `train.jsonl.gz`, by gzip, bzip2 or xz.

Spans of annotation tools become `{"start", "end", "label"}`. They are checked against the text
later, as is the rest of the row: see normalization.py. Only JSON arrays and the exports of Label
Studio and Prodigy are held in memory as a whole.
"""

import glob
import json
import os
import re
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

from .annotation_exports import (
    doccano_row,
    exporter_of,
    is_spacy_pair,
    json_object,
    label_studio_rows,
    prodigy_rows,
    spacy_row,
)
from .bad_rows import shown
from .records import (
    FileOptions,
    Records,
    Rows,
    check_encoding,
    each,
    ending_of,
    named_errors,
    open_text,
    read_lines,
)
from .tables import read_arrow, read_csv, read_parquet, read_tsv
from .token_files import is_conllu, read_conll, read_conllu, read_intent_slots

ENDINGS = {
    **{f".{format}": format for format in ("csv", "tsv", "parquet", "arrow", "conll", "conllu")},
    **dict.fromkeys((".bio", ".iob", ".iob2"), "conll"),
}
FOLDERS = {"state.json": "arrow", "seq.in": "intent_slots"}  # a file in it -> the folder's format
# What can't be read, and what to do.
UNREAD = {
    **dict.fromkeys((".xlsx", ".xls", ".ods"), "is a spreadsheet: save it as CSV in UTF-8"),
    **dict.fromkeys((".7z", ".rar", ".tar", ".tgz", ".zip", ".zst"), "is an archive: unpack it"),
    ".ann": "is brat's: convert the folder to CoNLL, as brat's tools/anntoconll.py does",
}
RECORDS_THAT_TELL = 1000
NOTHING_KNOWN = FileOptions()
ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def find_files(patterns: list[str] | str, data_dir: str | None) -> list[Path]:
    """Expand names and globs, one or several, to files, and to folders that are data themselves.

    Each path appears once, even if several patterns match; matches of one glob are sorted.

    Raises:
        FileNotFoundError: a name or glob without a match.
    """
    files: list[Path] = []
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        folder = os.path.expanduser(data_dir or "")
        path = Path(folder, os.path.expanduser(pattern))
        matches = [path]
        if not _is_data(path):  # names may hold the characters of a glob
            inside = os.path.join(glob.escape(folder), os.path.expanduser(pattern))
            matches = [Path(match) for match in sorted(glob.glob(inside, recursive=True))]
            matches = [match for match in matches if _is_data(match)]
        if not matches:
            raise FileNotFoundError(f"No file {path}.{_hint(path)}")
        files += matches
    return list(dict.fromkeys(files))


def _hint(path: Path) -> str:
    if (path / "dataset_dict.json").is_file():
        return f" It is a folder of several splits: name one, like {path}/train."
    return f" It is a folder: name its files, like {path}/*.jsonl." if path.is_dir() else ""


def detect_format(path: Path, encoding: str | None = None) -> str:
    """Detect the format of a file or folder from its ending, for JSON and CoNLL from its content.

    Raises:
        ValueError: an ending that is unknown or stands for several formats, or JSON that could be
            several.
    """
    ending = ending_of(path)
    if path.is_dir():
        for name, format in FOLDERS.items():
            if (path / name).is_file():
                return format
        raise ValueError(
            f"{path}: a folder that is a data file should hold one of {', '.join(FOLDERS)}."
        )
    if ending in (".json", ".jsonl"):
        with named_errors(path):
            options = FileOptions(encoding=encoding)
            records = islice(_read_json_values(path, options), RECORDS_THAT_TELL)
            kinds = sorted({kind for _, record in records if (kind := exporter_of(record))})
        if len(kinds) > 1:
            raise ValueError(f"{path}: could be {' or '.join(kinds)}. Set `format`.")
        return kinds[0] if kinds else ending[1:]
    if ending == ".txt":
        raise ValueError(f"{path}: a file ending in '.txt' could be conll or text. Set `format`.")
    if ending in UNREAD:
        raise ValueError(f"{path}: {UNREAD[ending]}.")
    if ending == ".conll":
        with named_errors(path):
            if is_conllu(path, encoding):
                return "conllu"
    if ending not in ENDINGS:
        raise ValueError(
            f"{path}: should end in one of .json, .jsonl, {', '.join(ENDINGS)}. Found {ending!r}. "
            f"Or set `format` to one of {', '.join(FORMATS)}."
        )
    return ENDINGS[ending]


def read_file(path: Path, format: str, options: FileOptions = NOTHING_KNOWN) -> Rows:
    """Lazily read the rows of a file.

    Args:
        path (`Path`): the file, or a folder that is a data file.
        format (`str`): one of `FORMATS`.
        options (`FileOptions`, *optional*): what else is known of it.

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
    with named_errors(path):
        for place_and_row in FORMATS[format](path, options):
            has_rows = True
            yield place_and_row
        if not has_rows:
            raise ValueError("has no rows.")


def _is_data(path: Path) -> bool:
    return path.is_file() or any((path / name).is_file() for name in FOLDERS)


def _reader(
    records: Callable[[Path, FileOptions], Records], convert: Callable[[Any], dict]
) -> Callable:
    """Reads a format in which each of a file's records becomes a row."""
    return lambda path, options: each(records(path, options), convert)


def _read_text(path: Path, options: FileOptions) -> Rows:
    return each(read_lines(path, options.encoding), _text_row)


def _text_row(line: str) -> dict:
    check_encoding(line)
    return {"text": line}


# JSON


def _read_json_lines(path: Path, options: FileOptions) -> Records:
    lines = read_lines(path, options.encoding)
    return each(((place, line) for place, line in lines if line.strip()), _parse_json)


def _read_json_values(path: Path, options: FileOptions) -> Records:
    """The values of a JSON array or, if the file is not an array, of each line."""
    if ending_of(path) == ".jsonl" or _is_json_lines(path, options):
        return _read_json_lines(path, options)
    return _read_json_array(path, options)


def _is_json_lines(path: Path, options: FileOptions) -> bool:
    """Whether the first line is a record, maybe broken, rather than the start of an array."""
    lines = read_lines(path, options.encoding)
    first = next((line.strip() for _, line in lines if line.strip()), "")
    try:
        value = _parse_json(first)
    except ValueError:
        return not first.startswith("[") and (first.endswith("}") or not first.startswith("{"))
    return not isinstance(value, list) or is_spacy_pair(value)


def _read_json_array(path: Path, options: FileOptions) -> Records:
    with open_text(path, options.encoding, newline="\n") as file:
        text = file.read()
    check_encoding(text)
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"should be a JSON array, or have one object per line ({error.msg} in line "
            f"{error.lineno}, character {error.colno})."
        ) from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"should be a JSON array ({error}).") from None
    if not isinstance(values, list):
        raise ValueError(
            f"should be a JSON array, or have one object per line. Found {shown(values)}."
        )
    records = ((f"row {index}", value) for index, value in enumerate(values, start=1))
    return each(records, _check_surrogates) if ESCAPED_SURROGATE.search(text) else records


def _parse_json(line: str) -> Any:
    check_encoding(line)
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


def _whole(rows_of: Callable[[Records], Rows]) -> Callable:
    """Reads an export whose rows depend on each other."""
    return lambda path, options: rows_of(_read_json_values(path, options))


FORMATS: dict[str, Callable[[Path, FileOptions], Rows]] = {
    "json": _reader(_read_json_values, json_object),
    "jsonl": _reader(_read_json_lines, json_object),
    "csv": read_csv,
    "tsv": read_tsv,
    "parquet": read_parquet,
    "arrow": read_arrow,
    "conll": read_conll,
    "conllu": read_conllu,
    "intent_slots": read_intent_slots,
    "doccano": _reader(_read_json_values, doccano_row),
    "label_studio": _whole(label_studio_rows),
    "prodigy": _whole(prodigy_rows),
    "spacy": _reader(_read_json_values, spacy_row),
    "text": _read_text,
}
