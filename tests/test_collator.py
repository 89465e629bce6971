"""Rows of different lengths in, exact tensors out."""

import copy

import pytest
import torch

from multitask_encoder.data.collator import MultiTaskCollator

NAN = float("nan")
TASKS = {
    "topic": {
        "type": "sequence_classification",
        "labels": ["a", "b", "c"],
        "problem_type": "single_label_classification",
    },
    "tags": {
        "type": "sequence_classification",
        "labels": ["x", "y"],
        "problem_type": "multi_label_classification",
    },
    "stars": {"type": "sequence_classification", "labels": ["stars"], "problem_type": "regression"},
    "entities": {"type": "token_classification", "labels": ["O", "B-LOC", "I-LOC"]},
    "embedding": {"type": "sentence_embedding"},
}
ROWS = [
    {
        "input_ids": [2, 7, 8, 3], "length": 4, "topic": 2, "tags": [1.0, 0.0], "stars": [4.5],
        "entities": [-100, 1, 2, -100], "entities.tags": [1, 2], "entities.positions": [1, 2],
    },
    {
        "input_ids": [2, 3], "length": 2, "topic": -100, "tags": [NAN, NAN], "stars": [NAN],
        "entities": [-100, -100], "entities.tags": [], "entities.positions": [],
    },
]  # fmt: skip


@pytest.fixture
def collate(tokenizer):
    def collate(rows, padding_side="right", tasks=TASKS):
        padder = copy.deepcopy(tokenizer)
        padder.padding_side = padding_side
        return MultiTaskCollator(padder, tasks)(rows)

    return collate


def test_rows_are_padded_on_the_right(collate):
    batch = collate(ROWS)
    assert sorted(batch) == ["attention_mask", "input_ids", "labels"]
    assert batch["input_ids"].tolist() == [[2, 7, 8, 3], [2, 3, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert batch["labels"]["entities"].tolist() == [[-100, 1, 2, -100], [-100, -100, -100, -100]]


def test_rows_are_padded_on_the_right_whatever_the_tokenizer_asks(collate):
    left, right = collate(ROWS, padding_side="left"), collate(ROWS, padding_side="right")
    assert left["input_ids"].tolist() == [[2, 7, 8, 3], [2, 3, 0, 0]]
    assert left["attention_mask"].tolist() == right["attention_mask"].tolist()
    assert left["labels"]["entities"].tolist() == right["labels"]["entities"].tolist()


def test_labels_of_sentences_are_class_ids_or_floats(collate):
    labels = collate(ROWS)["labels"]
    assert list(labels) == ["topic", "tags", "stars", "entities"]
    exact = {"rtol": 0, "atol": 0, "equal_nan": True}
    torch.testing.assert_close(labels["topic"], torch.tensor([2, -100]), **exact)
    torch.testing.assert_close(labels["tags"], torch.tensor([[1.0, 0.0], [NAN, NAN]]), **exact)
    torch.testing.assert_close(labels["stars"], torch.tensor([[4.5], [NAN]]), **exact)


def test_keys_are_the_same_in_a_batch_without_labels(collate):
    with_labels, without = collate(ROWS[:1]), collate(ROWS[1:])
    assert with_labels["labels"].keys() == without["labels"].keys()
    assert without["labels"]["topic"].tolist() == [-100]
    assert without["labels"]["tags"].isnan().all()


def test_a_batch_without_tasks_has_no_labels(collate):
    assert collate(ROWS, tasks={})["labels"] == {}


def test_padding_is_the_tokenizers_own(byte_tokenizer):
    padder = copy.deepcopy(byte_tokenizer)
    padder.pad_token = "</s>"
    batch = MultiTaskCollator(padder, {})([{"input_ids": [1, 9]}, {"input_ids": [1]}])
    assert batch["input_ids"].tolist() == [[1, 9], [1, 2]]
    assert batch["attention_mask"].tolist() == [[1, 1], [1, 0]]
