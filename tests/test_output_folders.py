"""A run never writes over what it reads."""

import json
import shutil
from pathlib import Path

import pytest

TASKS = {"topic": {"type": "sequence_classification"}}


@pytest.fixture
def rows(tmp_path) -> Path:
    """A folder with a file of rows."""
    folder = tmp_path / "rows"
    folder.mkdir()
    labels = ("animals", "food", "animals", "food") * 4
    lines = [json.dumps({"text": f"text {n}", "topic": topic}) for n, topic in enumerate(labels)]
    (folder / "train.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture
def refused(run, capsys):
    """Keys of a run on files -> the line by which it is refused."""

    def refused(*argv, **keys) -> str:
        files = {"dataset": None, "train_size": None, "validation_size": None, "test_size": None}
        with pytest.raises(SystemExit) as stopped:
            run(*argv, **{**files, "tasks": TASKS, **keys})
        assert stopped.value.code == 2
        return capsys.readouterr().err.partition("error: ")[2].strip()

    return refused


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_encoder_is_not_replaced(refused, rows, backbone, tmp_path):
    encoder = shutil.copytree(backbone(), tmp_path / "encoder")
    (tmp_path / "link").symlink_to(encoder)
    before = content(encoder)
    line = "output_dir should be another folder than that of `encoder`, which training would"
    for name in ("encoder", "encoder/../encoder", "link"):
        found = refused(
            encoder=str(encoder),
            train_file=str(rows / "train.jsonl"),
            output_dir=str(tmp_path / name),
        )
        assert found.startswith(line)
        comparing = refused(
            "--compare_single_task",
            encoder=str(encoder),
            train_file=str(rows / "train.jsonl"),
            output_dir=str(tmp_path / name),
        )
        assert comparing.startswith(line)
    assert content(encoder) == before


def test_the_model_to_start_from_is_not_replaced(refused, rows, run, tmp_path):
    run(output_dir=str(tmp_path / "first"))
    before = content(tmp_path / "first")
    checkpoint = next((tmp_path / "first").glob("checkpoint-*"))
    for model in (tmp_path / "first", checkpoint):
        found = refused(
            "--overwrite_output_dir",
            model=str(model),
            train_file=str(rows / "train.jsonl"),
            output_dir=str(tmp_path / "first"),
        )
        assert found.startswith("output_dir should be another folder than that of `model`, ")
    assert content(tmp_path / "first") == before


def test_the_folder_of_the_data_holds_no_run(refused, rows):
    for where in ({"train_file": "*.jsonl", "data_dir": str(rows)}, {"dataset": str(rows)}):
        line = refused(output_dir=str(rows), **where)
        assert line.startswith("output_dir should be another folder than that of the data. Found ")
    assert list(content(rows)) == ["train.jsonl"]


def test_rows_of_several_splits_are_named(run, rows, tmp_path, caplog):
    keys = {"dataset": None, "validation_size": None, "test_size": None, "train_size": None}
    files = {"train_file": "train.jsonl", "test_file": "*.jsonl", "data_dir": str(rows)}
    run(output_dir=str(tmp_path / "run"), tasks=TASKS, **keys, **files, do_eval=False)
    assert f"{rows / 'train.jsonl'} is in both train_file and test_file: a model s" in caplog.text


def test_answers_are_not_answered(refused, rows, tmp_path):
    keys = {"do_train": False, "model": str(tmp_path / "none"), "tasks": None, "do_predict": True}
    for names, output in (("*.jsonl", rows), ("../**/*.jsonl", tmp_path)):
        line = refused(predict_file=str(rows / names), predict_output=str(output), **keys)
        assert line.startswith("predict_output should be another folder than that of predict_file.")
