"""A run killed at any point and resumed ends with the weights of one that was not."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from multitask_encoder.cli import run as run_multitask
from multitask_encoder.training.checkpoints import (
    checkpoints,
    mark_complete,
    newest_complete_checkpoint,
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
    assert newest_complete_checkpoint(broken).name == f"checkpoint-{kept[0]}"
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
    assert newest_complete_checkpoint(broken) is not None
    assert not (broken / "all_results.json").exists()
    arguments = [str(config), "--output_dir", str(broken), "--resume_from_checkpoint"]
    assert launch("run_multitask.py", *arguments) == 0
    assert_same_run(whole, broken)


def test_only_marked_checkpoints_are_resumed_from(tmp_path):
    assert newest_complete_checkpoint(tmp_path) is None
    for step in (5, 10, 20):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "model.safetensors").touch()
    mark_complete(tmp_path / "checkpoint-5")
    mark_complete(tmp_path / "checkpoint-10")
    assert newest_complete_checkpoint(tmp_path).name == "checkpoint-10"


def test_new_run_refuses_an_earlier_runs_checkpoints(config, tmp_path, capsys):
    (tmp_path / "run" / "checkpoint-3").mkdir(parents=True)
    with pytest.raises(SystemExit) as stop:
        run_multitask.main([str(config), "--output_dir", str(tmp_path / "run")])
    assert stop.value.code == 2
    assert "holds checkpoints of an earlier run" in capsys.readouterr().err
    assert (tmp_path / "run" / "checkpoint-3").exists()
