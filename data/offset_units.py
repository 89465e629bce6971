"""Offsets that don't count characters: recognised by the words that they would cut.

Tools count in other units than Python: editors take a line break of two characters for one,
browsers count UTF-16, some annotation tools what a reader takes for one character (a grapheme,
Unicode Standard Annex 29), others bytes. Labels then lie beside their words.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import accumulate

import regex

UNITS = {
    r"line breaks \r\n as one": lambda text: regex.findall(r"\r\n|.", text, regex.DOTALL),
    "graphemes (a letter and its marks are one)": lambda text: regex.findall(r"\X", text),
}
# Of these a character is one or several.
CODES = {"UTF-16 units": "utf-16-le", "UTF-8 bytes": "utf-8"}
# What to do about offsets, and what it adds to start and end. A blank at a border is gone already.
SHIFTS = {
    None: (0, 0),
    "add 1 to each end: they are inclusive": (0, 1),
    "take 1 from each start: they are counted from 1": (-1, 0),
    "take 1 from each start and end: they are counted from 1": (-1, -1),
}
NEARLY_ALL = 0.9  # of the spans


def check_offsets(spans: list[dict], text: str) -> None:
    """Refuse spans that cut words, and cut none if their offsets count something else.

    Args:
        spans (`list[dict]`): with `start` and `end`, in characters of the text.
        text (`str`): of a row.

    Raises:
        ValueError: they count other units; names these and a span.
    """
    cut = next((span for span in spans if _cuts(text, span["start"], span["end"])), None)
    if cut is None or (text.isascii() and "\r\n" not in text):
        return
    for unit, places in _readings(text):
        read = [(places.get(span["start"]), places.get(span["end"])) for span in spans]
        if all(None not in pair and not _cuts(text, *pair) for pair in read):
            start, end = read[spans.index(cut)]
            if (start, end) != (cut["start"], cut["end"]):
                raise ValueError(
                    f"should have spans in characters. Found {cut['start']} to {cut['end']}, "
                    f"{text[cut['start'] : cut['end']]!r}; counted in {unit} they are "
                    f"{text[start:end]!r}, as all spans of the row then fit its words."
                )


def likely_shift(rows: Iterable[tuple[str, list[dict]]]) -> str | None:
    """By what all offsets of a file are probably wrong: what to do so that nine in ten of the spans
    cut no word, if they do as they are.

    Args:
        rows (`Iterable[tuple[str, list[dict]]]`): texts, and their spans with `start` and `end`.
    """
    fitting: Counter[str | None] = Counter()
    total = 0
    for text, spans in rows:
        total += len(spans)
        for advice, (first, last) in SHIFTS.items():
            fitting[advice] += sum(
                span["start"] + first >= 0
                and span["end"] + last <= len(text)
                and not _cuts(text, span["start"] + first, span["end"] + last)
                for span in spans
            )
    best = max(SHIFTS, key=lambda advice: fitting[advice])
    return best if fitting[best] >= NEARLY_ALL * total else None


def _readings(text: str) -> Iterator[tuple[str, dict[int, int]]]:
    """Each unit, and the characters at which its offsets lie."""
    for unit, split in UNITS.items():
        ends = accumulate(map(len, split(text)), initial=0)
        yield unit, dict(enumerate(ends))
    for unit, code in CODES.items():
        size = 2 if code == "utf-16-le" else 1
        lengths = (len(character.encode(code, "surrogatepass")) // size for character in text)
        yield unit, {place: index for index, place in enumerate(accumulate(lengths, initial=0))}


def _cuts(text: str, start: int, end: int) -> bool:
    """Whether a span begins or ends within a word, or with a blank."""
    inside = text[start:end]
    if not inside or inside[0].isspace() or inside[-1].isspace():
        return True
    return _within_word(text, start) or _within_word(text, end)


def _within_word(text: str, place: int) -> bool:
    return 0 < place < len(text) and text[place - 1].isalnum() and text[place].isalnum()
