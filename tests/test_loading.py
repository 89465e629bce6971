"""Files in, rows of one form out."""

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, List, Value

from multitask_encoder.data.bad_rows import BadRows, good_rows
from multitask_encoder.data.dataset_arguments import DatasetArguments
from multitask_encoder.data.labels import collect_labels
from multitask_encoder.data.loading import RESERVED_COLUMNS, load_splits
from multitask_encoder.data.normalization import FORMS, loaded_features
from multitask_encoder.data.preprocessing import preprocessed_features

TOPIC = {"topic": {"type": "sequence_classification"}}
ENTITIES = {"entities": {"type": "token_classification"}}
KINDS = {"kinds": {"type": "sequence_classification", "problem_type": "multi_label_classification"}}
STARS = {"stars": {"type": "sequence_classification", "problem_type": "regression"}}


def loaded(tasks: dict, seed: int = 0, **source) -> dict[str, Dataset]:
    """The good rows of each split; none may be bad."""
    splits, _ = load_splits(tasks, DatasetArguments(**source), seed)
    good, _ = good_rows(list(splits.items()), "refuse")
    return dict(zip(splits, good, strict=True))


def write(path: Path, content: str | list[dict]) -> str:
    if isinstance(content, list):
        content = "".join(f"{json.dumps(row)}\n" for row in content)
    path.parent.mkdir(exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return str(path)


@pytest.fixture
def load(tmp_path):
    """(file name, content, tasks, ...) -> the good rows, without `source` and `repairs`."""

    def load(name: str, content: str | list[dict], tasks: dict, **kwargs) -> list[dict]:
        write(tmp_path / name, content)
        rows = loaded(tasks, train_file=[name], data_dir=str(tmp_path), **kwargs)["train"]
        return rows.remove_columns(["source", "repairs"]).to_list()

    return load


@pytest.fixture
def load_tags(tmp_path):
    """(tags of the rows of each split, the task's settings) -> loaded splits and notes."""

    def load_tags(splits: dict[str, list[str | None]], **settings):
        files: dict[str, Any] = {}
        for split, rows in splits.items():
            tags = [None if row is None else row.split() for row in rows]
            files[f"{split}_file"] = [
                write(
                    tmp_path / f"{split}.jsonl",
                    [{"tokens": ["w"] * len(one or "w"), "entities": one} for one in tags],
                )
            ]
        tasks = {"entities": {**ENTITIES["entities"], **settings}}
        return load_splits(tasks, DatasetArguments(**files))

    return load_tags


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
    rows = loaded(TOPIC, train_file=[str(tmp_path / "rows.parquet")])["train"]
    assert rows.remove_columns(["source", "repairs"]).to_list() == ROWS


def test_a_folder_stands_in_for_a_hub_id(tmp_path):
    for split in ("train", "validation"):
        write(tmp_path / f"{split}.jsonl", [{"text": split, "topic": "x"}])
    splits = loaded(TOPIC, dataset=str(tmp_path))
    assert list(splits) == ["train", "validation"]
    assert splits["validation"].to_list() == [
        {
            "source": f"{tmp_path} validation, row 1",
            "text": "validation",
            "topic": "x",
            "repairs": 0,
        }
    ]


def test_a_data_set_that_is_a_script_is_refused(tmp_path):
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "rows.py").write_text("import datasets\n")
    with pytest.raises(FileNotFoundError, match=r"^Can't load data set .* scripts are no longer"):
        loaded(TOPIC, dataset=str(tmp_path / "rows"))


def test_a_data_set_of_several_configurations_names_them(tmp_path):
    for name in ("one", "two"):
        write(tmp_path / f"{name}.jsonl", ROWS)
    configs = "".join(f"- {{config_name: {x}, data_files: {x}.jsonl}}\n" for x in ("one", "two"))
    write(tmp_path / "README.md", f"---\nconfigs:\n{configs}---\n")
    with pytest.raises(FileNotFoundError, match=r"missing\. .*: \['one', 'two'\]") as error:
        loaded(TOPIC, dataset=str(tmp_path))
    assert "\n" not in str(error.value)
    rows = loaded(TOPIC, dataset=str(tmp_path), dataset_config="one")["train"]
    assert rows["topic"][:] == ["x", "y"]


def test_source_names_file_and_place(tmp_path):
    table = 'text,topic\n"a\nb",x\nc,y\n'
    for split in ("train", "test"):
        write(tmp_path / f"{split}.csv", table)
    write(tmp_path / "train.json", json.dumps(ROWS))
    splits = loaded(
        TOPIC,
        train_file=["train.csv", "train.json"],
        test_file=["test.csv"],
        data_dir=str(tmp_path),
    )
    assert list(splits) == ["train", "test"]
    assert splits["train"]["source"][:] == [
        f"{tmp_path}/train.csv, line 2",
        f"{tmp_path}/train.csv, line 4",
        f"{tmp_path}/train.json, row 1",
        f"{tmp_path}/train.json, row 2",
    ]
    assert splits["test"]["source"][1] == f"{tmp_path}/test.csv, line 4"


def test_files_are_read_in_order_and_those_of_a_glob_sorted(tmp_path):
    for name in ("b/2", "b/1", "a", "c"):
        write(tmp_path / f"{name}.jsonl", [{"text": name, "topic": "x"}])
    rows = loaded(
        TOPIC, train_file=["c.jsonl", "b/*.jsonl", "a.jsonl", "b/1.jsonl"], data_dir=str(tmp_path)
    )
    assert rows["train"]["text"][:] == ["c", "b/1", "b/2", "a"]
    sized = loaded(TOPIC, train_file=["c.jsonl", "b/*.jsonl"], data_dir=str(tmp_path), train_size=2)
    assert sized["train"]["text"][:] == ["c", "b/1"]
    with pytest.raises(FileNotFoundError, match=rf"No file {tmp_path}/d\*\.jsonl"):
        loaded(TOPIC, train_file=["d*.jsonl"], data_dir=str(tmp_path))


def test_files_of_several_formats_make_one_split(tmp_path):
    names = [
        write(tmp_path / "a.jsonl", [{"tokens": ["a", "b"], "tags": ["O", "B-LOC"]}]),
        write(tmp_path / "b.conll", "c O\nd B-LOC\n\ne O\n"),
    ]
    tasks = {"entities": {**ENTITIES["entities"], "column": "tags"}}
    rows = loaded(tasks, train_file=names)["train"]
    assert rows["tokens"][:] == [["a", "b"], ["c", "d"], ["e"]]
    assert rows["entities"][:] == [["O", "B-LOC"], ["O", "B-LOC"], ["O"]]
    assert rows["source"][2] == f"{tmp_path}/b.conll, line 4"


def test_a_format_and_column_names_are_told(tmp_path):
    name = write(tmp_path / "rows.txt", "a NN O\nb NN B-LOC\n")
    rows = loaded(
        ENTITIES, train_file=[name], format="conll", column_names=["tokens", "pos", "entities"]
    )
    assert rows["train"]["entities"][:] == [["O", "B-LOC"]]


def test_files_and_a_data_set_contradict_each_other():
    with pytest.raises(ValueError, match=r"or files, not both\. Found 'synthetic' and a, b\."):
        loaded(TOPIC, dataset="synthetic", train_file=["a"], test_file=["b"])


def test_a_data_set_without_known_splits_is_refused(tmp_path):
    write(tmp_path / "data.jsonl", ROWS)
    (tmp_path / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: dev\n"
        "    path: data.jsonl\n---\n"
    )
    with pytest.raises(ValueError, match=r"train, validation or test split\. Found: dev\."):
        loaded(TOPIC, dataset=str(tmp_path))
    with pytest.raises(FileNotFoundError, match="Can't load data set '/nowhere': "):
        loaded(TOPIC, dataset="/nowhere")


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
    assert load("rows.jsonl", rows, tasks, text_column=["sentence"]) == [
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
    assert load("rows.jsonl", rows, ENTITIES, text_column=["text"]) == [
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
    lines = ["text,topic,kinds,stars", "a,,,", "b,x,y z,2", 'c,x,"[""y"", ""z""]",2', ""]
    assert load("rows.csv", "\n".join(lines), tasks) == [
        {"text": "a", "topic": None, "kinds": None, "stars": None},
        {"text": "b", "topic": "x", "kinds": ["y z"], "stars": [2.0]},
        {"text": "c", "topic": "x", "kinds": ["y", "z"], "stars": [2.0]},
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
    splits = loaded(TOPIC | ENTITIES | KINDS, train_file=[str(tmp_path / "rows.parquet")])
    columns = splits["train"].to_dict()
    assert columns["topic"] == ["tech", None, None]
    assert columns["entities"] == [["B-LOC", "O"], None, ["B-LOC"]]
    assert columns["kinds"] == [["sports", "tech"], None, []]


def test_class_names_survive_a_data_set_folder(tmp_path):
    features = Features({"text": Value("string"), "topic": ClassLabel(names=["no", "yes"])})
    rows = Dataset.from_list([{"text": "a", "topic": 1}], features)
    rows.to_parquet(tmp_path / "train.parquet")
    assert loaded(TOPIC, dataset=str(tmp_path))["train"]["topic"][:] == ["yes"]


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
        found = load("rows.jsonl", rows, TOPIC, train_size=size)
        assert [row["text"] for row in found] == list(texts)
    with pytest.raises(ValueError, match=r"train_size should be at least 1\. Found 0"):
        load("rows.jsonl", rows, TOPIC, train_size=0)


def test_synthetic_rows_are_made_to_size():
    sizes = {"train_size": 7, "validation_size": 3, "test_size": 2}
    splits = loaded(TOPIC | ENTITIES, seed=1, dataset="synthetic", **sizes)
    assert [len(splits[split]) for split in ("train", "validation", "test")] == [7, 3, 2]
    assert splits["test"]["source"][1] == "synthetic test, row 2"
    again = loaded(TOPIC | ENTITIES, seed=1, dataset="synthetic", **sizes)
    assert again["train"].to_dict() == splits["train"].to_dict()
    other = loaded(TOPIC | ENTITIES, seed=2, dataset="synthetic", **sizes)
    assert other["train"].to_dict() != splits["train"].to_dict()
    with pytest.raises(ValueError, match="`synthetic` needs test_size"):
        loaded(TOPIC, dataset="synthetic", **{**sizes, "test_size": None})


# Labels


def tags_of(rows: Dataset) -> list[str | None]:
    return [tags and " ".join(tags) for tags in rows["entities"]]


@pytest.mark.parametrize(
    ("scheme", "tags", "iob2"),
    [
        ("IOB1", ["I-LOC I-LOC O I-PER", "I-LOC B-LOC"], ["B-LOC I-LOC O B-PER", "B-LOC B-LOC"]),
        ("IO", ["LOC LOC O PER"], ["B-LOC I-LOC O B-PER"]),
        ("BILOU", ["B-LOC L-LOC O U-PER"], ["B-LOC I-LOC O B-PER"]),
        ("BILOU", ["B-LOC E-LOC O S-PER"], ["B-LOC I-LOC O B-PER"]),
    ],
)
def test_tags_of_other_schemes_become_iob2_and_it_is_said(scheme, tags, iob2, load_tags):
    splits, notes = load_tags({"train": [*tags, None]})
    assert tags_of(splits["train"]) == [*iob2, None]
    assert notes == [f"Tags of entities are {scheme}; read as IOB2."]
    assert set(splits["train"]["repairs"]) == {0}


def test_a_scheme_is_that_of_all_splits(load_tags):
    # The test split alone could be IOB1, and the training split alone IOB2 without a mistake.
    splits, notes = load_tags({"train": ["B-LOC O", "B-PER I-PER"], "test": ["O I-LOC", "I-PER O"]})
    assert tags_of(splits["test"]) == ["O B-LOC", "B-PER O"]
    assert splits["test"]["repairs"][:] == [1, 1]
    assert notes == []
    # Here the training split alone could be IOB2.
    splits, notes = load_tags({"train": ["O"], "test": ["I-LOC I-LOC"]})
    assert tags_of(splits["test"]) == ["B-LOC I-LOC"]
    assert notes == ["Tags of entities are IOB1; read as IOB2."]


def test_a_scheme_is_told(load_tags):
    splits, notes = load_tags({"train": ["I-LOC I-LOC", "I-PER"]}, tag_scheme="iob2")
    assert tags_of(splits["train"]) == ["B-LOC I-LOC", "B-PER"]
    assert splits["train"]["repairs"][:] == [1, 1]
    assert notes == []
    splits, notes = load_tags({"train": ["B-cell B-cell", "T-cell"]}, tag_scheme="io")
    assert tags_of(splits["train"]) == ["B-B-cell I-B-cell", "B-T-cell"]
    assert collect_labels([splits["train"]], ENTITIES)["entities"] == [
        "O", "B-B-cell", "I-B-cell", "B-T-cell", "I-T-cell"
    ]  # fmt: skip


@pytest.mark.parametrize("tag_scheme", ["auto", "iob2"])
def test_tags_of_another_style_are_read_and_named(load_tags, tag_scheme):
    rows = {"train": ["B_LOC I_LOC 0", "B_PER"], "test": ["0 0"]}
    splits, notes = load_tags(rows, tag_scheme=tag_scheme)
    assert tags_of(splits["train"]) == ["B-LOC I-LOC O", "B-PER"]
    assert tags_of(splits["test"]) == ["O O"]
    assert splits["train"]["repairs"][:] == [0, 0]
    assert notes == [
        "Tags of entities: read '0' as 'O', 'B_LOC' as 'B-LOC', 'B_PER' as 'B-PER' and 1 more."
    ]


def test_labels_of_tags_of_another_style_are_renamed(load_tags):
    splits, _ = load_tags({"train": ["B I O", "O"]}, label_map={"entities": "GENE"})
    assert tags_of(splits["train"]) == ["B-GENE I-GENE O", "O"]


def test_class_ids_are_tags_by_the_labels(load_tags):
    labels = ["O", "B-LOC", "I-LOC"]
    splits, notes = load_tags({"train": ["1 2 0", "0 1"]}, labels=labels)
    assert tags_of(splits["train"]) == ["B-LOC I-LOC O", "O B-LOC"]
    assert notes == []
    splits, _ = load_tags({"train": ["1 2 3"]}, labels=labels)
    assert splits["train"]["problem"][0].endswith("should have ids below 3, of `labels`. Found 3.")
    with pytest.raises(ValueError, match=r"ids of the task's `labels`, which are not set\."):
        load_tags({"train": ["1 2 0"]})


def test_words_without_a_label_keep_none(load_tags):
    splits, _ = load_tags({"train": ["X I-LOC -100", "O B-LOC"]}, unlabelled_tag="X")
    assert splits["train"]["entities"][:] == [[None, "I-LOC", None], ["O", "B-LOC"]]
    assert splits["train"]["repairs"][:] == [0, 0]
    assert collect_labels([splits["train"]], ENTITIES)["entities"] == ["O", "B-LOC", "I-LOC"]


TAGS = {"tags": {"type": "sequence_classification", "problem_type": "multi_label_classification"}}


def tags_in_cells(load, cells: list[str], **task) -> list:
    content = "text\ttags\n" + "".join(f"a\t{cell}\n" for cell in cells)
    return [row["tags"] for row in load("t.tsv", content, {"tags": {**TAGS["tags"], **task}})]


@pytest.mark.parametrize("separator", [", ", "|", ";", " # "])
def test_labels_in_one_cell_are_parted_by_what_parts_them(load, separator):
    cells = [separator.join(labels) for labels in (["x", "y"], ["y"], ["x", "new york"])]
    assert tags_in_cells(load, [*cells, ""]) == [["x", "y"], ["y"], ["x", "new york"], None]


@pytest.mark.parametrize(
    ("cells", "task", "found"),
    [
        (["['x', 'y']", "['y']", "[]"], {}, [["x", "y"], ["y"], []]),
        (['["x, y"]', '["y"]', "x"], {}, [["x, y"], ["y"], ["x"]]),
        (["x/y", "y"], {"separator": "/"}, [["x", "y"], ["y"]]),
        (["x, y", "y"], {"separator": ""}, [["x, y"], ["y"]]),
        (["x,", "y"], {"separator": ","}, [["x"], ["y"]]),
        (["C#", "F#", "C#"], {}, [["C#"], ["F#"], ["C#"]]),
    ],
)
def test_cells_of_several_labels(load, cells, task, found):
    assert tags_in_cells(load, cells, **task) == found


@pytest.mark.parametrize("cells", [["R&D, sales", "law"], ["x, y", "y", "x; z", "z"]])
def test_a_separator_that_is_not_clear_is_refused(load, cells):
    message = (
        r"^Task 'tags': may have several labels in a cell\. Found '.*': set its separator, such"
    )
    with pytest.raises(ValueError, match=message):
        tags_in_cells(load, cells)


def test_a_list_that_python_would_join_is_a_bad_row(load):
    with pytest.raises(BadRows, match="'tags' should be JSON"):
        tags_in_cells(load, ["['x' 'y']"])


def test_the_separator_is_that_of_all_splits(tmp_path):
    train = [write(tmp_path / "a.csv", "text,tags\na,x|y\nb,y\n")]
    test = [write(tmp_path / "b.csv", "text,tags\na,x|z\n")]
    splits = loaded(TAGS, train_file=train, test_file=test)
    assert splits["test"]["tags"][:] == [["x", "z"]]


def test_labels_may_have_a_column_each(load):
    content = "text,x,y\na,1,0\nb,True,yes\nc,0.0,\nd,,\n"
    task = {"tags": {**TAGS["tags"], "column": ["x", "y"]}}
    assert [row["tags"] for row in load("t.csv", content, task)] == [["x"], ["x", "y"], [], None]
    with pytest.raises(BadRows, match=r"'x', 'y' should have 0 or 1 in column 'y'\. Found '2'"):
        load("u.csv", "text,x,y\na,1,2\n", task)
    with pytest.raises(ValueError, match=r"has no column 'y'\. Found: text, x\."):
        load("v.csv", "text,x\na,1\n", task)


def test_one_label_may_have_a_column_of_its_own(load):
    content = "text,sport\na,1\nb,0\nc,\n"
    task = {"tags": {**TAGS["tags"], "column": ["sport"]}}
    assert [row["tags"] for row in load("t.csv", content, task)] == [["sport"], [], None]


def test_numbers_may_have_a_column_each(load):
    task = {"stars": {**STARS["stars"], "column": ["x", "y"], "labels": ["x", "y"]}}
    rows = load("t.csv", "text,x,y\na,1,2.5\nb,,\n", task)
    assert [row["stars"] for row in rows] == [[1.0, 2.5], None]


def test_tags_of_two_schemes_are_refused(load_tags):
    message = r"^Task 'entities': should have tags that all have a prefix .* Set its tag_scheme"
    with pytest.raises(ValueError, match=message):
        load_tags({"train": ["B-LOC"], "test": ["LOC"]})


def test_broken_tags_are_repaired_and_counted_or_refused(load_tags, tmp_path):
    rows = {"train": ["B-LOC I-LOC", "O I-LOC I-PER", "B-PER I-LOC"]}
    splits, _ = load_tags(rows)
    assert tags_of(splits["train"]) == ["B-LOC I-LOC", "O B-LOC B-PER", "B-PER B-LOC"]
    assert splits["train"]["repairs"][:] == [0, 2, 1]
    splits, _ = load_tags(rows, on_broken_tags="refuse")
    with pytest.raises(BadRows) as refused:
        good_rows(list(splits.items()), "refuse")
    assert refused.value.problems == [
        f"{tmp_path}/train.jsonl, line 2: 'entities' should have whole IOB2 tags. "
        "Found ['O', 'I-LOC', 'I-PER'].",
        f"{tmp_path}/train.jsonl, line 3: 'entities' should have whole IOB2 tags. "
        "Found ['B-PER', 'I-LOC'].",
    ]
    (kept,), skipped = good_rows(list(splits.items()), "skip")
    assert tags_of(kept) == ["B-LOC I-LOC"]
    assert [row["row"]["entities"] for row in skipped] == [
        ["O", "I-LOC", "I-PER"],
        ["B-PER", "I-LOC"],
    ]


def test_a_tag_that_is_none_is_a_bad_row(load_tags):
    splits, _ = load_tags({"train": ["B-LOC L-LOC", "B-LOC X-LOC"]}, tag_scheme="bilou")
    assert splits["train"]["problem"][0] is None
    assert splits["train"]["problem"][1].endswith("for `I-`). Found 'X-LOC'.")
    assert splits["train"]["entities"][1] is None


def test_overlapping_spans_are_dropped_where_asked(load, tmp_path):
    outer, inner = ({"start": 0, "end": end, "label": "LOC"} for end in (5, 3))
    rows = [{"text": "a b c", "entities": [inner, outer]}]
    with pytest.raises(BadRows, match=r"line 1: 'entities' should have spans that do not overlap"):
        load("rows.jsonl", rows, ENTITIES)
    tasks = {"entities": {**ENTITIES["entities"], "overlap": "longest"}}
    assert load("rows.jsonl", rows, tasks)[0]["entities"] == [outer]
    again = loaded(tasks, train_file=[str(tmp_path / "rows.jsonl")])["train"]
    assert again["repairs"][:] == [1]


def test_a_listed_label_may_hold_what_could_be_a_separator(load):
    labels = ["Health, fitness", "Health, beauty", "Food"]
    kinds = {"kinds": {**KINDS["kinds"], "labels": labels}}
    rows = [{"text": "a", "kinds": label} for label in labels * 2]
    assert [row["kinds"] for row in load("rows.jsonl", rows, kinds)] == [
        [one] for one in labels
    ] * 2


def test_types_that_are_dropped_or_become_one_do_not_overlap(load):
    spans = [[0, 15, "MISC"], [8, 15, "LOC"], [0, 4, "PERSON"], [0, 4, "HUMAN"]]
    rows = [{"text": "Bank of England", "entities": spans}]
    for overlap in ("refuse", "longest"):
        label_map = {"MISC": None, "PERSON": "PER", "HUMAN": "PER"}
        tasks = {"entities": {**ENTITIES["entities"], "overlap": overlap, "label_map": label_map}}
        (row,) = load("rows.jsonl", rows, tasks)
        assert row["entities"] == [
            {"start": 0, "end": 4, "label": "PER"},
            {"start": 8, "end": 15, "label": "LOC"},
        ]


def test_labels_are_renamed_and_dropped(load):
    tasks = {
        "topic": {**TOPIC["topic"], "label_map": {"x": "X", "z": None}},
        "kinds": {**KINDS["kinds"], "label_map": {"a": "c", "b": None}},
        "entities": {**ENTITIES["entities"], "label_map": {"GPE": "LOC", "DATE": None}},
    }
    rows = [
        {
            "text": "a b c",
            "topic": "x",
            "kinds": ["a", "c", "b"],
            "entities": [[0, 1, "GPE"], [2, 3, "PER"]],
        },
        {"text": "a b c", "topic": "z", "kinds": ["b"], "entities": [[0, 1, "DATE"]]},
        {"text": "a b c", "topic": "y", "kinds": None, "entities": None},
    ]
    found = load("rows.jsonl", rows, tasks)
    assert [row["topic"] for row in found] == ["X", None, "y"]
    assert [row["kinds"] for row in found] == [["c"], [], None]
    assert [row["entities"] for row in found] == [
        [{"start": 0, "end": 1, "label": "LOC"}, {"start": 2, "end": 3, "label": "PER"}], [], None,
    ]  # fmt: skip


def test_types_of_tags_are_renamed_and_dropped(load_tags):
    names = {"GPE": "LOC", "DATE": None}
    splits, _ = load_tags(
        {"train": ["U-GPE O B-DATE L-DATE U-LOC"], "test": ["B-GPE L-GPE", "U-DATE"]},
        label_map=names,
    )
    assert tags_of(splits["train"]) == ["B-LOC O O O B-LOC"]
    assert tags_of(splits["test"]) == ["B-LOC I-LOC", "O"]


def test_a_label_map_names_labels_of_the_rows(load):
    tasks = {"topic": {**TOPIC["topic"], "label_map": {"w": "v"}}}
    with pytest.raises(ValueError, match=r"that rows have: x, y\. Found 'w'\.$"):
        load("rows.jsonl", ROWS, tasks)


def test_labels_are_collected_in_order(tmp_path):
    rows: list[dict] = [
        {
            "tokens": ["a", "b", "c"], "topic": "y", "kinds": ["v", "u"], "stars": 1,
            "entities": ["B-PER", "O", "B-LOC"],
        },
        {"tokens": ["d"], "topic": "x", "kinds": [], "stars": None, "entities": ["B-a-b"]},
        {"tokens": ["e"], "topic": None, "kinds": None, "stars": 2, "entities": None},
    ]  # fmt: skip
    tasks = TOPIC | KINDS | STARS | ENTITIES | {"vector": {"type": "sentence_embedding"}}
    train = loaded(tasks, train_file=[write(tmp_path / "rows.jsonl", rows)])["train"]
    expected = {
        "topic": ["x", "y"],
        "kinds": ["u", "v"],
        "stars": ["stars"],
        "entities": ["O", "B-LOC", "I-LOC", "B-PER", "I-PER", "B-a-b", "I-a-b"],
        "vector": None,
    }
    assert collect_labels([train], tasks) == expected
    # Rows that were left out give no label.
    assert collect_labels([train.select([1, 2])], TOPIC | ENTITIES) == {
        "topic": ["x"], "entities": ["O", "B-a-b", "I-a-b"]
    }  # fmt: skip
    given = {"topic": {**TOPIC["topic"], "labels": ["y", "z", "x"]}}
    assert collect_labels([train], given) == {"topic": ["y", "z", "x"]}


def test_labels_of_several_data_sets_are_collected(tmp_path):
    span = {"start": 0, "end": 1, "label": "R&D"}
    first = write(tmp_path / "a.jsonl", [{"text": "a", "entities": [span]}])
    second = write(tmp_path / "b.jsonl", [{"tokens": ["a"], "entities": ["B-LOC"], "topic": "x"}])
    third = write(tmp_path / "c.jsonl", [{"text": "a", "topic": "y"}, {"text": "b", "topic": "x"}])
    parts = [
        loaded(tasks, train_file=[name])["train"]
        for name, tasks in [(first, ENTITIES), (second, ENTITIES | TOPIC), (third, TOPIC)]
    ]
    assert collect_labels(parts, ENTITIES | TOPIC) == {
        "entities": ["O", "B-LOC", "I-LOC", "B-R&D", "I-R&D"],
        "topic": ["x", "y"],
    }
    with pytest.raises(ValueError, match="No row of the training data has a label of task 'topic'"):
        collect_labels(parts[:1], ENTITIES | TOPIC)


def test_types_of_spans_are_kept_as_they_are(tmp_path):
    spans = [{"start": 0, "end": 1, "label": "B-cell"}, {"start": 2, "end": 3, "label": "I-beam"}]
    name = write(tmp_path / "rows.jsonl", [{"text": "a b", "entities": spans}])
    rows = loaded(ENTITIES, train_file=[name])["train"]
    assert collect_labels([rows], ENTITIES)["entities"] == [
        "O", "B-B-cell", "I-B-cell", "B-I-beam", "I-I-beam"
    ]  # fmt: skip


def test_splits_of_words_and_of_text_are_each_read_as_they_are(tmp_path):
    train = write(tmp_path / "a.jsonl", [{"tokens": ["a", "b"], "entities": ["I-LOC", "I-LOC"]}])
    span = {"start": 0, "end": 1, "label": "LOC"}
    test = write(tmp_path / "b.jsonl", [{"text": "a b", "entities": [span]}])
    splits = loaded(ENTITIES, train_file=[train], test_file=[test])
    assert splits["train"]["entities"][:] == [["B-LOC", "I-LOC"]]
    assert splits["test"]["entities"][:] == [[span]]


@pytest.mark.parametrize(
    "name",
    sorted(
        {*preprocessed_features({}), *(key for form in FORMS for key in loaded_features({}, form))}
    ),
)
def test_a_task_may_not_take_the_name_of_a_column(name, load):
    assert name in RESERVED_COLUMNS
    tasks = {name: {"type": "sequence_classification"}}
    with pytest.raises(ValueError, match=f"A task can't be named '{name}'"):
        load("rows.jsonl", ROWS, tasks)


def test_a_home_folder_is_understood(load, tmp_path, monkeypatch):
    load("rows.jsonl", ROWS, TOPIC)
    monkeypatch.setattr("os.path.expanduser", lambda path: path.replace("~", str(tmp_path)))
    assert len(loaded(TOPIC, train_file=["rows.jsonl"], data_dir="~")["train"]) == 2
    assert len(loaded(TOPIC, train_file=["~/rows.jsonl"])["train"]) == 2


# Bad rows

GOOD, BAD = {"text": "a", "topic": "x"}, {"text": "", "topic": "x"}


@pytest.fixture
def split_of(tmp_path):
    def split_of(*rows: dict) -> list[tuple[str, Dataset]]:
        name = write(tmp_path / "rows.jsonl", list(rows))
        splits, _ = load_splits(TOPIC, DatasetArguments(train_file=[name]))
        return list(splits.items())

    return split_of


def test_one_bad_row_is_refused_in_one_line(split_of, tmp_path):
    with pytest.raises(BadRows) as refused:
        good_rows(split_of(GOOD, GOOD, BAD), "refuse")
    assert (
        str(refused.value) == f"{tmp_path}/rows.jsonl, line 3: 'text' should be a text. Found ''."
    )


def test_bad_rows_are_refused_together(split_of, tmp_path):
    with pytest.raises(BadRows) as refused:
        good_rows(split_of(GOOD, BAD, GOOD, BAD), "refuse")
    assert str(refused.value) == (
        "2 rows are invalid:\n"
        f"{tmp_path}/rows.jsonl, line 2: 'text' should be a text. Found ''.\n"
        f"{tmp_path}/rows.jsonl, line 4: 'text' should be a text. Found ''.\n"
        "`on_bad_row: skip` leaves them out and writes them to a file."
    )


def test_of_many_bad_rows_twenty_are_shown(split_of):
    with pytest.raises(BadRows) as refused:
        good_rows(split_of(*[BAD] * 25), "refuse")
    assert len(refused.value.problems) == 25
    lines = str(refused.value).split("\n")
    assert len(lines) == 1 + 20 + 2
    assert lines[-2] == "and 5 more."


def test_bad_rows_of_all_splits_are_refused_together(split_of):
    ((_, rows),) = split_of(GOOD, BAD)
    with pytest.raises(BadRows, match=r"^2 rows are"):
        good_rows([("train", rows), ("test", rows)], "refuse")


def test_bad_rows_are_skipped_and_given_back(split_of, tmp_path):
    (rows,), skipped = good_rows(split_of(GOOD, BAD, {**GOOD, "text": "b"}), "skip")
    assert rows.column_names == ["source", "text", "topic", "repairs"]
    assert rows["text"][:] == ["a", "b"]
    assert skipped == [
        {
            "title": "train",
            "source": f"{tmp_path}/rows.jsonl, line 2",
            "problem": "'text' should be a text. Found ''.",
            "row": BAD,
        }
    ]


def test_a_line_that_is_no_json_is_a_bad_row(tmp_path):
    name = write(tmp_path / "rows.jsonl", '{"text": "a", "topic": "x"}\n{"text": \n')
    splits, _ = load_splits(TOPIC, DatasetArguments(train_file=[name]))
    _, (skipped,) = good_rows(list(splits.items()), "skip")
    assert skipped["source"] == f"{name}, line 2"
    assert skipped["problem"].startswith("should be JSON")
    assert skipped["row"] is None


def test_a_split_of_bad_rows_only_cannot_be_skipped(split_of):
    message = r"^train: all of its 2 rows are bad\. The first: .* Found ''\.$"
    with pytest.raises(ValueError, match=message):
        good_rows(split_of(BAD, BAD), "skip")


def test_good_rows_of_a_selection_are_those_of_the_selection(split_of):
    ((_, rows),) = split_of(GOOD, BAD, {**GOOD, "text": "b"}, {**GOOD, "text": "c"})
    (kept,), skipped = good_rows([("train", rows.select([1, 3, 0]))], "skip")
    assert kept["text"][:] == ["c", "a"]
    assert len(skipped) == 1
