"""Files written whole or not at all, and what tells whether one is still whole."""

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def write_json(content: dict, path: Path) -> None:
    """Write the whole file or nothing, keys sorted, and NaN and infinite numbers as null; missing
    folders are made."""
    content = for_json(content)
    write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", path)


def read_json(path: Path) -> Any:
    """What a file holds.

    Raises:
        OSError: it can't be read.
        ValueError: it is no JSON in UTF-8; names the file.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # JSON, or UTF-8
        raise ValueError(f"{path} is not valid JSON: {error}") from error


def for_json(content: Any) -> Any:
    """The content with None in place of NaN and infinite numbers."""
    if isinstance(content, dict):
        return {key: for_json(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [for_json(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def write_text(text: str, path: Path) -> None:
    """Write the whole file or nothing; missing folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8")
        to_disk(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def replacing_files(folder: Path) -> Iterator[Path]:
    """An empty folder to write to, whose files replace those of the same names in `folder` at the
    end; after an error `folder` is as it was."""
    scratch = folder / ".partial"  # on the same disk: the last step only renames
    shutil.rmtree(scratch, ignore_errors=True)  # of a run that was killed
    scratch.mkdir(parents=True)
    try:
        yield scratch
        written = sorted(path for path in scratch.rglob("*") if path.is_file())
        for path in written:
            to_disk(path)
        for path in written:
            target = folder / path.relative_to(scratch)
            target.parent.mkdir(exist_ok=True)
            os.replace(path, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def check_may_be_folder(key: str, folder: Path) -> None:
    """Raise a ValueError that names the key if the folder, or one above it, is a file."""
    found = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    if found.exists() and not found.is_dir():
        raise ValueError(f"{key} should be a folder. Found the file {found}.")


def to_disk(path: Path) -> None:
    """Return once a file's content is on the disk: one renamed before could be empty after a loss
    of power."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def size_and_hash(path: Path) -> dict[str, Any]:
    """The `size` of a file in bytes, and its `sha256`."""
    with path.open("rb") as file:
        return {
            "size": path.stat().st_size,
            "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
        }


def difference(path: Path, expected: Any) -> str | None:
    """How a file differs from what `size_and_hash` gave, in words that follow its name; None if it
    is as it was. Anything else than such a result differs from all files."""
    try:
        size = path.stat().st_size
        if not path.is_file() or size != expected["size"]:
            return f"should have {expected['size']:,} bytes. Found {size:,}."
        return None if size_and_hash(path) == expected else "has changed since it was written."
    except FileNotFoundError:
        return "is missing."
    except OSError as error:
        return f"can't be read: {error.strerror}."
    except (TypeError, KeyError):
        return "has no record of its content."
