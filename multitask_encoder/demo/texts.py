"""The texts of a visitor: their limits, and how they are read from uploaded files."""

from pathlib import Path

from multitask_encoder.data.readers import read_file

MAX_CHARACTERS = 100_000  # of a text
MAX_TEXTS, MAX_ALL_CHARACTERS = 1_000, 1_000_000  # of a list
MAX_FILE_BYTES = 5_000_000
LONGEST_REASON = 300  # characters: a file's header may have thousands of columns
FORMATS = {".csv": "csv", ".txt": "text"}
COLUMN = "text"


def checked(text: str | None, what: str = "The text") -> str:
    """The visitor's text itself; raises a ValueError, which calls it `what`, if it is empty or too
    long."""
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{what} should not be empty.")
    if len(text) > MAX_CHARACTERS:
        raise ValueError(
            f"{what} should have at most {MAX_CHARACTERS:,} characters. Found {len(text):,}."
        )
    return text


def checked_list(texts: list[str]) -> list[str]:
    """The texts themselves.

    Raises:
        ValueError: not a list, no text, too many of them, or an empty or too long one.
    """
    if not isinstance(texts, list):
        raise ValueError(f"The texts should be a list. Found a {type(texts).__name__}.")
    if not texts:
        raise ValueError("There should be a text. Found none.")
    if len(texts) > MAX_TEXTS:
        raise ValueError(f"There should be at most {MAX_TEXTS:,} texts. Found {len(texts):,}.")
    for number, text in enumerate(texts, start=1):
        checked(text, f"Text {number}")
    total = sum(map(len, texts))
    if total > MAX_ALL_CHARACTERS:
        raise ValueError(
            f"The texts should have at most {MAX_ALL_CHARACTERS:,} characters together. "
            f"Found {total:,}."
        )
    return texts


def lines_of(text: str | None) -> list[str]:
    """One text a line, without blank lines."""
    return [line.strip() for line in (text or "").split("\n") if line.strip()]


def read_upload(path: Path) -> list[str]:
    """The texts of a CSV, from its column `text` or its only column, or of a TXT, one a line.

    Empty texts are left out. Reading ends at the first text beyond the limit.

    Raises:
        ValueError: another kind of file, a too large one, or invalid content; the message holds the
            file's name without its folder.
    """
    form = FORMATS.get(path.suffix.lower())
    if form is None:
        raise ValueError(f"{path.name} should end in {' or '.join(FORMATS)}.")
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise ValueError(
            f"{path.name} should have at most {MAX_FILE_BYTES:,} bytes. Found {size:,}."
        )
    texts = []
    try:
        for place, row in read_file(path, form):
            if isinstance(row, ValueError):
                raise ValueError(f"{place}: {row}")
            text = row[_text_column(list(row))]
            if text.strip():
                texts.append(text)
            if len(texts) > MAX_TEXTS:
                raise ValueError(f"should have at most {MAX_TEXTS:,} texts. Found more.")
    except ValueError as error:
        reason = str(error).removeprefix(f"{path}: ")
        cut = reason if len(reason) <= LONGEST_REASON else f"{reason[:LONGEST_REASON]}..."
        raise ValueError(f"{path.name}: {cut}") from None
    return texts


def _text_column(columns: list[str]) -> str:
    if COLUMN in columns:
        return COLUMN
    if len(columns) > 1:
        raise ValueError(
            f"should have a column {COLUMN!r}, or only one column. Found {', '.join(columns)}."
        )
    return columns[0]
