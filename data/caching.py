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


def unweighted(tasks: dict[str, dict]) -> dict[str, dict]:
    """Tasks without the weights of their losses, which change nothing that is cached."""
    return {
        name: {key: value for key, value in task.items() if key != "weight"}
        for name, task in tasks.items()
    }


def file_state(path: Path) -> list[tuple[str, int, int]]:
    """What changes when a file, or one in a folder, does: path, size and time of each."""
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    stats = {str(file.resolve()): file.stat() for file in files}
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()]
