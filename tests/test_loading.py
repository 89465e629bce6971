"""Files in, rows of one form out."""

import json
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, Features, List, Value

from data.loading import collect_labels, load_splits

TOPIC = {"topic": {"type": "sequence_classification"}}
ENTITIES = {"entities": {"type": "token_classification"}}
KINDS = {"kinds": {"type": "sequence_classification", "problem_type": "multi_label_classification"}}
STARS = {"stars": {"type": "sequence_classification", "problem_type": "regression"}}


@pytest.fixture
def load(tmp_path):
    """(file name, content, tasks, ...) -> the loaded rows, without `source`."""

    def load(name: str, content: str | list[dict], tasks: dict, **kwargs) -> list[dict]:
        if isinstance(content, list):
            content = "".join(f"{json.dumps(row)}\n" for row in content)
        (tmp_path / name).write_text(content, encoding="utf-8")
        rows = load_splits(tasks, files={"train": name}, data_dir=str(tmp_path), **kwargs)
        return rows["train"].remove_columns("source").to_list()

    return load


ROWS = [{"text": "a b", "topic": "x"}, {"text": "é\u2009c", "topic": "y"}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.jsonl", '{"text": "a b", "topic": "x"}\n{"topic": "y", "text": "é\u2009c"}\n'),
        ("rows.json", '[{"text": "a b", "topic": "x"}, {"text": "é\u2009c", "topic": "y"}]'),
        ("rows.csv", "text,topic\na b,x\né\u2009c,y\n"),
        ("rows.tsv", "topic\ttext\nx\ta b\ny\té\u2009c\n"),
        ("bom.csv", "\ufefftext,topic\r\na b,x\r\n\r\né\u2009c,y"),
        ("bom.jsonl", '\ufeff{"text": "a b", "topic": "x"}\n{"text": "é\u2009c", "topic": "y"}'),
    ],
)
def test_every_kind_of_file_gives_the_same_rows(name, content, load):
    assert load(name, content, TOPIC) == ROWS


def test_parquet_gives_the_same_rows(tmp_path):
    Dataset.from_list(ROWS).to_parquet(tmp_path / "rows.parquet")
    rows = load_splits(TOPIC, files={"train": str(tmp_path / "rows.parquet")})["train"]
    assert rows.remove_columns("source").to_list() == ROWS


def test_a_folder_stands_in_for_a_hub_id(tmp_path):
    for split in ("train", "validation"):
        (tmp_path / f"{split}.jsonl").write_text(json.dumps({"text": split, "topic": "x"}))
    splits = load_splits(TOPIC, dataset=str(tmp_path))
    assert list(splits) == ["train", "validation"]
    assert splits["validation"].to_list() == [
        {"source": f"{tmp_path} validation, row 1", "text": "validation", "topic": "x"}
    ]


def test_source_names_file_and_row(tmp_path):
    for split in ("train", "test"):
        (tmp_path / f"{split}.csv").write_text("text,topic\na,x\nb,y\n")
    splits = load_splits(
        TOPIC,
        files={"train": "train.csv", "validation": None, "test": "test.csv"},
        data_dir=str(tmp_path),
    )
    assert list(splits) == ["train", "test"]
    assert splits["test"]["source"][:] == [
        f"{tmp_path}/test.csv, row 1", f"{tmp_path}/test.csv, row 2"
    ]  # fmt: skip


def test_a_changed_file_is_read_anew(load):
    assert load("rows.jsonl", [{"text": "a", "topic": "x"}], TOPIC)[0]["text"] == "a"
    assert load("rows.jsonl", [{"text": "b", "topic": "x"}], TOPIC)[0]["text"] == "b"
    assert load("rows.csv", "text,topic\na,x\n", TOPIC)[0]["text"] == "a"
    assert load("rows.csv", "text,topic\nb,x\n", TOPIC)[0]["text"] == "b"


def test_columns_are_mapped(load):
    tasks = {
        "topic": {"type": "sequence_classification", "column": "class"},
        "mood": {"type": "sequence_classification", "column": "class"},
        "vector": {"type": "sentence_embedding"},
    }
    rows = [{"sentence": "a", "class": "x", "id": 7}]
    assert load("rows.jsonl", rows, tasks, text_column="sentence") == [
        {"text": "a", "topic": "x", "mood": "x"}
    ]


def test_words_with_tags_are_chosen_where_there_are_tokens(load):
    rows = [{"text": "ab", "tokens": ["a", "b"], "entities": ["O", "B-LOC"]}]
    assert load("rows.jsonl", rows, ENTITIES) == [
        {"tokens": ["a", "b"], "entities": ["O", "B-LOC"]}
    ]


def test_the_text_is_taken_where_it_is_named(load):
    spans = [{"start": 0, "end": 1, "label": "LOC"}]
    rows = [{"text": "ab", "tokens": ["a", "b"], "entities": spans}]
    assert load("rows.jsonl", rows, ENTITIES, text_column="text") == [
        {"text": "ab", "entities": spans}
    ]
    rows = [{"words": ["a", "b"], "entities": ["O", "O"]}]
    assert load("rows.jsonl", rows, ENTITIES, tokens_column="words")[0]["tokens"] == ["a", "b"]


def test_spans_are_sorted(load):
    first, second = ({"start": at, "end": at + 1, "label": "LOC"} for at in (0, 2))
    rows = [{"text": "a b", "entities": [second, first]}, {"text": "c", "entities": []}]
    assert [row["entities"] for row in load("rows.jsonl", rows, ENTITIES)] == [[first, second], []]


@pytest.mark.parametrize(
    "cells",
    ['"[""a"", ""b""]","[""O"", ""B-LOC""]"', "a b,O B-LOC"],
)
def test_lists_stand_in_table_cells(cells, load):
    assert load("rows.csv", f"tokens,entities\n{cells}\n", ENTITIES) == [
        {"tokens": ["a", "b"], "entities": ["O", "B-LOC"]}
    ]


def test_spans_stand_in_table_cells(load):
    spans = [{"start": 0, "end": 1, "label": "LOC"}]
    cell = json.dumps(spans).replace('"', '""')
    rows = load("rows.csv", f'text,entities\na b,"{cell}"\nc,[]\nd,\n', ENTITIES)
    assert [row["entities"] for row in rows] == [spans, [], None]


def test_a_table_holds_texts_as_they_are_written(load):
    content = 'text,topic\nNA,007\nnull,1.0\n"a, ""b""",true\n" c ",nan\n'
    assert load("rows.csv", content, TOPIC) == [
        {"text": "NA", "topic": "007"},
        {"text": "null", "topic": "1.0"},
        {"text": 'a, "b"', "topic": "true"},
        {"text": " c ", "topic": "nan"},
    ]


@pytest.mark.parametrize("absent", [{"topic": None}, {}, {"topic": ""}])
def test_rows_may_lack_labels(absent, load):
    rows = [{"text": "a", **absent}, {"text": "b", "topic": "x"}]
    assert [row["topic"] for row in load("rows.jsonl", rows, TOPIC)] == [None, "x"]


@pytest.mark.parametrize(
    ("tasks", "column", "label"),
    [
        (ENTITIES, "entities", [{"start": 0, "end": 1, "label": "LOC"}]),
        (KINDS, "kinds", ["x"]),
        (STARS, "stars", [1.5]),
    ],
)
def test_rows_may_lack_labels_of_any_task(tasks, column, label, load):
    rows = load("rows.jsonl", [{"text": "a", column: label}, {"text": "b"}], tasks)
    assert [row[column] for row in rows] == [label, None]


def test_an_empty_table_cell_is_an_absent_label(load):
    tasks = TOPIC | KINDS | STARS
    assert load("rows.csv", "text,topic,kinds,stars\na,,,\nb,x,y z,2\n", tasks) == [
        {"text": "a", "topic": None, "kinds": None, "stars": None},
        {"text": "b", "topic": "x", "kinds": ["y", "z"], "stars": [2.0]},
    ]


def test_class_ids_become_names(tmp_path):
    names = ClassLabel(names=["sports", "tech"])
    tags = ClassLabel(names=["O", "B-LOC", "I-LOC"])
    rows = Dataset.from_list(
        [
            {"tokens": ["a", "b"], "topic": 1, "entities": [1, 0], "kinds": [0, 1]},
            {"tokens": ["c"], "topic": None, "entities": None, "kinds": None},
            {"tokens": ["d"], "topic": -1, "entities": [2], "kinds": []},
        ],
        Features(
            {
                "tokens": List(Value("string")),
                "topic": names,
                "entities": List(tags),
                "kinds": List(names),
            }
        ),
    )
    rows.to_parquet(tmp_path / "rows.parquet")
    loaded = load_splits(TOPIC | ENTITIES | KINDS, files={"train": str(tmp_path / "rows.parquet")})
    columns = loaded["train"].to_dict()
    assert columns["topic"] == ["tech", None, None]
    assert columns["entities"] == [["B-LOC", "O"], None, ["I-LOC"]]
    assert columns["kinds"] == [["sports", "tech"], None, []]


def test_class_names_survive_a_data_set_folder(tmp_path):
    features = Features({"text": Value("string"), "topic": ClassLabel(names=["no", "yes"])})
    rows = Dataset.from_list([{"text": "a", "topic": 1}], features)
    rows.to_parquet(tmp_path / "train.parquet")
    assert load_splits(TOPIC, dataset=str(tmp_path))["train"]["topic"][:] == ["yes"]


def test_plain_numbers_become_names(load):
    rows = [{"text": "a", "topic": 1}, {"text": "b", "topic": None}, {"text": "c", "topic": 0}]
    assert [row["topic"] for row in load("rows.jsonl", rows, TOPIC)] == ["1", None, "0"]


def test_regression_takes_one_number_or_several(load):
    rows = [{"text": "a", "stars": 4}, {"text": "b", "stars": 2.5}]
    assert [row["stars"] for row in load("rows.jsonl", rows, STARS)] == [[4.0], [2.5]]
    rows = [{"text": "a", "stars": [1, 2]}]
    assert [row["stars"] for row in load("rows.jsonl", rows, STARS)] == [[1.0, 2.0]]


def test_the_first_rows_are_taken(load):
    rows = [{"text": text, "topic": "x"} for text in "abc"]
    for size, texts in [(2, "ab"), (9, "abc"), (None, "abc")]:
        found = load("rows.jsonl", rows, TOPIC, sizes={"train": size})
        assert [row["text"] for row in found] == list(texts)
    with pytest.raises(ValueError, match=r"train_size should be at least 1\. Found 0"):
        load("rows.jsonl", rows, TOPIC, sizes={"train": 0})


def test_synthetic_rows_are_made_to_size():
    sizes = {"train": 7, "validation": 3, "test": 2}
    splits = load_splits(TOPIC | ENTITIES, "synthetic", sizes=sizes, seed=1)
    assert {split: len(rows) for split, rows in splits.items()} == sizes
    assert splits["test"]["source"][1] == "synthetic test, row 2"
    again = load_splits(TOPIC | ENTITIES, "synthetic", sizes=sizes, seed=1)
    assert again["train"].to_dict() == splits["train"].to_dict()
    with pytest.raises(ValueError, match="`synthetic` needs test_size"):
        load_splits(TOPIC, "synthetic", sizes={**sizes, "test": None})


def test_labels_are_collected_in_order(load, tmp_path):
    rows = [
        {
            "tokens": ["a", "b", "c"], "topic": "y", "kinds": ["v", "u"], "stars": 1,
            "entities": ["I-PER", "O", "B-LOC"],
        },
        {"tokens": ["d"], "topic": "x", "kinds": [], "stars": None, "entities": ["B-a-b"]},
        {"tokens": ["e"], "topic": None, "kinds": None, "stars": 2, "entities": None},
    ]  # fmt: skip
    tasks = TOPIC | KINDS | STARS | ENTITIES | {"vector": {"type": "sentence_embedding"}}
    load("rows.jsonl", rows, tasks)
    loaded = load_splits(tasks, files={"train": str(tmp_path / "rows.jsonl")})["train"]
    assert collect_labels(loaded, tasks) == {
        "topic": ["x", "y"],
        "kinds": ["u", "v"],
        "stars": ["stars"],
        "entities": ["O", "B-LOC", "I-LOC", "B-PER", "I-PER", "B-a-b", "I-a-b"],
        "vector": None,
    }
    given = {"topic": {**TOPIC["topic"], "labels": ["y", "z", "x"]}}
    assert collect_labels(loaded, given) == {"topic": ["y", "z", "x"]}


def test_types_of_spans_are_collected(load, tmp_path):
    spans = [{"start": 0, "end": 1, "label": "LOC"}, {"start": 2, "end": 3, "label": "R&D"}]
    load("rows.jsonl", [{"text": "a b", "entities": spans}], ENTITIES)
    loaded = load_splits(ENTITIES, files={"train": str(tmp_path / "rows.jsonl")})["train"]
    assert collect_labels(loaded, ENTITIES)["entities"] == ["O", "B-LOC", "I-LOC", "B-R&D", "I-R&D"]


def test_a_task_may_not_take_the_name_of_a_column(load):
    tasks = {"text": {"type": "sequence_classification"}}
    with pytest.raises(ValueError, match="A task can't be named 'text'"):
        load("rows.jsonl", ROWS, tasks)


def test_a_home_folder_is_understood(load, tmp_path, monkeypatch):
    load("rows.jsonl", ROWS, TOPIC)
    monkeypatch.setattr("os.path.expanduser", lambda path: path.replace("~", str(tmp_path)))
    assert len(load_splits(TOPIC, files={"train": "rows.jsonl"}, data_dir="~")["train"]) == 2
    assert len(load_splits(TOPIC, files={"train": str(Path("~/rows.jsonl"))})["train"]) == 2


def test_an_error_names_its_row(load):
    rows = [{"text": "a", "topic": "x"}] * 3 + [{"text": "", "topic": "x"}]
    with pytest.raises(ValueError, match=r"rows\.jsonl, row 4: 'text' should be a text\. Found ''"):
        load("rows.jsonl", rows, TOPIC)
