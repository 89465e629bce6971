"""Files of text and JSON in, raw rows out."""

import json

import pytest
from reading import refusal, rows_of

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
        ("line 2", r"should be UTF-8 (or set `encoding`). Found b'\xe9t\xe9'."),
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
        (
            b'{"text": "\xe9"}',
            'should be UTF-8 (or set `encoding`). Found b\'{"text": "\\xe9"}\'.',
        ),
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
            "should be a JSON array, or have one object per line (Expecting value in line 2, "
            "character 7).",
        ),
        (
            '[{"a": 1}\n',
            "should be a JSON array, or have one object per line (Expecting ',' delimiter in "
            "line 2, character 1).",
        ),
        (
            '{\n"data": [{"a": 1}]\n}',
            "should be a JSON array, or have one object per line. Found {'data': [{'a': 1}]}.",
        ),
        (
            b'[\n{"a": "\xe9"}]',
            'should be UTF-8 (or set `encoding`). Found b\'[\\n{"a": "\\xe9"}]\'.',
        ),
    ],
)
def test_an_array_that_can_not_be_parsed_is_refused(content, message, tmp_path):
    content = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "x.json").write_bytes(content)
    assert refusal(tmp_path / "x.json", "json") == message
