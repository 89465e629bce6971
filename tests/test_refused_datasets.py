"""Mistakes in how data sets are mixed or streamed end a run."""

import json

import pytest
from bad_input import CLASSES, TAGS, TEXTS, WORDS, data_set, words

from multitask_encoder.cli import run as run_multitask


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"datasets": ["a"]}, "`datasets` should map names to data sets. Found ['a']."),
        ({"datasets": {}}, "`datasets` should map names to data sets. Found {}."),
        ({"datasets": {"a": "a.jsonl"}}, "datasets.a should be a mapping. Found 'a.jsonl'."),
        ({"datasets": {"my data": data_set()}},
         "A data set's name should be a letter followed by letters, digits and underscores. Found "
         "'my data'."),
        ({"datasets": {7: data_set()}},
         "A data set's name should be a letter followed by letters, "),
        ({"datasets": {"a": data_set(trian_file="b")}},
         "Unknown key datasets.a.trian_file. Did you mean datasets.a.train_file?"),
        ({"datasets": {"a": data_set(columns={"topc": "topic"})}},
         "A task in datasets.a.columns should be one of topic. Found 'topc'."),
        ({"datasets": {"a": data_set(columns={"topic": None})}},
         "datasets.a.columns.topic should be a text. Found None."),
        ({"datasets": {"a": data_set(columns=["topic"])}},
         "datasets.a.columns should map the tasks it labels to columns. Found ['topic']."),
        ({"datasets": {"a": data_set(columns={"topic": "tpic"})}},
         "a_train.jsonl: has no column 'tpic'. Found: text, topic."),
        ({"datasets": {"a": data_set(columns={"topic": "topic"})}, "tasks": {**CLASSES, **TAGS}},
         "Task 'slots' is labelled by none of the `datasets`."),
        ({"datasets": {"a": data_set()}, "train_file": TEXTS},
         "train_file is of one data set: set it in each of `datasets`, or leave those out. Found "),
        ({"datasets": {"a": data_set()}, "dataset": "synthetic"},
         "dataset is of one data set: set it "),
        ({"datasets": {"a": data_set()}, "text_column": "comment"},
         "text_column is of one data set: set it in each of `datasets`, or leave those out. Found "
         "['comment']."),
        ({"datasets": {"a": data_set()}, "dataset_revision": "v2"},
         "dataset_revision is of one data set: set it in each of `datasets`, or leave those out. "),
        ({"datasets": {"a": data_set(dataset_revision="v2")}},
         "datasets.a.dataset_revision is of a `dataset`. Found 'v2'."),
        ({"dataset": "synthetic", "train_file": None, "delimiter": ";"},
         "delimiter is of files. Found ';'."),
        ({"datasets": {"a": data_set()}, "test_fraction": 0.1},
         "test_fraction is of one data set: set it in each of `datasets`, or leave those out. "),
        ({"datasets": {"a": data_set(weight="much")}},
         "datasets.a.weight should be a number. Found 'much'."),
        ({"datasets": {"a": data_set(weight=-1), "b": data_set()}, "mixing": "weights"},
         "datasets.a.weight should be at least 0, and finite. Found -1.0."),
        ({"datasets": {"a": data_set(weight=float("nan")), "b": data_set()}, "mixing": "weights"},
         "datasets.a.weight should be at least 0, and finite. Found nan."),
        ({"datasets": {"a": data_set(), "b": data_set()}, "tasks": {"topic": {**CLASSES["topic"],
          "label_map": {"z": "x"}}}},
         "label_map of task 'topic' should name labels that rows have: x, y. Found 'z'."),
        ({"datasets": {"a": data_set(weight=0), "b": data_set(weight=0)}, "mixing": "weights"},
         "weights should be at least 0, and not all 0. Found [0.0, 0.0]."),
        ({"datasets": {"a": data_set(), "b": data_set()},
         "mixing": "temperature", "mixing_temperature": 0},
         "mixing_temperature should be above 0. Found 0.0."),
        ({"datasets": {"a": data_set(), "b": data_set()}, "mixing": "temperature",
          "mixing_temperature": "nan"}, "mixing_temperature should be a number from 0 to "),
        ({"datasets": {"a": data_set(format="xml")}}, "argument --format: invalid choice: 'xml'"),
        ({"datasets": {"a": data_set(data_dir="none", train_file="a.jsonl")}},
         "No file none/a.jsonl."),
        ({"datasets": {"a": data_set(), "b": {}}},
         "datasets.b should have files, or a `dataset`. Found neither."),
    ],
)  # fmt: skip
def test_data_sets(config, message, refused):
    assert message in refused(**config)


@pytest.mark.parametrize(
    ("key", "choices"),
    [
        ("mixing", "'proportional', 'uniform', 'temperature', 'weights'"),
        ("labelling", "'first', 'all'"),
        ("long_texts", "'window', 'truncate', 'refuse'"),
        ("sentence_windows", "'first', 'mean'"),
        ("on_bad_row", "'refuse', 'skip'"),
        ("format", "'json', 'jsonl', 'csv', 'tsv', 'parquet', 'arrow', 'conll', 'conllu', "
         "'intent_slots', 'doccano', 'label_studio', 'prodigy', 'spacy', 'text'"),
    ],
)  # fmt: skip
def test_choices(key, choices, refused):
    line = refused(**{key: "other"})
    assert f"argument --{key}" in line
    assert ": invalid choice: 'other' (choose from " in line
    assert choices.replace("'", "") in line.replace("'", "")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"max_steps": -1}, "streaming needs max_steps. Found -1."),
        ({"tasks": CLASSES}, "streaming needs the `labels` of task 'topic': they can't be "),
        ({"train_file": None, "test_file": TEXTS}, "There is no train data. Set train_file or "),
        ({"train_file": "none.jsonl"}, "No file none.jsonl."),
        ({"test_fraction": 0.1},
         "streaming can't cut off a test split: set test_file. Found test_fraction."),
        ({"train_file": None, "validation_file": None,
          "datasets": {"a": data_set(), "b": data_set()}},
         "streaming needs `mixing: uniform` or `weights`: the number of rows is unknown. "
         "Found 'proportional'."),
        ({"train_file": None, "validation_file": None, "mixing": "weights",
          "datasets": {"a": data_set(weight=0), "b": data_set(weight=0)}},
         "weights should be at least 0, and not all 0. Found [0.0, 0.0]."),
        ({"text_column": "txt", "validation_file": None, "do_eval": False},
         "train.jsonl: has no column 'txt'. Found: text, topic."),
        ({"tasks": {"topic": {**CLASSES["topic"], "labels": ["x", "y"], "column": "tpic"}},
          "validation_file": [{"text": "a", "tpic": "x"}]},
         "train.jsonl: has no column 'tpic'. Found: text, topic."),
        ({"train_file": words("B-LOC", "LOC"), "validation_file": WORDS,
          "tasks": {"slots": {**TAGS["slots"], "labels": ["O", "B-LOC", "I-LOC"]}}},
         "Task 'slots': should have tags that all have a prefix such as `B-`, or types that all "),
    ],
)  # fmt: skip
def test_streaming(config, message, refused):
    tasks = {"topic": {**CLASSES["topic"], "labels": ["x", "y"]}}
    config = {"streaming": True, "max_steps": 1, "tasks": tasks, **config}
    assert message in refused(**config)


def test_a_label_map_is_for_all_data_sets_together(configured, tmp_path):
    capital = [{**row, "topic": row["topic"].upper()} for row in TEXTS]
    b = {"train_file": capital, "validation_file": capital}
    tasks = {"topic": {**CLASSES["topic"], "label_map": {"X": "x", "Y": "y"}}}
    run_multitask.main([configured(datasets={"a": data_set(), "b": b}, tasks=tasks)])
    assert json.loads((tmp_path / "run" / "config.json").read_text())["tasks"]["topic"][
        "labels"
    ] == ["x", "y"]
