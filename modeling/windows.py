"""A text as tokens with exact offsets, in as many windows as the encoder needs to read all of it.

Neighbouring windows overlap. Every token is answered by one of them, the one where it has most
context, so that a long document has one answer per token like a short one.
"""

from itertools import pairwise
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from .decoding import strip_offsets


class Window(NamedTuple):
    """Tokens `start` to `end` of a text, of which it answers for `first` to `last` (exclusive)."""

    start: int
    end: int
    first: int
    last: int


class TokenizedText(NamedTuple):
    """A text's tokens, without those that every window gets before and after them.

    Args:
        prefix, suffix (`list[int]`): the special tokens, and the prompt's.
        ids (`list[int]`): the text's own tokens.
        offsets (`list[tuple[int, int]]`): where in the text each of `ids` is, without white space;
            empty ranges for tokens with no visible character.
        windows (`list[Window]`): ranges of `ids`; one of all, where the encoder takes them at once.
    """

    prefix: list[int]
    ids: list[int]
    suffix: list[int]
    offsets: list[tuple[int, int]]
    windows: list[Window]

    def length_of(self, window: Window) -> int:
        """How many tokens the encoder is given for one window."""
        return len(self.prefix) + window.end - window.start + len(self.suffix)

    def input_ids(self, window: Window) -> list[int]:
        """What the encoder is given for one window."""
        return [*self.prefix, *self.ids[window.start : window.end], *self.suffix]


def tokenize(
    tokenizer: PreTrainedTokenizerBase,
    texts: list[str],
    prompt: str = "",
    max_length: int | None = None,
    stride: int | None = None,
) -> list[TokenizedText]:
    """Tokenize texts and cut long ones into windows.

    Args:
        tokenizer (`PreTrainedTokenizerBase`): a fast one.
        texts (`list[str]`): any, empty ones as well.
        prompt (`str`): put before every window.
        max_length (`int`, *optional*): tokens per window, special tokens and prompt included; by
            default what the tokenizer says its encoder takes.
        stride (`int`, *optional*): tokens that one window shares with the next, as in tokenizers;
            by default a quarter of a window.

    Raises:
        ValueError: a `max_length` that leaves no room for text, a `stride` that is no less than
            the room there is.
    """
    if not texts:
        return []
    encoded = tokenizer(
        [prompt + text for text in texts],
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )
    max_length = max_length or tokenizer.model_max_length
    return [
        _tokenized(text, len(prompt), max_length, stride, *columns)
        for text, *columns in zip(
            texts,
            encoded["input_ids"],
            encoded["offset_mapping"],
            encoded["special_tokens_mask"],
            strict=True,
        )
    ]


def _tokenized(
    text: str,
    shift: int,
    max_length: int,
    stride: int | None,
    ids: list[int],
    offsets: list[tuple[int, int]],
    special: list[int],
) -> TokenizedText:
    start, end = _own_tokens(shift, offsets, special)
    capacity = max_length - start - (len(ids) - end)
    if capacity < 1:
        extra = len(ids) - (end - start)
        raise ValueError(
            f"max_length should be more than the {extra} special tokens and tokens of the prompt. "
            f"Found {max_length}."
        )
    stride = capacity // 4 if stride is None else stride
    if not 0 <= stride < capacity:
        raise ValueError(
            f"stride should be at least 0 and less than the {capacity} tokens of text that a "
            f"window of max_length {max_length} has room for. Found {stride}."
        )
    shifted = offsets[start:end]
    if shift:
        shifted = [(max(s - shift, 0), max(e - shift, 0)) for s, e in shifted]
    return TokenizedText(
        prefix=ids[:start],
        ids=ids[start:end],
        suffix=ids[end:],
        offsets=strip_offsets(text, shifted),
        windows=split_windows(end - start, capacity, stride),
    )


def _own_tokens(shift: int, offsets: list[tuple[int, int]], special: list[int]) -> tuple[int, int]:
    """Where the tokens of the text itself start and end, `shift` characters being the prompt's."""
    if shift == 0 and 0 in special:  # done for every text there is
        return special.index(0), len(special) - special[::-1].index(0)
    own = [
        index for index, (_, end) in enumerate(offsets) if not special[index] and end > shift > 0
    ]
    if own:
        return own[0], own[-1] + 1
    # Without a token of its own a text stands before the special tokens that end the input.
    start = next((i for i in range(len(special), 0, -1) if not special[i - 1]), 1)
    return start, start


def split_windows(num_tokens: int, capacity: int, stride: int) -> list[Window]:
    """Windows of `capacity` tokens that each share `stride` with the next (the last one more).

    The context of a token in a window is its distance to the nearer end, where the text goes on
    behind that end. Windows being of one size, that is largest where the middle is nearest, so the
    part that a window answers for begins and ends in the middle of its overlaps.
    """
    if num_tokens <= capacity:
        return [Window(0, num_tokens, 0, num_tokens)]
    last = num_tokens - capacity
    starts = [*range(0, last, capacity - stride), last]
    middles = [(left + capacity - 1 + right) // 2 + 1 for left, right in pairwise(starts)]
    bounds = [0, *middles, num_tokens]
    return [
        Window(start, start + capacity, bounds[index], bounds[index + 1])
        for index, start in enumerate(starts)
    ]
