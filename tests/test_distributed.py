"""Two real processes: the same step, and an evaluation that counts every row once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file
from test_trainer import assert_same_gradients

ROOT = Path(__file__).parent.parent
TWO_RANKS = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


def run_steps(ranks: int, backbone: Path, out: Path, *splits: str) -> None:
    launcher = TWO_RANKS if ranks == 2 else []
    subprocess.run(
        [
            sys.executable,
            *launcher,
            str(ROOT / "tests" / "step_worker.py"),
            str(backbone),
            str(out),
            *splits,
        ],
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        timeout=300,
        capture_output=True,
    )


def test_two_ranks_take_the_same_step_and_measure_the_same(backbone, tmp_path):
    run_steps(1, backbone("bert"), tmp_path / "one", "16x1")
    run_steps(2, backbone("bert"), tmp_path / "two", "8x1", "4x2", "8x1x200")
    for dtype, tolerance in [("float64", 1e-10), ("float32", 1e-5)]:
        folder = tmp_path / "one" / "16x1" / dtype
        one = json.loads((folder / "found.json").read_text())
        gradients = load_file(folder / "gradients.safetensors")
        for split in ("8x1", "4x2", "8x1x200"):
            folder = tmp_path / "two" / split / dtype
            two = json.loads((folder / "found.json").read_text())
            assert (one["world_size"], two["world_size"]) == (1, 2)
            assert_same_gradients(load_file(folder / "gradients.safetensors"), gradients, tolerance)
            for key in ("loss", "loss_topic", "loss_sentiment", "loss_entities"):
                assert two["logged"][key] == pytest.approx(one["logged"][key], rel=1e-6), key
            for key, value in one["metrics"].items():
                if "time" not in key and "second" not in key:
                    assert two["metrics"][key] == pytest.approx(value, rel=1e-5), key
