"""Two real processes, with a model each or a half of one: the same step, and an evaluation that
counts every row once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file
from test_trainer import assert_same_gradients

from multitask_encoder.modeling import MultiTaskModel

ROOT = Path(__file__).parent.parent
TWO_RANKS = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


def start(ranks: int, script: str, *arguments: Path | str) -> None:
    launcher = TWO_RANKS if ranks == 2 else []
    subprocess.run(
        [sys.executable, *launcher, str(ROOT / "tests" / script), *map(str, arguments)],
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        timeout=300,
        capture_output=True,
    )


@pytest.fixture(scope="module")
def one_process(backbone, tmp_path_factory) -> Path:
    """A folder with the step of one process, for each type of number."""
    out = tmp_path_factory.mktemp("one")
    start(1, "step_worker.py", backbone("bert"), out, "16x1")
    return out / "16x1"


def test_two_ranks_take_the_same_step_and_measure_the_same(one_process, backbone, tmp_path):
    start(2, "step_worker.py", backbone("bert"), tmp_path, "8x1", "4x2", "8x1x200")
    for dtype, tolerance in [("float64", 1e-10), ("float32", 1e-5)]:
        one = json.loads((one_process / dtype / "found.json").read_text())
        gradients = load_file(one_process / dtype / "gradients.safetensors")
        for split in ("8x1", "4x2", "8x1x200"):
            folder = tmp_path / split / dtype
            two = json.loads((folder / "found.json").read_text())
            assert (one["world_size"], two["world_size"]) == (1, 2)
            assert_same_gradients(load_file(folder / "gradients.safetensors"), gradients, tolerance)
            assert_same_losses(two, one)
            for key, value in one["metrics"].items():
                if "time" not in key and "second" not in key:
                    assert two["metrics"][key] == pytest.approx(value, rel=1e-5), key


def assert_same_losses(found: dict, expected: dict) -> None:
    for key in ("loss", "loss_topic", "loss_sentiment", "loss_entities"):
        assert found["logged"][key] == pytest.approx(expected["logged"][key], rel=1e-6), key


@pytest.mark.slow
def test_two_shards_take_the_same_step_and_save_the_whole_model(one_process, backbone, tmp_path):
    """FSDP, version 2, as configs/accelerate/fsdp.yaml asks for it."""
    start(2, "shard_worker.py", backbone("bert"), tmp_path, "8x1")
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["parameters"] == ["DTensor"]
    assert (found["model"], found["layer"]) == ("FSDPMultiTaskModel", "FSDPBertLayer")
    one = json.loads((one_process / "float32" / "found.json").read_text())
    assert_same_losses(found, one)
    assert found["metrics"].keys() >= {key for key in one["metrics"] if "time" not in key}
    gradients = load_file(tmp_path / "gradients.safetensors")
    expected = load_file(one_process / "float32" / "gradients.safetensors")
    for of in (gradients, expected):  # one process holds only the rows that are used
        rows = of["encoder.embeddings.word_embeddings.weight"]
        of["encoder.embeddings.word_embeddings.weight"] = rows[rows.any(1)]
    assert_same_gradients(gradients, expected, 1e-5)
    # The model is saved whole, under its own name and with its own code.
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["architectures"] == ["MultiTaskModel"]
    assert config["auto_map"]["AutoModel"] == "modeling_multitask.MultiTaskModel"
    names = {path.name for path in (tmp_path / "model").glob("*.py")}
    assert names == {path.name for path in (ROOT / "modeling").glob("[!_]*.py")}
    before = load_file(backbone("bert") / "model.safetensors")
    after = load_file(tmp_path / "model" / "model.safetensors")
    for name, weight in before.items():
        if "pooler" not in name:
            assert after[f"encoder.{name}"].shape == weight.shape
            assert (after[f"encoder.{name}"] - weight).abs().max() < 1e-3
    assert MultiTaskModel.from_pretrained(tmp_path / "model").config.tasks.keys() == {
        "topic", "sentiment", "entities",
    }  # fmt: skip
