"""Texts of random words, on which a model is held to what it knows."""

import pytest
from datasets import Dataset

from multitask_encoder.data.random_texts import vocabulary_words, with_random_texts

WORDS = [f"word{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(300)]


def loaded(**columns) -> Dataset:
    """Rows as they are loaded."""
    count = len(next(iter(columns.values())))
    marks = {"source": [f"row {i}" for i in range(count)], "repairs": [2] * count}
    return Dataset.from_dict({**columns, **marks})


class Vocabulary:
    def __init__(self, *tokens: str):
        self.tokens = tokens

    def get_vocab(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self.tokens)}


@pytest.mark.parametrize(
    "tokens",
    [
        ["[CLS]", "play", "##ing", "a", "Öl", "2024", "ball"],  # WordPiece
        ["<s>", "▁play", "ing", "▁a", "▁Öl", "▁2024", "▁ball", "▁"],  # SentencePiece
        ["<s>", "Ġplay", "ing", "Ġa", "ĠÖl", "Ġ2024", "Ġball", "Ġ"],  # byte-level BPE
    ],
)
def test_words_are_the_tokens_that_begin_one(tokens):
    assert vocabulary_words(Vocabulary(*tokens)) == ["ball", "play", "Öl"]


def test_a_quarter_of_the_words_is_exchanged_and_labels_are_gone():
    texts = [" ".join(f"own{i}x{j}" for j in range(20)) for i in range(50)]
    rows = loaded(text=texts, topic=["a"] * 50)
    found = with_random_texts(rows, WORDS, seed=0)
    assert found.features == rows.features
    assert found[:50] == rows[:]
    assert found["topic"][50:] == [None] * 50
    assert found["repairs"][50:] == [0] * 50
    assert found["source"][50:] == rows["source"][:]
    words = [(word, i) for i, text in enumerate(found["text"][50:]) for word in text.split()]
    assert len(words) == 50 * 20
    kept = [(word, i) for word, i in words if word not in WORDS]
    assert all(word.startswith(f"own{i}x") for word, i in kept)
    assert 700 < len(kept) < 800
    assert with_random_texts(rows, WORDS, seed=0)[:] == found[:]
    assert with_random_texts(rows, WORDS, seed=1)[:] != found[:]


def test_samples_stand_for_three_texts_of_four():
    rows = loaded(tokens=[["own"] * 8] * 40, topic=["a"] * 40)
    samples = ["what it knows already", "and this one"]
    made = with_random_texts(rows, WORDS, 0, samples)["tokens"][40:]
    lengths = [len(words) for words in made]
    assert lengths.count(8) == 10
    assert lengths.count(3) + lengths.count(4) == 30
    assert min(lengths.count(3), lengths.count(4)) > 5
    kept = {word for words in made for word in words} - {*WORDS}
    assert kept == {"own", "what", "it", "knows", "already", "and", "this", "one"}
    assert with_random_texts(rows, WORDS, 0, ["other"])["tokens"][40:] != made


def test_words_stay_a_list_and_long_rows_are_cut():
    rows = loaded(tokens=[["own"] * 100], tags=[["O"] * 100])
    made = with_random_texts(rows, WORDS, seed=0)[1]
    assert made["tags"] is None
    assert len(made["tokens"]) == 32
    assert set(made["tokens"]) <= {"own", *WORDS}


def test_no_more_than_so_many_are_added(monkeypatch):
    monkeypatch.setattr("multitask_encoder.data.random_texts.MOST_TEXTS", 3)
    rows = loaded(text=["a b"] * 5)
    assert len(with_random_texts(rows, WORDS, seed=0)) == 8


def test_rows_of_pairs_and_tokenizers_without_words_get_none():
    pairs = loaded(texts=[["a", "b"]])
    assert with_random_texts(pairs, WORDS, seed=0) is pairs
    rows = loaded(text=["a b"])
    assert with_random_texts(rows, WORDS[:99], seed=0) is rows
