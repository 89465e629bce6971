"""Soft labels go with their units into windows and batches."""

import numpy as np
import pytest
import torch
from datasets import Dataset, Features, Value
from hypothesis import given
from hypothesis import strategies as st

from multitask_encoder.data.collator import MultiTaskCollator
from multitask_encoder.data.preprocessing import preprocess
from multitask_encoder.data.soft_labels import (
    LIKELIEST,
    Taught,
    beside_labels,
    likeliest,
    soft_features,
)
from multitask_encoder.modeling.decoding import UNITS
from multitask_encoder.modeling.windows import tokenize

TASKS = {
    "topic": {
        "type": "sequence_classification",
        "labels": ["a", "b"],
        "problem_type": "single_label_classification",
    },
    "spans": {
        "type": "token_classification",
        "labels": ["O", "B-LOC", "I-LOC"],
        "labelling": "first",
    },
}
TAUGHT = {
    "topic": Taught([0, 1], 2, by_token=False, of_classes=True),
    "spans": Taught([0, 1, 2], 3, by_token=True, of_classes=True),
}
SPAN = {"start": Value("int32"), "end": Value("int32"), "label": Value("string")}


def taught_row(**changed) -> dict:
    """in Ulm: soft labels for both words, and one for a place where no word begins."""
    row = {
        "source": "file, row 1", "text": "in ulm", "topic": None, "spans": None,
        "topic.soft": [0.25, 0.75], "topic.soft_ids": [0, 1],
        "spans.soft": [0.75, 0.25, 0.0, 0.5, 0.25, 0.25, 1.0, 0.0, 0.0],
        "spans.soft_ids": [0, 1, 2, 1, 0, 2, 0, 1, 2],
        "spans.soft_starts": [0, 3, 4],
    }  # fmt: skip
    return {**row, **changed}


def windows_of(tokenizer, row: dict, **kwargs) -> list[dict]:
    features = {
        "source": Value("string"), "text": Value("string"), "topic": Value("string"),
        "spans": [SPAN],
        **soft_features("topic", by_token=False, loaded=True),
        **soft_features("spans", by_token=True, loaded=True),
    }  # fmt: skip
    rows = Dataset.from_list([row], Features(features))
    found = preprocess(rows, tokenizer, TASKS, tokenize, UNITS, taught=tuple(TASKS), **kwargs)
    return found.to_list()


def test_soft_labels_go_to_the_first_tokens_of_their_words(tokenizer):
    (window,) = windows_of(tokenizer, taught_row())
    assert tokenizer.convert_ids_to_tokens(window["input_ids"]) == [
        "[CLS]", "in", "u", "##l", "##m", "[SEP]"
    ]  # fmt: skip
    assert window["spans.soft_places"] == [1, 2]
    assert window["spans.soft"] == [0.75, 0.25, 0.0, 0.5, 0.25, 0.25]
    assert window["spans.soft_ids"] == [0, 1, 2, 1, 0, 2]
    assert window["topic.soft"] == [0.25, 0.75]


def test_each_window_has_the_soft_labels_of_the_words_that_it_answers(tokenizer):
    text = "in ulm in ulm in ulm"
    starts = [0, 3, 7, 10, 14, 17]
    values = [value / 8 for value in range(6) for _ in range(3)]
    row = taught_row(text=text) | {
        "spans.soft": values, "spans.soft_ids": [0, 1, 2] * 6, "spans.soft_starts": starts
    }  # fmt: skip
    windows = windows_of(tokenizer, row, max_length=8, stride=2)
    assert len(windows) > 1
    met = [value for window in windows for value in window["spans.soft"][::3]]
    assert met == [value / 8 for value in range(6)]
    for window in windows:
        first = tokenizer.convert_ids_to_tokens(window["input_ids"])
        assert {first[place] for place in window["spans.soft_places"]} <= {"in", "u"}
    assert [bool(window["topic.soft"]) for window in windows] == [True] + [False] * (
        len(windows) - 1
    )


def test_batches_have_targets(tokenizer):
    (window,) = windows_of(tokenizer, taught_row())
    (empty,) = windows_of(
        tokenizer,
        taught_row(topic="b", **{f"{name}.soft{key}": [] for name in TASKS
                                 for key in ("", "_ids")}, **{"spans.soft_starts": []}),
    )  # fmt: skip
    batch = MultiTaskCollator(tokenizer, TASKS, TAUGHT)([window, empty])
    topic, spans = batch["targets"]["topic"], batch["targets"]["spans"]
    assert topic[0].tolist() == [0.25, 0.75] and topic[1].isnan().all()
    assert spans.shape == (2, 6, 3)
    assert spans[0, [1, 2]].tolist() == [[0.75, 0.25, 0.0], [0.25, 0.5, 0.25]]
    assert spans[0, [0, 3, 4, 5]].isnan().all() and spans[1].isnan().all()
    assert batch["labels"]["topic"].tolist() == [-101, 1]  # the first is a text that is taught
    assert batch["labels"]["spans"][0].tolist() == [-100, -101, -101, -100, -100, -100]


@given(
    st.integers(1, 30).flatmap(
        lambda n: st.tuples(
            st.lists(st.floats(0.01, 1), min_size=n, max_size=n),
            st.lists(st.integers(0, 49), min_size=n, max_size=n, unique=True),
        )
    )
)
def test_what_is_left_out_is_spread_over_the_labels_that_the_teacher_knows(drawn):
    weights, known = np.array(drawn[0]), sorted(drawn[1])
    probabilities = (weights / weights.sum())[None]
    values, ids = likeliest(probabilities, known)
    taught = Taught(known, 50, by_token=False, of_classes=True)
    row = {"task.soft": values.ravel().tolist(), "task.soft_ids": ids.ravel().tolist()}
    dense = taught.batch("task", [row], 1)[0]
    assert (dense[known] >= 0).all() and dense[known].sum() == pytest.approx(1, abs=1e-3)
    assert set(np.flatnonzero(dense.numpy() < 0)) == set(range(50)) - set(known)
    kept = [known.index(label) for label in ids[0]]
    assert len(kept) == min(LIKELIEST, len(known))
    assert values[0].tolist() == [probabilities[0, column] for column in kept]
    others = np.delete(probabilities[0], kept)
    assert not len(others) or others.max() <= values[0].min()
    assert dense[ids[0]].tolist() == pytest.approx(values[0].tolist(), abs=1e-3)


def test_labels_that_are_impossible_are_not_unknown():
    known, impossible = list(range(10)), [11, 12]
    values, ids = likeliest(np.array([[0.9, 0.1, *[0.0] * 8]]), known, impossible)
    assert values.shape == ids.shape == (1, LIKELIEST + 2)
    row = {"task.soft": values.ravel().tolist(), "task.soft_ids": ids.ravel().tolist()}
    taught = Taught(known, 13, by_token=False, of_classes=True)
    dense = taught.batch("task", [row], 1)[0]
    assert dense.tolist() == pytest.approx([0.9, 0.1, *[0] * 8, -1, 0, 0])


def test_a_label_that_the_teacher_knows_rules_out_those_it_lacks():
    taught = Taught([0, 1], 3, by_token=False, of_classes=True)
    said = torch.tensor([[0.25, 0.75, -1.0]]).repeat(3, 1)
    targets, labels = beside_labels(said, torch.tensor([1, 2, -100]), taught)
    assert targets.tolist() == [[0.25, 0.75, 0.0], [0.25, 0.75, -1.0], [0.25, 0.75, -1.0]]
    assert labels.tolist() == [1, 2, -101]


def test_rows_that_say_nothing_of_the_teachers_labels_leave_them_to_it():
    tags = Taught([0, 1], 3, by_token=True, of_classes=True, none=0, new_only=True)
    said = torch.tensor([[[0.25, 0.75, -1.0]] * 3])
    targets, labels = beside_labels(said, torch.tensor([[0, 2, 1]]), tags)
    assert labels.tolist() == [[-101, 2, 1]]
    assert targets[0, 0].tolist() == [0.25, 0.75, 0.0]  # but the new label is ruled out
    several = Taught([0, 1], 3, by_token=False, of_classes=False, new_only=True)
    said = torch.tensor([[0.25, 0.75, torch.nan]])
    _, marks = beside_labels(said, torch.tensor([[0.0, 0.0, 1.0]]), several)
    assert marks.isnan().tolist() == [[True, True, False]] and marks[0, 2] == 1
