"""Fingerprints: a prepared data set is taken from the cache when nothing it was made of changed."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datasets.fingerprint import Hasher


def fingerprint(*parts: Any, functions: tuple[Callable, ...] = ()) -> str:
    """A hash of values, of this package's code and of the modules of further functions.

    `datasets` hashes an importable function by its name alone; after an update its cache would
    give out what the former code made.
    """
    hasher = Hasher()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        hasher.update(path.read_bytes())
    for function in functions:
        hasher.update(inspect.getsource(inspect.getmodule(function)))
    for part in parts:
        hasher.update(part)
    return hasher.hexdigest()


def file_state(path: Path) -> tuple[str, int, int]:
    """What changes when a file, or one in a folder, does: its path, size and time."""
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    stats = [file.stat() for file in files]
    return (
        str(path.resolve()),
        sum(stat.st_size for stat in stats),
        max((stat.st_mtime_ns for stat in stats), default=0),
    )
