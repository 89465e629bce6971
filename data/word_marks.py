"""The marks inside given words: texts are cut into words like those of the training rows."""

import re
from collections import Counter
from collections.abc import Iterable

from datasets import Dataset

# A letter or digit, and what is neither that nor white space.
LETTER, MARKS = r"[^\W_]", r"(?:[^\w\s]|_)"
BEGINS = re.compile(rf"({MARKS}){LETTER}")
INSIDE = re.compile(rf"(?<={LETTER}){MARKS}+(?={LETTER})")


def word_marks(parts: Iterable[Dataset], name: str) -> dict[str, str]:
    """`begin_marks` and `inner_marks` of a token task, see `modeling.decoding.word_ids`.

    A mark is an inner mark if it is inside more than twice as many words as it begins, and a begin
    mark otherwise: words such as "'s" leave the apostrophe of "Ann's" apart. Rows of text with
    spans have no words, and may begin or end an entity at any mark: with them, there are none.

    Args:
        parts (`Iterable[Dataset]`): loaded training rows, by data set.
        name (`str`): the task, whose labelled rows count.

    Returns:
        `dict[str, str]`: the keys that are not empty, their marks in the order of Unicode.
    """
    begins: Counter[str] = Counter()
    inside: Counter[str] = Counter()
    for rows in parts:
        if name not in rows.column_names:
            continue
        if "tokens" not in rows.column_names:
            return {}
        for words, tags in zip(rows["tokens"], rows[name], strict=True):
            for word in words if tags else ():
                if not word.isalnum():
                    begins.update(BEGINS.findall(word[:2]))
                    inside.update(mark for run in INSIDE.findall(word) for mark in set(run))
    marks = {
        "begin_marks": "".join(sorted(mark for mark in begins if inside[mark] <= 2 * begins[mark])),
        "inner_marks": "".join(sorted(mark for mark in inside if inside[mark] > 2 * begins[mark])),
    }
    return {key: value for key, value in marks.items() if value}
