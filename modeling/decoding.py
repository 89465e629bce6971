"""From token labels to spans of characters.

A *unit* is what one label is about: a word where a task's `labelling` is `first`, a token where it
is `all`. Units are found in the tokenizer's own offsets; nothing is split a second time, so an
entity's text is always exactly `text[start:end]`.
"""

import unicodedata
from collections.abc import Callable

import torch


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
        # Some tokenizers leave accents out: between such tokens there is no real gap.
        gap = text[previous_end:start]
        return (
            previous_end > 0
            and all(unicodedata.category(character)[0] == "M" for character in gap)
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


def likeliest_labels(
    logits: torch.Tensor,
    units: torch.Tensor,
    labels: list[str],
    continues: torch.Tensor | None = None,
) -> torch.Tensor:
    """The likeliest sequence of labels in which no entity begins with `I-`.

    After `O`, or an entity of another type, an `I-` has no meaning. Of all sequences without one,
    that of the greatest sum of logits is taken (Viterbi's algorithm). It is the likeliest label of
    each unit wherever those are such a sequence.

    Args:
        logits (`torch.Tensor` of shape `(batch_size, seq_len, num_labels)`): of a token head.
        units (`torch.BoolTensor` of shape `(batch_size, seq_len)`): the tokens that stand for a
            unit; others are passed over.
        labels (`list[str]`): the task's, of which those that begin with `I-` are bound, where the
            `B-` of their type is among them.
        continues (`torch.BoolTensor` of shape `(batch_size,)`, *optional*): rows that go on where
            another one ends, and may begin with `I-`. By default none.

    Returns:
        `torch.LongTensor` of shape `(batch_size, seq_len)`: label ids; of tokens that stand for no
        unit, the likeliest by itself.
    """
    best = logits.argmax(-1)
    places = {label: index for index, label in enumerate(labels)}
    bound = [i for i, one in enumerate(labels) if one[:2] == "I-" and f"B-{one[2:]}" in places]
    if not bound:
        return best
    device = logits.device
    inside = torch.tensor(bound, device=device)
    begins = torch.tensor([places[f"B-{labels[index][2:]}"] for index in bound], device=device)
    if continues is None:
        continues = torch.zeros(len(logits), dtype=torch.bool, device=device)

    # The units of each row, one after the other.
    counts = units.sum(1)
    order = (~units).to(torch.uint8).argsort(dim=1, stable=True)[:, : int(counts.max())]
    chosen = best.gather(1, order)
    begin_of = torch.full((len(labels),), -1, device=device)
    begin_of[inside] = begins
    needed = begin_of[chosen]  # -1 where any label may come before
    free = needed < 0
    free[:, 1:] |= (chosen[:, :-1] == needed[:, 1:]) | (chosen[:, :-1] == chosen[:, 1:])
    free[:, :1] |= continues[:, None]
    there = torch.arange(order.shape[1], device=device) < counts[:, None]
    broken = (there & ~free).any(1).nonzero().squeeze(1)
    if len(broken):
        order, counts = order[broken], counts[broken]
        emissions = logits[broken].gather(1, order[..., None].expand(-1, -1, len(labels)))
        found = _viterbi(emissions.float(), counts, inside, begins, continues[broken])
        there = there[broken]
        rows = broken[:, None].expand_as(order)
        best[rows[there], order[there]] = found[there]
    return best


def _viterbi(
    emissions: torch.Tensor,
    counts: torch.Tensor,
    inside: torch.Tensor,
    begins: torch.Tensor,
    continues: torch.Tensor,
) -> torch.Tensor:
    """The best sequence of each row of `emissions`, shape `(batch_size, seq_len, num_labels)`, of
    which the first `counts` are there: `inside` labels come after themselves or their `begins`."""
    scores = emissions[:, 0].clone()
    barred = torch.zeros_like(scores)
    barred[:, inside] = -torch.inf
    scores += torch.where(continues[:, None], 0.0, barred)
    itself = torch.arange(scores.shape[1], device=scores.device).expand_as(scores)
    pointers = []
    for step in range(1, emissions.shape[1]):
        highest, before = scores.max(1, keepdim=True)
        reached, pointer = highest.expand_as(scores).clone(), before.expand_as(scores).clone()
        begun, gone_on = scores[:, begins], scores[:, inside]
        reached[:, inside] = torch.maximum(begun, gone_on)
        pointer[:, inside] = torch.where(begun >= gone_on, begins, inside)
        active = (step < counts)[:, None]
        scores = torch.where(active, reached + emissions[:, step], scores)
        pointers.append(torch.where(active, pointer, itself))
    label = scores.argmax(1, keepdim=True)
    path = [label]
    for pointer in reversed(pointers):
        label = pointer.gather(1, label)
        path.append(label)
    return torch.cat(path[::-1], dim=1)


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
