"""Files written whole or not at all."""

import json
import os
from pathlib import Path
from typing import Any


def write_json(content: dict, path: Path) -> None:
    """Write the whole file or nothing, keys sorted and undefined numbers as null; missing folders
    are made."""
    defined = _without_nan(content)
    write_text(json.dumps(defined, indent=2, sort_keys=True, ensure_ascii=False) + "\n", path)


def _without_nan(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _without_nan(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_without_nan(value) for value in content]
    return None if content != content else content


def write_text(text: str, path: Path) -> None:
    """Write the whole file or nothing; missing folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
