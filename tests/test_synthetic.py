"""The synthetic corpus: what its rows promise, and that counting words does not solve it."""

import re
import subprocess
import sys
from collections import Counter, defaultdict
from itertools import islice
from pathlib import Path

import datasets
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from multitask_encoder.data.synthetic import (
    ENTITY_TYPES,
    SENTIMENTS,
    SPLITS,
    TOPICS,
    generate,
    lexicon,
    load_synthetic,
)

LEXICON = lexicon()
AMBIGUOUS = {
    *LEXICON["ambiguous_surnames"],
    *(n for names in LEXICON["ambiguous"].values() for n in names),
}


@pytest.fixture(scope="module")
def rows():
    return {
        "train": list(generate("train", 5000)),
        "validation": list(generate("validation", 1000)),
        "test": list(generate("test", 1000)),
    }


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)


def names(rows):
    """Every name in `rows` and its type, without the rows in lower or upper case throughout."""
    return [
        (row["text"][entity["start"] : entity["end"]].replace("’", "'"), entity["label"])
        for row in rows
        if not row["text"].islower() and not row["text"].isupper()
        for entity in row["entities"]
    ]


def test_labels_are_known(rows):
    for row in rows["train"]:
        assert set(row) == {"text", "topic", "sentiment", "entities"}
        assert row["topic"] in TOPICS
        assert row["sentiment"] in SENTIMENTS
        assert all(entity["label"] in ENTITY_TYPES for entity in row["entities"])


@pytest.mark.parametrize("split", SPLITS)
def test_spans_are_names_in_order(rows, split):
    for row in rows[split]:
        end = 0
        for entity in row["entities"]:
            assert end <= entity["start"] < entity["end"] <= len(row["text"])
            end = entity["end"]
            name = row["text"][entity["start"] : end]
            assert name == name.strip()
            assert re.fullmatch(r"[\w'’]+( &)?([ ][\w'’]+)*", name)
            # Neither half a word nor a possessive: "Apple's" has the name "Apple".
            assert not re.search(r"\w$", row["text"][: entity["start"]])
            assert not re.match(r"\w", row["text"][end:])
            assert not name.lower().endswith(("'s", "’s"))


@pytest.mark.parametrize("split", SPLITS)
def test_names_are_those_of_the_split(rows, split):
    by_label = {
        "PER": {*LEXICON["first_names"][split], *LEXICON["surnames"][split], *AMBIGUOUS},
        "LOC": {*LEXICON["cities"][split], *LEXICON["ambiguous"]["LOC"]},
        "ORG": {*LEXICON["surnames"][split], *LEXICON["ambiguous"]["ORG"]},
    }
    stems = {
        "PER": (),
        "LOC": LEXICON["place_stems"][split],
        "ORG": LEXICON["org_stems"][split] + LEXICON["place_stems"][split],
    }
    for name, label in names(rows[split]):
        head = name.split()[0]
        known = {name, head} & by_label[label]
        assert known or any(word.startswith(tuple(stems[label])) for word in name.split()), name


def test_text_has_no_markup_or_slot_left(rows):
    assert not any(re.search(r"[<>{}]|\s\s|\ba [aeio]\w", row["text"]) for row in rows["train"])


def test_generate_is_seeded():
    assert list(generate("train", 50, seed=1)) == list(generate("train", 50, seed=1))
    assert list(generate("train", 50, seed=1)) != list(generate("train", 50, seed=2))


def test_generate_is_the_same_in_another_process():
    code = "from data.synthetic import generate; print(list(generate('test', 20, seed=3)))"
    printed = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", code],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        encoding="utf-8",
        check=True,
    ).stdout
    assert printed == f"{list(generate('test', 20, seed=3))}\n"


def test_longer_run_starts_with_the_shorter(rows):
    assert list(generate("train", 100)) == rows["train"][:100]


@pytest.mark.parametrize("function", [generate, load_synthetic])
def test_bad_arguments_are_refused_at_once(function):
    with pytest.raises(
        ValueError, match=r"Unknown split 'dev'\. Expected one of: train, validation"
    ):
        function("dev", 10)
    with pytest.raises(ValueError, match=r"num_rows should be at least 1\. Found 0"):
        function("train", 0)


def test_texts_hardly_repeat_and_never_cross_splits(rows):
    texts = {split: [row["text"] for row in rows[split]] for split in SPLITS}
    assert len(set(texts["train"])) > 0.99 * len(texts["train"])
    assert not set(texts["train"]) & set(texts["test"])
    assert not set(texts["train"]) & set(texts["validation"])
    assert not set(texts["validation"]) & set(texts["test"])


@pytest.mark.parametrize(("first", "second"), [SPLITS[:2], SPLITS[1:], SPLITS[::2]])
def test_names_of_splits_are_disjoint(rows, first, second):
    shared = {n for n, _ in names(rows[first])} & {n for n, _ in names(rows[second])}
    assert shared <= AMBIGUOUS
    assert shared


def test_labels_are_balanced(rows):
    count = len(rows["train"])
    topics = Counter(row["topic"] for row in rows["train"])
    sentiments = Counter(row["sentiment"] for row in rows["train"])
    entities = Counter(len(row["entities"]) for row in rows["train"])
    assert all(0.25 < topics[topic] / count < 0.42 for topic in TOPICS)
    assert all(0.4 < sentiments[sentiment] / count < 0.6 for sentiment in SENTIMENTS)
    assert 0.1 < entities[0] / count < 0.4
    assert sum(entities[n] for n in entities if n >= 3) / count > 0.03


def test_casing_and_punctuation_vary(rows):
    texts = [row["text"] for row in rows["train"]]

    def share(pattern):
        return sum(re.search(pattern, text) is not None for text in texts) / len(texts)

    assert 0.03 < sum(text.islower() for text in texts) / len(texts) < 0.2
    assert 0.01 < sum(text.isupper() for text in texts) / len(texts) < 0.1
    assert share(r"\w$") > 0.1
    for pattern in (
        r"!",
        r"\?",
        r'"',
        r"\(",
        r"#\w",
        r"n['’]t\b",
        r"\w['’]s\b",
        r"\w-\w",
        r"[^\x00-\x7f]",
    ):
        assert share(pattern) > 0.01, pattern


def test_ambiguous_names_have_several_types(rows):
    types = defaultdict(set)
    for name, label in names(rows["train"]):
        types[name].add(label)
    assert sum(len(labels) > 1 for labels in types.values()) >= 10
    assert types["Phoenix"] == set(ENTITY_TYPES)
    apples = [row for row in rows["train"] if re.search(r"\bapple\b", row["text"])]
    assert any(not row["entities"] for row in apples)


def test_no_word_gives_a_topic_away(rows):
    found: dict[str, Counter] = {topic: Counter() for topic in TOPICS}
    for row in rows["train"]:
        found[row["topic"]].update(set(re.findall(r"\w+", row["text"].lower())))
    for topic, counts in found.items():
        rows_of_topic = sum(row["topic"] == topic for row in rows["train"])
        for word, count in counts.items():
            if count / sum(other[word] for other in found.values()) > 0.8:
                assert count / rows_of_topic < 0.15, word


def test_bag_of_words_does_not_solve_sentiment(rows):
    vectorizer = CountVectorizer()
    train = vectorizer.fit_transform(row["text"] for row in rows["train"][:4000])
    test = vectorizer.transform(row["text"] for row in rows["test"])
    model = LogisticRegression(max_iter=1000)
    model.fit(train, [row["sentiment"] for row in rows["train"][:4000]])
    # Some of it is in the words, as in life, but a good part is not.
    assert 0.55 < model.score(test, [row["sentiment"] for row in rows["test"]]) <= 0.9


def test_list_of_training_names_does_not_find_entities(rows):
    types: dict[str, Counter] = defaultdict(Counter)
    for name, label in names(rows["train"]):
        types[name][label] += 1
    longest_first = sorted(types, key=len, reverse=True)
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)")
    right = predicted = expected = 0
    for row in rows["test"]:
        found = {
            (match.start(), match.end(), types[match[0]].most_common(1)[0][0])
            for match in pattern.finditer(row["text"])
        }
        gold = {(entity["start"], entity["end"], entity["label"]) for entity in row["entities"]}
        right += len(found & gold)
        predicted += len(found)
        expected += len(gold)
    assert 2 * right / (predicted + expected) <= 0.9


@pytest.mark.parametrize("split", ["train", "test"])
def test_streaming_gives_the_same_rows(split):
    stored = load_synthetic(split, 60, seed=4)
    streamed = load_synthetic(split, 60, seed=4, streaming=True)
    assert isinstance(stored, datasets.Dataset)
    assert isinstance(streamed, datasets.IterableDataset)
    assert stored.features == streamed.features
    assert list(stored) == list(streamed) == list(generate(split, 60, seed=4))


def test_streaming_makes_only_the_rows_asked_for():
    streamed = load_synthetic("train", 10**9, streaming=True)
    assert list(islice(streamed, 3)) == list(generate("train", 3))
