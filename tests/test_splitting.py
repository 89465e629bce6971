"""Which rows are held out: whole texts, each label's share, the same ones for the same seed."""

from collections import Counter

import pytest
from datasets import Dataset, Features, List, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from multitask_encoder.data.dataset_arguments import DatasetArguments
from multitask_encoder.data.splitting import cut_splits, split_off

bounded = settings(max_examples=60, deadline=None, derandomize=True, database=None)
TOPIC = {"topic": {"type": "sequence_classification"}}
KINDS = {"kinds": {"type": "sequence_classification", "problem_type": "multi_label_classification"}}
ENTITIES = {"entities": {"type": "token_classification"}}


def rows_of(topics: list[str | None], texts: list[str] | None = None) -> Dataset:
    texts = texts or [f"text {index}" for index in range(len(topics))]
    columns = {"id": list(range(len(topics))), "text": texts, "topic": topics}
    features = {"id": Value("int32"), "text": Value("string"), "topic": Value("string")}
    return Dataset.from_dict(columns, Features(features))


def test_a_share_of_every_label_is_held_out():
    rows = rows_of(["a"] * 60 + ["b"] * 30 + ["c"] * 10)
    stay, held_out = split_off(rows, 0.2, "topic", seed=0)
    assert Counter(held_out["topic"]) == {"a": 12, "b": 6, "c": 2}
    assert sorted([*stay["id"], *held_out["id"]]) == list(range(100))
    assert stay["id"][:] == sorted(stay["id"])
    assert held_out["id"][:] == sorted(held_out["id"])


def test_without_a_task_to_go_by_all_rows_are_one_stratum():
    stay, held_out = split_off(rows_of([None] * 10), 0.3, None, seed=0)
    assert (len(stay), len(held_out)) == (7, 3)


def test_shares_of_rare_labels_add_up():
    rows = rows_of([label for label in "abcdefghij" for _ in range(3)])
    _, held_out = split_off(rows, 0.1, "topic", seed=0)
    assert len(held_out) == 3
    assert max(Counter(held_out["topic"]).values()) == 1


def test_labels_of_one_text_stay_and_others_do_not_make_up_for_them():
    rows = rows_of([*(f"only {index}" for index in range(50)), *["z"] * 20])
    _, held_out = split_off(rows, 0.5, "topic", seed=0)
    assert set(held_out["topic"]) == {"z"}
    assert 10 <= len(held_out) <= 11


@st.composite
def labelled_rows(draw) -> Dataset:
    """Rows of few texts, so that several share one; a text has one label, or none."""
    numbers = draw(st.lists(st.integers(0, 40), min_size=2, max_size=80))
    label_of = draw(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=41, max_size=41))
    return rows_of([label_of[one] for one in numbers], [f"text {one}" for one in numbers])


@settings(bounded, max_examples=100)
@given(labelled_rows(), st.floats(0.01, 0.99), st.integers(0, 5))
def test_texts_are_held_out_whole_and_labels_in_proportion(rows, fraction, seed):
    texts = dict(zip(rows["text"], rows["topic"], strict=True))
    in_all = Counter(texts.values())
    try:
        stay, held_out = split_off(rows, fraction, "topic", seed)
    except ValueError:
        # Nothing to hold out: every label is of one text, or has less than half of one to give.
        assert all(count == 1 or count * fraction < 1 for count in in_all.values())
        return
    assert sorted([*stay["id"], *held_out["id"]]) == list(range(len(rows)))
    assert not set(stay["text"]) & set(held_out["text"])
    assert len(stay)
    assert len(held_out)
    chosen = Counter(texts[text] for text in set(held_out["text"]))
    for label, count in in_all.items():
        assert chosen[label] < count
        # One text more or less, unless the last one has to stay.
        assert chosen[label] == count - 1 or abs(chosen[label] - count * fraction) <= 1
    again = split_off(rows, fraction, "topic", seed)
    assert (again[0]["id"][:], again[1]["id"][:]) == (stay["id"][:], held_out["id"][:])


def test_the_seed_decides_which():
    rows = rows_of(["a"] * 100)
    first, second = (set(split_off(rows, 0.2, "topic", seed)[1]["id"]) for seed in (0, 1))
    assert first != second


def test_words_are_compared_as_the_text_they_make():
    words = [["a", "b"], ["a b"], ["c"], ["d"], ["e"], ["c"]]
    rows = Dataset.from_dict({"tokens": words}, Features({"tokens": List(Value("string"))}))
    for seed in range(10):
        parts = split_off(rows, 0.5, None, seed)
        texts = [{" ".join(one) for one in part["tokens"]} for part in parts]
        assert not texts[0] & texts[1]
        assert len(texts[0] | texts[1]) == 4


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5])
def test_a_fraction_is_between_0_and_1(fraction):
    with pytest.raises(ValueError, match=rf"should be in \(0, 1\)\. Found {fraction}"):
        split_off(rows_of(["a"] * 10), fraction, "topic", 0)


@pytest.mark.parametrize(
    ("rows", "fraction"),
    [
        (rows_of(["a"]), 0.9),
        (rows_of(["a", "b", "c"]), 0.9),
        (rows_of(["a"] * 4), 0.1),
        (rows_of(["a"] * 4, ["same"] * 4), 0.5),
    ],
)
def test_neither_side_may_be_empty(rows, fraction):
    message = rf"^{fraction} of {len(rows)} training rows is no row: give more rows, or a file\.$"
    with pytest.raises(ValueError, match=message):
        split_off(rows, fraction, "topic", 0)


def test_missing_splits_are_cut_off_and_it_is_said():
    rows = rows_of(["a"] * 60 + ["b"] * 40)
    source = DatasetArguments(validation_fraction=0.1, test_fraction=0.2)
    splits, notes = cut_splits({"train": rows}, TOPIC, source, 7)
    # Both are shares of all rows, not of what the first cut left.
    assert {split: Counter(part["topic"]) for split, part in splits.items()} == {
        "train": {"a": 42, "b": 28},
        "validation": {"a": 6, "b": 4},
        "test": {"a": 12, "b": 8},
    }
    assert notes == [
        "There is no validation split: cut 10 of 100 rows off the training rows, stratified by "
        "topic, seed 7.",
        "There is no test split: cut 20 of 100 rows off the training rows, stratified by topic, "
        "seed 7.",
    ]
    assert sorted(id for part in splits.values() for id in part["id"]) == list(range(100))


def test_only_a_task_of_one_label_a_text_can_stratify():
    rows = rows_of(["a"] * 8 + ["b"] * 2)
    source = DatasetArguments(test_fraction=0.5)
    _, (note,) = cut_splits({"train": rows}, KINDS | ENTITIES | TOPIC, source, 0)
    assert "stratified by topic" in note
    splits, (note,) = cut_splits({"train": rows}, KINDS | ENTITIES, source, 0)
    assert "stratified" not in note
    assert len(splits["test"]) == 5


def test_nothing_is_cut_unless_asked():
    rows = rows_of(["a"] * 4)
    splits, notes = cut_splits({"train": rows}, TOPIC, DatasetArguments(), 0)
    assert (splits, notes) == ({"train": rows}, [])


def test_only_missing_splits_are_cut_and_from_training_rows():
    rows = rows_of(["a"] * 10)
    source = DatasetArguments(test_fraction=0.2)
    message = r"test_fraction needs training rows and no test split\. Found a test split"
    with pytest.raises(ValueError, match=message):
        cut_splits({"train": rows, "test": rows}, TOPIC, source, 0)
    with pytest.raises(ValueError, match="Found no training rows"):
        cut_splits({"validation": rows}, TOPIC, source, 0)


def test_both_cuts_must_leave_rows_to_train_on():
    source = DatasetArguments(validation_fraction=0.6, test_fraction=0.6)
    with pytest.raises(ValueError, match=r"should leave rows to train on\. Found 1\.2 together"):
        cut_splits({"train": rows_of(["a"] * 10)}, TOPIC, source, 0)
