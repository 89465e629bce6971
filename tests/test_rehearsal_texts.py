"""Texts with words exchanged, by which a model is held to what it knows."""

import re

import numpy as np
import pytest
from datasets import Dataset, Value
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from multitask_encoder.data.rehearsal_texts import (
    similar_words,
    vocabulary_words,
    with_rehearsal_texts,
)

# 15 words of each of 12 kinds, by their first letter; the vectors of a kind are close.
OF_A_KIND = 15
NAMES = [f"{kind}{chr(97 + i)}word" for kind in "abcdefghijkl" for i in range(OF_A_KIND)]
OTHER_TOKENS = 5
WORDS = {name: i + OTHER_TOKENS for i, name in enumerate(NAMES)}
VECTORS = np.vstack([np.ones((OTHER_TOKENS, 12)), np.repeat(np.eye(12), OF_A_KIND, axis=0)])
VECTORS += np.random.default_rng(0).normal(size=VECTORS.shape) * 0.01


def loaded(**columns) -> Dataset:
    """Rows as they are loaded."""
    count = len(next(iter(columns.values())))
    marks = {"source": [f"row {i}" for i in range(count)], "repairs": [2] * count}
    return Dataset.from_dict({**columns, **marks})


def with_texts(rows: Dataset, seed: int = 0, samples=()) -> Dataset:
    return with_rehearsal_texts(rows, WORDS, VECTORS, seed, samples)


@pytest.mark.parametrize(
    ("decoder", "tokens"),
    [
        (decoders.WordPiece(), ["[CLS]", "play", "##ing", "a", "Öl", "2024", "ball"]),
        (decoders.Metaspace(), ["<s>", "▁play", "ing", "▁a", "▁Öl", "▁2024", "▁ball", "▁"]),
        (decoders.ByteLevel(), ["<s>", "Ġplay", "ing", "Ġa", "ĠÃĸl", "Ġ2024", "Ġball", "Ġ"]),
    ],
)
def test_words_are_the_tokens_that_begin_one(decoder, tokens):
    ids = {token: i for i, token in enumerate(tokens)}
    backend = Tokenizer(models.WordLevel(ids, unk_token=tokens[0]))
    backend.decoder = decoder
    found = vocabulary_words(PreTrainedTokenizerFast(tokenizer_object=backend))
    assert list(found.items()) == [("ball", 6), ("play", 1), ("Öl", 4)]


def test_similar_words_have_the_nearest_vectors():
    found = similar_words(["Aaword", "abword", "unknown", "lbword"], WORDS, VECTORS[:-2])
    assert list(found) == ["Aaword", "abword", "lbword"]  # as they are written
    assert found["Aaword"] == found["abword"] == NAMES[:OF_A_KIND]
    assert set(found["lbword"]) > set(NAMES[-OF_A_KIND:-2])  # two of them have no vector


def test_half_of_the_words_give_way_to_similar_ones_and_labels_are_gone():
    texts = [f"{NAMES[i]}, x2 {NAMES[-i]}! own{i}" for i in range(100)]
    rows = loaded(text=texts, topic=["a"] * 100)
    found = with_texts(rows)
    assert found.features == {**rows.features, "of_sample": Value("bool")}
    assert found[:100] == {**rows[:], "of_sample": [None] * 100}
    assert found["of_sample"][100:] == [False] * 100
    assert found["topic"][100:] == [None] * 100
    assert found["repairs"][100:] == [0] * 100
    assert found["source"][100:] == rows["source"][:]
    kept = 0
    for i, text in enumerate(found["text"][100:]):
        first, last = re.fullmatch(rf"(\w+), x2 (\w+)! own{i}", text).groups()
        assert (first[0], last[0]) == (NAMES[i][0], NAMES[-i][0])
        kept += (first == NAMES[i]) + (last == NAMES[-i])
    assert 85 < kept < 130  # one of the 15 is the word itself
    assert with_texts(rows)[:] == found[:]
    assert with_texts(rows, seed=1)[:] != found[:]


def test_samples_stand_for_three_texts_of_four():
    rows = loaded(tokens=[["own"] * 8] * 40, topic=["a"] * 40)
    samples = ["what it knows already", "and Aaword, one"]
    found = with_texts(rows, samples=samples)[40:]
    made = found["tokens"]
    assert {" ".join(words) for words in made[1::4]} == {*samples}  # one of the three as it is
    lengths = [len(words) for words in made]
    assert found["of_sample"] == [length != 8 for length in lengths]
    assert lengths.count(8) == 10
    assert lengths.count(3) + lengths.count(4) == 30
    assert min(lengths.count(3), lengths.count(4)) > 5
    kept = {word for words in made for word in words if not word.endswith(",")}
    assert kept == {"own", "what", "it", "knows", "already", "and", "one"}
    exchanged = {words[1] for words in made if len(words) == 3} - {"Aaword,"}
    assert exchanged
    assert exchanged <= {f"{name.title()}," for name in NAMES[:OF_A_KIND]}
    assert with_texts(rows, samples=["other"])["tokens"][40:] != made


def test_words_stay_a_list_and_long_rows_are_cut():
    rows = loaded(tokens=[["aaword", "own"] * 50], tags=[["O"] * 100])
    made = with_texts(rows)[1]
    assert made["tags"] is None
    assert len(made["tokens"]) == 32
    assert made["tokens"][1::2] == ["own"] * 16
    assert {"aaword"} < {*made["tokens"][::2]} <= {*NAMES[:OF_A_KIND]}


def test_no_more_than_so_many_are_added(monkeypatch):
    monkeypatch.setattr("multitask_encoder.data.rehearsal_texts.MOST_TEXTS", 3)
    rows = loaded(text=[f"{number} b" for number in range(5)])
    texts = with_texts(rows)["text"][:]
    assert [text.split()[0] for text in texts[5:]] == ["0", "2", "4"]  # from all over the rows


def test_each_data_set_gets_other_texts():
    rows, samples = loaded(text=["a"] * 20), [" ".join(NAMES[i : i + 5]) for i in range(0, 60, 5)]
    first, second = (
        with_rehearsal_texts(rows, WORDS, VECTORS, 0, samples, number)["text"][20:]
        for number in (0, 1)
    )
    assert sum(one != other for one, other in zip(first, second, strict=True)) > 10


def test_rows_of_pairs_and_tokenizers_without_words_get_none():
    pairs = loaded(texts=[["a", "b"]])
    assert with_texts(pairs) is pairs
    rows = loaded(text=["a b"])
    few = dict(list(WORDS.items())[:99])
    assert with_rehearsal_texts(rows, few, VECTORS, seed=0) is rows
