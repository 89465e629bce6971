"""Reads the cells of labels, as files and tables hold them.

Each function raises a ValueError for a cell that holds something else.
"""

import ast
import json
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from .bad_rows import shown
from .label_alignment import IGNORE_INDEX
from .offset_units import check_offsets

SEPARATORS = (",", "|", ";", "#")
TRUE, FALSE = ("1", "1.0", "true", "yes", "x"), ("0", "0.0", "false", "no", "")
LARGEST = 3e38  # of float32, about
ADJACENT = re.compile(r"""['"]\s+['"]""")  # as in numpy's lists, which Python would join


def is_empty(cell: Any) -> bool:
    """Whether a cell holds no label."""
    return cell is None or (isinstance(cell, str) and not cell.strip())


def _is_bare(cell: Any) -> bool:
    """Whether a cell is text that is no list."""
    return isinstance(cell, str) and not cell.lstrip().startswith("[")


def labels_of_cell(cell: Any, separator: str | None = None) -> list[str]:
    """The labels of a cell: a list, a list as text, labels parted by the separator, or a label."""
    if _is_bare(cell):
        parts = map(str.strip, cell.split(separator)) if separator else [cell]
        return [part for part in parts if part]
    labels = parsed(cell)
    if not isinstance(labels, list) or any(
        label is None or isinstance(label, list | dict) for label in labels
    ):
        raise ValueError(f"should be a list of labels. Found {shown(cell)}.")
    return [str(label) for label in labels if not is_empty(label)]


def detect_separator(cells: Iterable[Any]) -> str | None:
    """What parts several labels in a cell: the one separator that occurs, if labels then repeat.

    Args:
        cells (`Iterable[Any]`): of a task with several labels a row.

    Raises:
        ValueError: several separators occur.
    """
    texts = set(filter(_is_bare, cells))
    found = {
        separator: sorted(text for text in texts if separator in text.strip(separator))
        for separator in SEPARATORS
    }
    found = {separator: examples for separator, examples in found.items() if examples}
    telling = [
        separator for separator in found if _repeats(labels_of_cell(x, separator) for x in texts)
    ]
    if len(telling) > 1 or (found and not telling):
        separator, (example, *_) = next(iter(found.items()))
        raise ValueError(
            f"may have several labels in a cell. Found {shown(example)}: set its separator, such "
            f"as {separator!r}, or '' if that is one label."
        )
    return telling[0] if telling else None


def _repeats(cells: Iterable[list[str]]) -> bool:
    """Whether a part of a cell of several parts is met in another cell, too."""
    lists = [set(parts) for parts in cells]
    counts = Counter(label for parts in lists for label in parts)
    return any(counts[label] > 1 for parts in lists if len(parts) > 1 for label in parts)


def marked_columns(cells: dict[str, Any]) -> list[str] | None:
    """The names of the columns that are marked, by 1, true, yes or x; None if all are empty."""
    if all(map(is_empty, cells.values())):
        return None
    return [name for name, cell in cells.items() if _is_marked(name, cell)]


def _is_marked(name: str, cell: Any) -> bool:
    text = "" if cell is None else str(cell).strip().lower()
    if text not in (*TRUE, *FALSE):
        raise ValueError(f"should have 0 or 1 in column {name!r}. Found {shown(cell)}.")
    return text in TRUE


def numbers_of_cell(label: Any) -> list[float]:
    if isinstance(label, str) and label.lstrip().startswith("["):
        label = parsed(label)
    try:
        numbers = [float(value) for value in (label if isinstance(label, list) else [label])]
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"should be a number. Found {shown(label)}.") from None
    if any(number - number != 0 for number in numbers):  # not finite
        raise ValueError(f"should be a finite number. Found {shown(label)}.")
    if any(abs(number) > LARGEST for number in numbers):
        limits = f"from -{LARGEST:g} to {LARGEST:g}"
        raise ValueError(f"should be a number {limits}. Found {shown(label)}.")
    return numbers


def parsed(label: Any) -> Any:
    """Parse a list in a cell of text: JSON, a Python list, or words separated by spaces."""
    if not isinstance(label, str):
        return label
    if not label.lstrip().startswith("["):
        return label.split()
    try:
        return json.loads(label)
    except (ValueError, RecursionError) as error:
        reason = error
    try:
        if not ADJACENT.search(label):
            return ast.literal_eval(label.strip())
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        pass  # it was meant as JSON
    raise ValueError(f"should be JSON ({reason}). Found {shown(label)}.")


def tags_of_cell(label: Any, words: list[str], task: dict) -> list[str | None]:
    """A tag per word: None of a word without a label, and the `labels` of class ids by number."""
    tags = parsed(label)
    if not isinstance(tags, list) or len(tags) != len(words):
        found = len(tags) if isinstance(tags, list) else shown(tags)
        raise ValueError(f"should have one tag for each of the {len(words)} words. Found {found}.")
    return [_tag(tag, task.get("labels"), task.get("unlabelled_tag")) for tag in tags]


def _tag(tag: Any, labels: list[str] | None, unlabelled: str | None) -> str | None:
    if tag is None or str(tag) in (str(IGNORE_INDEX), unlabelled):
        return None
    if labels is not None and tag not in labels and _is_id(tag):
        if int(tag) >= len(labels):
            raise ValueError(f"should have ids below {len(labels)}, of `labels`. Found {tag}.")
        return labels[int(tag)]
    if _is_id(tag) and not isinstance(tag, str):
        raise ValueError(f"should have tags that are texts, or ids of `labels`. Found {tag}.")
    if not isinstance(tag, str) or not tag.strip():
        raise ValueError(f"should have tags that are texts. Found {shown(tag)}.")
    return tag


def _is_id(tag: Any) -> bool:
    if isinstance(tag, str):
        return tag.isdecimal()
    return isinstance(tag, int) and not isinstance(tag, bool) and tag >= 0


def spans_of_cell(label: Any, text: str) -> tuple[list[dict], int]:
    """The checked spans of a cell, in order of start and each once, without blanks at their
    borders; and the number of blanks and repeats that were removed."""
    spans = parsed(label)
    if not isinstance(spans, list):
        raise ValueError(f"should be a list of spans. Found {shown(label)}.")
    given = [_span(span, text) for span in spans]
    check_offsets(given, text)
    trimmed = [_trimmed(span, text) for span in given]
    repaired = sum(one != other for one, other in zip(given, trimmed, strict=True))
    once = {tuple(span.values()): span for span in trimmed}
    kept = sorted(once.values(), key=lambda span: (span["start"], span["end"]))
    return kept, repaired + len(trimmed) - len(kept)


def _trimmed(span: dict, text: str) -> dict:
    """The span without blanks at its borders, unless it holds nothing else."""
    inside = text[span["start"] : span["end"]]
    bare = inside.strip()
    if not bare:
        return span
    start = span["start"] + len(inside) - len(inside.lstrip())
    return {**span, "start": start, "end": start + len(bare)}


def _span(span: Any, text: str) -> dict:
    given = span
    try:
        if isinstance(span, list | tuple):
            span = dict(zip(("start", "end", "label"), span, strict=True))
        start, end, name = int(span["start"]), int(span["end"]), span["label"]
    except (TypeError, KeyError, ValueError, OverflowError):
        raise ValueError(
            f"should have spans of start, end and label. Found {shown(given)}."
        ) from None
    if (start, end) != (span["start"], span["end"]):
        raise ValueError(f"should have whole numbers for start and end. Found {shown(given)}.")
    if not isinstance(name, str) or not name or not 0 <= start < end <= len(text):
        raise ValueError(
            f"should have named spans within the text's {len(text)} characters. "
            f"Found {shown(given)}."
        )
    if isinstance(span.get("text"), str) and span["text"] != text[start:end]:
        raise ValueError(
            f"should have spans in characters: {start} to {end} is {text[start:end]!r}. "
            f"Found {shown(given)}."
        )
    return {"start": start, "end": end, "label": name}
