"""Labels that are one but are written in several ways."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from decimal import Decimal

from .cells import SEPARATORS

# Not "007", which is more of a name.
NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?", re.ASCII)
BOOLEANS = ("true", "false")


def same_values(labels: Iterable[str], given: Sequence[Collection[str]] = ()) -> list[list[str]]:
    """Groups of labels that are the same number or boolean: `1` and `1.0`, `true` and `True`.

    Args:
        labels (`Iterable[str]`): of one task.
        given (`Sequence[Collection[str]]`): the spellings that the task lists, or those of each
            finished model.

    Returns:
        `list[list[str]]`: groups of two or more, in each first the spelling to be used: one that is
        given, else the shortest. Those of which one list has several stay apart.
    """
    known = set().union(*given)
    groups = _groups({*labels, *known}, _value, lambda label: (label not in known, len(label)))
    return [group for group in groups if all(len({*group} & {*one}) < 2 for one in given)]


def other_spellings(labels: Iterable[str]) -> set[str]:
    """How files may also write these labels, if they are numbers or booleans."""
    spellings: set[str] = set()
    for label in map(str.strip, labels):
        if label.lower() in BOOLEANS:
            spellings |= {label.lower(), label.capitalize(), label.upper()}
        elif NUMBER.fullmatch(label) and Decimal(label) % 1 == 0:
            spellings |= {f"{int(Decimal(label))}", f"{int(Decimal(label))}.0"}
    return spellings


def similar_labels(labels: Iterable[str]) -> list[list[str]]:
    """Groups of labels that differ only in case, blanks or Unicode forms."""
    return _groups(set(labels), _plain, lambda label: 0)


def combined_labels(labels: Iterable[str]) -> list[str]:
    """The labels that are several others of them in one cell: `x#y` beside `x` and `y`."""
    known = set(labels)
    return sorted(
        label
        for label in known
        for separator in SEPARATORS
        if separator in label
        and label not in (parts := {part.strip() for part in label.split(separator)})
        and parts <= known
    )


def _groups(labels: set[str], same: Callable, preferred: Callable) -> list[list[str]]:
    groups: dict[object, list[str]] = defaultdict(list)
    for label in sorted(labels, key=lambda label: (preferred(label), label)):
        groups[same(label)].append(label)
    return [group for group in groups.values() if len(group) > 1]


def _value(label: str) -> object:
    """What two labels have in common if they are the same number or boolean."""
    bare = label.strip()
    if NUMBER.fullmatch(bare):
        return Decimal(bare)
    return bare.lower() if bare.lower() in BOOLEANS else (label,)


def _plain(label: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", label).casefold().split())


def merged(
    label_map: Mapping[str, str | None] | None, groups: list[list[str]]
) -> dict[str, str | None]:
    """A `label_map` that also gives the labels of each group the same name: the group's, or the
    name that the map gives to one of them."""
    result = dict(label_map or {})
    for group in groups:
        named = [label for label in group if label in result]
        for label in group:
            result.setdefault(label, result[named[0]] if named else group[0])
    return result
