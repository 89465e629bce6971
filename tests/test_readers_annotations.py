"""Exports of annotation tools in, raw rows out."""

import json

import pytest
from reading import read_all, rows_of, span

from multitask_encoder.data.dataset_arguments import DatasetArguments
from multitask_encoder.data.loading import read_splits
from multitask_encoder.data.normalization import normalized_rows
from multitask_encoder.data.readers import detect_format

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
        (
            {"label": [{"label": "X", "start_offset": 0, "end_offset": 2, "text": "EU"}]},
            {"label": [{**span(0, 2, "X"), "text": "EU"}]},
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
IN_BONN = {**span(0, 4, "LOC"), "text": "Bonn"}


@pytest.mark.parametrize(
    ("results", "columns"),
    [
        ([BONN], {"ner": [IN_BONN]}),
        (
            [
                result("ner", "labels", start=8, end=13, labels=["LOC", "RIVER"]),
                {"type": "relation", "from_id": "a1", "to_id": "a1", "direction": "right"},
                result("parts", "labels", start=0, end=4, text="Bonn", labels=["NAME"]),
                BONN,
            ],
            {
                "ner": [span(8, 13, "LOC"), span(8, 13, "RIVER"), IN_BONN],
                "parts": [{**IN_BONN, "label": "NAME"}],
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
        text, text, text, text | {"ner": [IN_BONN]}
    ]  # fmt: skip


def test_annotated_texts_without_spans_have_none(read):
    topic = result("topic", "choices", choices=["x"])
    tasks = [task(topic), task(BONN), task(annotations=[])]
    text = {"text": "Bonn am Rhein"}
    assert rows_of(read(json.dumps(tasks), "label_studio")) == [
        text | {"topic": "x", "ner": []},
        text | {"ner": [IN_BONN]},
        text,
    ]


def test_the_text_may_be_any_field_and_lack_line_breaks(read):
    labels = result("ner", "labels", start=1, end=4, text="ab", labels=["X"])
    tasks = [{"data": {"id": "7", "body": "-a\nb-", "n": 1}, "annotations": [{"result": [labels]}]}]
    assert rows_of(read(json.dumps(tasks), "label_studio")) == [
        {"id": "7", "body": "-a\nb-", "n": 1, "ner": [{**span(1, 4, "X"), "text": "a\nb"}]}
    ]


def test_a_span_of_another_field_is_no_span_of_the_text(tmp_path):
    title = result("genre", "labels", start=0, end=4, text="Jazz", labels=["X"])
    data = {"title": "Jazz news", "text": "It rained in Jordan"}
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([{"data": data, "annotations": [{"result": [title]}]}]))
    tasks = {"genre": {"type": "token_classification"}}
    source = DatasetArguments(train_file=[str(path)])
    ((problem,),) = [rows["problem"] for rows in read_splits(tasks, source, 0).values()]
    assert "should have spans in characters: 0 to 4 is 'It r'" in problem


@pytest.mark.parametrize(
    ("record", "row"),
    [
        (
            {"label": [{"start": 0, "end": 4, "text": "Bonn", "labels": ["LOC", "X"]}]},
            {"label": [IN_BONN, {**IN_BONN, "label": "X"}]},
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
    rows: list[dict] = [
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
TWICE["annotations"] = [*TWICE["annotations"], {"result": []}]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (3, "should be a JSON object. Found 3."),
        (
            TWICE,
            "should have one annotation. Found 2 that differ: keep one, or mark it as ground "
            "truth.",
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
        (
            task(result("ner", "labels", start=0, end=4, labels=[])),
            "'ner' should have labels of each region. Found {'start': 0, 'end': 4, 'labels': []}.",
        ),
    ],
)
def test_a_broken_task_is_a_problem(record, message, read):
    good = {"text": "Bonn am Rhein", "ner": [IN_BONN]}
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
        ({"text": "a b", "ents": None}, {"ents": None, "entities": None}),
        (
            {"text": "a b", "entities": [{**span(0, 1, "X"), "text": "a", "id": 5}]},
            {"entities": [{**span(0, 1, "X"), "text": "a"}]},
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


def test_annotations_that_agree_are_one_and_the_ground_truth_counts(read):
    same = task(BONN)
    same["annotations"] *= 2
    truth = task(BONN)
    truth["annotations"] = [{"result": []}, {**truth["annotations"][0], "ground_truth": True}]
    rows = rows_of(read(json.dumps([same, truth, task(BONN)]), "label_studio"))
    assert rows[0] == rows[1] == rows[2]


def test_annotations_agree_in_any_order_and_whatever_made_them(read):
    rhein = result("ner", "labels", start=8, end=13, text="Rhein", labels=["LOC"])
    link = {"type": "relation", "from_id": "a1", "to_id": "a2", "direction": "right"}
    again = task(BONN, rhein)
    guess = {**BONN, "id": "b2", "origin": "prediction"}
    again["annotations"].append({"result": [{**rhein, "id": "b1"}, link, guess]})
    assert rows_of(read(json.dumps([again]), "label_studio")) == [
        {"text": "Bonn am Rhein", "ner": [IN_BONN, {**span(8, 13, "LOC"), "text": "Rhein"}]}
    ]


@pytest.mark.parametrize(
    ("control", "message"),
    [
        (
            result("note", "textarea", text=["x"]),
            "'note' should be of type labels, choices, rating or number. Found 'textarea'.",
        ),
        (
            result("note", "choices", choices=["x"], start=0, end=4),
            "'note' should be choices of the whole text. Found a part of it.",
        ),
    ],
)
def test_a_control_that_is_no_label_is_refused_by_a_task_that_reads_it(control, message, read):
    rows = read(json.dumps([task(BONN, control)]), "label_studio")
    spans = {"ner": {"type": "token_classification"}}
    (found,) = normalized_rows(rows, "f", spans, ["text"], "text")
    assert (found["problem"], len(found["ner"])) == (None, 1)
    tasks = {**spans, "note": {"type": "sequence_classification"}}
    (found,) = normalized_rows(rows, "f", tasks, ["text"], "text")
    assert found["problem"] == message


def test_two_people_who_disagree_in_a_short_export_are_a_problem(read):
    def row(number: int, annotator: int, mood: str) -> dict:
        ids = {"id": number, "annotator": annotator, "annotation_id": 10 * number + annotator}
        return {"text": "a", **ids, "mood": mood, "lead_time": annotator}

    rows = [row(1, 1, "x"), row(1, 2, "y"), row(2, 1, "x"), row(2, 2, "x")]
    found = rows_of(read(json.dumps(rows), "label_studio"))
    problem = "should have one annotation. Found 2 that differ: keep one."
    assert found[:2] == [problem, problem]
    assert [one["mood"] for one in found[2:]] == ["x"]  # who agree are one


def test_spans_of_a_short_export_agree_in_any_order(read):
    spans = [{"start": at, "end": at + 1, "labels": ["X"]} for at in (0, 2)]
    rows = [
        {"id": 1, "annotation_id": number, "text": "a b", "ner": ner}
        for number, ner in enumerate((spans, spans[::-1]), start=1)
    ]
    (found,) = rows_of(read(json.dumps(rows), "label_studio"))
    assert found["ner"] == [span(0, 1, "X"), span(2, 3, "X")]


# Prodigy

MARKED = {"start": 3, "end": 7, "token_start": 1, "token_end": 1, "label": "LOC"}


def prodigy(text: str = "in Bonn", answer: str = "accept", **keys) -> dict:
    return {"text": text, "_task_hash": 1, "_view_id": "ner_manual", "answer": answer, **keys}


def test_only_accepted_records_of_prodigy_have_labels(read, tmp_path):
    records = [
        prodigy(spans=[MARKED]),
        prodigy("no", "reject", spans=[MARKED]),
        prodigy("or", "ignore", label="x", accept=["x"]),
        prodigy("on"),
    ]
    (tmp_path / "x.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in records))
    assert detect_format(tmp_path / "x.jsonl") == "prodigy"
    rows = rows_of(read_all(tmp_path / "x.jsonl", "prodigy"))
    assert [row.get("spans") for row in rows] == [[span(3, 7, "LOC")], None, None, []]
    assert (rows[2]["label"], rows[2]["accept"]) == (None, None)


def test_labels_of_prodigy_are_cells_of_their_tasks(read):
    records = [
        {"text": "a", "label": "x", "_view_id": "classification", "answer": "accept"},
        {"text": "a", "label": "y", "_view_id": "classification", "answer": "accept"},
        {"text": "b", "accept": ["x", "y"], "_view_id": "choice", "answer": "accept"},
    ]
    rows = rows_of(read("".join(f"{json.dumps(one)}\n" for one in records), "prodigy"))
    assert [row.get("label", row.get("accept")) for row in rows] == ["x", "y", ["x", "y"]]


def test_the_same_annotations_of_prodigy_agree(read):
    two = [span(0, 2, "X"), span(3, 7, "LOC")]
    by_model = [{**one, "source": "en_core_web_sm", "token_start": 1} for one in reversed(two)]
    records = [prodigy(spans=two), prodigy(spans=by_model)]
    rows = rows_of(read("".join(f"{json.dumps(one)}\n" for one in records), "prodigy"))
    assert [sorted(map(str, row["spans"])) for row in rows] == [sorted(map(str, two))] * 2


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([3], "should be a JSON object. Found 3."),
        ([prodigy(spans=[3])], "'spans' should be a list of spans. Found [3]."),
        (
            [prodigy("\U0001f600in Bonn", tokens=[{"text": "in", "start": 2, "end": 4}])],
            "should have the token 'in' from character 2 to 4. Found 'n '.",
        ),
        (
            [prodigy(spans=[]), prodigy(spans=[MARKED], _annotator_id="b")],
            "should have one annotation. Found 2 that differ: keep one.",
        ),
    ],
)
def test_a_broken_record_of_prodigy_is_a_problem(records, message, read):
    content = "".join(f"{json.dumps(record)}\n" for record in records)
    assert rows_of(read(content, "prodigy")) == [message] * len(records)
