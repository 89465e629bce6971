"""Windows over a text: literal cases, and properties for any size and any text."""

import copy
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitask_encoder.modeling.decoding import strip_offsets
from multitask_encoder.modeling.windows import Window, split_windows, tokenize

TOKENIZERS = ["tokenizer", "byte_tokenizer", "metaspace_tokenizer"]
AWKWARD = "aZ9_ \t\n\u00a0\u200b\u200d\u0301éßﬁ㎏İ𝔸😀👍🏽中한नि«—.'\x00\ufeff"
TEXTS = st.text(max_size=60) | st.text(alphabet=AWKWARD, max_size=60)
bounded = settings(max_examples=60, deadline=None, derandomize=True, database=None)


@st.composite
def sizes(draw) -> tuple[int, int, int]:
    capacity = draw(st.integers(1, 40))
    return draw(st.integers(0, 200)), capacity, draw(st.integers(0, capacity - 1))


def context(token: int, window: Window, num_tokens: int) -> float:
    """Tokens between this one and the nearer end behind which the text goes on."""
    left = token - window.start if window.start > 0 else float("inf")
    right = window.end - 1 - token if window.end < num_tokens else float("inf")
    return min(left, right)


def test_windows_of_a_few_tokens():
    assert split_windows(0, 4, 1) == [(0, 0, 0, 0)]
    assert split_windows(4, 4, 1) == [(0, 4, 0, 4)]
    assert split_windows(8, 4, 0) == [(0, 4, 0, 4), (4, 8, 4, 8)]
    assert split_windows(6, 4, 2) == [(0, 4, 0, 3), (2, 6, 3, 6)]
    # The last window shares more than it must, to be as long as the others.
    assert split_windows(9, 4, 1) == [(0, 4, 0, 4), (3, 7, 4, 6), (5, 9, 6, 9)]


@settings(bounded, max_examples=300)
@given(sizes())
def test_windows_of_any_size_cover_the_tokens_in_order(size):
    num_tokens, capacity, stride = size
    windows = split_windows(num_tokens, capacity, stride)
    assert windows[0].start == 0
    assert windows[-1].end == num_tokens
    assert {window.end - window.start for window in windows} == {min(num_tokens, capacity)}
    shared = [left.end - right.start for left, right in pairwise(windows)]
    assert shared[:-1] == [stride] * len(shared[:-1])
    assert all(stride <= one < capacity for one in shared[-1:])


@settings(bounded, max_examples=300)
@given(sizes())
def test_each_token_is_answered_once_where_its_context_is_largest(size):
    num_tokens, capacity, stride = size
    windows = split_windows(num_tokens, capacity, stride)
    answered = [(token, window) for window in windows for token in range(*window[2:])]
    assert [token for token, _ in answered] == list(range(num_tokens))
    for token, window in answered:
        readers = [one for one in windows if one.start <= token < one.end]
        assert window in readers
        assert context(token, window, num_tokens) == max(
            context(token, one, num_tokens) for one in readers
        )


def test_every_window_has_the_prompt_and_the_special_tokens(tokenizer):
    (text,) = tokenize(tokenizer, ["paris is in play"], "the: ", max_length=6, stride=1)
    inputs = [tokenizer.convert_ids_to_tokens(text.input_ids(window)) for window in text.windows]
    assert inputs == [
        ["[CLS]", "the", ":", "paris", "is", "[SEP]"],
        ["[CLS]", "the", ":", "is", "in", "[SEP]"],
        ["[CLS]", "the", ":", "in", "play", "[SEP]"],
    ]
    assert text.offsets == [(0, 5), (6, 8), (9, 11), (12, 16)]
    assert text.windows == [(0, 2, 0, 2), (1, 3, 2, 3), (2, 4, 3, 4)]


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("prompt", ["", "query: "])
def test_windows_of_any_text_give_its_tokens_and_offsets(name, prompt, request):
    tokenizer = request.getfixturevalue(name)

    @bounded
    @given(TEXTS, st.none() | st.integers(0, 3))
    def check(content, stride):
        whole = tokenizer(prompt + content, return_offsets_mapping=True)
        (text,) = tokenize(tokenizer, [content], prompt, max_length=16, stride=stride)
        assert [*text.prefix, *text.ids, *text.suffix] == whole["input_ids"]

        # What surrounds the text is the prompt and one special token at either end.
        first, last = len(text.prefix), len(text.prefix) + len(text.ids)
        assert last == len(whole["input_ids"]) - 1
        assert all(end <= len(prompt) for _, end in whole["offset_mapping"][:first])
        if not prompt:
            assert first == 1
            assert text.offsets == strip_offsets(content, whole["offset_mapping"][first:last])
        else:
            assert text.offsets == strip_offsets(
                content, [(max(s - 7, 0), e - 7) for s, e in whole["offset_mapping"][first:last]]
            )

        inputs = [text.input_ids(window) for window in text.windows]
        answered = []
        for window, ids in zip(text.windows, inputs, strict=True):
            assert ids[:first] == text.prefix
            assert ids[-1:] == text.suffix
            shift = first - window.start
            answered += ids[window.first + shift : window.last + shift]
        assert answered == text.ids
        if len(inputs) == 1:
            assert inputs == [whole["input_ids"]]
            assert len(inputs[0]) <= 16
        else:
            assert {len(ids) for ids in inputs} == {16}

    check()


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("prompt", ["", "query: "])
def test_an_empty_text_is_one_window_of_no_tokens(name, prompt, request):
    tokenizer = request.getfixturevalue(name)
    (text,) = tokenize(tokenizer, [""], prompt)
    assert text.ids == text.offsets == []
    assert text.windows == [(0, 0, 0, 0)]
    assert text.input_ids(text.windows[0]) == tokenizer(prompt)["input_ids"]


def test_texts_are_tokenized_as_each_alone(tokenizer):
    texts = ["paris", "", "the play " * 20]
    alone = [tokenize(tokenizer, [text], max_length=16)[0] for text in texts]
    assert tokenize(tokenizer, texts, max_length=16) == alone
    assert tokenize(tokenizer, []) == []


def test_size_of_a_window_is_by_default_the_tokenizers_and_stride_a_quarter(tokenizer):
    (text,) = tokenize(tokenizer, ["x " * 200])
    assert text.windows == split_windows(200, 126, 31)
    assert text == tokenize(tokenizer, ["x " * 200], max_length=128, stride=31)[0]


def test_text_that_names_special_tokens_keeps_them(tokenizer):
    content = "[SEP] x [SEP]"
    (text,) = tokenize(tokenizer, [content])
    assert tokenizer.convert_ids_to_tokens(text.ids) == ["[SEP]", "x", "[SEP]"]
    assert text.offsets == [(0, 5), (6, 7), (8, 13)]


def test_length_that_leaves_no_room_for_text_is_refused(tokenizer):
    assert len(tokenize(tokenizer, ["x x"], "a b ", max_length=5)[0].windows) == 2
    for content in ("x x", ""):
        with pytest.raises(
            ValueError,
            match=r"^max_length should be more than the 4 special and prompt tokens\. Found 4\.$",
        ):
            tokenize(tokenizer, [content], "a b ", max_length=4)


@pytest.mark.parametrize("stride", [-1, 6])
def test_stride_that_is_no_part_of_a_window_is_refused(stride, tokenizer):
    with pytest.raises(
        ValueError,
        match=r"^stride should be at least 0 and less than the 6 tokens of text that a window of "
        rf"max_length 8 has room for\. Found {stride}\.$",
    ):
        tokenize(tokenizer, ["x"], max_length=8, stride=stride)


def test_tokenizer_with_truncation_and_padding_of_its_own_gives_the_whole_text(tokenizer):
    """As is common in published tokenizer.json files."""
    cutting = copy.deepcopy(tokenizer)
    cutting.backend_tokenizer.enable_truncation(5)
    cutting.backend_tokenizer.enable_padding(length=9)
    texts = ["x", "x " * 20]
    assert tokenize(cutting, texts) == tokenize(tokenizer, texts)
