"""Raw rows in, rows of one form out, or what is wrong with each."""

import json
import math

import pytest

from multitask_encoder.data.normalization import loaded_features, normalized_rows

TOPIC = {"topic": {"type": "sequence_classification"}}
KINDS = {"kinds": {"type": "sequence_classification", "problem_type": "multi_label_classification"}}
STARS = {"stars": {"type": "sequence_classification", "problem_type": "regression"}}
ENTITIES = {"entities": {"type": "token_classification"}}
VECTOR = {"vector": {"type": "sentence_embedding"}}


def normalized(rows: list, tasks: dict, form="text", columns=None) -> list[dict]:
    places = ((f"f, row {index}", row) for index, row in enumerate(rows, start=1))
    return list(normalized_rows(places, "f", tasks, columns or [form], form))


def label(value, tasks: dict):
    """The label that a raw value becomes, as the row's only one; or the row's problem."""
    (name,) = tasks
    (row,) = normalized([{"text": "a b c", name: value}], tasks)
    return row["problem"] or row[name]


def tags(value, words=("a", "b")):
    (row,) = normalized([{"tokens": list(words), "entities": value}], ENTITIES, "tokens")
    return row["problem"] or row["entities"]


def span(start, end, label="LOC") -> dict:
    return {"start": start, "end": end, "label": label}


def test_a_row_has_its_place_its_text_and_its_labels():
    tasks = TOPIC | KINDS | STARS | ENTITIES | VECTOR
    raw = {"id": 7, "text": " a b", "topic": "x", "kinds": ["u"], "stars": 2, "entities": []}
    (row,) = normalized([raw], tasks)
    assert row == {
        "source": "f, row 1", "text": " a b", "topic": "x", "kinds": ["u"], "stars": [2.0],
        "entities": [], "repairs": 0, "problem": None, "raw": None,
    }  # fmt: skip
    assert sorted(loaded_features(tasks, "text")) == sorted(row)


def test_a_row_that_is_not_as_it_should_be_keeps_what_was_read():
    bad = {"text": 5, "topic": "é"}
    first, second, third = normalized(
        [{"text": "a", "topic": "x"}, bad, ValueError("broken")], TOPIC
    )
    assert first["problem"] is None
    assert second == {
        "source": "f, row 2", "topic": None, "repairs": 0,
        "problem": "'text' should be a text. Found 5.", "raw": '{"text": 5, "topic": "é"}',
    }  # fmt: skip
    assert (third["source"], third["problem"]) == ("f, row 3", "broken")
    assert json.loads(third["raw"]) is None


@pytest.mark.parametrize("value", ["", " \t\n", None, 5, ["a"], {"a": 1}, "\u3000", True])
def test_a_text_is_needed(value):
    (row,) = normalized([{"text": value, "topic": "x"}], TOPIC)
    assert row["problem"] == f"'text' should be a text. Found {value!r}."


def test_half_a_character_is_no_text():
    (row,) = normalized([{"text": "a\ud83d", "topic": "x"}], TOPIC)
    assert row["problem"] == (
        "'text' should be Unicode text. Found half of a surrogate pair in 'a\\ud83d'."
    )


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ([], "should have at least one word. Found []."),
        ([" ", "\t"], "should have at least one word. Found [' ', '\\t']."),
        (["a", ""], "should have no empty word. Found ['a', '']."),
        (["a", 5], "should be a list of words. Found ['a', 5]."),
        ({"a": 1}, "should be a list of words. Found {'a': 1}."),
        (None, "should be a list of words. Found None."),
        (
            '["a"',
            "should be JSON (Expecting ',' delimiter: line 1 column 5 (char 4)). Found '[\"a\"'.",
        ),
    ],
)
def test_words_are_needed(value, problem):
    (row,) = normalized([{"words": value, "entities": None}], ENTITIES, "tokens", ["words"])
    assert row["problem"] == f"'words' {problem}"


def test_a_long_value_is_shown_in_part():
    (row,) = normalized([{"text": ["a" * 5000], "topic": "x"}], TOPIC)
    assert row["problem"] == f"'text' should be a text. Found ['{'a' * 75}...."


def test_a_row_without_the_column_is_a_bad_row_wherever_it_is():
    whole, without = {"text": "a", "topic": "x"}, {"txt": "b", "topic": "x"}
    for rows in ([whole, without, whole], [without, whole, whole], [whole, whole, without]):
        found = normalized(rows, TOPIC)
        assert len(found) == 3
        assert [row["problem"] for row in found if row["problem"]] == [
            "has no 'text'. Found: txt, topic."
        ]


def test_a_column_that_no_row_has_is_an_error_about_all():
    with pytest.raises(ValueError, match=r"^f: has no column 'text'\. Found: txt, topic\.$"):
        normalized([{"txt": "a"}, {"topic": "x"}], TOPIC)
    with pytest.raises(ValueError, match=r"^f: has no column 'topic'\. Found: text\.$"):
        normalized([{"text": "a"}], TOPIC)
    tasks = {"topic": {**TOPIC["topic"], "column": "class"}}
    with pytest.raises(ValueError, match=r"^f: has no column 'class'\. Found: text, topic\.$"):
        normalized([{"text": "a", "topic": "x"}], tasks)
    with pytest.raises(ValueError, match=r"no column 'topic'\. Found: text, ' topic'\.$"):
        normalized([{"text": "a", " topic": "x"}], TOPIC)
    message = r"no column 'topic'\. Found: text\. A row can't be read: f, row 2: is broken\.$"
    with pytest.raises(ValueError, match=message):
        normalized([{"text": "a"}, ValueError("is broken.")], TOPIC)


def test_no_rows_are_an_error():
    with pytest.raises(ValueError, match=r"^f: has no rows\.$"):
        normalized([], TOPIC)


def test_rows_of_which_none_can_be_read_are_all_bad():
    assert [row["problem"] for row in normalized([ValueError("a"), ValueError("b")], TOPIC)] == [
        "a", "b"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("x", "x"),
        (3, "3"),
        (True, "True"),
        (["x"], "x"),
        (None, None),
        ("", None),
        (" ", None),
        (b"x", "'topic' should be one label. Found b'x'."),
        (["x", "y"], "'topic' should be one label. Found ['x', 'y']."),
        ([], None),
        ([""], None),
        ([None], None),
        ([["x"]], "'topic' should be one label. Found ['x']."),
        ({"x": 1}, "'topic' should be one label. Found {'x': 1}."),
    ],
)
def test_one_label(value, expected):
    assert label(value, TOPIC) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["x", "y"], ["x", "y"]),
        ([1, 2], ["1", "2"]),
        ([], []),
        ("x y", ["x y"]),
        ('["a b", "c"]', ["a b", "c"]),
        ("[]", []),
        (["", "b"], ["b"]),
        ('["a", " "]', ["a"]),
        (None, None),
        ("", None),
        (" \t", None),
        (5, "'kinds' should be a list of labels. Found 5."),
        (["x", None], "'kinds' should be a list of labels. Found ['x', None]."),
        (
            "[{{1}}]",
            "'kinds' should be JSON (Expecting property name enclosed in double quotes: line 1 "
            "column 3 (char 2)). Found '[{{1}}]'.",
        ),
        ([["x"]], "'kinds' should be a list of labels. Found [['x']]."),
    ],
)
def test_several_labels(value, expected):
    assert label(value, KINDS) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (4, [4.0]),
        ("2.5", [2.5]),
        ([1, "2"], [1.0, 2.0]),
        ("[0.5, 1]", [0.5, 1.0]),
        (None, None),
        ("", None),
        ("many", "'stars' should be a number. Found 'many'."),
        ([None], "'stars' should be a number. Found [None]."),
        ({"a": 1}, "'stars' should be a number. Found {'a': 1}."),
        ("nan", "'stars' should be a finite number. Found 'nan'."),
        (-1e39, "'stars' should be a number from -3e+38 to 3e+38. Found -1e+39."),
        (math.inf, "'stars' should be a finite number. Found inf."),
    ],
)
def test_numbers(value, expected):
    assert label(value, STARS) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([], []),
        (None, None),
        ([span(4, 5), span(0, 1, "PER")], [span(0, 1, "PER"), span(4, 5)]),
        ([[0, 1, "LOC"]], [span(0, 1)]),
        ('[{"start": 0, "end": 1, "label": "LOC"}]', [span(0, 1)]),
        ([{**span(2, 3), "text": "b", "score": 0.5}], [span(2, 3)]),
        ([span(2, 3.0)], [span(2, 3)]),
        ([span(0, 2), span(1, 4)], [span(0, 1), span(2, 3)]),
        ([span(1, 2)], [span(1, 2)]),
        ([span(0, 1), span(2, 3), span(0, 1), span(2, 4)], [span(0, 1), span(2, 3)]),
        ({"start": 0}, "should be a list of spans. Found {'start': 0}."),
        ([[0, 1]], "should have spans of start, end and label. Found [0, 1]."),
        ([5], "should have spans of start, end and label. Found 5."),
        ([{"start": 0, "end": 1}], "should have spans of start, end and label."),
        ([span("0", 1)], "should have whole numbers for start and end."),
        ([span(0, 1.5)], "should have whole numbers for start and end."),
        ([span(1, 1)], "should have named spans within the text's 5 characters."),
        ([span(-1, 1)], "should have named spans within the text's 5 characters."),
        ([span(0, 6)], "should have named spans within the text's 5 characters."),
        ([span(0, 1, "")], "should have named spans within the text's 5 characters."),
        ([span(0, 1, 3)], "should have named spans within the text's 5 characters."),
        ([{**span(0, 1), "text": "b"}], "should have spans in characters: 0 to 1 is 'a'."),
        ([span(0, 3), span(2, 5)], "should have spans that do not overlap."),
        ([span(0, 1), span(0, 1, "PER")], "should have spans that do not overlap."),
    ],
)
def test_spans(value, expected):
    found = label(value, ENTITIES)
    if isinstance(expected, str):
        assert found.startswith(f"'entities' {expected}")
    else:
        assert found == expected


@pytest.mark.parametrize(
    ("policy", "kept"),
    [("longest", [span(2, 6)]), ("first", [span(0, 3), span(3, 4)])],
)
def test_spans_that_overlap_are_dropped_where_asked_and_counted(policy, kept):
    tasks = {"entities": {**ENTITIES["entities"], "overlap": policy}}
    spans = [span(3, 4), span(2, 6), span(0, 3)]
    rows = [{"text": "a-b-c-d", "entities": spans}, {"text": "e", "entities": []}]
    found = normalized(rows, tasks)
    assert found[0]["entities"] == kept
    assert [row["repairs"] for row in found] == [len(spans) - len(kept), 0]


def test_blanks_around_spans_and_spans_given_twice_are_repaired_and_counted():
    spans = [span(0, 2), span(2, 3), span(2, 3), span(3, 5), span(2, 4)]
    (found,) = normalized([{"text": "a b c", "entities": spans}], ENTITIES)
    assert found["entities"] == [span(0, 1), span(2, 3), span(4, 5)]
    assert found["repairs"] == 5  # three had a blank, and two were given before


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["O", "B-LOC"], ["O", "B-LOC"]),
        ("O B-LOC", ["O", "B-LOC"]),
        ('["O", "B-LOC"]', ["O", "B-LOC"]),
        (None, None),
        ("", None),
        (["O"], "'entities' should have one tag for each of the 2 words. Found 1."),
        (5, "'entities' should have one tag for each of the 2 words. Found 5."),
        (["O", 5], "'entities' should have tags that are texts, or ids of `labels`. Found 5."),
        (["O", None], ["O", None]),
        ([-100, "O"], [None, "O"]),
        ("O -100", ["O", None]),
        (["O", ""], "'entities' should have tags that are texts. Found ''."),
    ],
)
def test_tags(value, expected):
    assert tags(value) == expected


@pytest.mark.parametrize("value", [["O", 99], ["O", "99"], "O 99"])
def test_a_tag_that_is_a_number_may_mark_words_without_a_label(value):
    task = {"entities": {**ENTITIES["entities"], "unlabelled_tag": "99"}}
    (row,) = normalized([{"tokens": ["a", "b"], "entities": value}], task, "tokens")
    assert row["entities"] == ["O", None]
