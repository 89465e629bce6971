"""From labelled words or spans to labelled tokens, and back."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitask_encoder.data.label_alignment import (
    first_tokens,
    join_words,
    spans_to_tags,
    token_labels,
    word_ranges,
    words_of_tokens,
)
from multitask_encoder.modeling.decoding import strip_offsets, tags_to_spans

LABELS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
TOKENIZERS = ["tokenizer", "byte_tokenizer", "metaspace_tokenizer"]
bounded = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def span(start: int, end: int, label: str = "LOC") -> dict:
    return {"start": start, "end": end, "label": label}


def aligned(tokenizer, tokens: list[str]) -> list[int | None]:
    """Per token of the tokenizer the index of its word."""
    text, words = join_words(tokens)
    offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    return words_of_tokens(strip_offsets(text, offsets), words)


def test_words_are_joined_by_spaces():
    assert join_words(["in", "New York", "."]) == ("in New York .", [(0, 2), (3, 11), (12, 13)])
    assert join_words(["one"]) == ("one", [(0, 3)])


@pytest.mark.parametrize(
    ("name", "word_ids"),
    [
        ("tokenizer", [None, 0, 0, 1, 2, 2, 3, None]),
        ("byte_tokenizer", [None, 0, 0, None, 1, 1, 1, 1, 1, None, 2, 2, 2, None, 3, None]),
        ("metaspace_tokenizer", [None, 0, 0, 0, 1, None, 2, 2, None, 3, None]),
    ],
)
def test_tokens_belong_to_the_words_they_came_from(name, word_ids, request):
    assert aligned(request.getfixturevalue(name), ["At", "Paris", "ça", "!"]) == word_ids


@pytest.mark.parametrize("nothing", ["\u200b", "\x07", "\u00ad", "\u200b\x07"])
def test_a_word_without_a_token_is_passed_over(nothing, tokenizer):
    word_ids = aligned(tokenizer, ["at", nothing, "x"])
    assert word_ids == [None, 0, 0, 2, None]
    assert first_tokens(word_ids, 3) == [1, -1, 3]


def test_a_word_with_a_space_or_hidden_character_is_one_word(tokenizer):
    assert aligned(tokenizer, ["a b", "c\u200bd", "e"]) == [None, 0, 0, 1, 1, 2, None]


def test_words_without_any_token():
    assert first_tokens([None, None], 2) == [-1, -1]
    assert first_tokens([], 0) == []
    assert words_of_tokens([(0, 0), (0, 1)], []) == [None, None]


def test_a_token_over_two_words_belongs_to_the_first():
    assert words_of_tokens([(0, 4), (4, 5)], [(0, 1), (2, 3), (4, 5)]) == [0, 2]


def test_a_token_between_words_belongs_to_none():
    assert words_of_tokens([(0, 2), (2, 3), (3, 5), (5, 9)], [(0, 2), (3, 5)]) == [0, None, 1, None]
    assert words_of_tokens([(0, 1), (1, 4)], [(2, 3)]) == [None, 0]


def test_word_ranges_join_the_tokens():
    offsets = [(0, 0), (0, 2), (2, 4), (5, 6), (5, 6), (0, 0)]
    assert word_ranges([None, 0, 0, 1, 1, None], offsets) == [(0, 4), (5, 6)]


@pytest.mark.parametrize(
    ("labelling", "expected"),
    [
        ("first", [-100, 1, -100, 2, 2, -100, 0, -100, -100]),
        ("all", [-100, 1, 2, 2, 2, 2, 0, 0, -100]),
    ],
)
def test_later_tokens_of_a_word(labelling, expected):
    word_ids = [None, 0, 0, 1, 2, 2, 3, 3, None]
    assert token_labels([1, 2, 2, 0], word_ids, LABELS, labelling) == expected


def test_neighbouring_entities_stay_two_when_all_tokens_are_labelled():
    assert token_labels([1, 1, 3], [0, 0, 1, 1, 2, 2], LABELS, "all") == [1, 2, 1, 2, 3, 4]


def test_a_word_goes_on_after_a_token_of_no_word():
    # A byte-level space between a word's tokens has no word of its own.
    assert token_labels([1], [0, None, 0], LABELS, "first") == [1, -100, -100]
    assert token_labels([1], [0, None, 0], LABELS, "all") == [1, -100, 2]


def test_no_words_have_no_labels():
    assert token_labels([], [None, None], LABELS, "first") == [-100, -100]
    assert spans_to_tags([], []) == ([], [], [])


WORDS = [(0, 3), (4, 7), (7, 8), (9, 14)]  # "the big-house" in the words the, big, -, house


@pytest.mark.parametrize(
    ("spans", "tags"),
    [
        ([], ["O", "O", "O", "O"]),
        ([span(4, 7)], ["O", "B-LOC", "O", "O"]),
        ([span(0, 8)], ["B-LOC", "I-LOC", "I-LOC", "O"]),
        ([span(4, 7), span(7, 8, "PER"), span(9, 14)], ["O", "B-LOC", "B-PER", "B-LOC"]),
        ([span(4, 7), span(7, 8)], ["O", "B-LOC", "B-LOC", "O"]),
    ],
)
def test_spans_on_word_borders_become_tags(spans, tags):
    assert spans_to_tags(spans, WORDS) == (tags, [], [])


@pytest.mark.parametrize(
    ("spans", "tags"),
    [
        ([span(5, 6)], ["O", "B-LOC", "O", "O"]),  # inside a word
        ([span(2, 5)], ["B-LOC", "I-LOC", "O", "O"]),  # across a border
        ([span(3, 8)], ["O", "B-LOC", "I-LOC", "O"]),  # begins at a space
        ([span(10, 11), span(12, 13)], ["O", "O", "O", "B-LOC"]),  # two in one word
    ],
)
def test_spans_off_word_borders_are_widened_and_counted(spans, tags):
    found, widened, unalignable = spans_to_tags(spans, WORDS)
    assert found == tags
    assert widened == spans[:1]
    assert unalignable == spans[1:]


def test_a_span_has_what_an_earlier_one_left_of_its_words():
    spans = [span(0, 5), span(6, 9, "PER")]  # they share the word of characters 4 to 7
    tags = ["B-LOC", "I-LOC", "B-PER", "O"]
    assert spans_to_tags(spans, WORDS) == (tags, spans, [])


def test_a_span_without_a_word_is_unalignable_and_counted():
    assert spans_to_tags([span(3, 4)], WORDS) == (["O"] * 4, [], [span(3, 4)])
    assert spans_to_tags([span(0, 2)], []) == ([], [], [span(0, 2)])


@st.composite
def words_and_span_ranges(draw):
    """Words with gaps of 0 to 3 characters, and disjoint ranges of them."""
    words, end = [], 0
    for _ in range(draw(st.integers(1, 10))):
        start = end + draw(st.integers(0, 3))
        end = start + draw(st.integers(1, 4))
        words.append((start, end))
    ranges, free = [], 0
    while free < len(words):
        first = draw(st.integers(free, len(words) - 1))
        last = draw(st.integers(first, len(words) - 1))
        ranges.append((first, last, draw(st.sampled_from(["LOC", "PER"]))))
        free = last + 1
    return words, ranges


def spans_of(tags, words) -> list[dict]:
    return [span(start, end, label) for start, end, label, _ in tags_to_spans(tags, words)]


@bounded
@given(words_and_span_ranges())
def test_spans_on_word_borders_come_back(case):
    words, ranges = case
    spans = [span(words[first][0], words[last][1], label) for first, last, label in ranges]
    tags, widened, unalignable = spans_to_tags(spans, words)
    assert (spans_of(tags, words), widened, unalignable) == (spans, [], [])


@bounded
@given(words_and_span_ranges(), st.data())
def test_a_span_comes_back_as_the_fewest_words_that_cover_it(case, data):
    words, _ = case
    start = data.draw(st.integers(0, words[-1][1] - 1))
    end = data.draw(st.integers(start + 1, words[-1][1]))
    touched = [word for word in words if set(range(*word)) & set(range(start, end))]
    tags, widened, unalignable = spans_to_tags([span(start, end)], words)
    if not touched:
        assert (spans_of(tags, words), widened, unalignable) == ([], [], [span(start, end)])
        return
    cover = (touched[0][0], touched[-1][1])
    assert spans_of(tags, words) == [span(*cover)]
    assert widened == ([] if cover == (start, end) else [span(start, end)])
    assert unalignable == []


@pytest.mark.parametrize("name", TOKENIZERS)
def test_the_first_token_of_each_word_is_right(name, request):
    tokenizer = request.getfixturevalue(name)
    word = st.text(
        st.characters(codec="ascii", categories=["L", "N", "P", "S"]), min_size=1, max_size=6
    )
    hidden = st.sampled_from(["\u200b", "\x07", "é", "ß", "東京", "🙂"])

    @bounded
    @given(st.lists(st.one_of(word, word, hidden), min_size=1, max_size=6), st.data())
    def check(tokens, data):
        text, words = join_words(tokens)
        offsets = strip_offsets(
            text, tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
        )
        word_ids = words_of_tokens(offsets, words)
        firsts = first_tokens(word_ids, len(words))
        tags = data.draw(st.lists(st.integers(0, 4), min_size=len(words), max_size=len(words)))
        by_first = token_labels(tags, word_ids, LABELS, "first")
        by_all = token_labels(tags, word_ids, LABELS, "all")
        assert len(by_first) == len(by_all) == len(offsets)
        for index, first in enumerate(firsts):
            if first == -1:
                assert index not in word_ids
                assert not tokens[index].isascii() or not tokens[index].isprintable()
                continue
            assert words[index][0] <= offsets[first][0] < offsets[first][1] <= words[index][1]
            assert all(end <= words[index][0] for start, end in offsets[:first] if start < end)
            assert by_first[first] == by_all[first] == tags[index]
        assert [label for label in by_first if label != -100] == [
            tags[index] for index, first in enumerate(firsts) if first != -1
        ]
        inside = [i for i, id in enumerate(word_ids) if id is not None and i not in firsts]
        assert all(by_first[i] == -100 for i in inside)
        assert all(LABELS[by_all[i]][0] in "OI" for i in inside)

    check()
