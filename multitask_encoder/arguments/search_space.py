"""The key `search`: which values of which keys are tried."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Range:
    """All numbers between two, drawn evenly, or evenly in the logarithm if the upper is at least
    ten times the lower."""

    low: float
    high: float

    @property
    def log(self) -> bool:
        return 0 < 10 * self.low <= self.high

    def at(self, place: float) -> float:
        """The number at a place from 0 to 1 between the two."""
        if self.log:
            return self.rounded(self.low * (self.high / self.low) ** place)
        return self.rounded(self.low + (self.high - self.low) * place)

    def rounded(self, number: float) -> float:
        """A number of the range with three digits, which are enough to tell trials apart."""
        return min(max(float(f"{number:.3g}"), self.low), self.high)


@dataclass(frozen=True)
class Choices:
    """Values to choose from."""

    values: list[Any]

    def at(self, place: float) -> Any:
        """The value at a place from 0 to 1 in the list."""
        return self.values[min(int(place * len(self.values)), len(self.values) - 1)]


Space = dict[str, Range | Choices]


def parse_space(given: Any) -> Space:
    """The space that a mapping of keys describes: two numbers with a point or an exponent are a
    range, any other list the values to choose from.

    Args:
        given (`dict`): lists by key; nested keys are nested, or dotted as on the command line.

    Raises:
        ValueError: something else than a list of different values.
    """
    if not isinstance(given, dict) or not given:
        raise ValueError(f"`search` should map keys to lists of values. Found {given!r}.")
    space: Space = {}
    for key, values in flat_keys(given):
        values = list(map(_value, values)) if isinstance(values, list) else values
        if (
            not isinstance(values, list)
            or len(values) < 2
            or any(values.count(v) > 1 for v in values)
        ):
            raise ValueError(
                f"search.{key} should be a list of at least two different values. Found {values!r}."
            )
        is_range = len(values) == 2 and all(isinstance(value, float) for value in values)
        if is_range and not all(map(math.isfinite, values)):
            raise ValueError(f"search.{key} should be a range of finite numbers. Found {values!r}.")
        space[str(key)] = Range(*sorted(values)) if is_range else Choices(values)
    return space


def flat_keys(given: dict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The keys of nested mappings, dotted."""
    for key, value in given.items():
        if isinstance(value, dict):
            yield from flat_keys(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _value(value: Any) -> Any:
    """As YAML means it: `1e-5` is a number, though PyYAML and the command line give a text."""
    for number in (int, float) if isinstance(value, str) else ():
        try:
            return number(value)
        except ValueError:
            continue
    return value


def values_at(space: Space) -> list[tuple[str, Any]]:
    """Each key with each value to choose from, or with both ends of its range."""
    return [
        (key, value)
        for key, one in space.items()
        for value in (one.values if isinstance(one, Choices) else (one.low, one.high))
    ]
