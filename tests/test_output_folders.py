"""A run never writes over what it reads."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import SafetensorError

from multitask_encoder.cli.errors import fail_without_disk

# A run whose files may have so many bytes at most, as on a disk that is full.
LIMITED = """
import resource, sys
from multitask_encoder.cli import run
size, *argv = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), int(size)))
run.main(argv)
"""

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


@pytest.fixture
def without_room(tmp_path):
    """Bytes that a file may have, and arguments of a run -> the line by which the run ends."""

    def without_room(size: int, *argv: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", LIMITED, str(size), str(tmp_path / "config.yaml"), *argv],
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "HF_DATASETS_CACHE": str(tmp_path / "cache"),
            },
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr.splitlines()[-1]

    return without_room


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_leaves_what_was_there(run, without_room):
    folder = run()
    checkpoint = content(next(folder.glob("checkpoint-*")))
    argv = ["--resume_from_checkpoint", "--num_train_epochs", "2", "--save_total_limit", "5"]
    for size in (20_000, 100_000):  # which stop it at other files
        assert without_room(size, *argv).startswith("error: ")
        assert content(next(folder.glob("checkpoint-2"))) == checkpoint


@pytest.mark.slow
def test_a_full_disk_leaves_an_earlier_model(run, without_room):
    folder = run(save_strategy="no", load_best_model_at_end=False)
    before = content(folder)
    for size in (20_000, 60_000):  # too little for the code and for the weights
        assert without_room(size, "--learning_rate", "1e-3").startswith("error: ")
        after = content(folder)
        written = ("config.yaml", "all_results.json", "report.html")  # of the run that began
        kept = [name for name in before if name not in written and not name.endswith(".svg")]
        assert "model.safetensors" in kept
        assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
        assert not (folder / ".partial").exists()


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space", "runs/x"), "runs/x: No space left on device."),
        (PermissionError(errno.EACCES, "Denied", "runs/x"), "runs/x: Permission denied."),
        (SafetensorError("I/O error: no (os error 28)"), "A file: No space left on device."),
        (RuntimeError("PytorchStreamWriter failed writing file data/0"), "A checkpoint could not"),
    ],
)
def test_a_disk_that_takes_no_file_is_one_line(error, line, capsys):
    with pytest.raises(SystemExit, match="2"):
        fail_without_disk(error)
    assert capsys.readouterr().err.startswith(f"error: {line}")


@pytest.mark.parametrize("error", [OSError("something"), RuntimeError("a defect (os error 5x)")])
def test_a_defect_keeps_its_traceback(error):
    with pytest.raises(type(error), match=str(error)[:5]):
        fail_without_disk(error)
