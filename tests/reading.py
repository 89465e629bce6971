"""Reads files of data, and returns rows or messages with their places."""

from pathlib import Path

import pytest


@pytest.fixture
def read(tmp_path):
    """(content, format, ...) -> places with rows or messages."""

    def read(content: str | bytes, format: str, name: str = "file", **kwargs) -> list[tuple]:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_all(path, format, **kwargs)

    return read


def read_all(path: Path, format: str, **kwargs) -> list[tuple]:
    from multitask_encoder.data.readers import read_file
    from multitask_encoder.data.records import FileOptions

    return [
        (place, str(row) if isinstance(row, ValueError) else row)
        for place, row in read_file(path, format, FileOptions(**kwargs))
    ]


def rows_of(places_and_rows: list[tuple]) -> list:
    return [row for _, row in places_and_rows]


def span(start: int, end: int, label: str) -> dict:
    return {"start": start, "end": end, "label": label}


def refusal(path: Path, *args, **kwargs) -> str:
    """The message that a file as a whole is refused with, without its name."""
    from multitask_encoder.data.readers import detect_format, read_file
    from multitask_encoder.data.records import FileOptions

    with pytest.raises(ValueError) as error:
        if args:
            list(read_file(path, args[0], FileOptions(**kwargs)))
        else:
            detect_format(path)
    name, message = str(error.value).split(": ", maxsplit=1)
    assert name == str(path)
    return message
