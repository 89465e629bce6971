"""Spans and tags to token labels and back, over any text and six kinds of tokenizer."""

import re
from itertools import groupby, pairwise
from typing import NamedTuple

import pytest
from datasets import Dataset, Features, List, Value
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertTokenizer, PreTrainedTokenizerFast

from multitask_encoder.data.preprocessing import preprocess
from multitask_encoder.modeling.decoding import UNITS, tags_to_spans
from multitask_encoder.modeling.windows import TokenizedText, tokenize

LABELS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
LABELLINGS = ["first", "all"]
SPAN = {"start": Value("int32"), "end": Value("int32"), "label": Value("string")}
FEATURES = {"text": List(SPAN), "tokens": List(Value("string"))}
bounded = settings(max_examples=15, deadline=None, derandomize=True, database=None)

WORDS = ["the", "Paris", "New", "York", "naïve", "né", "R2-D2", "$3.50", "don't", "İstanbul", "ß"]
SCRIPTS = ["東京", "서울", "\u1112\u1161\u11ab", "שָׁלוֹם", "שלום", "مَرْحَبًا", "नमस्ते", "ไทย", "ﷺ"]
EMOJI = [
    "😀", "👍🏽", "👩\u200d👩\u200d👧", "🇩🇪", "🇩🇪🇫🇷", "❤", "❤\ufe0f", "1\ufe0f\u20e3",
    "🏴\u200d☠\ufe0f",
]  # fmt: skip
MARKS = [
    "e\u0301", "\u0301", "a\u0323\u0301", "\u0301\u0323", "\u034f", "\ufe0f", "\u20e3",
    "ﬁ", "㎏", "½", "…", "𝔸",
]  # fmt: skip
HIDDEN = list("\u200b\u200c\u200d\u200f\u2060\ufeff\u00ad\x00\x07\ufffd\ue000")
SPECIAL = ["[SEP]", "[CLS]", "[UNK]", "</s>", "<s>", "<unk>"]  # as a text may mention them
SPACES = [" ", " ", " ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u3000", "\u2028", "\x85", "\x1f"]
VISIBLE = st.sampled_from([*WORDS, *WORDS, *SCRIPTS, *EMOJI, *MARKS, *SPECIAL, *".,-_«"])
OTHER = st.sampled_from(SPACES) | st.sampled_from(HIDDEN) | st.characters(codec="utf-8")
PIECES = VISIBLE | VISIBLE | OTHER
TEXTS = st.lists(PIECES, min_size=1, max_size=14).map("".join).filter(str.strip)
# Words of data sets may hold anything, if there is anything to see in the row at all.
WORD_LISTS = st.lists(
    st.lists(PIECES, min_size=1, max_size=3).map("".join), min_size=1, max_size=10
).filter(lambda words: "".join(words).strip())


def word_piece(lower: bool) -> BertTokenizer:
    characters = sorted({*map(chr, range(33, 127)), *"éïßıçאשלוםمرحبا東京नस😀👍❤"})
    words = ["the", "The", "par", "Par", "new", "New", "##is", "##ork", "##aï", "##ve", "##stan"]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [*special, *characters, *(f"##{one}" for one in characters), *words]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    return BertTokenizer(vocab=vocabulary, do_lower_case=lower, model_max_length=4096)


def wrapped(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """With <s> before and </s> after the text, which are tokens 1 and 2."""
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", model_max_length=4096
    )


def byte_level(add_prefix_space: bool) -> PreTrainedTokenizerFast:
    """With merges across the bytes of a character, and of a space with half of one."""
    pairs = "t h,th e,Ġ the,a r,ar i,Ġ P,ð Ł,Ġ ðŁ,ðŁ ĺ,â Ģ,Ì ģ,Ġ æ,æ Ŀ"
    merges = [(first, second) for first, second in map(str.split, pairs.split(","))]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = ["<pad>", "<s>", "</s>", "<unk>", *alphabet, *("".join(pair) for pair in merges)]
    tokenizer = Tokenizer(models.BPE({one: i for i, one in enumerate(pieces)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    return wrapped(tokenizer)


def unigram() -> PreTrainedTokenizerFast:
    characters = [*map(chr, range(33, 127)), *"éïßאשלוםمرحبا東京नस😀👍❤\u0301"]
    pieces = ["▁Paris", "▁the", "▁New", "York", "ve", "שלום", "東京", "👍🏽", "▁😀"]
    vocabulary = [("<pad>", 0.0), ("<s>", 0.0), ("</s>", 0.0), ("<unk>", -10.0), ("▁", -2.0)]
    vocabulary += [*((one, -1.0) for one in pieces), *((one, -3.0) for one in characters)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=3))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return wrapped(tokenizer)


def character_level() -> PreTrainedTokenizerFast:
    pieces = ["<pad>", "<s>", "</s>", "<unk>", *map(chr, range(32, 127))]
    tokenizer = Tokenizer(models.WordLevel({one: i for i, one in enumerate(pieces)}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    return wrapped(tokenizer)


MAKERS = {
    "word_piece_cased": lambda: word_piece(lower=False),
    "word_piece_uncased": lambda: word_piece(lower=True),
    "byte_level": lambda: byte_level(add_prefix_space=False),
    "byte_level_prefix_space": lambda: byte_level(add_prefix_space=True),
    "unigram": unigram,
    "character_level": character_level,
}


pytestmark = pytest.mark.usefixtures("no_progress_bars")


@pytest.fixture(scope="module", params=MAKERS)
def any_tokenizer(request) -> PreTrainedTokenizerFast:
    return MAKERS[request.param]()


class Prepared(NamedTuple):
    """A preprocessed row, its windows joined: labels by token and by unit."""

    labels: list[str | None]  # per token of the text
    tags: list[str]  # per unit
    positions: list[int]  # per unit its first token in the text
    widened: int
    windows: int


def span(start: int, end: int, label: str = "LOC") -> dict:
    return {"start": start, "end": end, "label": label}


def prepared(tokenizer, rows: list[tuple], labelling: str, **kwargs) -> list[Prepared]:
    """Preprocess `(text, spans)` or `(words, tags)` and join the windows of each row."""
    source = "text" if isinstance(rows[0][0], str) else "tokens"
    features = {
        "source": Value("string"),
        source: Value("string") if source == "text" else List(Value("string")),
        "slots": FEATURES[source],
    }
    columns = zip(*((f"row {i}", *row) for i, row in enumerate(rows)), strict=True)
    loaded = Dataset.from_dict(
        dict(zip(features, map(list, columns), strict=True)), Features(features)
    )
    task = {"type": "token_classification", "labels": LABELS, "labelling": labelling}
    found = preprocess(loaded, tokenizer, {"slots": task}, tokenize, UNITS, **kwargs).to_list()
    assert [one["problem"] for one in found] == [None] * len(found)
    assert [one["row"] for one in found] == sorted(one["row"] for one in found)
    settings = [kwargs.get(key) for key in ("max_length", "stride")]
    results = []
    for (content, _), (_, windows) in zip(
        rows, groupby(found, key=lambda one: one["row"]), strict=True
    ):
        text = content if source == "text" else " ".join(content)
        (document,) = tokenize(tokenizer, [text], kwargs.get("prompt", ""), *settings)
        results.append(joined(document, list(windows)))
    return results


def joined(document: TokenizedText, windows: list[dict]) -> Prepared:
    labels, tags, positions = [], [], []
    for number, (one, window) in enumerate(zip(windows, document.windows, strict=True)):
        assert one["window"] == number
        assert one["input_ids"] == document.input_ids(window)
        shift = len(document.prefix) - window.start
        answered = range(window.first + shift, window.last + shift)
        assert all(label == -100 for at, label in enumerate(one["slots"]) if at not in answered)
        assert all(at == -1 or at in answered for at in one["slots.positions"])
        labels += [one["slots"][at] for at in answered]
        tags += one["slots.tags"]
        positions += [-1 if at == -1 else at - shift for at in one["slots.positions"]]
    assert not any(one[key] for one in windows for key in ("cut_tokens", "cut_entities"))
    assert not any(one["widened"] for one in windows[1:])
    return Prepared(
        [None if label == -100 else LABELS[label] for label in labels],
        [LABELS[tag] for tag in tags],
        positions,
        windows[0]["widened"],
        len(windows),
    )


def units_of(tokenizer, text: str, labelling: str) -> tuple[list[int], list[tuple[int, int]]]:
    """Of each unit its first token, and the characters of all its tokens."""
    (document,) = tokenize(tokenizer, [text])
    members: dict[int, list[int]] = {}
    for index, unit in enumerate(UNITS[labelling](text, document.offsets)):
        if unit is not None:
            members.setdefault(unit, []).append(index)
    assert list(members) == list(range(len(members)))
    ranges = [
        (min(document.offsets[i][0] for i in one), max(document.offsets[i][1] for i in one))
        for one in members.values()
    ]
    return [one[0] for one in members.values()], ranges


def decoded(found: Prepared, tokenizer, text: str, labelling: str) -> list[dict]:
    """The entities that the first token of each unit says, as the pipeline reads them."""
    firsts, ranges = units_of(tokenizer, text, labelling)
    tags = [found.labels[first] for first in firsts]
    scored = [tag for tag, at in zip(found.tags, found.positions, strict=True) if at >= 0]
    assert [at for at in found.positions if at >= 0] == firsts
    learned, counted = (
        [span(start, end, label) for start, end, label, _ in tags_to_spans(side, ranges)]
        for side in (tags, scored)
    )
    # A metric counts what training widened as given: no run of units is it.
    assert len(learned) - len(counted) == found.widened
    assert all(one in learned for one in counted)
    return learned


@st.composite
def disjoint_ranges(draw, length: int) -> list[tuple[int, int, str]]:
    """Some ranges of 0 to `length`, in order, that don't overlap, and labels."""
    borders = draw(st.lists(st.integers(0, length), max_size=8, unique=True).map(sorted))
    labels = st.sampled_from(["LOC", "LOC", "PER", None])
    return [(*pair, label) for pair in pairwise(borders) if (label := draw(labels))]


TEXT_LISTS = st.lists(TEXTS, min_size=1, max_size=6)


@pytest.mark.parametrize("labelling", LABELLINGS)
def test_units_are_parts_of_the_text_in_order(any_tokenizer, labelling):
    @settings(bounded, max_examples=100)
    @given(TEXTS)
    def check(text):
        _, ranges = units_of(any_tokenizer, text, labelling)
        for start, end in ranges:
            assert 0 <= start < end <= len(text)
            assert text[start:end] == text[start:end].strip()
        assert all(left[1] <= right[0] for left, right in pairwise(ranges))

    check()


@pytest.mark.parametrize("labelling", LABELLINGS)
def test_spans_on_borders_of_units_come_back_as_they_are(any_tokenizer, labelling):
    @bounded
    @given(TEXT_LISTS, st.data())
    def check(texts, data):
        rows = []
        for text in texts:
            _, ranges = units_of(any_tokenizer, text, labelling)
            chosen = data.draw(disjoint_ranges(len(ranges)))
            spans = [span(ranges[i][0], ranges[j - 1][1], label) for i, j, label in chosen]
            rows.append((text, spans))
        for (text, spans), found in zip(
            rows, prepared(any_tokenizer, rows, labelling), strict=True
        ):
            assert decoded(found, any_tokenizer, text, labelling) == spans
            assert found.widened == 0
            assert len(found.tags) == len(units_of(any_tokenizer, text, labelling)[0])

    check()


def cover(spans: list[dict], ranges: list[tuple[int, int]]) -> tuple[list[dict], int]:
    """What the units give back for any spans: for each the fewest units that cover it, without
    those that an earlier one has; and how many of these are not as they were given."""
    free, covers, widened = list(ranges), [], 0
    for one in spans:
        own = [(start, end) for start, end in free if start < one["end"] and one["start"] < end]
        free = [unit for unit in free if unit not in own]
        if own:
            covers.append(span(own[0][0], own[-1][1], one["label"]))
            widened += covers[-1] != one
    return covers, widened


@pytest.mark.parametrize("labelling", LABELLINGS)
def test_other_spans_are_widened_and_counted_and_none_is_dropped(any_tokenizer, labelling):
    @bounded
    @given(TEXT_LISTS, st.data())
    def check(texts, data):
        rows = [
            (text, [span(*one) for one in data.draw(disjoint_ranges(len(text)))]) for text in texts
        ]
        for (text, spans), found in zip(
            rows, prepared(any_tokenizer, rows, labelling), strict=True
        ):
            covers, widened = cover(spans, units_of(any_tokenizer, text, labelling)[1])
            assert decoded(found, any_tokenizer, text, labelling) == covers
            assert found.widened == widened
            # Spans that are no run of units can't be found, and are misses of the metric.
            assert sum(tag[0] == "B" for tag in found.tags) == len(spans)
            missed = widened + len(spans) - len(covers)
            assert found.positions[len(found.positions) - missed :] == [-1] * missed

    check()


@pytest.mark.parametrize("labelling", LABELLINGS)
def test_small_windows_give_the_labels_of_one_large_one(any_tokenizer, labelling):
    @bounded
    @given(
        TEXT_LISTS, st.sampled_from([None, 0, 1, 5, 9]), st.sampled_from(["", "to: "]), st.data()
    )
    def check(texts, stride, prompt, data):
        stride = min(stride or 0, 3) if prompt else stride
        rows = [
            (text, [span(*one) for one in data.draw(disjoint_ranges(len(text)))]) for text in texts
        ]
        large = prepared(any_tokenizer, rows, labelling, prompt=prompt)
        small = prepared(
            any_tokenizer, rows, labelling, max_length=12, stride=stride, prompt=prompt
        )
        assert [one._replace(windows=1) for one in small] == large
        assert all((one.windows > 1) == (len(one.labels) > 10) for one in small if not prompt)

    check()


@pytest.mark.parametrize("labelling", LABELLINGS)
def test_every_word_keeps_its_tag(any_tokenizer, labelling):
    tag = st.sampled_from(LABELS)

    @bounded
    @given(st.lists(WORD_LISTS, min_size=1, max_size=6), st.sampled_from([None, 12]), st.data())
    def check(lists, max_length, data):
        rows = [
            (words, data.draw(st.lists(tag, min_size=len(words), max_size=len(words))))
            for words in lists
        ]
        for (words, tags), found in zip(
            rows, prepared(any_tokenizer, rows, labelling, max_length=max_length), strict=True
        ):
            assert found.tags == tags
            for word, one, position in zip(words, tags, found.positions, strict=True):
                if position >= 0:
                    assert found.labels[position] == one
                else:
                    assert not re.search(r"[!-~]", word)  # ASCII is never without a token
            placed = [position for position in found.positions if position >= 0]
            assert placed == sorted(set(placed))

    check()
