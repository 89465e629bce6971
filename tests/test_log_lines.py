"""What a run prints: a line for each step, a table for each evaluation, and no bars in a file."""

import json
import subprocess
import sys
from pathlib import Path

from transformers import TrainerState

from multitask_encoder.training.log_lines import log_lines

ROOT = Path(__file__).parents[1]
TOPIC = {"type": "sequence_classification", "problem_type": "single_label_classification"}
STARS = {"type": "sequence_classification", "problem_type": "regression"}
STATE = TrainerState(global_step=1200, max_steps=5000)


def lines(tasks: dict, **logs) -> list[str]:
    return list(log_lines(logs, STATE, tasks))


def test_a_logged_step_is_a_line():
    assert lines({}, loss=1.23456, loss_topic=0.5, learning_rate=3e-4, epoch=0.5) == [
        "step 1,200 of 5,000, epoch 0.5: loss 1.235, loss_topic 0.5, learning_rate 0.0003"
    ]
    assert lines({}, train_runtime=61.2, train_loss=0.5, total_flos=0.0, epoch=2.0) == [
        "step 1,200 of 5,000, epoch 2: done in 61 s, mean loss 0.5"
    ]
    assert lines({}) == []


def test_an_evaluation_is_a_table_with_each_metric_once():
    logs = {
        "eval_loss": 2.0, "eval_topic_accuracy": 0.5, "eval_topic_macro_f1": 0.25,
        "eval_loss_topic": 1.5, "eval_stars_spearman": 0.125, "eval_stars_rmse": 2.5,
        "eval_score": 0.3125, "eval_reviews_score": 0.5, "eval_runtime": 1.0,
        "eval_samples_per_second": 3.0, "epoch": 1.0,
    }  # fmt: skip
    assert lines({"topic": TOPIC, "stars": STARS}, **logs) == [
        "step 1,200 of 5,000, epoch 1, eval (percent):",
        "  topic      accuracy 50.00, macro_f1 25.00, loss 1.5",
        "  stars      spearman 12.50, rmse 2.5",
        "  all tasks  loss 2, score 31.25, reviews_score 50.00",
    ]


def test_a_run_without_a_terminal_prints_lines_alone(backbone, tmp_path):
    rows = [{"text": f"{word} {place}", "topic": word} for word in "ab" for place in range(4)]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    keys = {
        "encoder": str(backbone("bert")),
        "tasks": json.dumps({"topic": {"type": "sequence_classification"}}),
        "train_file": str(tmp_path / "rows.jsonl"),
        "validation_file": str(tmp_path / "rows.jsonl"),
        "output_dir": str(tmp_path / "run"),
        "num_train_epochs": "40",
        "logging_steps": "1",
        "report_to": "none",
    }
    (tmp_path / "run.yaml").write_text(
        "".join(f"{key}: {value}\n" for key, value in keys.items()), encoding="utf-8"
    )
    done = subprocess.run(
        [sys.executable, "run_multitask.py", str(tmp_path / "run.yaml")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "%|" not in done.stderr and "it/s" not in done.stderr
    assert not any(code in done.stdout + done.stderr for code in ("\r", "\033"))
    assert done.stdout.count("eval (percent):") == 10  # the last is in the results alone
    assert done.stdout.count("Results (percent") == 1
