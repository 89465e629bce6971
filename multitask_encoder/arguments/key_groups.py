"""Reads flat keys into dataclasses of arguments, each value as its key takes it."""

import difflib
import json
from dataclasses import fields
from typing import Any

from transformers import HfArgumentParser

from multitask_encoder.modeling.library_errors import first_line

LARGEST_NUMBER = 2**32 - 1  # of seeds; everything else is smaller


class _Parser(HfArgumentParser):
    def error(self, message: str):
        raise ValueError(message)


def parse_groups(flat: dict, groups: tuple, also: tuple = (), prefix: str = "") -> tuple:
    """The dataclasses of `groups` from a mapping of keys; keys in `also` are read elsewhere."""
    flat = {key: value for key, value in flat.items() if value is not None}
    known = [one.name for group in groups for one in fields(group) if one.init]
    for key in flat:
        check_key(key, [*known, *also], prefix)
    parser = _Parser(groups)
    lists = [action.dest for action in parser._actions if action.nargs == "+"]
    for key, value in flat.items():
        if isinstance(value, list) and len(value) != 1 and key not in lists:
            raise ValueError(f"{prefix}{key} should be one value. Found {value!r}.")
    for action in parser._actions:
        if action.dest in flat and action.type in (int, float):
            _check_number(f"{prefix}{action.dest}", flat[action.dest], action.default)
    try:
        return parser.parse_args_into_dataclasses(_as_argv(flat), look_for_args_file=False)
    except (TypeError, ImportError) as error:  # of TrainingArguments' own checks
        raise ValueError(first_line(error)) from None


def _check_number(key: str, value: Any, default: Any) -> None:
    """Refuse numbers that no key takes: infinite ones, and negative ones unless the default is."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return  # the parser says it
    lowest = default if isinstance(default, int | float) and default < 0 else 0
    if not lowest <= number <= LARGEST_NUMBER:
        raise ValueError(
            f"{key} should be a number from {lowest} to {LARGEST_NUMBER:,}. Found {value}."
        )


def _as_argv(flat: dict[str, Any]) -> list[str]:
    """The mapping as a command line: one place, argparse, then checks and converts every value."""
    argv = []
    for key, value in flat.items():
        values = value if isinstance(value, list) else [value]
        # `--key=value`, so that a value may begin with a dash; lists take one `--key` and many
        # values.
        texts = [json.dumps(one) if isinstance(one, dict) else str(one) for one in values]
        argv += [f"--{key}={texts[0]}"] if len(texts) == 1 else [f"--{key}", *texts]
    return argv


def check_key(key: str, known: list[str], prefix: str = "") -> None:
    if key in known:
        return
    nearest = difflib.get_close_matches(str(key), known, n=1, cutoff=0.4)
    hint = f" Did you mean {prefix}{nearest[0]}?" if nearest else ""
    raise ValueError(f"Unknown key {prefix}{key}.{hint}")


def check_choice(key: str, found: Any, allowed: tuple[str, ...]) -> None:
    if found not in allowed:
        raise ValueError(f"{key} should be one of {', '.join(allowed)}. Found {found!r}.")


def to_number(key: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{key} should be a number. Found {value!r}.") from None
