"""What was read or tokenized once is taken from the cache, until something of it changes."""

import copy
import json
import os
from typing import Any

import pytest
from datasets import Dataset, Features, Value

from multitask_encoder.data import caching, loading, preprocessing
from multitask_encoder.data.caching import file_state, fingerprint
from multitask_encoder.data.dataset_arguments import DatasetArguments
from multitask_encoder.data.loading import load_splits
from multitask_encoder.data.preprocessing import preprocess
from multitask_encoder.modeling.decoding import UNITS
from multitask_encoder.modeling.windows import tokenize

TOPIC = {"topic": {"type": "sequence_classification"}}
TASK = {**TOPIC["topic"], "labels": ["x", "y"], "problem_type": "single_label_classification"}


def write(path, *topics: str) -> None:
    rows = [{"text": f"text {index}", "topic": topic} for index, topic in enumerate(topics)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


@pytest.fixture
def times_read(monkeypatch):
    """A list that gets one longer with each split that is read, and not taken from the cache."""
    read, normalized_rows = [], loading.normalized_rows

    def counted(rows, name, *args):
        read.append(name)
        return normalized_rows(rows, name, *args)

    monkeypatch.setattr(loading, "normalized_rows", counted)
    return read


@pytest.fixture
def times_tokenized(monkeypatch):
    """The same for preprocessing."""
    made, convert = [], preprocessing.preprocess_columns

    def counted(batch, *args, **kwargs):
        made.append(len(batch["source"]))
        return convert(batch, *args, **kwargs)

    monkeypatch.setattr(preprocessing, "preprocess_columns", counted)
    return made


def test_a_file_is_read_once(tmp_path, times_read):
    path = tmp_path / "rows.jsonl"
    write(path, "x", "y")
    source = DatasetArguments(train_file=[str(path)])
    first = load_splits(TOPIC, source)[0]["train"]
    second = load_splits(TOPIC, source)[0]["train"]
    assert times_read == [str(path)]
    assert second.to_list() == first.to_list()
    assert second._fingerprint == first._fingerprint


@pytest.mark.parametrize(
    "change",
    [
        lambda path: write(path, "x", "x"),  # the same size
        lambda path: write(path, "x", "y", "y"),
        lambda path: os.utime(path, ns=(0, 1)),
    ],
)
def test_a_changed_file_is_read_anew(change, tmp_path, times_read):
    path = tmp_path / "rows.jsonl"
    write(path, "x", "y")
    os.utime(path, ns=(0, 0))
    source = DatasetArguments(train_file=[str(path)])
    load_splits(TOPIC, source)
    change(path)
    rows = load_splits(TOPIC, source)[0]["train"]
    assert times_read == [str(path)] * 2
    assert rows["topic"][:] == [json.loads(line)["topic"] for line in path.read_text().splitlines()]


def test_other_settings_are_read_anew(tmp_path, times_read):
    path = tmp_path / "rows.jsonl"
    write(path, "x", "y", "x")
    names = [str(path)]
    load_splits(TOPIC, DatasetArguments(train_file=names))
    mood = {"mood": {**TOPIC["topic"], "column": "topic"}}
    other = tmp_path / "other.jsonl"
    write(other, "x", "y", "x")
    for number, (tasks, source) in enumerate(
        [
            (TOPIC, DatasetArguments(train_file=names, train_size=2)),
            (TOPIC, DatasetArguments(train_file=names, text_column=["topic"])),
            (TOPIC, DatasetArguments(train_file=[str(other)])),
            (TOPIC, DatasetArguments(train_file=[*names, str(other)])),
            (mood, DatasetArguments(train_file=names)),
        ],
        start=2,
    ):
        load_splits(tasks, source)
        assert len(times_read) == number
    load_splits(TOPIC, DatasetArguments(train_file=names))
    assert len(times_read) == number


def test_a_folder_changes_with_the_files_in_it(tmp_path):
    for name in ("seq.in", "seq.out", "label"):
        (tmp_path / name).write_text("a\n")
    before = file_state(tmp_path)
    assert file_state(tmp_path) == before
    os.utime(tmp_path / "seq.out", ns=(0, 2**62))
    assert file_state(tmp_path) != before


def test_a_state_names_its_file(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text("same")
        os.utime(tmp_path / name, ns=(0, 0))
    assert file_state(tmp_path / "a") == [(str(tmp_path / "a"), 4, 0)]
    assert file_state(tmp_path / "a") != file_state(tmp_path / "b")


def test_rows_are_tokenized_once(tmp_path, tokenizer, times_tokenized):
    write(tmp_path / "rows.jsonl", "x", "y")
    rows = load_splits(TOPIC, DatasetArguments(train_file=[str(tmp_path / "rows.jsonl")]))[0]
    first, second = (
        preprocess(rows["train"], tokenizer, {"topic": TASK}, tokenize, UNITS) for _ in range(2)
    )
    assert times_tokenized == [2]
    assert second.to_list() == first.to_list()
    # Rows that are read from the cache again have the same fingerprint as the first time.
    rows = load_splits(TOPIC, DatasetArguments(train_file=[str(tmp_path / "rows.jsonl")]))[0]
    preprocess(rows["train"], tokenizer, {"topic": TASK}, tokenize, UNITS)
    assert times_tokenized == [2]


def test_weights_are_not_read_or_tokenized_anew(tmp_path, tokenizer, times_read, times_tokenized):
    write(tmp_path / "rows.jsonl", "x", "y")
    source = DatasetArguments(train_file=[str(tmp_path / "rows.jsonl")])
    weights = {"weight": 2.0, "score_weight": 0.0, "class_weights": {"x": 3.0, "y": 1.0}}
    for of_task in ({}, weights):
        rows = load_splits({"topic": {**TOPIC["topic"], **of_task}}, source)[0]
        preprocess(rows["train"], tokenizer, {"topic": {**TASK, **of_task}}, tokenize, UNITS)
    assert (len(times_read), times_tokenized) == (1, [2])


def test_other_settings_are_tokenized_anew(tokenizer):
    rows = Dataset.from_dict(
        {"source": ["row 1"], "text": ["a b c"], "topic": ["x"]},
        Features(dict.fromkeys(["source", "text", "topic"], Value("string"))),
    )
    short, other = copy.deepcopy(tokenizer), copy.deepcopy(tokenizer)
    short.model_max_length = 64
    other.add_tokens(["abc"])
    swapped = {"topic": {**TASK, "labels": ["y", "x"]}}
    cases: list[tuple[Any, dict, dict]] = [
        (tokenizer, {"topic": TASK}, {}),
        (short, {"topic": TASK}, {}),
        (other, {"topic": TASK}, {}),
        (tokenizer, swapped, {}),
        *(
            (tokenizer, {"topic": TASK}, {key: value})
            for key, value in {
                "max_length": 4, "stride": 1, "long_texts": "truncate", "all_windows": True,
                "prompt": "a: ", "number": 1,
            }.items()
        ),
    ]  # fmt: skip
    found = [
        preprocess(rows, one, tasks, tokenize, UNITS, **settings)._fingerprint
        for one, tasks, settings in cases
    ]
    assert len(set(found)) == len(cases)
    assert preprocess(rows, tokenizer, {"topic": TASK}, tokenize, UNITS)._fingerprint == found[0]
    # Names and processes change nothing in the rows.
    again = preprocess(rows, tokenizer, {"topic": TASK}, tokenize, UNITS, name="other")
    assert again._fingerprint == found[0]


def test_values_and_their_order_count():
    assert fingerprint("a", {"b": 1}) == fingerprint("a", {"b": 1})
    values = [("a", "b"), ("b", "a"), ("ab",), (["a", "b"],), ("a", "b", None), (1,), (1.0,), ()]
    assert len({fingerprint(*one) for one in values}) == len(values)


def test_the_code_counts(tmp_path, monkeypatch):
    (tmp_path / "caching.py").write_text("a = 1\n")
    (tmp_path / "other.py").write_text("b = 1\n")
    monkeypatch.setattr(caching, "__file__", str(tmp_path / "caching.py"))
    before = fingerprint("a")
    assert fingerprint("a") == before
    (tmp_path / "other.py").write_text("b = 2\n")
    assert fingerprint("a") != before
    # That of a function is the code of its whole module, which the function may call.
    assert fingerprint("a", functions=(tokenize,)) != fingerprint("a", functions=(UNITS["all"],))
    assert fingerprint(functions=(UNITS["first"],)) == fingerprint(functions=(UNITS["all"],))
