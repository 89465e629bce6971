"""Files written whole or not at all."""

import json
import os
from pathlib import Path


def write_json(content: dict, path: Path) -> None:
    """Write the whole file or nothing, keys sorted; missing folders are made."""
    write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", path)


def write_text(text: str, path: Path) -> None:
    """Write the whole file or nothing; missing folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
