"""From token labels to spans of characters.

In numpy where there are many operations on few numbers each, which take longer in torch.

A *unit* is what one label describes: a word if a task's `labelling` is `first`, a token if it is
`all`. Units come from the tokenizer's own offsets; nothing is split a second time, so an entity's
text is always exactly `text[start:end]`.
"""

import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

# Begins of the names of the characters that have no spaces between words, besides the wide ones of
# East Asia: class SA of https://unicode.org/reports/tr14.
UNSPACED = ("THAI ", "LAO ", "MYANMAR ", "KHMER ", "TAI ", "NEW TAI ", "AHOM ")
ZERO_WIDTH_SPACE, ZERO_WIDTH_JOINER = "\u200b", "\u200d"


def strip_offsets(text: str, offsets: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The tokens' character ranges without the white space that some tokenizers include, and with
    the accents and vowel signs after their letters that some leave out.

    Args:
        text (`str`): the tokenized text.
        offsets (`list[tuple[int, int]]`): start and end of each token, `(0, 0)` for special tokens.

    Returns:
        `list[tuple[int, int]]`: the same, empty ranges (`start == end`) for tokens without a
        visible character.

    Example:

    ```python
    >>> from multitask_encoder.modeling.decoding import strip_offsets
    >>> strip_offsets("in Rome", [(0, 0), (0, 2), (2, 7), (0, 0)])
    [(0, 0), (0, 2), (3, 7), (0, 0)]

    ```
    """
    stripped = []
    for start, end in offsets:
        # Few tokens have any, and this runs for every token.
        if start < end and (text[start].isspace() or text[end - 1].isspace()):
            while start < end and text[start].isspace():
                start += 1
            while start < end and text[end - 1].isspace():
                end -= 1
        stripped.append((start, end))
    if not text.isascii():
        following = len(text)
        for index in reversed(range(len(stripped))):
            start, end = stripped[index]
            if start < end:
                while end < following and unicodedata.category(text[end])[0] == "M":
                    end += 1
                stripped[index] = (start, end)
                following = start
    return stripped


def word_ids(
    text: str,
    offsets: list[tuple[int, int]],
    begin_marks: str = "",
    inner_marks: str = "",
) -> list[int | None]:
    """The word that each token belongs to.

    A word is a run of letters and digits; any other visible character is a word of its own, but
    for the marks inside the words that a model was trained on. Accents, joiners and other
    characters without a width of their own belong to the character before them (rule WB4 of
    https://unicode.org/reports/tr29). In scripts written without spaces (Chinese, Japanese, Thai,
    Khmer, ..., and Korean as well) every token is a word.

    Args:
        text (`str`): the tokenized text.
        offsets (`list[tuple[int, int]]`): from `strip_offsets`.
        begin_marks (`str`): characters that belong to the letters after them ("@name", "'s").
        inner_marks (`str`): characters that join the letters on both sides ("co-op", "U.S.").

    Returns:
        `list[int | None]`: per token the index of its word, None for special and empty tokens.

    Example:

    ```python
    >>> from multitask_encoder.modeling.decoding import word_ids
    >>> word_ids("in Paris", [(0, 0), (0, 2), (3, 6), (6, 8), (0, 0)])
    [None, 0, 1, 1, None]
    >>> word_ids("co-op", [(0, 2), (2, 3), (3, 5)], inner_marks="-")
    [0, 0, 0]

    ```
    """

    def inside_word(start: int, previous_end: int) -> bool:
        # Some tokenizers leave accents and joiners out, which is no real gap.
        if previous_end <= 0 or not all(map(_extends, text[previous_end:start])):
            return False
        after = text[start]
        if _extends(after) or text[start - 1] == ZERO_WIDTH_JOINER:
            return True
        before = _base(text, start - 1)
        if _continues_word(after):
            return (
                _continues_word(before)
                or before in begin_marks
                or (before in inner_marks and _between_letters(text, start - 1, inner_marks))
            )
        return after in inner_marks and (
            _between_letters(text, start, inner_marks) or _ends_abbreviation(text, start)
        )

    return _unit_ids(offsets, inside_word)


def _between_letters(text: str, index: int, marks: str) -> bool:
    """Whether the run of `marks` around `index` has letters or digits on both sides."""
    start = end = index
    while start > 0 and text[start - 1] in marks:
        start -= 1
    while end + 1 < len(text) and text[end + 1] in marks:
        end += 1
    inside = start > 0 and end + 1 < len(text)
    return inside and _continues_word(_base(text, start - 1)) and _continues_word(text[end + 1])


def _ends_abbreviation(text: str, index: int) -> bool:
    """Whether the mark at `index` ends a word such as "U.S.": a letter, and the same mark again."""
    return index > 1 and text[index - 2] == text[index] and text[index - 1].isalpha()


def token_ids(
    text: str, offsets: list[tuple[int, int]], begin_marks: str = "", inner_marks: str = ""
) -> list[int | None]:
    """As `word_ids`, but each token is a unit, and tokens that share a character are one unit; the
    marks are not used."""
    return _unit_ids(offsets, lambda start, previous_end: False)


def _unit_ids(
    offsets: list[tuple[int, int]], continues: Callable[[int, int], bool]
) -> list[int | None]:
    """The unit of each token: a new one unless `continues(start, previous_end)` is true."""
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


# A task's `labelling` -> the function that finds the units of a text.
UNITS = {"first": word_ids, "all": token_ids}


def cutting(task: dict) -> tuple[str, str, str]:
    """How a token task cuts texts into units: its `labelling`, `begin_marks` and `inner_marks`."""
    return task["labelling"], task.get("begin_marks", ""), task.get("inner_marks", "")


def _continues_word(character: str) -> bool:
    """Letters and digits of scripts that put spaces between words."""
    return (
        unicodedata.category(character)[0] in "LN"
        and unicodedata.east_asian_width(character) not in "WF"
        and not unicodedata.name(character, "").startswith(UNSPACED)
    )


def _extends(character: str) -> bool:
    """Whether a character belongs to the one before it: accents, joiners, soft hyphens."""
    category = unicodedata.category(character)
    return category[0] == "M" or (category == "Cf" and character != ZERO_WIDTH_SPACE)


def _base(text: str, index: int) -> str:
    """The character at `index`, or the one that it belongs to."""
    while index > 0 and _extends(text[index]):
        index -= 1
    return text[index]


def likeliest_labels(
    logits: torch.Tensor,
    units: torch.Tensor,
    labels: list[str],
    continues: torch.Tensor | None = None,
) -> torch.Tensor:
    """The likeliest sequence of labels in which no entity begins with `I-`.

    After `O`, or an entity of another type, an `I-` has no meaning. Of all sequences without one,
    the one with the greatest sum of logits is taken (Viterbi's algorithm). If the likeliest label
    of each unit by itself already makes one, that is it.

    Args:
        logits (`torch.Tensor` of shape `(batch_size, seq_len, num_labels)`): from a token head.
        units (`torch.BoolTensor` of shape `(batch_size, seq_len)`): the tokens that stand for a
            unit; others are passed over.
        labels (`list[str]`): the task's. An `I-` label is restricted if its `B-` is among them.
        continues (`torch.BoolTensor` of shape `(batch_size,)`, *optional*): rows that continue
            another row, and may begin with `I-`. By default none.

    Returns:
        `torch.LongTensor` of shape `(batch_size, seq_len)`: label ids; for tokens that stand for no
        unit, the likeliest by itself.

    Example:

    ```python
    >>> import torch
    >>> from multitask_encoder.modeling.decoding import likeliest_labels
    >>> logits = torch.tensor([[[2.0, 1.5, 0.0], [0.0, 1.0, 3.0]]])
    >>> logits.argmax(-1)  # O, I-LOC
    tensor([[0, 2]])
    >>> likeliest_labels(logits, torch.ones(1, 2, dtype=torch.bool), ["O", "B-LOC", "I-LOC"])
    tensor([[1, 2]])

    ```
    """
    best = logits.argmax(-1)
    pairs = _pairs(tuple(labels))
    if len(pairs):
        _mend(best, logits, units, pairs, continues)
    return best


def entity_type(label: str) -> str:
    """What a label names: `LOC` of `B-LOC` and `I-LOC`. Any other label is a type of its own, whose
    units are entities each."""
    return label[2:] if label[:2] in ("B-", "I-") else label


@lru_cache
def _pairs(labels: tuple[str, ...]) -> np.ndarray:
    """The ids of each type's `B-` and `I-`, of shape `(num_types, 2)`."""
    ids = {label: index for index, label in enumerate(labels)}
    return np.array(
        [
            (ids[f"B-{label[2:]}"], index)
            for label, index in ids.items()
            if label[:2] == "I-" and f"B-{label[2:]}" in ids
        ]
    )


@lru_cache
def _kinds(labels: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """By label: its type's number, whether it is outside of entities, and whether it goes on."""
    names = [entity_type(label) for label in labels]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return (
        np.array([numbers[name] for name in names]),
        np.array([label == "O" for label in labels]),
        np.array([label[:2] == "I-" for label in labels]),
    )


def _mend(
    best: torch.Tensor,
    logits: torch.Tensor,
    units: torch.Tensor,
    pairs: np.ndarray,
    continues: torch.Tensor | None,
) -> None:
    """Replace the rows of `best` in which an `I-` label follows neither itself nor its `B-` (as in
    `pairs`, of shape `(num_types, 2)`) by the best sequence without one."""
    there = units.cpu().numpy()
    goes_on = np.zeros(len(there), dtype=bool) if continues is None else continues.cpu().numpy()
    begins, inside = pairs.T
    begin_of = np.full(logits.shape[-1], -1)  # of labels that may follow any other
    begin_of[inside] = begins
    rows, tokens = there.nonzero()
    chosen = best.cpu().numpy()[rows, tokens]
    needed = begin_of[chosen]
    is_first, follows = np.ones_like(rows, dtype=bool), np.zeros_like(rows, dtype=bool)
    is_first[1:] = rows[1:] != rows[:-1]
    follows[1:] = (chosen[:-1] == needed[1:]) | (chosen[:-1] == chosen[1:])
    makes_sense = (needed < 0) | np.where(is_first, goes_on[rows], follows)
    broken = np.unique(rows[~makes_sense])
    if not len(broken):
        return
    # The rows with most units first, so that those that have ended are the last ones.
    counts = there[broken].sum(1)
    broken, counts = (one[np.argsort(-counts, kind="stable")] for one in (broken, counts))
    # The units of each row, one after the other; the labels with both kinds at the end.
    order = np.argsort(~there[broken], axis=1, kind="stable")[:, : counts[0]]
    others = np.flatnonzero(~np.isin(np.arange(logits.shape[-1]), pairs))
    labels = np.concatenate([others, begins, inside])
    emissions = logits[torch.from_numpy(broken)].detach().float().cpu().numpy()
    emissions = emissions[np.arange(len(broken))[:, None], order].take(labels, axis=2)
    mended = labels[_viterbi(emissions, counts, len(pairs), goes_on[broken])]
    present = np.arange(order.shape[1]) < counts[:, None]
    rows = np.broadcast_to(broken[:, None], order.shape)
    rows, tokens, found = (torch.from_numpy(one[present]) for one in (rows, order, mended))
    best[rows, tokens] = found.to(best.device)


def _viterbi(
    emissions: np.ndarray, counts: np.ndarray, types: int, goes_on: np.ndarray
) -> np.ndarray:
    """The best sequence, shape `(batch_size, seq_len)`, for each row of `emissions`, shape
    `(batch_size, seq_len, num_labels)`. The last labels are the `B-` of so many `types`, and behind
    them their `I-` in the same order, which come only after themselves or their `B-`, or first in
    rows that go on. A row's units are the first `counts`, which never rise; labels after them mean
    nothing."""
    first_begin, first_inside = emissions.shape[2] - 2 * types, emissions.shape[2] - types
    scores = emissions[:, 0].copy()
    scores[~goes_on, first_inside:] = -np.inf
    before = np.empty(emissions.shape[:2], dtype=np.int64)  # of a label that may follow any other
    begun = np.empty((*emissions.shape[:2], types), dtype=bool)  # `I-` follows its `B-`
    rows = np.arange(len(emissions))
    active = (counts > np.arange(emissions.shape[1])[:, None]).sum(1).tolist()
    for step, some in enumerate(active[1:], start=1):
        known, added = scores[:some], emissions[:some, step]
        begin, inside = known[:, first_begin:first_inside], known[:, first_inside:]
        before[:some, step] = known.argmax(1)
        begun[:some, step] = begin >= inside
        highest = known[rows[:some], before[:some, step]]
        entered = np.maximum(begin, inside) + added[:, first_inside:]
        known[:, :first_inside] = highest[:, None] + added[:, :first_inside]
        known[:, first_inside:] = entered
    path = np.zeros(emissions.shape[:2], dtype=np.int64)
    label = scores.argmax(1)
    for step in reversed(range(emissions.shape[1])):
        some = active[step]
        path[:some, step] = now = label[:some]
        if step:
            of_type = np.maximum(now - first_inside, 0)
            inner = np.where(begun[rows[:some], step, of_type], now - types, now)
            label[:some] = np.where(now < first_inside, before[:some, step], inner)
    return path


class Spans(NamedTuple):
    """Entities of rows of units, row after row: arrays of shape `(num_entities,)`."""

    rows: np.ndarray
    first: np.ndarray  # unit, counted within the row
    last: np.ndarray
    labels: np.ndarray  # ids of the first units' labels
    scores: np.ndarray  # the means of the probabilities of the units' labels


def likeliest_spans(logits: torch.Tensor, units: torch.Tensor, labels: list[str]) -> Spans:
    """The entities of the `likeliest_labels`, whose arguments these are, as `tags_to_spans` makes
    them."""
    best, there = likeliest_labels(logits, units, labels).cpu().numpy(), units.cpu().numpy()
    types, outside, inside = _kinds(tuple(labels))
    rows, tokens = (there & ~outside[best]).nonzero()
    chosen, places = best[rows, tokens], there.cumsum(1)[rows, tokens] - 1
    goes_on = inside[chosen]
    goes_on[:1] = False
    for of_unit, step in ((rows, 0), (places, 1), (types[chosen], 0)):
        goes_on[1:] &= of_unit[1:] == of_unit[:-1] + step
    starts = (~goes_on).nonzero()[0]
    sizes = np.diff(starts, append=len(rows))
    last = starts + sizes - 1
    probabilities = logits[torch.from_numpy(rows), torch.from_numpy(tokens)].softmax(-1)
    scores = probabilities.detach().cpu().double().numpy()[np.arange(len(rows)), chosen]
    means = np.add.reduceat(scores, starts) / sizes
    return Spans(rows[starts], places[starts], places[last], chosen[starts], means)


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

    Example:

    ```python
    >>> from multitask_encoder.modeling.decoding import tags_to_spans
    >>> tags_to_spans(["O", "B-LOC", "I-LOC"], [(0, 2), (3, 6), (7, 11)])  # in New York
    [(3, 11, 'LOC', [1, 2])]

    ```
    """
    spans: list[tuple[int, int, str, list[int]]] = []
    previous = "O"
    for index, (tag, (start, end)) in enumerate(zip(tags, words, strict=True)):
        if tag != "O":
            label = entity_type(tag)
            if tag[:2] == "I-" and entity_type(previous) == label:
                first, _, _, members = spans.pop()
                spans.append((first, end, label, [*members, index]))
            else:
                spans.append((start, end, label, [index]))
        previous = tag
    return spans
