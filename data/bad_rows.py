"""Bad rows: refused and all named, or skipped and set aside."""

import json
from collections.abc import Iterable
from typing import Any

import pyarrow.compute as pc
from datasets import Dataset

ON_BAD_ROW = ("refuse", "skip")
SHOWN_PROBLEMS = 20
SHOWN_CHARACTERS = 80


def shown(value: Any) -> str:
    """The value as shown in a message, cut to fit on a line."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}..."


def listed(names: Iterable[Any]) -> str:
    """Names of columns as shown in a message, with quotes where blanks or nothing would hide."""
    texts = map(str, names)
    return ", ".join(text if text and text == text.strip() else repr(text) for text in texts)


class BadRows(ValueError):
    """Bad rows, each named by file, line, field and the value found.

    Args:
        problems (`list[str]`): a line for each row.
    """

    def __init__(self, problems: list[str]):
        self.problems = problems
        lines = problems[:SHOWN_PROBLEMS]
        if len(problems) > 1:
            lines.insert(0, f"{len(problems)} rows are invalid:")
            if len(problems) > SHOWN_PROBLEMS:
                lines.append(f"and {len(problems) - SHOWN_PROBLEMS} more.")
            lines.append("`on_bad_row: skip` leaves them out and writes them to a file.")
        super().__init__("\n".join(lines))


def problem_line(row: dict) -> str:
    """A bad row's place and its problem."""
    return f"{row['source']}: {row['problem']}"


def as_skipped(row: dict, title: str) -> dict:
    """The record kept of a bad row: `title` (its split), `source`, `problem`, and `row` as read."""
    return {
        "title": title,
        "source": row["source"],
        "problem": row["problem"],
        "row": json.loads(row["raw"]),
    }


def good_rows(
    splits: list[tuple[str, Dataset]], on_bad_row: str
) -> tuple[list[Dataset], list[dict]]:
    """The rows without the bad ones.

    Args:
        splits (`list[tuple[str, Dataset]]`): names for messages, and rows with a column `problem`.
        on_bad_row (`str`): `refuse` or `skip`.

    Returns:
        `tuple[list[Dataset], list[dict]]`: the good rows without their column `problem`, and the
        `as_skipped` record of each skipped row.

    Raises:
        BadRows: a row is bad, and `on_bad_row` is `refuse`.
        ValueError: all rows of a split are bad.
    """
    good, skipped = [], []
    for name, rows in splits:
        problems = rows.select_columns("problem").with_format("arrow")[:]["problem"]
        bad = [index for index, valid in enumerate(pc.is_valid(problems).to_pylist()) if valid]
        if bad:
            bad_rows = rows.select(bad)
            skipped += [as_skipped(row, name) for row in bad_rows]
            if len(bad) == len(rows) and on_bad_row == "skip":
                raise ValueError(
                    f"{name}: all of its {len(rows)} rows are bad. The first: "
                    f"{problem_line(bad_rows[0])}"
                )
            kept = set(bad)
            rows = rows.select([index for index in range(len(rows)) if index not in kept])
        good.append(rows.remove_columns(["problem", "raw"]))
    if skipped and on_bad_row == "refuse":
        raise BadRows([problem_line(row) for row in skipped])
    return good, skipped
