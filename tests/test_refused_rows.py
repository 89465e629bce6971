"""Each kind of bad row ends a run, its message naming the file and the line."""

import pytest
from bad_input import (
    CLASSES,
    CLOSED,
    MULTI,
    REGRESSION,
    SPANS,
    TAGS,
    TEXTS,
    WORDS,
    data_set,
    span,
    spans,
    words,
)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"train_file": "none.jsonl"}, "No file none.jsonl."),
        ({"train_file": "none.jsonl", "data_dir": "a"}, "No file a/none.jsonl."),
        ({"train_file": ["no/*.jsonl"]}, "No file no/*.jsonl."),
        ({"validation_file": "none.jsonl"}, "No file none.jsonl."),
        ({"train_file": None}, "There is no train data."),
        ({"validation_file": None}, "There is no validation data."),
        ({"dataset": "no/such", "train_file": None, "validation_file": None},
         "Can't load data set 'no/such': "),
        ({"dataset": "synthetic", "train_file": None, "validation_file": None},
         "`synthetic` needs train_size: how many rows to make."),
        ({"dataset": "synthetic"}, "Set `dataset` or files, not both. Found 'synthetic' and "),
        ({"tasks": {"topic": {**CLASSES["topic"], "column": "tpic"}}},
         "train.jsonl: has no column 'tpic'. Found: text, topic."),
        ({"text_column": "sentence"}, "train.jsonl: has no column 'sentence'. Found: text, topic."),
        ({"tokens_column": "words"}, "train.jsonl: has no column 'words'. Found: text, topic."),
        ({"validation_file": [{"text": "a"}]},
         "validation.jsonl: has no column 'topic'. Found: text."),
        ({"train_file": [{"text": "a " * 127, "topic": "x"}]},
         "`labels` of task 'topic' should be a list of at least 2 different texts. Found ['x']."),
        ({"train_file": [*TEXTS, {"text": "a " * 127, "topic": "x"}], "long_texts": "refuse"},
         "train.jsonl, line 3: should have at most 128 tokens. Found 129; `long_texts: window` "),
        ({"validation_file": [{"text": "a", "topic": "z"}], "tasks": CLOSED},
         "validation.jsonl, line 1: task 'topic': unknown label 'z'. Expected one seen in training "
         "or given as `labels`: x, y."),
        ({"train_file": [{"text": "a", "topic": None}]},
         "No row of the training data has a label of task 'topic'."),
        ({"train_file": [{"text": "a", "topic": None}], "tasks": CLOSED},
         "No row of the training data has a label of task 'topic'."),
        ({"train_file": None, "validation_file": None,
          "datasets": {"a": data_set(), "b": data_set(test_fraction=0.1)}},
         "datasets.b: test_fraction: 0.1 of 2 training rows is no row: give more rows, or a file."),
        ({"validation_fraction": 0.5},
         "validation_fraction needs training rows and no validation split. Found a validation "
         "split."),
        ({"validation_fraction": 1.5, "validation_file": None},
         "validation_fraction should be in (0, 1). Found 1.5."),
        ({"test_fraction": 0}, "test_fraction should be in (0, 1). Found 0.0."),
        ({"test_fraction": "nan"}, "test_fraction should be a number from 0 to "),
        ({"validation_fraction": 0.6, "test_fraction": 0.4, "validation_file": None},
         "validation_fraction and test_fraction should leave rows to train on. Found 1.0 "
         "together."),
        ({"test_fraction": 0.1},
         "0.1 of 2 training rows is no row: give more rows, or a file."),
    ],
)  # fmt: skip
def test_data(config, message, refused):
    assert message in refused(**config)


@pytest.mark.parametrize(
    ("tasks", "row", "message"),
    [
        (CLASSES, {"text": " ", "topic": "x"}, "'text' should be a text. Found ' '."),
        (CLASSES, {"topic": "x"}, "has no 'text'. Found: topic."),
        (CLASSES, {"text": None, "topic": "x"}, "'text' should be a text. Found None."),
        (CLASSES, {"text": 7, "topic": "x"}, "'text' should be a text. Found 7."),
        (CLASSES, {"text": ["a"], "topic": "x"}, "'text' should be a text. Found ['a']."),
        (CLASSES, {"text": "a\ud800", "topic": "x"},
         "should be Unicode text. Found half of a surrogate pair: {'text': 'a\\ud800', "),
        (CLASSES, {"text": "a", "topic": "\udc80"},
         "should be Unicode text. Found half of a surrogate pair: {'text': 'a', "),
        (CLASSES, {"text": "a", "topic": ["x", "y"]},
         "'topic' should be one label. Found ['x', 'y']."),
        (CLASSES, {"text": "a", "topic": {"x": 1}}, "'topic' should be one label. Found {'x': 1}."),
        (CLASSES, {"text": "a", "topic": float("nan")}, "'topic' should be one label. Found nan."),
        (MULTI, {"text": "a", "topic": 3}, "'topic' should be a list of labels. Found 3."),
        (MULTI, {"text": "a", "topic": ["x", None]},
         "'topic' should be a list of labels. Found ['x', None]."),
        (MULTI, {"text": "a", "topic": "[x"}, "'topic' should be JSON ("),
        (MULTI, {"text": "a", "topic": "[" * 9999}, "'topic' should be JSON (maximum recursion "),
        (REGRESSION, {"text": "a", "topic": "x"}, "'topic' should be a number. Found 'x'."),
        (REGRESSION, {"text": "a", "topic": "1,5"}, "'topic' should be a number. Found '1,5'."),
        (REGRESSION, {"text": "a", "topic": float("nan")},
         "'topic' should be a finite number. Found nan."),
        (REGRESSION, {"text": "a", "topic": "-inf"},
         "'topic' should be a finite number. Found '-inf'."),
        (REGRESSION, {"text": "a", "topic": 10**400}, "'topic' should be a number. Found 1000000"),
        (REGRESSION, {"text": "a", "topic": [1, 2]},
         "task 'topic': should have 1 numbers (topic). Found [1.0, 2.0]."),
    ],
)  # fmt: skip
def test_sentence_labels(tasks, row, message, refused, tmp_path):
    good: dict[str, list] = {MULTI["topic"]["problem_type"]: [["x", "y"]], "regression": [0.5]}
    labels = good.get(tasks["topic"].get("problem_type"), ["x", "y"])
    rows = [{"text": "a b", "topic": label} for label in labels]
    line = refused(train_file=[*rows, row], validation_file=rows, tasks=tasks)
    assert line.startswith(f"error: {tmp_path}/train.jsonl, line {len(rows) + 1}: {message}")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"tokens": ["a", "b"], "slots": ["O"]},
         "'slots' should have one tag for each of the 2 words. Found 1."),
        ({"tokens": ["a"], "slots": "O O"},
         "'slots' should have one tag for each of the 1 words. Found 2."),
        ({"tokens": ["a"], "slots": [1]},
         "'slots' should have tags that are texts, or ids of `labels`. Found 1."),
        ({"tokens": ["a"], "slots": [""]}, "'slots' should have tags that are texts. Found ''."),
        ({"tokens": ["a"], "slots": [True]}, "'slots' should have tags that are texts. Found True"),
        ({"tokens": ["a"], "slots": {"LOC": 1}},
         "'slots' should have one tag for each of the 1 words. Found {'LOC': 1}."),
        ({"tokens": ["a"], "slots": ["L-LOC"]},
         "'slots' should have tags `O`, `B-...` and `I-...` (IOB2). Found 'L-LOC'."),
        ({"tokens": ["a"], "slots": ["LOC"]},
         "'slots' should have tags `O`, `B-...` and `I-...` (IOB2). Found 'LOC'."),
        ({"tokens": ["a"], "slots": ["B-"]},
         "'slots' should have tags `O`, `B-...` and `I-...` (IOB2). Found 'B-'."),
        ({"tokens": [], "slots": []}, "'tokens' should have at least one word. Found []."),
        ({"tokens": [" "], "slots": ["O"]}, "'tokens' should have at least one word. Found [' ']."),
        ({"tokens": ["a", ""], "slots": ["O", "O"]},
         "'tokens' should have no empty word. Found ['a', '']."),
        ({"tokens": [1, 2], "slots": ["O", "O"]},
         "'tokens' should be a list of words. Found [1, 2]."),
        ({"tokens": "[a", "slots": ["O"]}, "'tokens' should be JSON ("),
        ({"slots": ["O"]}, "has no 'tokens'. Found: slots."),
    ],
)  # fmt: skip
def test_tags(row, message, refused, tmp_path):
    tasks = {"slots": {**TAGS["slots"], "tag_scheme": "iob2"}}
    line = refused(train_file=[*WORDS, row], validation_file=WORDS, tasks=tasks)
    assert line.startswith(f"error: {tmp_path}/train.jsonl, line 2: {message}")


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (span(0, 9), "should have named spans within the text's 5 characters. Found "
         "{'start': 0, 'end': 9, 'label': 'LOC'}."),
        (span(-1, 1), "should have named spans within the text's 5 characters. Found "),
        (span(2, 2), "should have named spans within the text's 5 characters. Found "),
        (span(0, 1, ""), "should have named spans within the text's 5 characters. Found "),
        (span(0, 1, 7), "should have named spans within the text's 5 characters. Found "),
        (span(0.5, 1), "should have whole numbers for start and end. Found {'start': 0.5, "),
        (span("0", "1"), "should have whole numbers for start and end. Found {'start': '0', "),
        (span(0, float("inf")), "should have spans of start, end and label. Found {'start': 0, "),
        (span(0, float("nan")), "should have spans of start, end and label. Found {'start': 0, "),
        ({"start": 0, "label": "LOC"}, "should have spans of start, end and label. Found {'start"),
        ([0, 1], "should have spans of start, end and label. Found [0, 1]."),
        ("LOC", "should have spans of start, end and label. Found 'LOC'."),
        (None, "should have spans of start, end and label. Found None."),
        ({**span(0, 1), "text": "b"}, "should have spans in characters: 0 to 1 is 'a'. Found "),
    ],
)  # fmt: skip
def test_spans(found, message, refused, tmp_path):
    line = refused(train_file=[*SPANS, *spans(found)], validation_file=SPANS, tasks=TAGS)
    assert line.startswith(f"error: {tmp_path}/train.jsonl, line 2: 'slots' {message}")


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (3, "'slots' should be a list of spans. Found 3."),
        ("[{", "'slots' should be JSON (Expecting property name enclosed in double quotes: "),
        ([span(0, 3), span(2, 5)],
         "'slots' should have spans that do not overlap. Found {'start': 0, 'end': 3, "),
        ([span(0, 3), span(0, 3, "PER")],
         "'slots' should have spans that do not overlap. Found {'start': 0, 'end': 3, "),
    ],
)  # fmt: skip
def test_lists_of_spans(found, message, refused, tmp_path):
    bad = {"text": "a b c", "slots": found}
    line = refused(train_file=[*SPANS, bad], validation_file=SPANS, tasks=TAGS)
    assert line.startswith(f"error: {tmp_path}/train.jsonl, line 2: {message}")


@pytest.mark.parametrize(
    ("task", "rows", "message"),
    [
        ({}, words("B-LOC", "LOC"),
         "Task 'slots': should have tags that all have a prefix such as `B-`, or types that all "
         "have none. Found 'B-LOC' and 'LOC'."),
        ({}, words("B-LOC", "B-"),
         "Task 'slots': should have tags that all have a prefix such as `B-`, or types that all "
         "have none. Found 'B-LOC' and 'B-'."),
        ({}, words("B-"), "line 1: 'slots' should have tags `O` and types without a prefix (IO). "),
        ({}, words("O"), "No row of the training data has an entity of task 'slots'."),
        ({"tag_scheme": "iob1"}, words("U-LOC"),
         "line 1: 'slots' should have tags `O`, `B-...` and `I-...` (IOB1). Found 'U-LOC'."),
        ({"tag_scheme": "bilou"}, words("LOC"),
         "line 1: 'slots' should have tags `O`, `B-...`, `I-...`, `L-...` and `U-...` (BILOU; "),
        ({"tag_scheme": "io"}, words("I-LOC"),
         "line 1: 'slots' should have tags `O` and types without a prefix (IO). Found 'I-LOC'."),
        ({"tag_scheme": "iob2", "on_broken_tags": "refuse"}, words("O", "I-LOC"),
         "line 1: 'slots' should have whole IOB2 tags. Found ['O', 'I-LOC']."),
        ({"on_broken_tags": "refuse"}, words("B-LOC", "O", "U-LOC"),
         "line 1: 'slots' should have whole BILOU tags. Found ['B-LOC', 'O', 'U-LOC']."),
        ({"overlap": "refuse"}, spans(span(0, 3), span(2, 5)),
         "line 1: 'slots' should have spans that do not overlap. Found "),
        ({"label_map": {"PRE": "PER"}}, WORDS,
         "label_map of task 'slots' should name labels that rows have: LOC. Found 'PRE'."),
        ({"label_map": {"LOC": None}}, WORDS,
         "No row of the training data has an entity of task 'slots'."),
        ({"labels": ["O", "B-PER", "I-PER"]}, WORDS,
         "line 1: task 'slots': unknown label 'B-LOC'. Expected one seen in training or given as "
         "`labels`: O, B-PER, I-PER."),
        ({"labels": ["B-LOC", "I-LOC"]}, WORDS, "line 1: task 'slots': unknown label 'O'. "),
        ({"labels": ["O", "I-LOC"]}, WORDS, "line 1: task 'slots': unknown label 'B-LOC'. "),
    ],
)  # fmt: skip
def test_how_labels_are_read(task, rows, message, refused):
    tasks = {"slots": {**TAGS["slots"], **task}}
    assert message in refused(train_file=rows, validation_file=None, do_eval=False, tasks=tasks)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"label_map": {"z": "x"}},
         "label_map of task 'topic' should name labels that rows have: x, y. Found 'z'."),
        ({"label_map": {"x": "y"}},
         "`labels` of task 'topic' should be a list of at least 2 different texts. Found ['y']."),
        ({"label_map": {"x": [5]}},
         "tasks.topic.label_map should map labels to new names, or to null to drop them. Found "
         "{'x': [5]}."),
        ({"label_map": {"x": ""}}, "tasks.topic.label_map should map labels to new names, or to "),
        ({"label_map": {True: "x"}},
         "tasks.topic.label_map should map labels to new names; YAML reads yes, no, true and"),
        ({"label_map": ["x"]}, "tasks.topic.label_map should map labels to new names, or to null"),
        ({"label_map": {"x": "y"}, "problem_type": "regression"},
         "tasks.topic.label_map is for labels. Found a regression task."),
        ({"labels": [True, False]},
         "tasks.topic.labels should be texts; YAML reads yes, no, true and false as booleans, and "
         "null as none, unless they are in quotes. Found [True, False]."),
        ({"labels": ["x", None]}, "tasks.topic.labels should be texts; "),
        ({"labels": ["x", ["y"]]}, "tasks.topic.labels should be texts; "),
        ({"labels": {"x": 0}}, "tasks.topic.labels should be texts; "),
        ({"column": ["topic"]}, "tasks.topic.column should be a text, or a list of texts where "
         "problem_type is regression or multi_label_classification. Found ['topic']."),
        ({"weight": "much"}, "tasks.topic.weight should be a number. Found 'much'."),
        ({"score_weight": -1}, "`score_weight` of task 'topic' should be at least 0. Found -1.0."),
        ({"class_weights": "balance"},
         "tasks.topic.class_weights should be balanced, or map labels to numbers; "),
        ({"class_weights": {True: 2}}, "unless they are in quotes. Found {True: 2}."),
        ({"class_weights": {"x": "much"}},
         "tasks.topic.class_weights.x should be a number. Found 'much'."),
        ({"class_weights": {"z": 2}},
         "A label in `class_weights` of task 'topic' should be one of x, y. Found 'z'."),
        ({"class_weights": {"x": 0}},
         "`class_weights` of task 'topic' should be above 0, and finite. Found 0.0 for 'x'."),
        ({"class_weights": "balanced", "problem_type": "regression"},
         "tasks.topic.class_weights is for labels. Found a regression task."),
        ({"class_weights": {"x": 2}, "type": "sentence_embedding"},
         "tasks.topic.class_weights is for labels. Found a sentence_embedding task."),
        ({"weight": float("nan")}, "`weight` of task 'topic' should be at least 0. Found nan."),
        ({"tag_scheme": "iob"},
         "tasks.topic.tag_scheme should be one of auto, iob2, iob1, io, bilou. Found 'iob'."),
        ({"on_broken_tags": "ignore"},
         "tasks.topic.on_broken_tags should be one of repair, refuse. Found 'ignore'."),
        ({"column": ["a", "b"]}, "tasks.topic.column should be a text, or a list of texts where "),
        ({"column": [], "problem_type": "multi_label_classification"},
         "tasks.topic.column should be a text, or a list of texts. Found []."),
        ({"separator": 5}, "tasks.topic.separator should be a text. Found 5."),
        ({"separator": ","},
         "tasks.topic.separator is for multi_label_classification. Found "
         "single_label_classification."),
        ({"separator": ",", "type": "token_classification"},
         "`separator` is for sequence_classification. Found it in task 'topic', which is "
         "token_classification."),
        ({"out_of_scope": 0.05, "type": "token_classification"},
         "`out_of_scope` is for sequence_classification. Found it in task 'topic', which is "),
        ({"tag_scheme": "io"}, "`tag_scheme` is for token_classification. Found it in task "),
        ({"overlap": "longest"}, "`overlap` is for token_classification. Found it in task "),
        ({"labels": ["x", "y"], "type": "sentence_embedding"},
         "`labels` is for sequence_classification and token_classification. Found it in task "
         "'topic', which is sentence_embedding."),
        ({"problem_type": "regression", "type": "sentence_embedding"},
         "`problem_type` is for sequence_classification and token_classification. Found it in "),
        ({"label_map": {"x": "y"}, "type": "sentence_embedding"},
         "tasks.topic.label_map is for labels. Found a sentence_embedding task."),
        ({"unlabelled_tag": False, "type": "token_classification"},
         "tasks.topic.unlabelled_tag should be a text; YAML reads yes, no, true and false as "
         "booleans, and null as none, unless they are in quotes. Found False."),
        ({"overlap": "shortest"},
         "tasks.topic.overlap should be one of refuse, longest, first. Found 'shortest'."),
        ({"type": ["token_classification"]}, "tasks.topic.type should be one of "),
    ],
)  # fmt: skip
def test_keys_of_tasks(task, message, refused):
    assert message in refused(tasks={"topic": {**CLASSES["topic"], **task}})


@pytest.mark.parametrize(
    ("train", "validation"),
    [
        (WORDS, [*WORDS, {"tokens": ["a"], "slots": ["I-PER"]}]),
        (SPANS, [*SPANS, *spans(span(0, 1, "PER"))]),
    ],
)
def test_a_type_that_is_not_among_those_given(train, validation, refused):
    tasks = {"slots": {**TAGS["slots"], "labels": ["O", "B-LOC", "I-LOC"]}}
    line = refused(train_file=train, validation_file=validation, tasks=tasks)
    assert "/validation.jsonl, line 2: task 'slots': unknown label '" in line
    assert "-PER'. Expected one seen in training or given as `labels`: O, B-LOC, I-LOC." in line
