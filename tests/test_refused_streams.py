"""Bad rows of streamed data, met after the training began."""

from typing import Any

import pytest
from bad_input import BAD, CLASSES, HINT, TEXTS, UNKNOWN, lines, stopped, write

from multitask_encoder.cli import run as run_multitask

STREAMED: dict[str, Any] = {
    "streaming": True,
    "max_steps": 1,
    "per_device_train_batch_size": 1,
    "eval_strategy": "no",
    "tasks": {"topic": {**CLASSES["topic"], "labels": ["x", "y"]}},
}


@pytest.mark.parametrize(
    ("train", "problem"),
    [
        ([*TEXTS, BAD], ", line 3: 'text' should be a text. Found ' '."),
        ([*TEXTS, {"text": "a", "topic": "z"}], f", line 3: {UNKNOWN}"),
        (lines(TEXTS).encode() + b"{\n",
         ", line 3: should be JSON (Expecting property name enclosed in double quotes at character "
         "2). Found '{'."),
    ],
)  # fmt: skip
def test_a_streamed_bad_row(train, problem, configured, tmp_path, capsys):
    path = configured(train_file=train, **STREAMED)
    assert stopped(path, capsys=capsys) == f"error: {tmp_path}/train.jsonl{problem}"
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_a_streamed_file_that_breaks_off(configured, tmp_path, capsys):
    # Behind the rows that are read before training, and among those that are shuffled.
    write(tmp_path / "t.csv", "text,topic\n" + "a,x\n" * 1100 + '"b,x\n')
    config = {**STREAMED, "per_device_train_batch_size": 8}
    line = stopped(configured(train_file=str(tmp_path / "t.csv"), **config), capsys=capsys)
    assert line == f"error: {tmp_path}/t.csv: line 1102: unexpected end of data."


def test_streamed_bad_rows_of_a_worker(configured, tmp_path, capsys):
    path = configured(train_file=[*TEXTS, BAD, BAD], dataloader_num_workers=1, **STREAMED)
    assert stopped(path, capsys=capsys).splitlines() == [
        "error: 2 rows are invalid:",
        f"{tmp_path}/train.jsonl, line 3: 'text' should be a text. Found ' '.",
        f"{tmp_path}/train.jsonl, line 4: 'text' should be a text. Found ' '.",
        HINT,
    ]


def test_streamed_rows_that_are_all_bad(configured, capsys):
    line = stopped(configured(on_bad_row="skip", train_file=[BAD], **STREAMED), capsys=capsys)
    assert line == "error: A streamed data set should have valid rows. Found none."


def test_skipped_rows_of_streamed_data_are_written_once(skipping):
    train = [BAD, *TEXTS, {"text": "f", "topic": "z"}]
    validation = [*TEXTS, BAD]
    for _ in range(2):
        found = skipping(train_file=train, validation_file=validation, **STREAMED)
        assert found == [
            ("validation.jsonl, line 3", "'text' should be a text. Found ' '.", BAD),
            ("train.jsonl, line 1", "'text' should be a text. Found ' '.", BAD),
            ("train.jsonl, line 4", UNKNOWN, {"text": "f", "topic": "z"}),
        ]


def test_a_label_map_of_streamed_data(configured, tmp_path):
    tasks = {"topic": {**STREAMED["tasks"]["topic"], "label_map": {"X": "x"}}}
    train = [*TEXTS, {"text": "e", "topic": "X"}]
    config = {**STREAMED, "tasks": tasks, "validation_file": None, "do_eval": False}
    run_multitask.main([configured(train_file=train, **config)])
    assert (tmp_path / "run" / "all_results.json").is_file()
