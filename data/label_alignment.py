"""Aligns labels of words or character spans with tokens, using only offsets.

A *word* is the unit that one label is for: in rows of `tokens`, each entry; in rows of `text`, each
word that the function given to `preprocess` finds from the tokenizer's offsets. Words are ranges of
characters.
"""

from bisect import bisect_left, bisect_right

IGNORE_INDEX = -100
UNSEEN = -101  # a token whose label training lacks: a unit to predict, ignored by the loss


def join_words(tokens: list[str]) -> tuple[str, list[tuple[int, int]]]:
    """Join words with spaces. Returns the text, and each word's start and end in it."""
    words, start = [], 0
    for token in tokens:
        words.append((start, start + len(token)))
        start += len(token) + 1
    return " ".join(tokens), words


def words_of_tokens(
    offsets: list[tuple[int, int]], words: list[tuple[int, int]]
) -> list[int | None]:
    """The word that each token belongs to: the first that it overlaps.

    Args:
        offsets (`list[tuple[int, int]]`): the tokens' character ranges, `start == end` for special
            tokens.
        words (`list[tuple[int, int]]`): the words' ranges, in order, not overlapping.

    Returns:
        `list[int | None]`: per token the index of its word, None if it overlaps no word.
    """
    starts = [start for start, _ in words]
    ids: list[int | None] = []
    for start, end in offsets:
        index = max(bisect_right(starts, start) - 1, 0)
        while index < len(words) and words[index][1] <= start:
            index += 1
        inside = index < len(words) and start < end and words[index][0] < end
        ids.append(index if inside else None)
    return ids


def first_tokens(word_ids: list[int | None], num_words: int) -> list[int]:
    """The index of each word's first token, -1 for a word without tokens."""
    positions = [-1] * num_words
    for index in range(len(word_ids) - 1, -1, -1):
        word = word_ids[index]
        if word is not None:
            positions[word] = index
    return positions


def word_ranges(
    word_ids: list[int | None], offsets: list[tuple[int, int]]
) -> list[tuple[int, int]]:
    """The range of each word, from the ranges of its tokens: the inverse of `words_of_tokens`."""
    ranges: list[tuple[int, int]] = []
    for word, (start, end) in zip(word_ids, offsets, strict=True):
        if word is None:
            continue
        if word == len(ranges):
            ranges.append((start, end))
        else:
            ranges[word] = (ranges[word][0], max(ranges[word][1], end))
    return ranges


def spans_to_tags(
    spans: list[dict], words: list[tuple[int, int]]
) -> tuple[list[str], list[dict], list[dict]]:
    """One IOB2 tag per word: a span covers each word that it overlaps.

    Args:
        spans (`list[dict]`): `{"start", "end", "label"}`, in order, not overlapping.
        words (`list[tuple[int, int]]`): the words' ranges.

    Returns:
        `(tags, widened, unalignable)`: the tags; the spans whose borders are not word borders,
        which the tags widen to the smallest range of words that covers them; and the spans that
        have no word of their own.
    """
    tags, widened, unalignable = ["O"] * len(words), [], []
    starts, ends = [start for start, _ in words], [end for _, end in words]
    for span in spans:
        # Words are in order, so those that overlap the span are between these two.
        first = bisect_right(ends, span["start"])
        last = bisect_left(starts, span["end"])
        covered = [index for index in range(first, last) if tags[index] == "O"]
        if not covered:
            unalignable.append(span)
            continue
        for index in covered:
            tags[index] = f"I-{span['label']}"
        tags[covered[0]] = f"B-{span['label']}"
        if (words[covered[0]][0], words[covered[-1]][1]) != (span["start"], span["end"]):
            widened.append(span)
    return tags, widened, unalignable


def label_id(label: str, labels: list[str]) -> int:
    """The index of `label`; a ValueError that lists the known labels if it is not one of them."""
    try:
        return labels.index(label)
    except ValueError:
        shown = ", ".join(labels[:20]) + (", ..." if len(labels) > 20 else "")
        raise ValueError(
            f"unknown label {label!r}. Expected one seen in training or given as `labels`: {shown}."
        ) from None


def token_labels(
    tag_ids: list[int],
    word_ids: list[int | None],
    labels: list[str],
    labelling: str,
    unit_ids: list[int | None] | None = None,
) -> list[int]:
    """One label per token.

    Args:
        tag_ids (`list[int]`): per word an index into `labels`, -100 of a word without a label.
        word_ids (`list[int | None]`): per token the index of its word, None for special tokens.
        labels (`list[str]`): the task's tags, `O`, `B-...`, `I-...`.
        labelling (`str`): `first` labels the first token of each word and of each of `unit_ids`,
            and ignores the others; `all` labels every token. Tokens after the first of a `B-` word
            get the `I-` of its type.
        unit_ids (`list[int | None]`, *optional*): per token the index of the word found from the
            text alone. It may be part of a given word, like each piece of "U.S.", and the model
            predicts its label when it reads texts.

    Returns:
        `list[int]`: indices into `labels`, -100 where the loss ignores the token.
    """
    token_ids, previous, previous_unit = [], None, None
    for word, unit in zip(word_ids, unit_ids or word_ids, strict=True):
        if word is None:
            token_ids.append(IGNORE_INDEX)
            continue
        if word != previous or tag_ids[word] < 0:
            token_ids.append(tag_ids[word])
        elif labelling == "first" and unit == previous_unit:
            token_ids.append(IGNORE_INDEX)
        else:
            tag = labels[tag_ids[word]]
            token_ids.append(label_id(f"I{tag[1:]}", labels) if tag[0] == "B" else tag_ids[word])
        previous, previous_unit = word, unit
    return token_ids
