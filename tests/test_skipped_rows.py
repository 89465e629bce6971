"""Bad rows: refused and all named, or skipped and set aside."""

import pytest
from bad_input import BAD, CLOSED, HINT, TAGS, TEXTS, UNKNOWN, bad_rows, data_set, lines, write

from multitask_encoder.cli import run as run_multitask


def test_every_bad_row_is_listed_over_files_splits_and_data_sets(refused, tmp_path):
    write(tmp_path / "1.jsonl", [*TEXTS, BAD])
    write(tmp_path / "2.csv", "text,topic\na,x\n,y\n")
    a = data_set(train_file=[str(tmp_path / "1.jsonl"), str(tmp_path / "2.csv")])
    b = data_set(train_file=[BAD, *TEXTS], validation_file=[BAD, BAD])
    assert refused(datasets={"a": a, "b": b}).splitlines() == [
        "error: 5 rows are invalid:",
        f"{tmp_path}/1.jsonl, line 3: 'text' should be a text. Found ' '.",
        f"{tmp_path}/2.csv, line 3: 'text' should be a text. Found ''.",
        f"{tmp_path}/b_train.jsonl, line 1: 'text' should be a text. Found ' '.",
        f"{tmp_path}/b_validation.jsonl, line 1: 'text' should be a text. Found ' '.",
        f"{tmp_path}/b_validation.jsonl, line 2: 'text' should be a text. Found ' '.",
        HINT,
    ]


@pytest.mark.parametrize(
    ("count", "last"), [(20, []), (21, ["and 1 more."]), (99, ["and 79 more."])]
)
def test_the_first_20_bad_rows_are_listed_in_full(count, last, refused, tmp_path):
    header, *listed = refused(train_file=[*TEXTS, *[BAD] * count]).splitlines()
    assert header == f"error: {count} rows are invalid:"
    assert listed == [
        *(
            f"{tmp_path}/train.jsonl, line {line}: 'text' should be a text. Found ' '."
            for line in range(3, 23)
        ),
        *last,
        HINT,
    ]


def test_unknown_labels_of_all_splits_are_listed(refused, tmp_path):
    unknown = [*TEXTS, {"text": "a", "topic": "z"}]
    expected = "unknown label 'z'. Expected one seen in training or given as `labels`: x, y."
    told = refused(validation_file=unknown, test_file=unknown, tasks=CLOSED)
    assert told.splitlines()[1:] == [
        f"{tmp_path}/validation.jsonl, line 3: task 'topic': {expected}",
        f"{tmp_path}/test.jsonl, line 3: task 'topic': {expected}",
        HINT,
    ]


def test_one_bad_row_is_one_line_whatever_is_in_it(refused, tmp_path):
    line = refused(train_file=[*TEXTS, {"text": "a", "topic": ["x\ny\r\u2028z", "\t" * 999]}])
    start = f"error: {tmp_path}/train.jsonl, line 3: 'topic' should be one label. Found ['x\\ny\\r"
    assert line.startswith(start)
    assert len(line) < len(start) + 250


def test_skipped_rows_are_counted_and_written(skipping, tmp_path, caplog):
    train = lines([*TEXTS, BAD]) + '{"text": \n' + lines([{"text": "e", "topic": "x", "id": 7}])
    validation = [*TEXTS, {"text": "f", "topic": "z"}]
    assert skipping(train_file=train.encode(), validation_file=validation, tasks=CLOSED) == [
        ("train.jsonl, line 3", "'text' should be a text. Found ' '.", BAD),
        (
            "train.jsonl, line 4",
            "should be JSON (Expecting value at character 10). Found '{\"text\": '.",
            None,
        ),
        ("validation.jsonl, line 3", UNKNOWN, {"text": "f", "topic": "z"}),
    ]
    assert f"Skipped 3 bad rows; they are in {tmp_path}/run/bad_rows.jsonl." in caplog.text
    assert "train: 3 rows." in caplog.text
    assert "validation: 2 rows." in caplog.text
    assert "Training on 3 rows with topic" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "problem", "row"),
    [
        ("t.csv", "tokens,slots\na b,O\n",
         "line 2: 'slots' should have one tag for each of the 2 words. Found 1.",
         {"tokens": "a b", "slots": "O"}),
        ("t.conll", "a O\n\nb O\nc I-LOC\n",
         "line 3: 'slots' should have whole IOB2 tags. Found ['O', 'I-LOC'].",
         {"tokens": ["b", "c"], "slots": ["O", "I-LOC"]}),
        ("t.conll", "a O\n\nb U-LOC\n", "line 3: 'slots' should have tags `O`, `B-...` and `I-...` "
         "(IOB2). Found 'U-LOC'.", {"tokens": ["b"], "slots": ["U-LOC"]}),
        ("t.conll", "a O\nb\n", "line 1: line 2 should have 2 columns. Found 1: 'b'.", None),
        ("t.jsonl", [{"tokens": ["a"], "slots": ["B-PER"], "id": 7}],
         "line 1: task 'slots': unknown label 'B-PER'. Expected one seen in training or given as "
         "`labels`: O, B-LOC, I-LOC.", {"tokens": ["a"], "slots": ["B-PER"]}),
    ],
)  # fmt: skip
def test_skipped_rows_of_tags(name, content, problem, row, skipping, tmp_path):
    write(tmp_path / name, content)
    write(tmp_path / "good.conll", "a B-LOC\nb O\n")
    found = skipping(
        train_file=[str(tmp_path / "good.conll"), str(tmp_path / name)],
        column_names=["tokens", "slots"],
        tasks={
            "slots": {
                **TAGS["slots"],
                "tag_scheme": "iob2",
                "on_broken_tags": "refuse",
                "labels": ["O", "B-LOC", "I-LOC"],
            }
        },
        validation_file=None,
        do_eval=False,
    )
    place, _, problem = problem.partition(": ")
    assert found == [(f"{name}, {place}", problem, row)]


def test_each_run_begins_the_file_of_skipped_rows_anew(skipping, configured, tmp_path):
    first = skipping(train_file=[*TEXTS, BAD])
    second = skipping(train_file=[BAD, *TEXTS])
    assert [source for source, _, _ in first] == ["train.jsonl, line 3"]
    assert [source for source, _, _ in second] == ["train.jsonl, line 1"]
    run_multitask.main([configured(on_bad_row="skip")])
    assert not (tmp_path / "run" / "bad_rows.jsonl").exists()


def test_a_run_that_is_refused_leaves_the_file_of_the_one_before(skipping, refused, tmp_path):
    before = skipping(train_file=[*TEXTS, BAD])
    assert "rows are bad" in refused(train_file=[BAD], on_bad_row="skip")
    assert "'text' should be a text" in refused(train_file=[*TEXTS, BAD, *TEXTS])
    assert bad_rows(tmp_path) == before


def test_inspection_lists_bad_rows_and_writes_none(configured, tmp_path, capsys):
    run_multitask.main([configured(train_file=[*TEXTS, BAD], do_inspect=True)])
    said = capsys.readouterr().out
    assert "train.jsonl, line 3: 'text' should be a text. Found ' '." in said
    assert said.endswith("\nBad rows end that run, unless `on_bad_row: skip` leaves them out.\n")
    assert not (tmp_path / "run" / "bad_rows.jsonl").exists()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"train_file": [BAD, BAD]},
         "train: all of its 2 rows are bad. The first: {path}/train.jsonl, line 1: 'text' "
         "should be a text. Found ' '."),
        ({"validation_file": [{"text": "a", "topic": "z"}], "tasks": CLOSED},
         "validation: all of its 1 rows are bad. The first: {path}/validation.jsonl, line "
         "1: task 'topic': unknown label 'z'."),
        ({"train_file": b"{\n"},
         "train: all of its 1 rows are bad. The first: {path}/train.jsonl, line 1: should "
         "be JSON (Expecting property name enclosed in double quotes at character 2). Found '{{'."),
        ({"train_file": [*TEXTS, {"text": "a " * 20, "topic": "x"}], "max_length": 9,
          "long_texts": "refuse", "test_file": [{"text": "a " * 20, "topic": "x"}]},
         "test: all of its 1 rows are bad. The first: {path}/test.jsonl, line 1: should "
         "have at most 9 tokens. Found 22;"),
    ],
)  # fmt: skip
def test_all_rows_are_bad(config, message, refused, tmp_path):
    line = refused(on_bad_row="skip", **config)
    assert line.startswith(f"error: {message.format(path=tmp_path)}")


@pytest.mark.parametrize("keys", [{"on_bad_row": "skip"}, {"do_inspect": True}])
def test_labels_that_bad_rows_took_away_are_said_to_be_lost_with_them(keys, refused, tmp_path):
    said = refused(train_file=[{"text": "a", "topic": "x"}, {"text": " ", "topic": "y"}], **keys)
    assert said.endswith(
        f"Found ['x']. 1 row is bad, the first: {tmp_path}/train.jsonl, line 2: 'text' should be "
        "a text. Found ' '."
    )


def test_bad_rows_come_before_a_label_map_that_then_names_nothing(refused, tmp_path):
    tasks = {"tags": {"type": "token_classification", "label_map": {"0": "O", "1": "B-PER"}}}
    rows = [{"tokens": ["Maya", "met"], "tags": [1, 0]}]
    said = refused(train_file=rows, validation_file=rows, tasks=tasks)
    assert "'tags' should have tags that are texts, or ids of `labels`. Found 1." in said
