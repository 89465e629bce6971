"""Files that can't be read, or lack what a task needs, end a run."""

import json

import pyarrow as pa
import pytest
from bad_input import MULTI, TAGS, TEXTS, WORDS, write
from datasets import ClassLabel, Features, Value

TABLE = pa.table({"text": ["a b", " "], "topic": ["x", "y"]})
CLASS_IDS = Features({"text": Value("string"), "topic": ClassLabel(names=["x", "y"])})
NO_UTF8 = pa.Array.from_buffers(
    pa.utf8(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"a\xff")]
)
STUDIO = {"data": {"text": "a b c"}}
STUDIO_SPAN = {"from_name": "slots", "type": "labels"}


def studio(*results, **keys) -> list[dict]:
    return [{**STUDIO, "annotations": [{"result": list(results)}], **keys}]


def located(start, end, text="a", labels=("LOC",)) -> dict:
    value = {"start": start, "end": end, "text": text, "labels": list(labels)}
    return {**STUDIO_SPAN, "value": value}


@pytest.mark.parametrize(
    ("name", "content", "config", "message"),
    [
        # JSON lines
        ("t.jsonl", "", {}, ": has no rows."),
        ("t.jsonl", "\n \n", {}, ": has no rows."),
        ("t.jsonl", '{"text": "a", "topic": "x"}\n{"text": \n{"text": "b", "topic": "y"}\n', {},
         ", line 2: should be JSON (Expecting value at character 10). Found '{\"text\": '."),
        ("t.jsonl", '{"text": "a", "topic": "x"}\n[1]\n', {},
         ", line 2: should be a JSON object. Found [1]."),
        ("t.jsonl", '{"text": "a", "topic": "x"} {}\n', {},
         ", line 1: should be JSON (Extra data at character 29). Found "),
        ("t.jsonl", "text,topic\n", {},
         ", line 1: should be JSON (Expecting value at character 1). Found 'text,topic'."),
        ("t.jsonl", b'{"text": "a", "topic": "x"}\n{"text": "\xff", "topic": "x"}\n', {},
         ", line 2: should be UTF-8 (or set `encoding`). Found b'{\"text\": "),
        ("t.jsonl", '{"text": "a", "topic": "x"}\n{"text": ' + "[" * 99999 + "\n", {},
         ", line 2: should be JSON (maximum recursion depth exceeded"),
        ("t.jsonl", '{"text": "a", "topic": ' + "[" * 900 + "]" * 900 + "}\n", {},
         ", line 1: 'topic' should be one label. Found [[[["),
        ("t.jsonl", '{"text": "a", "topic": ' + "1" * 5000 + "}\n", {},
         ", line 1: should be JSON (Exceeds the limit (4300 digits)"),
        # JSON arrays
        ("t.json", "", {}, ": has no rows."),
        ("t.json", "[]", {}, ": has no rows."),
        ("t.json", '[{"text": "a"', {}, ": should be a JSON array, or have one object per line "
         "(Expecting ',' delimiter in line 1, character 14)."),
        ("t.json", '[\n{"text": "a", "topic": "x"},\n7\n]', {},
         ", row 2: should be a JSON object. Found 7."),
        ("t.json", '{\n"text": "a"\n}', {}, ": should be a JSON array, or have one object per line"
         ". Found {'text': 'a'}."),
        ("t.json", b'[{"text": "\xff"}]', {}, ": should be UTF-8 (or set `encoding`). Found "),
        ("t.json", '[{"text": "\\ud800", "topic": "x"}]', {},
         ", row 1: should be Unicode text. Found half of a surrogate pair: "),
        ("t.json", "[" * 99999, {}, ": should be a JSON array (maximum recursion depth "),
        # Tables
        ("t.csv", "", {}, ": has no rows."),
        ("t.csv", "text,topic\n", {}, ": has no rows."),
        ("t.csv", "txt,topic\na,x\n", {}, ": has no column 'text'. Found: txt, topic."),
        ("t.csv", "text,topic\na,x\nb,y,z\n", {},
         ", line 3: should have 2 fields. Found 3: ['b', 'y', 'z']."),
        ("t.csv", 'text,topic\n"a\nb",x\nb\n', {},
         ", line 4: should have 2 fields. Found 1: ['b']."),
        ("t.csv", "text,text\na,x\n", {},
         ": the columns should have different names. Found text, text."),
        ("t.csv", 'text,topic\n"a,x\n', {}, ": line 2: unexpected end of data."),
        ("t.csv", 'text,topic\n"a"b,x\n', {}, ": line 2: ',' expected after '\"'."),
        ("t.csv", "text,topic\na\0,x\n", {}, ": line 2: should be text. Found a null byte."),
        ("t.csv", "text,topic\na,x\n".encode("utf-16-le"), {},
         ": line 1: should be text. Found a null byte."),
        ("t.csv", b"text,topic\na,x\n\xff,x\n", {},
         ", line 3: should be UTF-8 (or set `encoding`). Found b'\\xffx'."),
        ("t.csv", "text,topic\na,x\n,y\n", {}, ", line 3: 'text' should be a text. Found ''."),
        ("t.tsv", "text,topic\na,x\n", {}, ": has no column 'text'. Found: text,topic."),
        ("t.tsv", "text\ttopic\na\tx\tz\n", {},
         ", line 2: should have 2 fields. Found 3: ['a', 'x', 'z']."),
        ("t.tsv", b"text\ttopic\n\xff\tx\n", {},
         ", line 2: should be UTF-8 (or set `encoding`). Found b'\\xffx'."),
        # Parquet and Arrow
        ("t.parquet", "no parquet", {}, ": Parquet magic bytes not found in footer."),
        ("t.parquet", "", {}, ": Parquet file size is 0 bytes"),
        ("t.parquet", TABLE, {}, ", row 2: 'text' should be a text. Found ' '."),
        ("t.parquet", TABLE.slice(0, 0), {}, ": has no rows."),
        ("t.parquet", pa.table([["a"], ["x"]], names=["text", "text"]), {},
         ": the columns should have different names. Found text, text."),
        ("t.parquet", pa.table({"text": NO_UTF8, "topic": ["x"]}), {},
         ": 'utf-8' codec can't decode byte 0xff in position 1: invalid start byte"),
        ("t.arrow", "", {}, ": Tried reading schema message, was null or length 0"),
        ("t.arrow", "no arrow", {}, ": Expected to read "),
        ("t.arrow", TABLE, {}, ", row 2: 'text' should be a text. Found ' '."),
        ("t.arrow", pa.table({"text": ["a"], "topic": [5]}, CLASS_IDS.arrow_schema), {},
         ", row 1: class ids should be from 0 to 1, or -1. Found 5."),
        ("t", {"state.json": "{}"}, {}, ": Directory "),
        ("t", {"state.json": "{}", "dataset_info.json": "{}"}, {},
         ": should be a folder written by Dataset.save_to_disk (KeyError: '_data_files')."),
        ("t", {"state.json": "{", "dataset_info.json": "{}"}, {}, ": Expecting property name "),
        # CoNLL
        ("t.conll", "", {"tasks": TAGS}, ": has no rows."),
        ("t.conll", "a\nb\n", {"tasks": TAGS},
         ": line 1 should have two or more columns, separated by tabs or spaces. Found 'a'."),
        ("t.conll", "a O\nb B-LOC\n\nc O O\n", {"column_names": ["tokens", "slots"], "tasks": TAGS},
         ", line 4: line 4 should have 2 columns. Found 3: 'c O O'."),
        ("t.conll", "a O\n\nb O\nc\n", {"column_names": ["tokens", "slots"], "tasks": TAGS},
         ", line 3: line 4 should have 2 columns. Found 1: 'c'."),
        ("t.conll", "a O\n", {"tasks": TAGS}, ": has no column 'slots'. Found: tokens, tags."),
        ("t.conll", "a O\n", {"column_names": ["tokens"], "tasks": TAGS},
         ": line 1 should have the 1 columns tokens. Found 2: 'a O'."),
        ("t.conll", "a O\n", {"column_names": ["slots", "slots"], "tasks": TAGS},
         ": the columns should have different names. Found slots, slots."),
        ("t.conll", "a\tO\n\tO\n", {"column_names": ["tokens", "slots"], "tasks": TAGS},
         ", line 1: line 2 should have a token. Found '\\tO'."),
        ("t.conll", "a\tO\nb\t\n", {"column_names": ["tokens", "slots"], "tasks": TAGS},
         ", line 1: 'slots' should have tags that are texts. Found ''."),
        ("t.conll", b"a O\n\n\xff O\n", {"column_names": ["tokens", "slots"], "tasks": TAGS},
         ", line 3: line 3 should be UTF-8 (or set `encoding`). Found b'\\xff O'."),
        ("t.conll", "a B-LOC\n\nb S-LOC\nc 7\n",
         {"column_names": ["tokens", "slots"],
          "tasks": {"slots": {**TAGS["slots"], "tag_scheme": "bilou"}}},
         ", line 3: 'slots' should have tags `O`, `B-...`, `I-...`, `L-...` and `U-...` (BILOU; "),
        # seq.in, seq.out and label
        ("t", {"seq.in": "a b\nc\n", "seq.out": "O O\nO\n", "label": "x\n"}, {"tasks": TAGS},
         ": seq.in, seq.out and label should have the same number of lines. Found 2, 2, 1."),
        ("t", {"seq.in": "a b\nc\n", "seq.out": "O O\nO O\n", "label": "x\ny\n"}, {"tasks": TAGS},
         ", line 2: should have a tag in seq.out for each of the 1 words in seq.in. Found 2."),
        ("t", {"seq.in": b"a b\n\xff\n", "seq.out": "O B-LOC\nO\n", "label": "x\ny\n"},
         {"tasks": TAGS}, ", line 2: should be UTF-8 (or set `encoding`). Found b'\\xff'."),
        ("t", {"seq.in": "a\n\n", "seq.out": "B-LOC\n\n", "label": "x\ny\n"}, {"tasks": TAGS},
         ", line 2: 'tokens' should have at least one word. Found []."),
        # doccano
        ("t.jsonl", [{"text": "a", "label": [[0, 1, "X"]]}, {"text": "a", "label": [[0, 9, "X"]]}],
         {"tasks": {"label": TAGS["slots"]}},
         ", line 2: 'label' should have named spans within the text's 1 characters. Found "),
        ("t.jsonl", [{"text": "a b", "label": [[0, 3, "LOC"], [2, 3, "LOC"]]}],
         {"tasks": {"label": TAGS["slots"]}},
         ", line 1: 'label' should have spans that do not overlap. Found "),
        ("t.jsonl", [{"text": "a b", "label": [[0, 1, "LOC"], [2, 3]]}],
         {"tasks": {"label": TAGS["slots"]}},
         ", line 1: 'label' should have spans of start, end and label. Found [2, 3]."),
        ("t.jsonl", [["a"]], {"format": "doccano"},
         ", line 1: should be a JSON object. Found ['a']."),
        ("t.jsonl", b'{"text": "\xff", "label": []}\n', {"format": "doccano"},
         ", line 1: should be UTF-8 (or set `encoding`). Found "),
        ("t.json", "[1", {"format": "doccano"},
         ": should be a JSON array, or have one object per line"),
        # Label Studio
        ("t.json", json.dumps(studio(located(0, 1), annotations=[{"result": []},
         {"result": [STUDIO_SPAN]}])), {"tasks": TAGS},
         ", row 1: should have one annotation. Found 2 that differ: keep one, or mark it"),
        ("t.json", json.dumps(studio(located(2, 3))), {"tasks": TAGS},
         ", row 1: 'slots' should have 'a' from character 2 to 3. Found 'b'."),
        ("t.json", json.dumps(studio(located(0, 5, "a b c"), located(2, 3, "b"))), {"tasks": TAGS},
         ", row 1: 'slots' should have spans that do not overlap. Found "),
        ("t.json", json.dumps(studio(located("0", "1"))), {"tasks": TAGS},
         ", row 1: should be a task as Label Studio exports it. Found "),
        ("t.json", json.dumps(studio({**STUDIO_SPAN, "value": {"start": 0}})), {"tasks": TAGS},
         ", row 1: should be a task as Label Studio exports it. Found "),
        ("t.json", json.dumps(studio({**STUDIO_SPAN, "type": "polygon", "value": {}})),
         {"tasks": TAGS}, ", row 1: 'slots' should be of type labels, choices, rating or number. "),
        ("t.json", "[7]", {"format": "label_studio"},
         ", row 1: should be a JSON object. Found 7."),
        ("t.json", b'[{"data": {"text": "\xff"}}]', {"format": "label_studio"},
         ": should be UTF-8 (or set `encoding`). Found "),
        # spaCy
        ("t.json", '[["a b", {"entities": [[0, 9, "X"]]}]]', {"tasks": {"entities": TAGS["slots"]}},
         ", row 1: 'entities' should have named spans within the text's 3 characters. Found "),
        ("t.json", '[["a b", {"entities": [[0, 1]]}]]', {"tasks": {"entities": TAGS["slots"]}},
         ", row 1: 'entities' should have spans of start, end and label. Found [0, 1]."),
        ("t.json", '[["a b", {"entities": {}}]]', {"tasks": {"entities": TAGS["slots"]}},
         ", row 1: 'entities' should be a list of spans. Found {}."),
        ("t.json", '[["a b", {"cats": {"x": "1"}}]]', {"tasks": {"cats": MULTI["topic"]}},
         ", row 1: 'cats' should be an object of numbers. Found {'x': '1'}."),
        ("t.json", '[["a b", {"cats": {"x": 1}}], ["a"]]', {"tasks": {"cats": MULTI["topic"]}},
         ', row 2: should be ["text", {"entities": ...}] or an object with a text. Found '
         "['a']."),
        ("t.jsonl", b'["\xff", {"entities": []}]\n', {"format": "spacy"},
         ", line 1: should be UTF-8 (or set `encoding`). Found "),
        # Text
        ("t.txt", "a\n", {"format": "text"}, ": has no column 'topic'. Found: text."),
        # Endings and formats
        ("t.txt", "a", {}, ": a file ending in '.txt' could be conll or text. Set `format`."),
        ("t.xml", "a", {}, ": should end in one of .json, .jsonl, .csv, .tsv, .parquet, "),
        ("t", "a", {}, ": should end in one of .json, .jsonl, .csv, .tsv, .parquet, "),
        ("t.json", '[{"text": "a", "cats": {"x": 1}}, {"text": "a", "label": [[0, 1, "LOC"]]}]', {},
         ": could be doccano or spacy. Set `format`."),
        ("t.jsonl", TEXTS, {"format": "parquet"}, ": Parquet magic bytes not found in footer."),
        ("t.jsonl", TEXTS, {"format": "arrow"}, ": Expected to read "),
        ("t.jsonl", TEXTS, {"format": "csv"}, ": has no column 'text'. Found: "),
        ("t.jsonl", TEXTS, {"format": "text"}, ": has no column 'topic'. Found: text."),
        ("t.jsonl", WORDS, {"format": "conll", "tasks": TAGS},
         ": has no column 'slots'. Found: tokens, "),
        ("t.csv", "text,topic\n", {"format": "json"}, ", line 1: should be JSON (Expecting value "),
        ("t.csv", "{text,topic\n", {"format": "label_studio"}, ": should be a JSON array, or "),
    ],
)  # fmt: skip
def test_files(name, content, config, message, refused, tmp_path):
    write(tmp_path / name, content)
    config = {"validation_file": None, "do_eval": False, **config}
    line = refused(train_file=str(tmp_path / name), **config)
    assert line.startswith(f"error: {tmp_path}/{name}{message}")


def test_folders_and_files_that_are_not_there(refused, tmp_path):
    (tmp_path / "folder").mkdir()
    folder = tmp_path / "folder"
    hint = f"No file {folder}. It is a folder: name its files, like {folder}/*.jsonl."
    assert hint in refused(train_file=str(tmp_path / "folder"))
    write(tmp_path / "intents", {"seq.in": "a b\n"})
    assert f"No such file or directory: '{tmp_path}/intents/seq.out'" in refused(
        train_file=str(tmp_path / "intents")
    )
    assert f"Not a directory: '{tmp_path}/train.jsonl/seq.in'" in refused(format="intent_slots")
    assert f"Is a directory: '{tmp_path}/intents'" in refused(
        train_file=str(tmp_path / "intents"), format="jsonl"
    )
