"""Words from offsets, and tags to spans: small cases, any text, and seqeval as reference."""

from itertools import pairwise, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from multitask_encoder.data.label_alignment import first_tokens, word_ranges, words_of_tokens
from multitask_encoder.modeling.decoding import (
    likeliest_labels,
    likeliest_spans,
    strip_offsets,
    tags_to_spans,
    token_ids,
    word_ids,
)

TOKENIZERS = ["tokenizer", "byte_tokenizer", "metaspace_tokenizer"]
TAGS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER", "B-a-b", "I-a-b"]
TEXTS = st.text(
    st.one_of(
        st.sampled_from("ab cZ19.,-'\"\t\n\u200b\u00ad\u0301éß½…ﬁ東京한글กาہے🙂👩‍🚀\x07\u2009"),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=30,
)
bounded = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def offsets_of(tokenizer, text: str) -> list[tuple[int, int]]:
    return strip_offsets(text, tokenizer(text, return_offsets_mapping=True)["offset_mapping"])


def words_of(tokenizer, text: str) -> list[str]:
    offsets = offsets_of(tokenizer, text)
    return [text[start:end] for start, end in word_ranges(word_ids(text, offsets), offsets)]


def test_offsets_lose_white_space_and_nothing_else():
    text = "a  b\u2009c "
    assert strip_offsets(text, [(0, 0), (0, 2), (1, 4), (3, 5), (5, 7), (1, 3), (0, 7)]) == [
        (0, 0), (0, 1), (3, 4), (3, 4), (5, 6), (3, 3), (0, 6)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "offsets", "expected"),
    [
        ("an e\u0301!", [(0, 0), (0, 2), (3, 4), (5, 6), (0, 0)], [(0, 2), (3, 5), (5, 6)]),
        ("नमस्ते", [(0, 0), (0, 3), (4, 5), (0, 0)], [(0, 4), (4, 6)]),
        ("a\u0323\u0301", [(0, 0), (0, 1), (0, 0)], [(0, 3)]),
        ("a\u0323\u0301", [(0, 0), (0, 1), (2, 3), (0, 0)], [(0, 2), (2, 3)]),
        ("❤\ufe0f b", [(0, 0), (0, 1), (0, 1), (3, 4), (0, 0)], [(0, 1), (0, 2), (3, 4)]),
        ("a \u0301", [(0, 0), (0, 1), (0, 0)], [(0, 1)]),
    ],
)
def test_marks_that_a_tokenizer_leaves_out_belong_to_the_letter_before(text, offsets, expected):
    assert strip_offsets(text, offsets) == [(0, 0), *expected, (0, 0)]


def test_an_entity_has_the_accent_of_its_last_letter(tokenizer):
    text = "in cafe\u0301 Paris\ufe0f"
    assert words_of(tokenizer, text) == ["in", "cafe\u0301", "Paris\ufe0f"]


def test_word_pieces_of_a_word_are_one_word(tokenizer):
    text = "In Paris, cafés"
    assert offsets_of(tokenizer, text) == [
        (0, 0), (0, 2), (3, 8), (8, 9), (10, 11), (11, 12), (12, 13), (13, 14), (14, 15), (0, 0)
    ]  # fmt: skip
    assert word_ids(text, offsets_of(tokenizer, text)) == [None, 0, 1, 2, 3, 3, 3, 3, 3, None]
    assert token_ids(text, offsets_of(tokenizer, text)) == [None, 0, 1, 2, 3, 4, 5, 6, 7, None]


def test_bytes_of_a_character_are_one_unit(byte_tokenizer):
    text = "é €"
    offsets = offsets_of(byte_tokenizer, text)
    assert offsets == [(0, 0), (0, 1), (0, 1), (2, 2), (2, 3), (2, 3), (2, 3), (0, 0)]
    assert word_ids(text, offsets) == [None, 0, 0, None, 1, 1, 1, None]
    assert token_ids(text, offsets) == [None, 0, 0, None, 1, 1, 1, None]
    text = "aéb"
    offsets = offsets_of(byte_tokenizer, text)
    assert word_ids(text, offsets) == [None, 0, 0, 0, 0, None]
    assert token_ids(text, offsets) == [None, 0, 1, 1, 2, None]


def test_a_metaspace_is_no_part_of_a_word(metaspace_tokenizer):
    text = "by Paris"
    offsets = offsets_of(metaspace_tokenizer, text)
    assert offsets == [(0, 0), (0, 1), (0, 1), (1, 2), (3, 8), (0, 0)]
    assert word_ids(text, offsets) == [None, 0, 0, 0, 1, None]


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("the end", ["the", "end"]),
        ("(the end).", ["(", "the", "end", ")", "."]),
        ("don't", ["don", "'", "t"]),
        ("state-of-the-art", ["state", "-", "of", "-", "the", "-", "art"]),
        ("  a \t b\n", ["a", "b"]),
        ("a2b 7", ["a2b", "7"]),
    ],
)
def test_words_are_the_same_for_every_kind_of_tokenizer(name, text, words, request):
    assert words_of(request.getfixturevalue(name), text) == words


@pytest.mark.parametrize("name", ["tokenizer", "byte_tokenizer"])
def test_each_character_is_a_word_in_scripts_without_spaces(name, request):
    assert words_of(request.getfixturevalue(name), "在東京 ok") == ["在", "東", "京", "ok"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("อยู่ที่นี่", ["อ", "ยู่", "ที่", "นี่"]),  # Thai: vowels and tones stay with their letters
        ("ຢູ່ ok", ["ຢູ່", "ok"]),  # Lao
        ("ភ្នំ", ["ភ្", "នំ"]),  # Khmer
        ("မြန်မာ", ["မြ", "န်", "မာ"]),  # Burmese
        ("กa", ["ก", "a"]),
        ("ที่a", ["ที่", "a"]),
        ("aก", ["a", "ก"]),
        ("ที่\u200bก", ["ที่", "\u200b", "ก"]),  # a zero-width space parts words
    ],
)
def test_each_letter_is_a_word_in_scripts_of_south_east_asia(byte_tokenizer, text, words):
    assert words_of(byte_tokenizer, text) == words


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("mark", ["\u200c", "\u200d", "\u00ad", "\u2060", "\ufeff"])
def test_joiners_and_soft_hyphens_are_inside_words(name, mark, request):
    text = f"in me{mark}ra co"
    assert words_of(request.getfixturevalue(name), text) == ["in", f"me{mark}ra", "co"]


def test_joined_pictures_and_their_marks_are_one_word(byte_tokenizer):
    text = "go \u2764\ufe0f \U0001f469\u200d\U0001f680"
    assert words_of(byte_tokenizer, text) == text.split()


def test_a_combining_mark_stays_with_its_letter(byte_tokenizer):
    assert words_of(byte_tokenizer, "cafe\u0301s हिन्दी") == ["cafe\u0301s", "हिन्दी"]


def test_an_accent_that_is_left_out_does_not_end_a_word(tokenizer):
    text = "e\u0301te\u0301 a"
    encoding = tokenizer(text, return_offsets_mapping=True)
    assert [text[start:end] for start, end in encoding["offset_mapping"][1:4]] == ["e", "t", "e"]
    offsets = strip_offsets(text, encoding["offset_mapping"])
    assert word_ids(text, offsets) == [None, 0, 0, 0, 1, None]


def test_a_text_without_visible_characters_has_no_words(tokenizer, byte_tokenizer):
    assert words_of(tokenizer, "") == []
    assert words_of(tokenizer, " \u200b\x07 ") == []
    assert words_of(byte_tokenizer, " \n ") == []


@pytest.mark.parametrize("name", TOKENIZERS)
def test_words_of_any_text_are_ranges_in_order_within_it(name, request):
    tokenizer = request.getfixturevalue(name)

    @bounded
    @given(text=TEXTS)
    def check(text):
        offsets = offsets_of(tokenizer, text)
        assert all(0 <= start <= end <= len(text) for start, end in offsets)
        ids = word_ids(text, offsets)
        words = word_ranges(ids, offsets)
        assert [id is None for id in ids] == [start == end for start, end in offsets]
        assert sorted({id for id in ids if id is not None}) == list(range(len(words)))
        assert [id for id in ids if id is not None] == sorted(id for id in ids if id is not None)
        assert all(left[1] <= right[0] for left, right in pairwise(words))
        assert all(text[start:end] == text[start:end].strip() != "" for start, end in words)
        # The two ways from tokens to words agree.
        assert words_of_tokens(offsets, words) == ids
        firsts = first_tokens(ids, len(words))
        assert firsts == [ids.index(word) for word in range(len(words))]
        assert [offsets[first][0] for first in firsts] == [start for start, _ in words]

    check()


@pytest.mark.parametrize("name", TOKENIZERS)
def test_tokens_of_any_text_are_parts_of_its_words(name, request):
    tokenizer = request.getfixturevalue(name)

    @bounded
    @given(text=TEXTS)
    def check(text):
        offsets = offsets_of(tokenizer, text)
        tokens, words = token_ids(text, offsets), word_ids(text, offsets)
        assert [id is None for id in tokens] == [id is None for id in words]
        pairs = sorted({(t, w) for t, w in zip(tokens, words, strict=True) if t is not None})
        assert [token for token, _ in pairs] == list(range(len(pairs)))
        ranges = word_ranges(tokens, offsets)
        assert all(left[1] <= right[0] for left, right in pairwise(ranges))
        # Only tokens that share a character are one unit.
        for (left, one), (right, other) in pairwise(
            (offset, id) for offset, id in zip(offsets, tokens, strict=True) if id is not None
        ):
            assert (one == other) == (right[0] < left[1])

    check()


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        ([], []),
        (["O", "O", "O"], []),
        (["B-LOC", "I-LOC", "O"], [(0, 4, "LOC", [0, 1])]),
        (["B-LOC", "B-LOC", "O"], [(0, 1, "LOC", [0]), (2, 4, "LOC", [1])]),
        (["O", "I-PER", "I-PER"], [(2, 7, "PER", [1, 2])]),
        (["B-LOC", "I-PER", "O"], [(0, 1, "LOC", [0]), (2, 4, "PER", [1])]),
        (["B-LOC", "O", "I-LOC"], [(0, 1, "LOC", [0]), (5, 7, "LOC", [2])]),
        (["O", "B-a-b", "I-a-b"], [(2, 7, "a-b", [1, 2])]),
    ],
)
def test_tags_become_spans(tags, spans):
    assert tags_to_spans(tags, [(0, 1), (2, 4), (5, 7)][: len(tags)]) == spans


@bounded
@given(tags=st.lists(st.sampled_from(TAGS), max_size=12))
def test_spans_are_the_entities_of_seqeval(tags):
    words = [(3 * index, 3 * index + 2) for index in range(len(tags))]
    ours = tags_to_spans(tags, words)
    assert [(label, members[0], members[-1]) for _, _, label, members in ours] == get_entities(tags)
    for start, end, _, members in ours:
        assert members == list(range(members[0], members[-1] + 1))
        assert (start, end) == (words[members[0]][0], words[members[-1]][1])


LABELS = ["O", "B-a", "I-a", "B-b", "I-b"]


def makes_sense(labels: tuple[int, ...], goes_on: bool) -> bool:
    """Whether every `I-` comes after a label of its type."""
    names = [LABELS[label] for label in labels]
    for place, name in enumerate(names):
        if name[0] == "I" and not (place == 0 and goes_on):
            previous = names[place - 1] if place else "O"
            if previous[1:] != name[1:]:
                return False
    return True


@pytest.mark.parametrize("seed", range(20))
def test_labels_are_the_likeliest_of_all_sequences_that_make_sense(seed):
    torch.manual_seed(seed)
    logits, units = 2 * torch.randn(4, 5, len(LABELS)), torch.rand(4, 5) < 0.8
    continues = torch.rand(4) < 0.5
    found = likeliest_labels(logits, units, LABELS, continues)
    for row in range(4):
        places = units[row].nonzero().squeeze(1).tolist()
        sums = {
            sequence: sum(
                logits[row, place, label].item()
                for place, label in zip(places, sequence, strict=True)
            )
            for sequence in product(range(len(LABELS)), repeat=len(places))
            if makes_sense(sequence, bool(continues[row]))
        }
        assert tuple(found[row, places].tolist()) == max(sums, key=sums.__getitem__)
        assert found[row][~units[row]].equal(logits[row][~units[row]].argmax(-1))


def test_what_makes_sense_stays_as_it_is():
    tags = ["B-a", "I-a", "O", "B-b", "I-b", "B-b", "B-a"]
    ids = torch.tensor([[LABELS.index(tag) for tag in tags]])
    logits = torch.nn.functional.one_hot(ids, len(LABELS)).float()
    assert likeliest_labels(logits, torch.ones_like(ids, dtype=torch.bool), LABELS).equal(ids)


def test_labels_that_are_no_tags_may_follow_any_other():
    logits = torch.randn(2, 6, 3)
    units = torch.ones(2, 6, dtype=torch.bool)
    for labels in (["NOUN", "VERB", "I-ADJ"], ["O", "I-a", "I-b"]):
        assert likeliest_labels(logits, units, labels).equal(logits.argmax(-1))


@pytest.mark.parametrize("names", [LABELS, [*LABELS[::-1], "I-c"], ["I-a", "B-b", "O"]])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_spans_are_those_of_the_likeliest_labels(names, share):
    torch.manual_seed(0)
    logits, units = 2 * torch.randn(30, 9, len(names)), torch.rand(30, 9) < share
    best = likeliest_labels(logits, units, names)
    probabilities = logits.softmax(-1).gather(-1, best[..., None])[..., 0]
    expected = []
    for row in range(len(logits)):
        tags = [names[label] for label in best[row][units[row]].tolist()]
        scores = probabilities[row][units[row]].tolist()
        expected += [
            (row, members[0], members[-1], label, sum(scores[one] for one in members), len(members))
            for _, _, label, members in tags_to_spans(tags, [(0, 0)] * len(tags))
        ]
    columns = [column.tolist() for column in likeliest_spans(logits, units, names)]
    assert len(expected) >= 50 * share
    for found, of_row in zip(zip(*columns, strict=True), expected, strict=True):
        row, begin, end, label, total, size = of_row
        assert (*found[:3], names[found[3]][2:]) == (row, begin, end, label)
        assert found[4] == pytest.approx(total / size, abs=1e-12)
