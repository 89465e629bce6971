"""CSV, TSV, Parquet and Arrow in, raw rows out."""

import csv
import io
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reading import read_all, refusal, rows_of, span

from multitask_encoder.data import tables
from multitask_encoder.data.tables import named_classes

# CSV and TSV


def test_values_of_a_table_are_as_they_are_written(read):
    assert read('\ufefftext,n\nNA,007\n" a",\n"x, ""y""\r\nz",1e5\r\n\r\n,""\nx,""\n', "csv") == [
        ("line 2", {"text": "NA", "n": "007"}),
        ("line 3", {"text": " a", "n": ""}),
        ("line 4", {"text": 'x, "y"\r\nz', "n": "1e5"}),
        ("line 7", {"text": "", "n": ""}),
        ("line 8", {"text": "x", "n": ""}),
    ]
    assert read("n\ttext\n1\ta, b", "tsv") == [("line 2", {"n": "1", "text": "a, b"})]


def test_a_text_may_be_longer_than_the_csv_module_thinks(read):
    assert rows_of(read(f"text\n{'x' * 200_000}\n", "csv")) == [{"text": "x" * 200_000}]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a", "should have 2 fields. Found 1: ['a']."),
        ("a,b,c", "should have 2 fields. Found 3: ['a', 'b', 'c']."),
        (b"a,\xe9", "should be UTF-8 (or set `encoding`). Found b'a\\xe9'."),
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
        ("a,b\n1,2\n".encode("utf-16-le"), "line 1: should be text. Found a null byte."),
        (b"\xe9,b\n1,2\n", "should be UTF-8 (or set `encoding`). Found b'\\xe9b'."),
    ],
)
def test_a_table_that_can_not_be_read_is_refused(content, message, tmp_path):
    content = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "x.csv").write_bytes(content)
    assert refusal(tmp_path / "x.csv", "csv") == message


SPREADSHEET = [
    ("line 2", {"text": "Très, bien", "mood": "gut"}),
    ("line 3", {"text": "b", "mood": ""}),
]


@pytest.mark.parametrize(
    "content",
    [
        'text,mood\n"Très, bien",gut\nb,\n'.encode("utf-8-sig"),
        "text;mood\r\nTrès, bien;gut\r\nb;\r\n".encode(),
        'text;mood\n"Très, bien";gut\nb;\n;\n;\n'.encode(),
        "text\tmood\nTrès, bien\tgut\nb\t\n".encode("utf-16"),
        'text,mood,,\n"Très, bien",gut,,\nb,,,\n,,,\n'.encode(),
    ],
)
def test_a_table_of_a_spreadsheet_is_read(content, read):
    assert read(content, "csv") == SPREADSHEET


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        ('"say ""hi"""\tx\n', ['say "hi"']),
        ('a, b\tx\n"say ""hi"", c"\tx\n', ["a, b", 'say "hi", c']),  # by pandas
        ('"a\nb"\tx\nc, d\tx\n', ["a\nb", "c, d"]),
        ('"a, b"\tx\r\nc\tx\r\n"d, ""e"""\tx\r\n', ["a, b", "c", 'd, "e"']),  # by Excel
        ('"a, b"\tx\nc\tx', ["a, b", "c"]),
        ('""\t""\n"""a"""\tx', ["", '"a"']),
    ],
)
def test_quotes_around_fields_of_a_tsv_file_are_not_text(content, texts, read):
    assert [row["text"] for row in rows_of(read("text\tmood\n" + content, "tsv"))] == texts


@pytest.mark.parametrize(
    "texts",
    [
        ['"Yes", she said.'],
        ['"Yes, she said.', "a"],
        ['"Yes"', "a"],
        ['"Yes, she said"', "a, b"],
        ['"a ""b"" c"', '5" screen'],
        ['a ""b"" c'],
    ],
)
def test_quotes_in_a_tsv_file_are_text_otherwise(texts, read):
    content = "text\tmood\n" + "".join(f"{text}\tx\n" for text in texts)
    assert [row["text"] for row in rows_of(read(content, "tsv"))] == texts
    lines = ['"Yes', 'no"']
    assert [row["text"] for row in rows_of(read("\n".join(["text", *lines]), "tsv"))] == lines


def test_the_beginning_of_a_large_tsv_file_says_whether_its_fields_are_quoted(read, monkeypatch):
    rows = [f'"say ""hi"", {number}\nand bye"\tx\n' for number in range(20)]
    for head in range(60, 120):
        monkeypatch.setattr(tables, "HEAD", head)
        found = rows_of(read("text\tmood\n" + "".join(rows), "tsv"))
        assert [row["text"] for row in found] == [f'say "hi", {n}\nand bye' for n in range(20)]
    long = "a, b " * 100_000
    content = f'text\tmood\n"{long}\nc"\tx\nd, e\tx\n'
    monkeypatch.setattr(tables, "HEAD", 2**20)
    assert rows_of(read(content, "tsv"))[0]["text"] == f"{long}\nc"


def test_what_parts_the_header_may_also_be_in_a_name(read):
    rows = rows_of(read('"text";"score, max 5";"mood"\na;3;gut\n', "csv"))
    assert rows == [{"text": "a", "score, max 5": "3", "mood": "gut"}]


def test_a_file_may_name_its_delimiter(read):
    rows = [(f"line {number + 1}", row) for number, (_, row) in enumerate(SPREADSHEET, start=2)]
    assert read('sep=|\ntext|mood\n"Très, bien"|gut\nb|\n', "csv") == rows
    assert read("sep=;\ntext;mood\nTrès, bien;gut\nb;\n", "csv") == rows


def test_columns_of_a_file_without_a_header_are_set(read):
    names = ["text", "intent"]
    rows = [("line 1", {"text": "a;b", "intent": "x"}), ("line 2", {"text": "c", "intent": ""})]
    assert read('"a;b";x\nc;\n', "csv", column_names=names) == rows
    assert read("a;b\tx\nc\t\n", "tsv", column_names=names) == rows
    assert rows_of(read("text,intent\na;b,x\n", "csv", column_names=names)) == [rows[0][1]]
    # A text may hold other delimiters, and be long.
    for first in ("a, b", "a, b" * 100_000):
        content = f"{first};x\nno comma;y\na, b, c;z\n"
        found = rows_of(read(content, "csv", column_names=names))
        assert [row["text"] for row in found] == [first, "no comma", "a, b, c"]
    (place, problem), _ = read("a,x,1\nb,y,2\n", "csv", column_names=names)
    assert place == "line 1"
    assert str(problem) == "should have 2 fields. Found 3: ['a', 'x', '1']."
    with pytest.raises(ValueError, match="different names"):
        read("a,b\n", "csv", column_names=["text", "text"])


def test_delimiter_and_encoding_are_set_for_a_file(read):
    content = "text|mood\nTrès, bien|gut\nb|\n".encode("cp1252")
    assert read(content, "csv", delimiter="|", encoding="cp1252") == SPREADSHEET
    assert read("a,b|c\n1,2|3\n", "csv", delimiter=",") == [("line 2", {"a": "1", "b|c": "2|3"})]
    with pytest.raises(ValueError, match=r"`delimiter` should be one character\. Found 'ab'\."):
        read("a,b\n1,2\n", "csv", delimiter="ab")
    with pytest.raises(
        ValueError, match=r"`encoding` should be one that Python knows\. Found 'x'\."
    ):
        read("a,b\n1,2\n", "csv", encoding="x")


@pytest.mark.parametrize("encoding", [None, "utf-8", "UTF8", "utf-8-sig"])
@pytest.mark.parametrize("form", ["csv", "text"])
def test_a_mark_of_the_byte_order_is_no_text(form, encoding, read):
    content = b"\xef\xbb\xbfa\n1\n" if form == "csv" else b"\xef\xbb\xbfa\n"
    expected = {"a": "1"} if form == "csv" else {"text": "a"}
    assert rows_of(read(content, form, encoding=encoding)) == [expected]


def test_other_text_may_have_an_encoding_too(read):
    assert rows_of(read("é\n".encode("cp1252"), "text", encoding="cp1252")) == [{"text": "é"}]
    content = '{"text": "é"}\n'
    assert rows_of(read(content.encode("utf-16"), "jsonl")) == [{"text": "é"}]
    assert rows_of(read("é O\n".encode("utf-16"), "conll")) == [{"tokens": ["é"], "tags": ["O"]}]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        *((name, "is a spreadsheet: save it as CSV in UTF-8.") for name in ("a.xlsx", "a.ods")),
        *((name, "is an archive: unpack it.") for name in ("a.tar.gz", "a.zip")),
    ],
)
def test_what_is_not_read_is_refused_by_name(name, message, tmp_path):
    (tmp_path / name).write_bytes(b"PK")
    assert refusal(tmp_path / name) == message


def test_a_date_that_python_lacks_is_refused(tmp_path):
    dates = pa.array([10**18], pa.timestamp("us"))
    pq.write_table(pa.table({"text": ["a"], "when": dates}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet: date value out of range"):
        list(read_all(tmp_path / "a.parquet", "parquet"))


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\t\r\n"))
# A field in quotes may be a table's.
UNQUOTED = CELL.filter(lambda cell: len(cell) < 2 or not cell[0] == cell[-1] == '"')


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(ANY_TEXT, ANY_TEXT), min_size=1).filter(lambda rows: any(rows[-1])))
def test_what_the_csv_module_writes_is_read_back(rows):
    written = io.StringIO(newline="")
    csv.writer(written).writerows([("text", "topic"), *rows])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x")
        path.write_bytes(written.getvalue().encode())
        assert [tuple(row.values()) for row in rows_of(read_all(path, "csv"))] == rows


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(UNQUOTED, UNQUOTED), min_size=1).filter(lambda rows: any(rows[-1])),
    st.sampled_from(["\n", "\r\n"]),
)
@example([('"To be', "1"), ('or not "', "0")], "\n")
@example([("0", '"To be'), ('or not"', "1")], "\n")
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
WITH_IDS: list[dict] = [
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
WITH_NAMES: list[dict] = [
    WITH_IDS[0] | {"topic": "tech", "kinds": ["b", "a"], "entities": [span(0, 1, "LOC")]},
    WITH_IDS[1] | {"topic": None},
    WITH_IDS[2],
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
