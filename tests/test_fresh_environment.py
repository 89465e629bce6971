"""A published model answers where torch and transformers are all that is installed."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from conftest import TASKS
from fresh_process import run_fresh
from hub_server import HubServer, Repository
from transformers import AutoTokenizer

from multitask_encoder.export.finished_run import FinishedRun
from multitask_encoder.export.publish import stage
from multitask_encoder.modeling import MultiTaskModel, MultiTaskPipeline

ROOT = Path(__file__).parent.parent
NEEDED = ("torch", "transformers")
TEXT = "Paris plays in the park, and Anna sings."
SCRIPT = """
import importlib.metadata, json, sys
from transformers import pipeline

installed = sorted(one.metadata["Name"] for one in importlib.metadata.distributions())
answer = pipeline("multitask", model="owner/name", trust_remote_code=True)(sys.argv[1])
print(json.dumps({"answer": answer, "installed": installed, "path": sys.path}))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """Of a new environment, with `NEEDED` and their dependencies."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=600)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [line for line in project["dependencies"] if line.startswith(NEEDED)]
    assert len(wanted) == len(NEEDED)
    command = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", *wanted]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600)
    if done.returncode:
        pytest.skip(
            f"pip can't install {', '.join(wanted)}: {done.stderr.strip().splitlines()[-1]}"
        )
    return folder / "bin" / "python"


@pytest.mark.slow  # minutes, for pip to install torch
def test_published_model_needs_torch_and_transformers_alone(python, backbone, tmp_path):
    torch.manual_seed(0)
    model = MultiTaskModel.from_backbone(str(backbone()), tasks=TASKS).eval()
    tokenizer = AutoTokenizer.from_pretrained(backbone())
    stage(model, tokenizer, "owner/name", FinishedRun(), tmp_path / "staged")
    files = [path for path in (tmp_path / "staged").rglob("*") if path.is_file()]
    published = {
        path.relative_to(tmp_path / "staged").as_posix(): path.read_bytes() for path in files
    }
    with HubServer() as hub:
        hub.repositories["owner/name"] = Repository()
        hub.repositories["owner/name"].commit("main", published)
        online = {"HF_ENDPOINT": hub.endpoint, "HF_HUB_OFFLINE": "0", "HF_TOKEN": None}
        found = run_fresh(SCRIPT, TEXT, cache=tmp_path / "cache", python=python, **online)
    assert {"torch", "transformers"} <= set(found["installed"])
    # What training needs, and nothing that a model answers with.
    assert not {"accelerate", "datasets", "evaluate", "scikit-learn"} & set(found["installed"])
    assert not [path for path in found["path"] if path.startswith(str(ROOT))]
    expected = MultiTaskPipeline(model=model, tokenizer=tokenizer)(TEXT)
    assert found["answer"]["embedding"] == pytest.approx(expected["embedding"], abs=1e-5)
    assert found["answer"]["labels"]["topic"]["label"] == expected["labels"]["topic"]["label"]
    assert [entity["text"] for entity in found["answer"]["entities"]["entities"]] == [
        entity["text"] for entity in expected["entities"]["entities"]
    ]
