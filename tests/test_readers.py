"""Files' formats are known by ending and content; rows are read one by one."""

import bz2
import gzip
import json
import lzma
import tracemalloc

import pytest
from reading import read_all, refusal, span

from multitask_encoder.data.readers import (
    FORMATS,
    detect_format,
    read_file,
)


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("x.csv", "csv"),
        ("x.TSV", "tsv"),
        ("x.csv.GZ", "csv"),
        ("x.tsv.bz2", "tsv"),
        ("x.iob2.xz", "conll"),
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
    "plain ents": {"text": "a", "ents": [[0, 1, "X"]]},
    "plain tags": {"text": "a", "tokens": ["a"], "ents": ["B-X"]},
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


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.txt", "", "a file ending in '.txt' could be conll or text. Set `format`."),
        (
            "x.xml",
            "",
            "should end in one of .json, .jsonl, .csv, .tsv, .parquet, .arrow, .conll, "
            ".conllu, .bio, .iob, .iob2. Found '.xml'. Or set `format` to one of json, jsonl, csv, "
            "tsv, parquet, arrow, conll, conllu, intent_slots, doccano, label_studio, prodigy, "
            "spacy, text.",
        ),
        (
            "x.jsonl",
            f"{json.dumps(LABEL_STUDIO)}\n{json.dumps(KINDS['doccano'])}\n",
            "could be doccano or label_studio. Set `format`.",
        ),
        (
            "x.json",
            "[{]",
            "should be a JSON array, or have one object per line (Expecting property name "
            "enclosed in double quotes in line 1, character 3).",
        ),
    ],
)
def test_files_of_no_clear_format_are_refused(name, content, message, tmp_path):
    (tmp_path / name).write_text(content)
    assert refusal(tmp_path / name) == message


CONTENT = {
    "jsonl": '{"text": "é", "topic": "x"}\n',
    "json": '[{"text": "é", "topic": "x"}]',
    "csv": "text;topic\né;x\n",
    "tsv": 'text\ttopic\n"é\n"\tx\n',
    "conll": "é B-X\n",
    "conllu": "1\té\te\tNOUN\t_\t_\t0\troot\t_\tx=B\n",
    "text": "é\n",
}


@pytest.mark.parametrize("compressed", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("format", CONTENT)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_compressed_file_is_read_as_its_content(format, encoding, compressed, tmp_path):
    content = CONTENT[format].encode(encoding)
    ending = {gzip.compress: "gz", bz2.compress: "bz2", lzma.compress: "xz"}[compressed]
    plain, packed = tmp_path / f"x.{format}", tmp_path / f"x.{format}.{ending}"
    plain.write_bytes(content)
    packed.write_bytes(compressed(content))
    if format != "text":
        assert detect_format(packed) == detect_format(plain) == format
    assert read_all(packed, format) == read_all(plain, format) != []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.gz", b"a,b\n", "Not a gzipped file (b'a,')"),
        ("x.bz2", b"a,b\n", "Invalid data stream"),
        ("x.xz", b"a,b\n", "Input format not supported by decoder"),
        *(
            (name, compressed(b"a,b\n1,2\n" * 9)[:-9], "Compressed file ended before the ")
            for name, compressed in (
                ("x.gz", gzip.compress),
                ("x.bz2", bz2.compress),
                ("x.xz", lzma.compress),
            )
        ),
        ("x.gz", gzip.compress(b"a,b\n")[:10] + b"\xff" * 20, "Error -3 while decompressing "),
    ],
)
def test_a_damaged_compressed_file_is_refused(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    assert refusal(tmp_path / name, "csv").startswith(message)


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
