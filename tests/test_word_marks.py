"""Marks inside given words, and texts cut into words like them."""

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from multitask_encoder.data.label_alignment import join_words, word_ranges, words_of_tokens
from multitask_encoder.data.word_marks import word_marks
from multitask_encoder.modeling.decoding import strip_offsets, word_ids

bounded = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def rows_of(*rows: list[str]) -> Dataset:
    return Dataset.from_list([{"tokens": row, "tags": ["O"] * len(row)} for row in rows])


def words_of(tokenizer, text: str, begin_marks: str = "", inner_marks: str = "") -> list[str]:
    offsets = strip_offsets(text, tokenizer(text, return_offsets_mapping=True)["offset_mapping"])
    ids = word_ids(text, offsets, begin_marks, inner_marks)
    return [text[start:end] for start, end in word_ranges(ids, offsets)]


def test_marks_are_those_of_the_words():
    rows = rows_of(["@ann", "lives", "in", "U.S.", "."], ["#x", "co-op", "1,000", "a_b", "!"])
    assert word_marks([rows], "tags") == {"begin_marks": "#@", "inner_marks": ",-._"}


def test_a_mark_that_also_begins_words_stays_apart():
    rows = rows_of(["Ann", "'s", "don't"], ["it", "'ll", "O'Neil"])
    assert word_marks([rows], "tags") == {"begin_marks": "'"}


def test_plain_words_and_spans_have_no_marks():
    assert word_marks([rows_of(["in", "Paris", ",", "(", "so", ")"])], "tags") == {}
    spans = Dataset.from_list([{"text": "co-op", "tags": []}])
    assert word_marks([rows_of(["co-op"]), spans], "tags") == {}
    assert word_marks([rows_of(["co-op"]), spans.remove_columns("tags")], "tags") == {
        "inner_marks": "-"
    }


def test_rows_without_labels_do_not_count():
    rows = Dataset.from_list(
        [{"tokens": ["a-b"], "tags": None}, {"tokens": ["a.b"], "tags": ["O"]}]
    )
    assert word_marks([rows], "tags") == {"inner_marks": "."}


@pytest.mark.parametrize("name", ["tokenizer", "byte_tokenizer", "metaspace_tokenizer"])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("@ann is in the U.S.", ["@ann", "is", "in", "the", "U.S."]),
        ("a co-op. b", ["a", "co-op", ".", "b"]),
        ("(co-op)-", ["(", "co-op", ")", "-"]),
        ("it's a--b @ c", ["it", "'s", "a--b", "@", "c"]),
        ("@@ann", ["@", "@ann"]),
        ("see x.y.z/.", ["see", "x.y.z", "/", "."]),
        ("-a b- .", ["-", "a", "b", "-", "."]),
    ],
)
def test_texts_are_cut_like_the_words(name, text, words, request):
    assert words_of(request.getfixturevalue(name), text, "@'", ".-") == words


def test_without_marks_each_mark_is_a_word(tokenizer):
    assert words_of(tokenizer, "the U.S.") == ["the", "U", ".", "S", "."]


PIECES = st.text(st.sampled_from("ab1.-@' "), max_size=12)


@bounded
@given(text=PIECES, begin=st.sampled_from(["", "@", "@'"]), inner=st.sampled_from(["", ".", ".-"]))
def test_marks_only_join_neighbours(tokenizer, text, begin, inner):
    plain, joined = words_of(tokenizer, text), words_of(tokenizer, text, begin, inner)
    assert "".join(joined) == "".join(plain)  # no character is lost
    assert len(joined) <= len(plain)
    assert all(" " not in word for word in joined)


@bounded
@given(words=st.lists(st.from_regex(r"@?[ab]{1,3}([.-][ab]{1,3})?", fullmatch=True), max_size=6))
def test_given_words_are_found_in_their_text(tokenizer, words):
    text, ranges = join_words(words)
    offsets = strip_offsets(text, tokenizer(text, return_offsets_mapping=True)["offset_mapping"])
    assert word_ids(text, offsets, "@", ".-") == words_of_tokens(offsets, ranges)
