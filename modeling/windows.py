"""Tokenizes texts with exact offsets, in as many windows as the encoder needs to read them whole.

Neighbouring windows overlap. Each token is answered by the window where it has the most context, so
that a long document has one answer per token, as a short one does.
"""

from itertools import pairwise
from typing import NamedTuple

from torch import nn
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from .decoding import strip_offsets
from .library_errors import first_line

# Texts whose tokens most tokenizers know, and don't.
TRIAL = ["Is it?", "\ue000 \u0e01\U0001f600", ""]


class Window(NamedTuple):
    """Tokens `start` to `end` of a text; answers for `first` to `last`. Both ends are exclusive."""

    start: int
    end: int
    first: int
    last: int


class TokenizedText(NamedTuple):
    """A text's tokens, and the tokens that come before and after them in every window.

    Args:
        prefix, suffix (`list[int]`): the special tokens, and the prompt's.
        ids (`list[int]`): the text's own tokens.
        offsets (`list[tuple[int, int]]`): the characters of each of `ids`, without white space;
            empty ranges for tokens with no visible character.
        windows (`list[Window]`): ranges of `ids`; a single window if the encoder takes all at once.
    """

    prefix: list[int]
    ids: list[int]
    suffix: list[int]
    offsets: list[tuple[int, int]]
    windows: list[Window]

    def length_of(self, window: Window) -> int:
        """The number of tokens that the encoder reads for one window."""
        return len(self.prefix) + window.end - window.start + len(self.suffix)

    def input_ids(self, window: Window) -> list[int]:
        """The tokens that the encoder reads for one window."""
        return [*self.prefix, *self.ids[window.start : window.end], *self.suffix]


def limit_length(
    tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig, encoder: nn.Module | None = None
) -> None:
    """Lower a tokenizer's `model_max_length` to the tokens that an encoder has positions for.

    Args:
        tokenizer (`PreTrainedTokenizerBase`): is changed.
        config (`PreTrainedConfig`): of the encoder.
        encoder (`nn.Module`, *optional*): says whether its positions begin after the padding's.
    """
    positions = getattr(config, "max_position_embeddings", None)
    if not positions or positions < 0:  # as of XLNet, which has no limit
        return
    embeddings = getattr(getattr(encoder, "embeddings", None), "position_embeddings", None)
    padding = getattr(embeddings, "padding_idx", None)
    if padding is not None:  # as in RoBERTa
        positions -= padding + 1
    tokenizer.model_max_length = min(tokenizer.model_max_length, positions)


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig) -> None:
    """Raise a ValueError for a tokenizer that a `MultiTaskConfig`'s encoder can't read: one that
    fails, has no tokens or ids without a vector, or windows without room for a prompt."""
    path = tokenizer.name_or_path
    name = f"The tokenizer of {path!r}" if path else "The tokenizer"
    ids, special = tokenizer.get_vocab(), tokenizer.all_special_tokens
    if not ids.keys() - special:  # as transformers makes one from its settings alone
        raise ValueError(
            f"{name} should know more than special tokens. Found {len(ids)}: is its tokenizer.json "
            "missing?"
        )
    vectors = getattr(config.encoder_config, "vocab_size", None)
    if isinstance(vectors, int):
        largest = max(ids.values())
        if largest >= vectors:
            raise ValueError(
                f"{name} should have ids below the encoder's vocab_size {vectors}. Found {largest}."
            )
    limit = tokenizer.model_max_length
    if isinstance(limit, bool) or not isinstance(limit, int | float):
        raise ValueError(f"{name} should have a number as model_max_length. Found {limit!r}.")
    for prompt in ("", *(config.prompts or {}).values()):
        try:
            tokenize(tokenizer, TRIAL, prompt, stride=config.stride)
        except ValueError:
            raise
        except Exception as error:  # of Rust, even a bare Exception
            raise ValueError(f"{name} fails: {first_line(error)}") from error


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
        texts (`list[str]`): texts, which may be empty.
        prompt (`str`): put before every window.
        max_length (`int`, *optional*): tokens per window, special tokens and prompt included; by
            default the tokenizer's `model_max_length`.
        stride (`int`, *optional*): tokens that a window shares with the next, as in tokenizers; by
            default a quarter of a window.

    Raises:
        ValueError: a `max_length` that leaves no room for text, or a `stride` as large as a
            window's room for text.
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
            f"max_length should be more than the {extra} special and prompt tokens. "
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
    """The start and end of the text's own tokens, after a prompt of `shift` characters."""
    if shift == 0 and 0 in special:  # runs for every text, so it is fast
        return special.index(0), len(special) - special[::-1].index(0)
    own = [
        index for index, (_, end) in enumerate(offsets) if not special[index] and end > shift > 0
    ]
    if own:
        return own[0], own[-1] + 1
    # A text without a token of its own is put before the special tokens that end the input.
    start = next((i for i in range(len(special), 0, -1) if not special[i - 1]), 1)
    return start, start


def split_windows(num_tokens: int, capacity: int, stride: int) -> list[Window]:
    """Windows of `capacity` tokens that each share `stride` with the next; the last shares more.

    A token's context in a window is its distance to the nearer end at which the text goes on. As
    all windows are of one size, the context is largest in the window whose middle is nearest: each
    window answers from the middle of one overlap to the middle of the next.
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
