"""From token labels to spans of characters.

A *unit* is what one label is about: a word where a task's `labelling` is `first`, a token where it
is `all`. Units are found in the tokenizer's own offsets; nothing is split a second time, so an
entity's text is always exactly `text[start:end]`.
"""

import unicodedata
from collections.abc import Callable


def strip_offsets(text: str, offsets: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The tokens' character ranges without the white space that some tokenizers include.

    Args:
        text (`str`): what was tokenized.
        offsets (`list[tuple[int, int]]`): start and end of each token, `(0, 0)` for special tokens.

    Returns:
        `list[tuple[int, int]]`: the same, empty ranges (`start == end`) for tokens without a
        visible character.
    """
    stripped = []
    for start, end in offsets:
        # Few tokens have any, and this is done for every token there is.
        if start < end and (text[start].isspace() or text[end - 1].isspace()):
            while start < end and text[start].isspace():
                start += 1
            while start < end and text[end - 1].isspace():
                end -= 1
        stripped.append((start, end))
    return stripped


def word_ids(text: str, offsets: list[tuple[int, int]]) -> list[int | None]:
    """Which word each token belongs to.

    A token begins a word unless it continues, with no gap, a run of letters and digits. Scripts
    written without spaces (Chinese, Japanese, and Korean as well) have no such runs: there every
    token is a word.

    Args:
        text (`str`): what was tokenized.
        offsets (`list[tuple[int, int]]`): from `strip_offsets`.

    Returns:
        `list[int | None]`: per token the index of its word, None for special and empty tokens.
    """

    def inside_word(start: int, previous_end: int) -> bool:
        return (
            start <= previous_end
            and _continues_word(text[start])
            and _continues_word(text[start - 1])
        )

    return _unit_ids(offsets, inside_word)


def token_ids(text: str, offsets: list[tuple[int, int]]) -> list[int | None]:
    """As `word_ids`, with each token a unit of its own, and those that share a character one."""
    return _unit_ids(offsets, lambda start, previous_end: False)


def _unit_ids(
    offsets: list[tuple[int, int]], continues: Callable[[int, int], bool]
) -> list[int | None]:
    """The unit of each token: a new one unless `continues`, told where the token starts and where
    those before it end, says that it goes on."""
    ids: list[int | None] = []
    unit, previous_end = -1, -1
    for start, end in offsets:
        if start == end:
            ids.append(None)
            continue
        # Byte-level tokenizers cut one character into several tokens with the same offsets.
        if not (start < previous_end or continues(start, previous_end)):
            unit += 1
        ids.append(unit)
        previous_end = max(previous_end, end)
    return ids


# A task's `labelling` -> how the units of a text are found.
UNITS = {"first": word_ids, "all": token_ids}


def _continues_word(character: str) -> bool:
    """Letters, digits and marks of scripts that put spaces between words."""
    category = unicodedata.category(character)
    if category[0] == "M":  # a combining mark belongs to the letter before it
        return True
    return category[0] in "LN" and unicodedata.east_asian_width(character) not in "WF"


def tags_to_spans(
    tags: list[str], words: list[tuple[int, int]]
) -> list[tuple[int, int, str, list[int]]]:
    """Entities from one IOB2 tag per word.

    An `I-` with no `B-` of its type before it begins an entity, as in seqeval's default mode.

    Args:
        tags (`list[str]`): `O`, `B-...` or `I-...` per word.
        words (`list[tuple[int, int]]`): the words' start and end in the text.

    Returns:
        `list[tuple[int, int, str, list[int]]]`: start, end, label and the words' indices.
    """
    spans: list[tuple[int, int, str, list[int]]] = []
    previous = "O"
    for index, (tag, (start, end)) in enumerate(zip(tags, words, strict=True)):
        if tag != "O":
            label = tag[2:]
            if tag[0] == "I" and previous != "O" and previous[2:] == label:
                first, _, _, members = spans.pop()
                spans.append((first, end, label, [*members, index]))
            else:
                spans.append((start, end, label, [index]))
        previous = tag
    return spans
