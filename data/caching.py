"""Fingerprints: a prepared data set is read from the cache if none of its inputs changed."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datasets.fingerprint import Hasher


def fingerprint(*parts: Any, functions: tuple[Callable, ...] = ()) -> str:
    """Hash values, the code of this package, and the modules of further functions.

    `datasets` hashes an importable function by name only, so after an update its cache would
    return the results of the old code.
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
    """Tasks without weights and what is fitted after training, which don't affect cached data."""
    apart = {"weight", "score_weight", "class_weights", "standardization"}
    apart |= {"thresholds", "out_of_scope"}
    return {
        name: {key: value for key, value in task.items() if key not in apart}
        for name, task in tasks.items()
    }


def file_state(path: Path) -> list[tuple[str, int, int]]:
    """Path, size and modification time of a file, or of every file in a folder."""
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    stats = {str(file.resolve()): file.stat() for file in files}
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()]
