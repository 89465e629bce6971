"""A run killed at any point and resumed ends with the weights of one that was not."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from conftest import ROWS
from safetensors.torch import load_file
from transformers import TrainerState

from multitask_encoder.arguments.parsing import parse_arguments
from multitask_encoder.cli import run as run_multitask
from multitask_encoder.training.checkpoints import (
    MARKER,
    best_was_chosen_by,
    check_epoch,
    checkpoints,
    damage,
    find_checkpoint,
    mark_complete,
)

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
TWO_RANKS = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


@pytest.fixture
def config(backbone, tmp_path) -> Path:
    """Two epochs of 7 steps, a checkpoint every 3, with dropout: random states matter."""
    path = tmp_path / "config.yaml"
    run = {
        "encoder": str(backbone("bert")),
        "head_dropout": 0.3,
        "dataset": "synthetic",
        "train_size": 55,
        "validation_size": 11,
        "test_size": 11,
        "tasks": {
            "topic": {"type": "sequence_classification"},
            "entities": {"type": "token_classification"},
        },
        "max_length": 128,
        "num_train_epochs": 2,
        "learning_rate": 1e-3,
        "per_device_train_batch_size": 8,
        "eval_strategy": "steps",
        "save_strategy": "steps",
        "eval_steps": 3,
        "save_steps": 3,
        "logging_steps": 3,
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "report": False,
        "disable_tqdm": True,
    }
    path.write_text(yaml.safe_dump(run))
    return path


def assert_same_run(one: Path, other: Path) -> None:
    left, right = (load_file(folder / "model.safetensors") for folder in (one, other))
    assert left.keys() == right.keys()
    assert all(torch.equal(left[key], right[key]) for key in left)
    assert (one / "all_results.json").exists()
    assert logged_losses(one) == logged_losses(other)


def logged_losses(folder: Path) -> list[tuple]:
    history = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    keys = ("step", "loss", "loss_topic", "loss_entities")
    return [tuple(logs[key] for key in keys) for logs in history if "loss" in logs]


def whole_checkpoints(folder: Path) -> list[str]:
    return [path.name for path in checkpoints(folder) if damage(path) is None]


@pytest.mark.parametrize(("where", "step", "kept"), [("step", 5, [3]), ("checkpoint", 9, [6, 9])])
def test_killed_and_resumed_run_equals_the_whole_one(where, step, kept, config, tmp_path, capsys):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run_multitask.main([str(config), "--output_dir", str(whole)])
    killed = subprocess.run(
        [
            *(sys.executable, "tests/killed_run.py", where, str(step), str(config)),
            *("--output_dir", str(broken), "--save_total_limit", "2"),
        ],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        timeout=600,
    )
    assert killed.returncode == -signal.SIGKILL
    steps = [int(path.name.rsplit("-", 1)[1]) for path in checkpoints(broken)]
    assert steps[-len(kept) :] == kept
    assert whole_checkpoints(broken)[-1] == f"checkpoint-{kept[0]}"
    go_on = [str(config), "--output_dir", str(broken), "--resume_from_checkpoint"]
    with pytest.raises(SystemExit, match="2"):
        run_multitask.main([*go_on, "--metric_for_best_model", "topic_accuracy"])
    assert f"being resumed from {broken}/checkpoint-{kept[0]}. Found" in capsys.readouterr().err
    run_multitask.main(go_on)
    assert_same_run(whole, broken)


@pytest.mark.slow
@pytest.mark.parametrize(("where", "step"), [("step", 5), ("checkpoint", 9)])
def test_two_ranks_killed_and_resumed_equal_the_whole_run(where, step, config, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"

    def launch(*arguments: str) -> int:
        return subprocess.run(
            [sys.executable, *TWO_RANKS, *arguments, "--per_device_train_batch_size", "4"],
            cwd=ROOT,
            env=ENVIRONMENT,
            capture_output=True,
            timeout=600,
        ).returncode

    assert launch("run_multitask.py", str(config), "--output_dir", str(whole)) == 0
    arguments = [where, str(step), str(config), "--output_dir", str(broken)]
    assert launch("tests/killed_run.py", *arguments) != 0
    assert whole_checkpoints(broken)
    assert not (broken / "all_results.json").exists()
    arguments = [str(config), "--output_dir", str(broken), "--resume_from_checkpoint"]
    assert launch("run_multitask.py", *arguments) == 0
    assert_same_run(whole, broken)


# Damaged checkpoints


@pytest.mark.parametrize(("step", "epoch"), [(2, 8 / 25), (6, 24 / 25), (9, 33 / 25)])
def test_the_last_step_of_an_epoch_may_have_fewer_batches(step, epoch, tmp_path):
    """25 batches, of which a step takes 4."""
    TrainerState(global_step=step, epoch=epoch).save_to_json(str(tmp_path / "trainer_state.json"))
    check_epoch(tmp_path, 25, 4)
    for batches in (24, 26):
        with pytest.raises(ValueError, match="The rows and the batch size should be those of"):
            check_epoch(tmp_path, batches, 4)


def test_a_metric_that_was_never_a_number_may_still_choose(tmp_path):
    state = TrainerState(best_metric=-math.inf, best_global_step=0)
    state.save_to_json(str(tmp_path / "trainer_state.json"))
    assert best_was_chosen_by(tmp_path, "score")


@pytest.fixture
def stopped(config, tmp_path) -> Path:
    """A run of 12 steps that has checkpoints of steps 3, 6, 9 and 12; the best is not the last."""
    folder = tmp_path / "stopped"
    argv = ["--output_dir", str(folder), "--max_steps", "12", "--save_total_limit", "9"]
    run_multitask.main([str(config), *argv])
    for path in checkpoints(folder)[2:]:  # as if 6 were the best in all of them
        change_state(path, best_model_checkpoint=str(folder / "checkpoint-6"))
    return folder


def change_state(checkpoint: Path, **values) -> None:
    path = checkpoint / "trainer_state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    mark_complete(checkpoint)


def found(folder: Path, *argv: str) -> str | None:
    """The checkpoint that a run in this folder would be resumed from."""
    keys = [str(folder / "config.yaml"), "--output_dir", str(folder)]
    checkpoint = find_checkpoint(parse_arguments([*keys, "--resume_from_checkpoint", *argv]))
    return checkpoint and Path(checkpoint).name


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def lost(path: Path) -> None:
    path.unlink()


DAMAGES = (flipped, cut, emptied, lost)


def test_a_checkpoint_with_any_damage_is_passed_over(stopped, caplog):
    assert found(stopped) == "checkpoint-12"
    newest = stopped / "checkpoint-12"
    files = sorted(path for path in newest.rglob("*") if path.is_file())
    names = [path.relative_to(newest).as_posix() for path in files]
    state = {"optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"}
    assert {MARKER, "model.safetensors", *state} < set(names)
    for name in names:
        whole = (newest / name).read_bytes()
        for damaged in DAMAGES:
            caplog.clear()
            damaged(newest / name)
            assert found(stopped) == "checkpoint-9", name
            assert f"{newest} can't be resumed from, so it is passed over. It" in caplog.text
            assert name in caplog.text or name == MARKER
            with pytest.raises(ValueError, match=r"Checkpoint .*-12 should be whole. It"):
                found(stopped, str(newest))
            (newest / name).write_bytes(whole)
    assert found(stopped) == "checkpoint-12"


def test_a_run_whose_best_checkpoint_is_damaged_goes_on_from_before(stopped, caplog):
    flipped(stopped / "checkpoint-6" / "model.safetensors")
    assert found(stopped) == "checkpoint-3"
    best = "passed over. The best checkpoint so far, checkpoint-6, is damaged. Its file model.safe"
    assert best in caplog.text
    assert found(stopped, "--load_best_model_at_end", "false") == "checkpoint-12"


def test_nothing_is_deleted_where_no_checkpoint_is_whole(stopped):
    for path in checkpoints(stopped):
        cut(path / "optimizer.pt")
    line = r"No checkpoint in .* is whole. checkpoint-12: Its file optimizer.pt should have [\d,]+ "
    with pytest.raises(ValueError, match=line):
        found(stopped)
    for path in checkpoints(stopped):  # each was interrupted: there is nothing to go on from
        (path / MARKER).unlink()
    assert found(stopped) is None


def test_weights_alone_are_no_checkpoint_to_resume_from(config, tmp_path):
    folder = tmp_path / "run"
    run_multitask.main([str(config), "--output_dir", str(folder), "--save_only_model"])
    with pytest.raises(ValueError, match=r"It has no optimizer state: the run had save_only_model"):
        found(folder)


def test_a_run_folder_that_was_moved_goes_on_with_its_best_checkpoint(stopped, tmp_path, config):
    moved = stopped.rename(tmp_path / "moved")
    shutil.rmtree(moved / "checkpoint-12")
    more = ["--output_dir", str(moved), "--max_steps", "12", "--resume_from_checkpoint"]
    run_multitask.main([str(config), *more])
    state = json.loads((moved / "checkpoint-12" / "trainer_state.json").read_text())
    assert Path(state["best_model_checkpoint"]).parent == moved
    best = load_file(Path(state["best_model_checkpoint"]) / "model.safetensors")
    saved = load_file(moved / "model.safetensors")
    assert all(torch.equal(best[key], saved[key]) for key in best)


def test_new_run_refuses_an_earlier_runs_checkpoints(config, tmp_path, capsys):
    (tmp_path / "run" / "checkpoint-3").mkdir(parents=True)
    with pytest.raises(SystemExit) as stop:
        run_multitask.main([str(config), "--output_dir", str(tmp_path / "run")])
    assert stop.value.code == 2
    assert "holds checkpoints of an earlier run" in capsys.readouterr().err
    assert (tmp_path / "run" / "checkpoint-3").exists()


def test_a_resumed_run_has_waited_as_long_for_a_better_score(run, caplog):
    keys = {
        "learning_rate": 0.0,
        "num_train_epochs": 9,
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "save_total_limit": 9,
    }
    folder = run(**keys, early_stopping_patience=3, test_file=ROWS)
    steps = [int(path.name.rpartition("-")[2]) for path in checkpoints(folder)]
    assert len(steps) == 4  # the first score is the best, and three wait for a better one
    assert "early stopping required" not in caplog.text  # which the test split has no part in

    def ended(*argv: str, **more) -> float:
        run("--resume_from_checkpoint", *argv, **keys, **more, overwrite_output_dir=False)
        return json.loads((folder / "trainer_state.json").read_text())["epoch"]

    shutil.rmtree(folder / f"checkpoint-{max(steps)}")
    assert ended(early_stopping_patience=3) == 4
    shutil.rmtree(folder / f"checkpoint-{max(steps)}")
    assert ended(early_stopping_patience=5) == 6  # another patience counts from there, too


def test_early_stopping_may_begin_where_a_run_is_resumed(run):
    keys = {"learning_rate": 0.0, "eval_strategy": "epoch", "save_strategy": "epoch"}
    folder = run(**keys, num_train_epochs=1)
    more = {"num_train_epochs": 9, "early_stopping_patience": 2, "overwrite_output_dir": False}
    run("--resume_from_checkpoint", **keys, **more)
    assert json.loads((folder / "trainer_state.json").read_text())["epoch"] == 3


def test_what_a_resumed_run_goes_on_with_can_not_be_changed(config, capsys):
    folder = config.parent / "run"
    argv = [str(config), "--output_dir", str(folder), "--seed", "42"]
    run_multitask.main([*argv, "--num_train_epochs", "1"])
    before = parse_arguments([str(folder / "config.yaml")]).training
    resumed, of = [*argv, "--resume_from_checkpoint"], f"the run being resumed from {folder}"
    for key, value, was in [
        ("learning_rate", "1e-5", "0.001"),
        ("weight_decay", "0.5", "0.01"),
        ("l2_sp", "3.0", "13.0"),
        ("seed", "7", "42"),
        ("layer_learning_rate_decay", "0.5", "None"),
    ]:
        with pytest.raises(SystemExit, match="2"):
            run_multitask.main([*resumed, f"--{key}", value])
        assert f"{key} should be {was}, as in {of}" in capsys.readouterr().err
    for words, epoch in [
        (["--train_size", "40"], "0.5"),
        (["--per_device_train_batch_size", "4"], "0.2143"),
    ]:
        with pytest.raises(SystemExit, match="2"):
            run_multitask.main([*resumed, *words])
        error = capsys.readouterr().err
        assert of in error
        assert f"which is at epoch 0.4286. With these it would be at {epoch}. To train" in error
    # Further epochs may follow, with all that the run had, however its steps are split.
    split = ["--gradient_accumulation_steps", "2", "--per_device_train_batch_size", "4"]
    run_multitask.main([*resumed, *split])
    after = parse_arguments([str(folder / "config.yaml")]).training
    assert (before.num_train_epochs, after.num_train_epochs) == (1, 2)
    for kept in ("learning_rate", "head_learning_rate", "weight_decay", "l2_sp"):
        assert getattr(after, kept) == getattr(before, kept)
