"""Publishing: the real client pushes to a Hub on this machine, and fresh processes load from it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from conftest import TASKS
from fresh_process import run_fresh
from hub_server import TOKEN, HubServer, Repository
from huggingface_hub import ModelCard
from safetensors.torch import load
from transformers import AutoTokenizer

from export.model_card import model_card
from export.publish import stage
from modeling import MultiTaskConfig, MultiTaskModel

ROOT = Path(__file__).parent.parent
TEXT = "Paris plays in the park, and Anna sings."
BASE_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
RESULTS = {
    "eval_score": 0.4,
    "test_topic_accuracy": 0.91236,
    "test_entities_f1": 0.75,
    "test_score": 0.83,
    "test_loss": 0.1,
    "test_loss_topic": 0.2,
    "test_runtime": 0.5,
}
PUBLISHED = [
    ".gitattributes",
    "1_Pooling/config.json",
    "README.md",
    "batching.py",
    "config.json",
    "config_sentence_transformers.json",
    "configuration_multitask.py",
    "decoding.py",
    "heads.py",
    "losses.py",
    "model.safetensors",
    "modeling_multitask.py",
    "modules.json",
    "pipeline_multitask.py",
    "pooling.py",
    "sentence_bert_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "windows.py",
]
OLD = {"README.md": b"old", "model-00001-of-00002.safetensors": b"old", "notes.txt": b"mine"}
PUSH = """
import json, sys
root, folder, results, base_model, token = sys.argv[1:]
sys.path.insert(0, root)
import huggingface_hub
from transformers import AutoTokenizer
from export.model_card import model_card
from export.publish import publish
from modeling import MultiTaskModel

model = MultiTaskModel.from_pretrained(folder)
tokenizer = AutoTokenizer.from_pretrained(folder)

def push(repo_id, token=token, **kwargs):
    card = model_card(model.config, repo_id, base_model, json.loads(results))
    try:
        return publish(model, tokenizer, card, repo_id, token=token, **kwargs)
    except OSError as error:
        return str(error)

said = {repo_id: push(repo_id) for repo_id in ("owner/name", "owner/broken", "owner/closed")}
said |= {"stranger": push("owner/new", token="hf_wrong"), "no id": push("a b/c/d")}
model.encoder.embeddings.word_embeddings.weight.data.mul_(-1)
said["other"] = push("owner/name", revision="other")
said["replaced"] = push("owner/replaced")
huggingface_hub.constants.ENDPOINT = "http://127.0.0.1:9"
said["nobody there"] = push("owner/name")
print(json.dumps(said))
"""
LOAD = """
import importlib.util, json, sys
from transformers import AutoModel, AutoTokenizer, pipeline

text, again = sys.argv[1:]
answers = {"importable": [name for name in ("modeling", "data") if importlib.util.find_spec(name)]}
for revision in ("main", "other"):
    hub = {"pretrained_model_name_or_path": "owner/name", "revision": revision}
    tokenizer = AutoTokenizer.from_pretrained(**hub, trust_remote_code=True)
    model = AutoModel.from_pretrained(**hub, trust_remote_code=True)
    output = model(**tokenizer(text, return_tensors="pt"))
    answers[revision] = output.sentence_embedding[0].tolist()
pipe = pipeline("multitask", model="owner/name", trust_remote_code=True)
answers["pipeline"] = pipe(text)
pipe.save_pretrained(again)
answers["again"] = pipeline("multitask", model=again, trust_remote_code=True)(text)
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def hub():
    with HubServer() as server:
        for repo_id in ("owner/broken", "owner/closed", "owner/replaced"):
            server.repositories[repo_id] = Repository()
            server.repositories[repo_id].commit("main", OLD)
        server.refuse_commits = {"owner/broken": 500, "owner/closed": 403}
        yield server


@pytest.fixture(scope="module")
def online(hub) -> dict:
    """Variables with which a process finds `hub`, and no other."""
    return {"HF_ENDPOINT": hub.endpoint, "HF_HUB_OFFLINE": "0", "HF_TOKEN": None}


@pytest.fixture(scope="module")
def model(_backbones) -> MultiTaskModel:
    torch.manual_seed(0)
    return MultiTaskModel.from_backbone(str(_backbones["bert"]), tasks=TASKS).eval()


@pytest.fixture(scope="module")
def folder(model, _backbones, tmp_path_factory) -> Path:
    """A finished run: the model, and what must not be published."""
    folder = tmp_path_factory.mktemp("run")
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(_backbones["bert"]).save_pretrained(folder)
    for name in ("training_args.bin", "trainer_state.json"):
        (folder / name).write_text("private")
    return folder


@pytest.fixture(scope="module")
def said(hub, online, folder, tmp_path_factory) -> dict[str, str]:
    """What `publish` returned or raised, per push."""
    cache = tmp_path_factory.mktemp("pusher")
    return run_fresh(
        PUSH, ROOT, folder, json.dumps(RESULTS), BASE_MODEL, TOKEN, cache=cache, **online
    )


@pytest.fixture(scope="module")
def loaded(said, online, tmp_path_factory) -> dict:
    """The answers of a process that knows only the Hub."""
    cache = tmp_path_factory.mktemp("loader")
    return run_fresh(LOAD, TEXT, cache / "again", cache=cache, **online)


def assert_holds_nothing_of_this_machine(files: dict[str, bytes], *paths: Path) -> None:
    for name, content in files.items():
        for path in (ROOT, Path.cwd(), *paths):
            assert str(path).encode() not in content, (name, path)
        assert b"local_files_only" not in content
        assert b"is_local" not in content


def test_one_commit_holds_the_whole_model(said, hub):
    repository = hub.repositories["owner/name"]
    assert sorted(repository.files()) == PUBLISHED
    assert said["owner/name"] == f"{hub.endpoint}/owner/name/commit/{repository.resolve('main')}"
    assert len(repository.commits) == 3  # the empty one of the beginning, main's, and other's


def test_published_model_answers_anywhere(loaded, model, folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        output = model(**tokenizer(TEXT, return_tensors="pt"))
    assert loaded["importable"] == []
    assert loaded["main"] == output.sentence_embedding[0].tolist()
    assert loaded["pipeline"]["embedding"] == loaded["main"]
    assert list(loaded["pipeline"]["labels"]) == ["topic"]
    assert list(loaded["pipeline"]["entities"]) == ["entities"]
    assert loaded["again"] == loaded["pipeline"]


def test_revisions_keep_their_own_weights(said, loaded, hub):
    key = "encoder.embeddings.word_embeddings.weight"
    main, other = (
        load(hub.repositories["owner/name"].files(revision)["model.safetensors"])[key]
        for revision in ("main", "other")
    )
    assert torch.equal(other, -main)
    assert said["other"].endswith(hub.repositories["owner/name"].resolve("other"))
    assert loaded["other"] != loaded["main"]


def test_weights_of_an_earlier_model_are_replaced_and_other_files_stay(said, hub):
    files = hub.repositories["owner/replaced"].files()
    assert sorted(files) == sorted([*PUBLISHED[1:], "notes.txt"])
    assert files["notes.txt"] == b"mine"


@pytest.mark.parametrize(
    ("push", "repo_id", "reason"),
    [
        ("owner/broken", "owner/broken", "500 Internal Server Error"),
        ("owner/closed", "owner/closed", "403 Forbidden"),
        ("stranger", "owner/new", "401"),
        ("nobody there", "owner/name", "Connection refused"),
        ("no id", "a b/c/d", "Repo id must be in the form"),
    ],
)
def test_failed_push_says_so_in_one_line(push, repo_id, reason, said):
    assert said[push].startswith(f"Nothing was published to {repo_id}: ")
    assert reason in said[push]
    assert "\n" not in said[push]


def test_failed_push_leaves_the_hub_as_it_was(said, hub):
    for repo_id in ("owner/broken", "owner/closed"):
        assert list(hub.repositories[repo_id].commits.values()) == [OLD]
        assert list(hub.repositories[repo_id].branches) == ["main"]
    assert "owner/new" not in hub.repositories


def test_nothing_of_this_machine_is_published(said, hub, folder):
    files = hub.repositories["owner/name"].files()
    assert_holds_nothing_of_this_machine(files, folder.parent)
    assert json.loads(files["tokenizer_config.json"])["tokenizer_class"] == "BertTokenizer"


def test_staging_leaves_nothing_else_in_the_folder(model, folder, tmp_path):
    card = model_card(model.config, "owner/name", BASE_MODEL, {})
    stage(model, AutoTokenizer.from_pretrained(folder), card, tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(path.relative_to(tmp_path).as_posix() for path in files) == PUBLISHED[1:]


def test_card_says_what_the_model_is(said, hub):
    content = hub.repositories["owner/name"].files()["README.md"].decode()
    card = ModelCard(content)
    assert card.data.base_model == BASE_MODEL
    assert card.data.library_name == "transformers"
    assert card.data.pipeline_tag == "feature-extraction"
    assert card.data.tags == [
        "multi-task",
        "sentence-similarity",
        "text-classification",
        "token-classification",
    ]
    assert [
        (result.task_type, result.metric_type, result.metric_name, result.metric_value)
        for result in card.data.eval_results
    ] == [
        ("text-classification", "accuracy", "topic_accuracy", 0.9124),
        ("token-classification", "f1", "entities_f1", 0.75),
        ("feature-extraction", "score", "score", 0.83),
    ]
    assert 'pipeline("multitask", model="owner/name", trust_remote_code=True)' in content
    assert "| topic | sequence_classification | sports, tech, health |" in content
    assert "| entities | token_classification | LOC, PER |" in content
    assert "| topic_accuracy | 91.24 |" in content
    assert "runtime" not in content


def test_card_shows_labels_of_any_text():
    labels = ["a|b", "I-5", "<b>", "two\nlines"]
    tasks = {"topic": {"type": "sequence_classification", "labels": labels}}
    card = model_card(MultiTaskConfig(tasks=tasks), "owner/name", None, {})
    shown = "a&#124;b, I-5, &#60;b&#62;, two&#10;lines"
    assert f"| topic | sequence_classification | {shown} |" in card.text
    assert "base_model" not in card.data.to_dict()
    assert "Results" not in card.text


def test_card_gives_a_metric_to_the_task_with_the_longest_name():
    tasks = {
        "topic": {"type": "sequence_classification", "labels": ["a", "b"]},
        "topic_words": {"type": "token_classification", "labels": ["O", "B-X", "I-X"]},
    }
    results = {"eval_topic_words_f1": 0.5, "eval_topic_accuracy": 0.25}
    card = model_card(MultiTaskConfig(tasks=tasks), "owner/name", None, results)
    assert {result.metric_name: result.task_type for result in card.data.eval_results} == {
        "topic_words_f1": "token-classification",
        "topic_accuracy": "text-classification",
    }


def run_training(
    encoder: Path, output_dir: Path, repo_id: str, online: dict
) -> subprocess.CompletedProcess:
    config = {
        "encoder": str(encoder),
        "dataset": "synthetic",
        "tasks": {
            "topic": {"type": "sequence_classification"},
            "entities": {"type": "token_classification"},
        },
        "train_size": 24,
        "validation_size": 8,
        "test_size": 8,
        "max_length": 64,
        "num_train_epochs": 1,
        "per_device_train_batch_size": 8,
        "use_cpu": True,
        "report_to": "none",
        "output_dir": str(output_dir),
    }
    path = output_dir.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    command = [sys.executable, ROOT / "run_multitask.py", path]
    command += ["--push_to_hub", "--hub_model_id", repo_id]
    cache = str(output_dir.with_suffix(".cache"))
    variables = {**os.environ, **online, "HF_HOME": cache, "HF_TOKEN": TOKEN}
    return subprocess.run(
        command,
        cwd=ROOT,
        env={name: value for name, value in variables.items() if value is not None},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_run_publishes_its_model(hub, online, backbone, tmp_path):
    done = run_training(backbone(), tmp_path / "run", "owner/trained", online)
    assert done.returncode == 0, done.stderr
    files = hub.repositories["owner/trained"].files()
    assert sorted(files) == PUBLISHED
    assert f"Published: {hub.endpoint}/owner/trained/commit/" in done.stdout
    assert files["model.safetensors"] == (tmp_path / "run" / "model.safetensors").read_bytes()
    assert_holds_nothing_of_this_machine(files, tmp_path, backbone().parent)
    card = ModelCard(files["README.md"].decode())
    reported = {result.metric_name for result in card.data.eval_results}
    assert {"topic_accuracy", "entities_f1", "exact_match", "score"} <= reported
    assert not any("loss" in name or "runtime" in name for name in reported)


@pytest.mark.slow  # a whole run again
def test_run_whose_push_fails_is_whole_and_says_so(hub, online, backbone, tmp_path):
    done = run_training(backbone(), tmp_path / "run", "owner/broken", online)
    assert done.returncode == 2
    assert "Traceback" not in done.stdout + done.stderr
    (line,) = re.findall(r"^error: .*$", done.stderr, flags=re.MULTILINE)
    assert line.startswith("error: Nothing was published to owner/broken: ")
    assert list(hub.repositories["owner/broken"].commits.values()) == [OLD]
    model = MultiTaskModel.from_pretrained(tmp_path / "run")
    assert list(model.config.tasks) == ["topic", "entities"]
    assert "test_score" in json.loads((tmp_path / "run" / "all_results.json").read_text())
    assert (tmp_path / "run" / "config.yaml").is_file()
