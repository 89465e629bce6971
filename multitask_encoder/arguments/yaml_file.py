"""Reads a YAML config into a mapping of keys."""

import math
from pathlib import Path
from typing import Any

import yaml

MOST_LEVELS, MOST_VALUES = 20, 10**6  # of a config
MERGED = "tag:yaml.org,2002:merge"  # `<<`


class _Loader(yaml.SafeLoader):
    """Refuses a key that a mapping has twice, as the last would win unnoticed, and files that are
    nested so deep that reading them fails."""

    depth = 0

    def compose_node(self, parent, index):
        self.depth += 1
        if self.depth > MOST_LEVELS:
            raise yaml.composer.ComposerError(
                None, None, f"found more than {MOST_LEVELS} levels", self.peek_event().start_mark
            )
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key) for key, _ in node.value if key.tag != MERGED]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"found the key {key!r} twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """The keys of a run's YAML file.

    Raises:
        FileNotFoundError, ValueError: the file is missing, or holds something else.
    """
    if path.is_dir():
        raise FileNotFoundError(f"{path} is a folder: name the config, like {path}/config.yaml.")
    if not path.is_file():
        raise FileNotFoundError(f"No config file {path}.")
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: is not valid YAML: {' '.join(str(error).split())}") from None
    if _size(content, {}) > MOST_VALUES:
        raise ValueError(f"{path}: should hold at most {MOST_VALUES:,} values, aliases included.")
    if not isinstance(content, dict):
        raise ValueError(f"{path}: should hold keys and values. Found {content!r}.")
    return _unshared(content)


def _unshared(value: Any) -> Any:
    """A copy of a value of YAML in which aliases are values of their own: a key of one task must
    not change another."""
    if isinstance(value, dict):
        return {key: _unshared(one) for key, one in value.items()}
    return list(map(_unshared, value)) if isinstance(value, list) else value


def _size(value: Any, known: dict[int, float]) -> float:
    """The number of values in a value of YAML, which aliases can make huge, or infinite."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        known[id(value)] = math.inf  # should it be in itself
        inside = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_size(one, known) for one in inside)
    return known[id(value)]
