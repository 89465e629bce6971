"""Files of every known format in, raw rows out."""

import csv
import io
import json
import tempfile
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value
from hypothesis import example, given, settings
from hypothesis import strategies as st

from multitask_encoder.data.readers import (
    FORMATS,
    detect_format,
    find_files,
    named_classes,
    read_file,
)


@pytest.fixture
def read(tmp_path):
    """(content, format, ...) -> places with rows or messages."""

    def read(content: str | bytes, format: str, name: str = "file", **kwargs) -> list[tuple]:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_all(path, format, **kwargs)

    return read


def read_all(path: Path, format: str, **kwargs) -> list[tuple]:
    return [
        (place, str(row) if isinstance(row, ValueError) else row)
        for place, row in read_file(path, format, **kwargs)
    ]


def rows_of(places_and_rows: list[tuple]) -> list:
    return [row for _, row in places_and_rows]


def span(start: int, end: int, label: str) -> dict:
    return {"start": start, "end": end, "label": label}


# Finding files


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("b.csv", "a.csv", "c.jsonl", "odd[1].csv", "deep/d.csv", "slots/seq.in"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["c.jsonl", "a.csv"], ["c.jsonl", "a.csv"]),
        (["?.csv"], ["a.csv", "b.csv"]),
        (["b.csv", "?.csv"], ["b.csv", "a.csv"]),
        (["*/*.csv"], ["deep/d.csv"]),
        (["**/d.csv"], ["deep/d.csv"]),
        (["odd[1].csv"], ["odd[1].csv"]),
        (["slots"], ["slots"]),
        (["*s"], ["slots"]),
        (["~/a.csv"], ["a.csv"]),
    ],
)
def test_files_are_found_by_name_and_glob(patterns, names, folder):
    assert find_files(patterns, str(folder)) == [folder / name for name in names]
    assert find_files(patterns, "~") == [folder / name for name in names]


def test_names_are_taken_as_they_are_without_a_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert find_files(["a.csv", str(folder / "b.csv")], None) == [Path("a.csv"), folder / "b.csv"]


def test_the_folder_of_the_data_is_no_glob(folder):
    (folder / "[x]").mkdir()
    (folder / "[x]" / "e.csv").touch()
    assert find_files(["*.csv"], str(folder / "[x]")) == [folder / "[x]" / "e.csv"]


@pytest.mark.parametrize("pattern", ["no.csv", "*.parquet", "dee*"])
def test_files_that_are_not_there_are_named(pattern, folder):
    with pytest.raises(FileNotFoundError) as error:
        find_files(["a.csv", pattern], str(folder))
    assert str(error.value) == f"No file {folder / pattern}."


def test_a_folder_of_files_is_no_file(folder):
    with pytest.raises(FileNotFoundError) as error:
        find_files(["deep"], str(folder))
    path = folder / "deep"
    assert str(error.value) == (
        f"No file {path}. It is a folder: name its files, as {path}/*.jsonl does."
    )


# Formats by ending and content


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("x.csv", "csv"),
        ("x.TSV", "tsv"),
        ("x.parquet", "parquet"),
        ("x.arrow", "arrow"),
        ("x.conll", "conll"),
        ("x.bio", "conll"),
        ("x.iob2", "conll"),
        ("slots/seq.in", "intent_slots"),
        ("saved/state.json", "arrow"),
    ],
)
def test_formats_are_known_by_their_endings(name, format, tmp_path):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    assert detect_format(path if path.parent == tmp_path else path.parent) == format
    assert format in FORMATS


LABEL_STUDIO = {"data": {"text": "a"}, "annotations": []}
MINIMAL = {"text": "a", "topic": "x", "annotation_id": 1, "lead_time": 2.5}
KINDS = {
    "plain": {"text": "a", "label": "x"},
    "plain spans": {"text": "a", "entities": [span(0, 1, "X")]},
    "doccano": {"text": "a", "label": [[0, 1, "X"]]},
    "doccano relations": {
        "text": "a",
        "relations": [],
        "entities": [{"id": 1, "start_offset": 0, "end_offset": 1, "label": "X"}],
    },
    "doccano intents": {"text": "a", "cats": ["x"], "entities": [[0, 1, "X"]]},
    "label_studio": LABEL_STUDIO,
    "label_studio minimal": MINIMAL,
    "label_studio spans": {"text": "a", "ner": [{"start": 0, "end": 1, "labels": ["X"]}]},
    "spacy pair": ["a", {"entities": []}],
    "spacy cats": {"text": "a", "cats": {"x": 1.0}},
    "spacy ents": {"text": "a", "ents": []},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "array.json", "indented.json"])
def test_formats_of_json_are_known_by_what_is_in_it(kind, name, tmp_path):
    rows = [{"text": "a"}, KINDS[kind]] if kind != "spacy pair" else [KINDS[kind]] * 2
    path = tmp_path / name
    if name.startswith("x"):
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    else:
        path.write_text(json.dumps(rows, indent=2 if name.startswith("indented") else None))
    tool = kind.split()[0]
    assert detect_format(path) == (path.suffix[1:] if tool == "plain" else tool)


@pytest.mark.parametrize("content", ["", "\n", "no JSON\n", "3\n"])
def test_json_that_shows_no_tool_is_plain(content, tmp_path):
    (tmp_path / "x.jsonl").write_text(content)
    assert detect_format(tmp_path / "x.jsonl") == "jsonl"


def refusal(path: Path, *args, **kwargs) -> str:
    """What is said of a file as a whole, without its name."""
    with pytest.raises(ValueError) as error:
        if args:
            list(read_file(path, *args, **kwargs))
        else:
            detect_format(path)
    name, message = str(error.value).split(": ", maxsplit=1)
    assert name == str(path)
    return message


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.txt", "", "a file ending in '.txt' could be conll or text. Set `format`."),
        (
            "x.xml",
            "",
            "should end in one of .json, .jsonl, .csv, .tsv, .parquet, .arrow, .conll, .bio, "
            ".iob, .iob2. Found '.xml'. Else set `format` to one of json, jsonl, csv, tsv, "
            "parquet, arrow, conll, intent_slots, doccano, label_studio, spacy, text.",
        ),
        (
            "x.jsonl",
            f"{json.dumps(LABEL_STUDIO)}\n{json.dumps(KINDS['doccano'])}\n",
            "could be doccano or label_studio. Set `format`.",
        ),
        (
            "x.json",
            "[{]",
            "should be a JSON array, or have an object in each line (Expecting property name "
            "enclosed in double quotes in line 1, character 3).",
        ),
    ],
)
def test_files_of_no_clear_format_are_refused(name, content, message, tmp_path):
    (tmp_path / name).write_text(content)
    assert refusal(tmp_path / name) == message


def test_a_folder_of_no_known_format_is_refused(tmp_path):
    assert refusal(tmp_path) == (
        "a folder that is a data file should hold one of state.json, seq.in."
    )


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^`format` should be one of json, .*\. Found 'xml'\.$"):
        list(read_file(tmp_path, "xml"))


def test_a_missing_file_is_an_error_of_the_system(tmp_path):
    for format in FORMATS:
        with pytest.raises(OSError, match="file"):
            list(read_file(tmp_path / "none", format))


@pytest.mark.parametrize(
    "format", ["json", "jsonl", "csv", "tsv", "conll", "doccano", "label_studio", "spacy", "text"]
)
def test_a_file_without_rows_is_refused(format, tmp_path):
    path = tmp_path / "x"
    for content in ("", "\ufeff") if format == "text" else ("", "\n\r\n", "\ufeff"):
        path.write_text(content)
        assert refusal(path, format) == "has no rows."


@pytest.mark.parametrize(
    ("content", "format"),
    [("[]", "json"), ("a,b\n", "csv"), ("-DOCSTART- -X- O\n\n", "conll")],
)
def test_a_file_of_nothing_but_a_frame_is_refused(content, format, tmp_path):
    (tmp_path / "x").write_text(content)
    assert refusal(tmp_path / "x", format) == "has no rows."


# Text


def test_a_line_of_text_is_a_row(read):
    assert read("\ufeffa  b \r\n\n#\u2028c\x0bd\x85\tnull", "text") == [
        ("line 1", {"text": "a  b "}),
        ("line 2", {"text": ""}),
        ("line 3", {"text": "#\u2028c\x0bd\x85\tnull"}),
    ]


def test_a_line_of_text_that_is_no_utf8_is_a_problem(read):
    assert read(b"a\n\xe9t\xe9\nb", "text") == [
        ("line 1", {"text": "a"}),
        ("line 2", r"should be UTF-8. Found b'\xe9t\xe9'."),
        ("line 3", {"text": "b"}),
    ]


# JSON


@pytest.mark.parametrize("start", ["", "\ufeff", "\n \r\n"])
@pytest.mark.parametrize("between", ["\n", "\r\n", "\n\n"])
def test_an_object_is_a_row(start, between, read):
    rows = [{"text": "a\u2028b", "n": None}, {"text": "\U0001f600", "nested": [{"x": 1.5}]}]
    for ascii in (True, False):
        lines = [json.dumps(row, ensure_ascii=ascii) for row in rows]
        text = start + between.join(lines)
        assert rows_of(read(text, "jsonl")) == rows
        assert rows_of(read(text, "json")) == rows
        array = f"{start}[{between}{f',{between}'.join(lines)}]{between}"
        assert read(array, "json") == [("row 1", rows[0]), ("row 2", rows[1])]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[1]", "should be a JSON object. Found [1]."),
        ('"a"', "should be a JSON object. Found 'a'."),
        ("null", "should be a JSON object. Found None."),
        (
            '{"text": "b}',
            "should be JSON (Unterminated string starting at at character 10). "
            'Found \'{"text": "b}\'.',
        ),
        (
            '{"a": 1} {"a": 2}',
            'should be JSON (Extra data at character 10). Found \'{"a": 1} {"a": 2}\'.',
        ),
        (
            "x" * 1000,
            f"should be JSON (Expecting value at character 1). Found '{'x' * 76}....",
        ),
        (
            r'{"text": "\ud83d"}',
            "should be Unicode text. Found half of a surrogate pair: {'text': '\\ud83d'}.",
        ),
        (b'{"text": "\xe9"}', 'should be UTF-8. Found b\'{"text": "\\xe9"}\'.'),
    ],
)
@pytest.mark.parametrize("format", ["json", "jsonl", "doccano"])
def test_a_broken_line_of_json_is_a_problem(line, message, format, read):
    line = line if isinstance(line, bytes) else line.encode()
    good = {"text": "a"}
    assert read(b'{"text": "a"}\n\n%s\n{"text": "a"}\n' % line, format) == [
        ("line 1", good),
        ("line 3", message),
        ("line 4", good),
    ]


def test_deep_json_is_a_problem(read):
    (place, message), _ = read("[" * 100_000 + '\n{"text": "a"}', "jsonl")
    assert (place, message[:19]) == ("line 1", "should be JSON (max")


def test_a_broken_first_line_is_a_problem(read):
    assert rows_of(read('{"text": }\n{"text": "a"}\n', "json"))[1] == {"text": "a"}
    assert rows_of(read('text\n{"text": "a"}\n', "json"))[1] == {"text": "a"}


def test_an_element_that_is_no_object_is_a_problem(read):
    assert read('[{"a": 1},\n 1, {"a": "\\udc00"}, {"a": 2}]', "json") == [
        ("row 1", {"a": 1}),
        ("row 2", "should be a JSON object. Found 1."),
        (
            "row 3",
            "should be Unicode text. Found half of a surrogate pair: {'a': '\\udc00'}.",
        ),
        ("row 4", {"a": 2}),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '[{"a": 1},\n{"a": }]',
            "should be a JSON array, or have an object in each line (Expecting value in line 2, "
            "character 7).",
        ),
        (
            '[{"a": 1}\n',
            "should be a JSON array, or have an object in each line (Expecting ',' delimiter in "
            "line 2, character 1).",
        ),
        (
            '{\n"data": [{"a": 1}]\n}',
            "should be a JSON array, or have an object in each line. Found {'data': [{'a': 1}]}.",
        ),
        (
            b'[\n{"a": "\xe9"}]',
            "should be a JSON array in UTF-8 ('utf-8' codec can't decode byte 0xe9 in position 9: "
            "invalid continuation byte).",
        ),
    ],
)
def test_an_array_that_can_not_be_parsed_is_refused(content, message, tmp_path):
    content = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "x.json").write_bytes(content)
    assert refusal(tmp_path / "x.json", "json") == message


# CSV and TSV


def test_values_of_a_table_are_as_they_are_written(read):
    assert read('\ufefftext,n\nNA,007\n" a",\n"x, ""y""\r\nz",1e5\r\n\r\n,""\n', "csv") == [
        ("line 2", {"text": "NA", "n": "007"}),
        ("line 3", {"text": " a", "n": ""}),
        ("line 4", {"text": 'x, "y"\r\nz', "n": "1e5"}),
        ("line 7", {"text": "", "n": ""}),
    ]
    assert read("n\ttext\n1\ta, b", "tsv") == [("line 2", {"n": "1", "text": "a, b"})]


def test_a_text_may_be_longer_than_the_csv_module_thinks(read):
    assert rows_of(read(f"text\n{'x' * 200_000}\n", "csv")) == [{"text": "x" * 200_000}]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a", "should have 2 fields. Found 1: ['a']."),
        ("a,b,c", "should have 2 fields. Found 3: ['a', 'b', 'c']."),
        (b"a,\xe9", "should be UTF-8. Found b'a\\xe9'."),
    ],
)
def test_a_broken_line_of_a_table_is_a_problem(line, message, read):
    line = line if isinstance(line, bytes) else line.encode()
    good = {"text": "a", "topic": "b"}
    assert read(b'text,topic\n"a",b\n%s\na,b\n' % line, "csv") == [
        ("line 2", good),
        ("line 3", message),
        ("line 4", good),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b,a\n1,2,3\n", "the columns should have different names. Found a, b, a."),
        ('a,b\n1,2\n"1"x,2\n', "line 3: ',' expected after '\"'."),
        ('a,b\n1,2\n1,"2\n3,4\n', "line 3: unexpected end of data."),
        ("a,b\n1,2\0\n", "line 2: should be text. Found a null byte."),
        ("a,b\n1,2\n".encode("utf-16"), "line 1: should be text. Found a null byte."),
        (b"\xe9,b\n1,2\n", "should be UTF-8. Found b'\\xe9b'."),
    ],
)
def test_a_table_that_can_not_be_read_is_refused(content, message, tmp_path):
    content = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "x.csv").write_bytes(content)
    assert refusal(tmp_path / "x.csv", "csv") == message


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\t\r\n"))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(ANY_TEXT, ANY_TEXT), min_size=1))
def test_what_the_csv_module_writes_is_read_back(rows):
    written = io.StringIO(newline="")
    csv.writer(written).writerows([("text", "topic"), *rows])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x")
        path.write_bytes(written.getvalue().encode())
        assert [tuple(row.values()) for row in rows_of(read_all(path, "csv"))] == rows


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(CELL, CELL), min_size=1), st.sampled_from(["\n", "\r\n"]))
@example([('"To be', "1"), ('or not "', "0")], "\n")
def test_cells_between_tabs_are_taken_as_they_are(rows, end):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x")
        lines = "".join("\t".join(row) + end for row in [("text", "topic"), *rows])
        path.write_bytes(lines.encode())
        assert [tuple(row.values()) for row in rows_of(read_all(path, "tsv"))] == rows


# Parquet and Arrow

TYPES = ClassLabel(names=["ORG", "LOC"])
FEATURES = Features(
    {
        "text": Value("string"),
        "topic": ClassLabel(names=["sports", "tech"]),
        "kinds": List(ClassLabel(names=["a", "b"])),
        "entities": List({"start": Value("int32"), "end": Value("int32"), "label": TYPES}),
        "number": Value("int64"),
    }
)
WITH_IDS = [
    {
        "text": "x",
        "topic": 1,
        "kinds": [1, 0],
        "entities": [{"start": 0, "end": 1, "label": 1}],
        "number": 1,
    },
    {"text": "y", "topic": -1, "kinds": [], "entities": [], "number": -1},
    {"text": None, "topic": None, "kinds": None, "entities": None, "number": None},
]
WITH_NAMES = [
    {"text": "x", "topic": "tech", "kinds": ["b", "a"], "entities": [span(0, 1, "LOC")]},
    {"text": "y", "topic": None, "kinds": [], "entities": []},
    {"text": None, "topic": None, "kinds": None, "entities": None},
]
WITH_NAMES = [
    row | {"number": other["number"]} for row, other in zip(WITH_NAMES, WITH_IDS, strict=True)
]


def write_arrow(table: pa.Table, path: Path, writer) -> None:
    with writer(str(path), table.schema) as file:
        file.write_table(table)


WRITERS = {
    "parquet": lambda rows, path: rows.to_parquet(path),
    "arrow stream": lambda rows, path: write_arrow(rows.data.table, path, pa.ipc.new_stream),
    "arrow file": lambda rows, path: write_arrow(rows.data.table, path, pa.ipc.new_file),
    "arrow folder": lambda rows, path: rows.save_to_disk(path),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_class_ids_of_tables_become_names(kind, tmp_path):
    path = tmp_path / "x"
    WRITERS[kind](Dataset.from_list(WITH_IDS, features=FEATURES), path)
    assert read_all(path, kind.split()[0]) == [
        ("row 1", WITH_NAMES[0]),
        ("row 2", WITH_NAMES[1]),
        ("row 3", WITH_NAMES[2]),
    ]


@pytest.mark.parametrize("kind", WRITERS)
def test_tables_of_many_batches_are_read_in_order(kind, tmp_path):
    WRITERS[kind](Dataset.from_dict({"n": range(2500)}), tmp_path / "x")
    rows = read_all(tmp_path / "x", kind.split()[0])
    assert rows == [(f"row {n + 1}", {"n": n}) for n in range(2500)]


def test_a_folder_of_chosen_rows_has_these(tmp_path):
    Dataset.from_dict({"n": range(5)}).select([3, 1]).save_to_disk(tmp_path / "x")
    assert rows_of(read_all(tmp_path / "x", "arrow")) == [{"n": 3}, {"n": 1}]


def test_tables_of_others_have_no_class_names(tmp_path):
    rows = [{"text": "a", "label": 1}, {"text": "b", "label": -1}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")
    assert rows_of(read_all(tmp_path / "x.parquet", "parquet")) == rows


def test_named_classes_leave_other_rows_alone():
    row = {"text": "a", "n": 1}
    features = Features({"text": Value("string"), "n": Value("int64")})
    assert named_classes(features)(row) is row
    assert [named_classes(FEATURES)(row) for row in WITH_IDS] == WITH_NAMES


@pytest.mark.parametrize("index", [2, -2])
def test_a_class_id_without_a_name_is_a_problem(index, tmp_path):
    schema = Features({"topic": ClassLabel(names=["a", "b"])}).arrow_schema
    table = pa.table({"topic": [0, index]}, schema=schema)
    pq.write_table(table, tmp_path / "x.parquet")
    assert read_all(tmp_path / "x.parquet", "parquet") == [
        ("row 1", {"topic": "a"}),
        ("row 2", f"class ids should be from 0 to 1, or -1. Found {index}."),
    ]


@pytest.mark.parametrize("kind", WRITERS)
def test_tables_without_rows_are_refused(kind, tmp_path):
    rows = Dataset.from_dict({"text": []}, features=Features({"text": Value("string")}))
    WRITERS[kind](rows, tmp_path / "x")
    assert refusal(tmp_path / "x", kind.split()[0]) == "has no rows."


@pytest.mark.parametrize("format", ["parquet", "arrow"])
@pytest.mark.parametrize("content", [b"", b"text", b"ARROW1", b"PAR1" * 100, bytes(100)])
def test_tables_that_are_none_are_refused(format, content, tmp_path):
    (tmp_path / "x").write_bytes(content)
    assert refusal(tmp_path / "x", format)


@pytest.mark.parametrize("kind", ["parquet", "arrow file", "arrow stream"])
def test_damaged_tables_are_refused(kind, tmp_path):
    path = tmp_path / "x"
    WRITERS[kind](Dataset.from_dict({"text": ["abc"] * 1000}), path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert refusal(path, kind.split()[0])


def test_a_table_with_repeated_names_is_refused(tmp_path):
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    write_arrow(table, tmp_path / "x", pa.ipc.new_stream)
    assert refusal(tmp_path / "x", "arrow") == (
        "the columns should have different names. Found a, a."
    )


# CoNLL


@pytest.mark.parametrize(
    "content",
    [
        "a\tB-X\nb\tO\n\nc\tO\n",
        "a B-X\nb O\n\nc O",
        "\ufeffa  B-X \r\n b\tO\r\n\r\n\r\n c O\r\n",
        "a\tB-X\nb\tO\n\t\nc\tO\n\t\n",
        "\n\na\tB-X\nb\tO\n \u00a0 \nc\tO\n\n\n",
        "-DOCSTART-\tO\n\na\tB-X\nb\tO\n-DOCSTART-\tO\n\nc\tO\n",
        "# id = 1\na\tB-X\n# note\nb\tO\n\n# id = 2\n\nc\tO\n",
        "# one two three\na B-X\n#note\nb O\n\nc O\n",
    ],
)
def test_a_sentence_is_a_row(content, read):
    assert rows_of(read(content, "conll")) == [
        {"tokens": ["a", "b"], "tags": ["B-X", "O"]},
        {"tokens": ["c"], "tags": ["O"]},
    ]


def test_the_place_of_a_sentence_is_its_first_line(read):
    content = "-DOCSTART- O\n\n# an id\na O\nb O\n\n\nc O\n"
    assert [place for place, _ in read(content, "conll")] == ["line 4", "line 8"]


@pytest.mark.parametrize("token", ["a b", "a\u00a0b", "a\u2028b\x0bc\x85", "#nlp", "#", "-", '"'])
def test_a_token_between_tabs_may_be_any_text(token, read):
    assert rows_of(read(f"x\tO\n{token}\tB-X\n", "conll")) == [
        {"tokens": ["x", token], "tags": ["O", "B-X"]}
    ]
    assert rows_of(read(f"{token}\tB-X\n", "conll")) == [{"tokens": [token], "tags": ["B-X"]}]


def test_a_token_between_spaces_may_hold_other_spaces(read):
    assert rows_of(read("a\u00a0b\u3000c O\n#\u2009d O\n", "conll")) == [
        {"tokens": ["a\u00a0b\u3000c", "#\u2009d"], "tags": ["O", "O"]}
    ]


def test_columns_have_names(read):
    content = "EU NNP B-NP B-ORG\nrejects VBZ B-VP O\n"
    default = {
        "tokens": ["EU", "rejects"],
        "column_2": ["NNP", "VBZ"],
        "column_3": ["B-NP", "B-VP"],
        "tags": ["B-ORG", "O"],
    }
    assert rows_of(read(content, "conll")) == [default]
    names = ["words", "pos", "chunks", "entities"]
    named = dict(zip(names, default.values(), strict=True))
    assert rows_of(read(content, "conll", column_names=names)) == [named]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("b", "line 5 should have 2 columns. Found 1: 'b'."),
        ("b\tx\tO", "line 5 should have 2 columns. Found 3: 'b\\tx\\tO'."),
        ("b O", "line 5 should have 2 columns. Found 1: 'b O'."),
        ("\tO", "line 5 should have a token. Found '\\tO'."),
        (b"\xe9\tO", "line 5 should be UTF-8. Found b'\\xe9\\tO'."),
    ],
)
def test_a_sentence_with_a_broken_line_is_a_problem(line, message, read):
    line = line if isinstance(line, bytes) else line.encode()
    good = {"tokens": ["a"], "tags": ["O"]}
    assert read(b"a\tO\n\nx\tO\ny\tO\n%s\nz\n\na\tO\n" % line, "conll") == [
        ("line 1", good),
        ("line 3", message),
        ("line 8", good),
    ]


@pytest.mark.parametrize(
    ("content", "names", "message"),
    [
        (
            "# x\na\nb\n",
            None,
            "line 2 should have two or more columns, with tabs or spaces between. Found 'a'.",
        ),
        (
            "a O\n",
            ["tokens", "pos", "tags"],
            "line 1 should have the 3 columns tokens, pos, tags. Found 2: 'a O'.",
        ),
        ("a O\n", ["x", "x"], "the columns should have different names. Found x, x."),
    ],
)
def test_a_conll_file_of_other_columns_is_refused(content, names, message, tmp_path):
    (tmp_path / "x").write_text(content)
    assert refusal(tmp_path / "x", "conll", column_names=names) == message


# White space, that begins a line or makes up all of it, is not the token's in files with spaces.
WORD = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters=" \t\r\n\ufeff"), min_size=1
).filter(lambda word: word.strip() and not word.startswith("-DOCSTART-"))
TAG = st.sampled_from(["O", "B-X", "I-X", "B-R&D", "I-é"])


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.lists(st.tuples(WORD, TAG), min_size=1), min_size=1),
    st.sampled_from([" ", "  ", "\t"]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", "\t", " "]),
)
def test_any_words_with_tags_are_read_back(sentences, separator, end, blank):
    written = [[f"{word}{separator}{tag}" for word, tag in sentence] for sentence in sentences]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x")
        path.write_bytes(f"{end}{blank}{end}".join(map(end.join, written)).encode())
        assert [
            list(zip(row["tokens"], row["tags"], strict=True))
            for row in rows_of(read_all(path, "conll"))
        ] == sentences


# Folders of intents and slots


@pytest.fixture
def read_slots(tmp_path):
    def write(words: str, slots: str, labels: str) -> Path:
        for name, content in (("seq.in", words), ("seq.out", slots), ("label", labels)):
            (tmp_path / name).write_bytes(content.encode("utf-8", "surrogateescape"))
        return tmp_path

    return write


def test_lines_of_three_files_are_a_row(read_slots):
    path = read_slots("\ufeffplay  a\u00a0b \r\nstop\n\n", "O B-x\nO\n\n", "play\n halt now \n\n")
    assert detect_format(path) == "intent_slots"
    assert read_all(path, "intent_slots") == [
        ("line 1", {"tokens": ["play", "a\u00a0b"], "slots": ["O", "B-x"], "intent": "play"}),
        ("line 2", {"tokens": ["stop"], "slots": ["O"], "intent": "halt now"}),
    ]


@pytest.mark.parametrize(
    ("words", "slots", "message"),
    [
        (
            "a b",
            "O",
            "should have a tag in seq.out for each of the 2 words in seq.in. Found 1.",
        ),
        ("", "O", "should have a tag in seq.out for each of the 0 words in seq.in. Found 1."),
        ("\udce9", "O", "should be UTF-8. Found b'\\xe9'."),
    ],
)
def test_unequal_lines_are_a_problem(words, slots, message, read_slots):
    path = read_slots(f"x\n{words}\nx\n", f"O\n{slots}\nO\n", "i\ni\ni\n")
    good = {"tokens": ["x"], "slots": ["O"], "intent": "i"}
    assert read_all(path, "intent_slots") == [
        ("line 1", good),
        ("line 2", message),
        ("line 3", good),
    ]


def test_files_of_different_lengths_are_refused(read_slots):
    path = read_slots("a\nb\n", "O\nO", "i\n")
    assert refusal(path, "intent_slots") == (
        "seq.in, seq.out and label should have as many lines as each other. Found 2, 2, 1."
    )


def test_empty_files_are_refused(read_slots):
    assert refusal(read_slots("", "", ""), "intent_slots") == "has no rows."


# doccano


@pytest.mark.parametrize(
    ("record", "row"),
    [
        (
            {"label": [[0, 2, "ORG"], [3, 4, "LOC"]]},
            {"label": [span(0, 2, "ORG"), span(3, 4, "LOC")]},
        ),
        ({"labels": [[0, 2, "ORG"]], "id": 7}, {"labels": [span(0, 2, "ORG")], "id": 7}),
        ({"label": []}, {"label": []}),
        ({"label": ["x"]}, {"label": ["x"]}),
        ({"label": ["x", "y"], "Comments": []}, {"label": ["x", "y"], "Comments": []}),
        (
            {
                "entities": [{"id": 1, "label": "X", "start_offset": 0, "end_offset": 2}],
                "relations": [{"id": 2, "from_id": 1, "to_id": 1, "type": "is"}],
            },
            {
                "entities": [span(0, 2, "X")],
                "relations": [{"id": 2, "from_id": 1, "to_id": 1, "type": "is"}],
            },
        ),
        (
            {"cats": ["ask"], "entities": [[0, 2, "X"]]},
            {"cats": ["ask"], "entities": [span(0, 2, "X")]},
        ),
    ],
)
def test_exports_of_doccano(record, row, read):
    assert read(json.dumps({"text": "EU x"} | record), "doccano") == [
        ("line 1", {"text": "EU x"} | row)
    ]
    assert read(json.dumps([{"text": "EU x"} | record]), "doccano") == [
        ("row 1", {"text": "EU x"} | row)
    ]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([[0, 2]], "'label' should have spans of start, end and label. Found [0, 2]."),
        ([[0, 1, "X"], "y"], "'label' should have spans of start, end and label. Found 'y'."),
        (
            [{"start_offset": 0, "label": "X"}],
            "'label' should have spans of start, end and label. "
            "Found {'start_offset': 0, 'label': 'X'}.",
        ),
    ],
)
def test_broken_spans_of_doccano_are_a_problem(labels, message, read):
    lines = [{"text": "EU", "label": labels}, {"text": "EU", "label": []}]
    assert read("\n".join(map(json.dumps, lines)), "doccano") == [
        ("line 1", message), ("line 2", lines[1])
    ]  # fmt: skip


# Label Studio


def result(name: str, kind: str, **value) -> dict:
    return {"id": "a1", "from_name": name, "to_name": "text", "type": kind, "value": value}


def task(*results: dict, text: str = "Bonn am Rhein", **others) -> dict:
    annotation = {"id": 1, "was_cancelled": False, "result": list(results)}
    return {"id": 1, "data": {"text": text}, "annotations": [annotation], **others}


BONN = result("ner", "labels", start=0, end=4, text="Bonn", labels=["LOC"])


@pytest.mark.parametrize(
    ("results", "columns"),
    [
        ([BONN], {"ner": [span(0, 4, "LOC")]}),
        (
            [
                result("ner", "labels", start=8, end=13, labels=["LOC", "RIVER"]),
                {"type": "relation", "from_id": "a1", "to_id": "a1", "direction": "right"},
                result("parts", "labels", start=0, end=4, text="Bonn", labels=["NAME"]),
                BONN,
            ],
            {
                "ner": [span(8, 13, "LOC"), span(8, 13, "RIVER"), span(0, 4, "LOC")],
                "parts": [span(0, 4, "NAME")],
            },
        ),
        ([result("topic", "choices", choices=["x"])], {"topic": "x"}),
        ([result("topic", "choices", choices=["x", "y"])], {"topic": ["x", "y"]}),
        (
            [result("stars", "rating", rating=4), result("size", "number", number=1.5)],
            {"stars": 4, "size": 1.5},
        ),
        ([], {}),
    ],
)
def test_exports_of_label_studio(results, columns, read):
    assert read(json.dumps([task(*results)]), "label_studio") == [
        ("row 1", {"text": "Bonn am Rhein", **columns})
    ]


def test_what_is_cancelled_or_predicted_is_not_read(read):
    cancelled = {"id": 2, "was_cancelled": True, "result": [BONN]}
    prediction = {"id": 3, "result": [BONN]}
    both = task(BONN, predictions=[prediction])
    both["annotations"].append(cancelled)
    tasks = [
        task(annotations=[cancelled], predictions=[prediction]),
        task(annotations=[]),
        {"data": {"text": "Bonn am Rhein"}},
        both,
    ]
    text = {"text": "Bonn am Rhein"}
    assert rows_of(read(json.dumps(tasks), "label_studio")) == [
        text, text, text, text | {"ner": [span(0, 4, "LOC")]}
    ]  # fmt: skip


def test_annotated_texts_without_spans_have_none(read):
    topic = result("topic", "choices", choices=["x"])
    tasks = [task(topic), task(BONN), task(annotations=[])]
    text = {"text": "Bonn am Rhein"}
    assert rows_of(read(json.dumps(tasks), "label_studio")) == [
        text | {"topic": "x", "ner": []},
        text | {"ner": [span(0, 4, "LOC")]},
        text,
    ]


def test_the_text_may_be_any_field_and_lack_line_breaks(read):
    labels = result("ner", "labels", start=1, end=4, text="ab", labels=["X"])
    tasks = [{"data": {"id": "7", "body": "-a\nb-", "n": 1}, "annotations": [{"result": [labels]}]}]
    assert rows_of(read(json.dumps(tasks), "label_studio")) == [
        {"id": "7", "body": "-a\nb-", "n": 1, "ner": [span(1, 4, "X")]}
    ]


@pytest.mark.parametrize(
    ("record", "row"),
    [
        (
            {"label": [{"start": 0, "end": 4, "text": "Bonn", "labels": ["LOC", "X"]}]},
            {"label": [span(0, 4, "LOC"), span(0, 4, "X")]},
        ),
        ({"sentiment": "Positive"}, {"sentiment": "Positive"}),
        ({"topics": {"choices": ["x", "y"]}}, {"topics": ["x", "y"]}),
        ({"topics": [{"choices": ["x", "y"]}]}, {"topics": ["x", "y"]}),
        (
            {"stars": [{"rating": 4}], "size": [{"number": 2}]},
            {"stars": 4, "size": 2},
        ),
        ({"lead_time": 1.5, "tags": ["a"]}, {"lead_time": 1.5, "tags": ["a"]}),
    ],
)
def test_minimal_exports_of_label_studio(record, row, read):
    assert read(json.dumps([{"text": "Bonn"} | record]), "label_studio") == [
        ("row 1", {"text": "Bonn"} | row)
    ]


def test_annotated_minimal_texts_without_spans_have_none(read):
    spans = [{"start": 0, "end": 1, "labels": ["X"]}]
    rows = [
        {"text": "a", "annotation_id": 1},
        {"text": "a", "annotation_id": None},
        {"text": "a", "annotation_id": 2, "ner": spans},
    ]
    assert rows_of(read(json.dumps(rows), "label_studio")) == [
        rows[0] | {"ner": []},
        rows[1],
        rows[2] | {"ner": [span(0, 1, "X")]},
    ]


TWICE = task(BONN)
TWICE["annotations"] *= 2


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (3, "should be a JSON object. Found 3."),
        (TWICE, "should have one annotation. Found 2: keep one of them."),
        (
            task(result("note", "textarea", text=["x"])),
            "'note' should be of type labels, choices, rating or number. Found 'textarea'.",
        ),
        (
            task(result("topic", "choices", choices=["x"], start=0, end=4)),
            "'topic' should be choices of the text. Found it of a part of it.",
        ),
        (
            task(BONN, text="\U0001f600Bonn"),
            "'ner' should have 'Bonn' from character 0 to 4. Found '\U0001f600Bon'.",
        ),
        (
            {"text": "-Bonn", "ner": [{"start": 0, "end": 4, "text": "Bonn", "labels": ["X"]}]},
            "'ner' should have 'Bonn' from character 0 to 4. Found '-Bon'.",
        ),
        (
            {"data": {}, "annotations": [{}]},
            "should be a task as Label Studio exports it. Found {'data': {}, 'annotations': [{}]}.",
        ),
        (
            {"data": {}, "annotations": [{"result": [3]}]},
            "should be a task as Label Studio exports it. "
            "Found {'data': {}, 'annotations': [{'result': [3]}]}.",
        ),
    ],
)
def test_a_broken_task_is_a_problem(record, message, read):
    good = {"text": "Bonn am Rhein", "ner": [span(0, 4, "LOC")]}
    assert read(json.dumps([task(BONN), record, task(BONN)]), "label_studio") == [
        ("row 1", good),
        ("row 2", message),
        ("row 3", good),
    ]


# spaCy


@pytest.mark.parametrize(
    ("record", "row"),
    [
        (["a b", {"entities": [[0, 1, "X"]]}], {"entities": [span(0, 1, "X")]}),
        (["a b", {"cats": {"x": 1.0, "y": 0.0, "z": 0.5}}], {"cats": ["x", "z"]}),
        (
            ["a b", {"cats": {"x": True, "y": False}, "entities": []}],
            {"cats": ["x"], "entities": []},
        ),
        (["a b", {"cats": {}}], {"cats": []}),
        (["a b", {}], {}),
        ({"text": "a b", "entities": [[0, 1, "X"]]}, {"entities": [span(0, 1, "X")]}),
        (
            {"text": "a b", "spans": [span(0, 1, "X")], "id": 7},
            {"spans": [span(0, 1, "X")], "id": 7, "entities": [span(0, 1, "X")]},
        ),
        (
            {"text": "a b", "ents": [span(0, 1, "X")], "tokens": [{"id": 0}], "cats": {"x": 1}},
            {"ents": [span(0, 1, "X")], "entities": [span(0, 1, "X")], "cats": ["x"]},
        ),
    ],
)
def test_data_of_spacy(record, row, read):
    row = {"text": "a b", **row}
    assert read(json.dumps([record, record]), "spacy") == [("row 1", row), ("row 2", row)]
    lines = f"{json.dumps(record)}\n{json.dumps(record)}\n"
    for name in ("x.json", "x.jsonl"):
        assert read(lines, "spacy", name) == [("line 1", row), ("line 2", row)]


NO_SPACY = 'should be ["text", {"entities": ...}] or an object with a text.'


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"x": 1}, f"{NO_SPACY} Found {{'x': 1}}."),
        ({"text": None}, f"{NO_SPACY} Found {{'text': None}}."),
        (["a"], f"{NO_SPACY} Found ['a']."),
        (["a", {"entities": {}}], "'entities' should be a list of spans. Found {}."),
        (
            ["a", {"entities": [[0, 1]]}],
            "'entities' should have spans of start, end and label. Found [0, 1].",
        ),
        (["a", {"cats": ["x"]}], "'cats' should be an object of numbers. Found ['x']."),
        (["a", {"cats": {"x": "y"}}], "'cats' should be an object of numbers. Found {'x': 'y'}."),
    ],
)
def test_broken_data_of_spacy_is_a_problem(record, message, read):
    good = {"text": "a", "cats": ["x"]}
    records = [["a", {"cats": {"x": 1}}], record, {"text": "a", "cats": {"x": 1}}]
    assert read(json.dumps(records), "spacy") == [
        ("row 1", good),
        ("row 2", message),
        ("row 3", good),
    ]


# Memory


@pytest.mark.parametrize(
    ("format", "line"),
    [
        ("text", "word\n"),
        ("jsonl", '{"text": "word"}\n'),
        ("csv", "word,x\n"),
        ("conll", "word O\n\n"),
    ],
)
def test_rows_are_read_as_they_are_asked_for(format, line, tmp_path):
    (tmp_path / "x").write_text(line * 20_000)
    tracemalloc.start()
    try:
        rows = read_file(tmp_path / "x", format)
        for _ in range(1000):
            next(rows)
        first = tracemalloc.get_traced_memory()[0]
        for _ in range(5000):
            next(rows)
        assert tracemalloc.get_traced_memory()[1] < first + 100_000
    finally:
        tracemalloc.stop()
        rows.close()
