"""Publishing: the real client pushes to a Hub on this machine, and fresh processes load from it."""

import getpass
import html
import json
import math
import os
import platform
import re
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
import yaml
from conftest import TASKS, TOPIC
from fresh_process import run_fresh
from hub_server import TOKEN, HubServer, Repository
from huggingface_hub import ModelCard
from safetensors.torch import load
from transformers import AutoTokenizer

from multitask_encoder import __version__
from multitask_encoder.cli import export as export_model
from multitask_encoder.export.finished_run import (
    Base,
    FinishedRun,
    base_of,
    finished_run,
    publishable,
    read_run,
)
from multitask_encoder.export.model_card import model_card
from multitask_encoder.files import write_json
from multitask_encoder.modeling import MultiTaskConfig, MultiTaskModel

ROOT = Path(__file__).parent.parent
SIZE = {"type": "sequence_classification", "labels": ["size"], "problem_type": "regression"}
TEXT = "Paris plays in the park, and Anna sings."
BASE_MODEL = "owner/encoder"
BASE_CARD = b"---\nlicense: apache-2.0\nlanguage: en\n---\n\n# An encoder\n"
# Of who publishes, and must not be published.
USER = "anna-of-the-tests"
RESULTS = {
    "eval_score": 0.4,
    "test_score": 0.83,
    "test_exact_match": 0.5,
    "test_entities_f1": 0.75,
    "test_entities_strict_f1": 0.7,
    "test_topic_accuracy": 0.91236,
    "test_embedding_spearman": 0.6,
    "train_samples": 1200,
    "test_samples": 100,
    "test_loss": 0.1,
    "test_loss_topic": 0.2,
    "test_runtime": 0.5,
}
PUBLISHED = [
    ".gitattributes",
    "1_Pooling/config.json",
    "README.md",
    "answering.py",
    "attention.py",
    "batching.py",
    "config.json",
    "config.yaml",
    "config_sentence_transformers.json",
    "configuration_multitask.py",
    "confusion.png",
    "curves.png",
    "decoding.py",
    "handler.py",
    "heads.py",
    "library_errors.py",
    "losses.py",
    "model.safetensors",
    "modeling_multitask.py",
    "modules.json",
    "pipeline_multitask.py",
    "pooling.py",
    "pretrained_encoder.py",
    "report.png",
    "requirements.txt",
    "scope.py",
    "sentence_bert_config.json",
    "sentence_transformers_files.py",
    "stored_weights.py",
    "tokenizer.json",
    "tokenizer_config.json",
    "windows.py",
]
OLD = {"README.md": b"old", "model-00001-of-00002.safetensors": b"old", "notes.txt": b"mine"}
REPORT = """# One multi-task model beside single-task models

- Sharing hurts nowhere.

## Metrics on the test split

![Differences of each seed](report.png)
"""
PICTURE = b"\x89PNG of the tests"
PUSH = """
import json, sys
from pathlib import Path
root, folder, token = sys.argv[1:]
sys.path.insert(0, root)
import huggingface_hub
from transformers import AutoTokenizer
from multitask_encoder.export.finished_run import read_run
from multitask_encoder.export.publish import publish
from multitask_encoder.modeling import MultiTaskModel

model = MultiTaskModel.from_pretrained(folder)
tokenizer = AutoTokenizer.from_pretrained(folder)
run = read_run(Path(folder))

def push(repo_id, token=token, **kwargs):
    try:
        return publish(model, tokenizer, repo_id, run, token=token, **kwargs)
    except OSError as error:
        return str(error)

said = {repo_id: push(repo_id) for repo_id in ("owner/name", "owner/broken", "owner/closed")}
said |= {"stranger": push("owner/new", token="hf_wrong"), "no id": push("a b/c/d")}
model.encoder.embeddings.word_embeddings.weight.data.mul_(-1)
said["other"] = push("owner/name", revision="other")
said["replaced"] = push("owner/replaced")
hub = {"push_to_hub": True, "repo_id": "owner/saved", "token": token}
model.save_pretrained(Path(folder).parent / "saved", **hub)
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

# As the server of an Inference Endpoint does.
ENDPOINT = """
import importlib.util, json, sys
from huggingface_hub import snapshot_download

text, folder = sys.argv[1:]
snapshot_download("owner/name", local_dir=folder)
spec = importlib.util.spec_from_file_location("handler.EndpointHandler", f"{folder}/handler.py")
sys.path.insert(0, folder)
module = importlib.util.module_from_spec(spec)
sys.modules["handler.EndpointHandler"] = module
spec.loader.exec_module(module)
handler = module.EndpointHandler(folder)
requests = {
    "one": {"inputs": text},
    "many": {"inputs": [text, ""], "parameters": {"tasks": ["topic"]}},
    "none": {"inputs": []},
    "wrong": {"inputs": [text, 3]},
    "unknown": {"inputs": text, "parameters": {"tasks": ["mood"]}},
}
answers = {}
for name, request in requests.items():
    try:
        answers[name] = handler(request)
    except ValueError as error:
        answers[name] = str(error)
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def hub():
    with HubServer() as server:
        for repo_id in ("owner/broken", "owner/closed", "owner/replaced"):
            server.repositories[repo_id] = Repository()
            server.repositories[repo_id].commit("main", OLD)
        server.repositories[BASE_MODEL] = Repository()
        server.repositories[BASE_MODEL].commit("main", {"README.md": BASE_CARD})
        server.refuse_commits = {"owner/broken": 500, "owner/closed": 403}
        yield server


@pytest.fixture(scope="module")
def online(hub) -> dict:
    """Variables with which a process finds `hub`, and no other."""
    return {"HF_ENDPOINT": hub.endpoint, "HF_HUB_OFFLINE": "0", "HF_TOKEN": None}


@pytest.fixture(scope="module")
def model(backbone) -> MultiTaskModel:
    torch.manual_seed(0)
    return MultiTaskModel.from_backbone(str(backbone()), tasks=TASKS).eval()


@pytest.fixture(scope="module")
def folder(model, backbone, tmp_path_factory) -> Path:
    """A finished run: the model, what is known of it, and what must not be published."""
    folder = tmp_path_factory.mktemp("run")
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(backbone()).save_pretrained(folder)
    (folder / "config.yaml").write_text(yaml.safe_dump(keys(folder)))
    (folder / "all_results.json").write_text(json.dumps(RESULTS))
    (folder / "report.md").write_text(REPORT)
    for name in ("report.png", "curves.png", "confusion.png"):
        (folder / name).write_bytes(PICTURE)
    for name in ("training_args.bin", "trainer_state.json", "report.html"):
        (folder / name).write_text("private")
    return folder


def keys(folder: Path) -> dict:
    """A run's, with all that tells of the machine and of who uses it."""
    return {
        "encoder": BASE_MODEL,
        "revision": "main",
        "tasks": {"topic": {**TOPIC["topic"], "label_map": {"a/b": "~c"}}},
        "data_dir": str(folder / "data"),
        "train_file": str(folder / USER / "train.jsonl"),
        "test_file": ["~/here/test.jsonl", r"C:\Users\anna\test-2.jsonl"],
        "predict_file": str(folder / "texts.txt"),
        "output_dir": str(folder),
        "logging_dir": str(folder / "logs"),
        "deepspeed": "~/deepspeed.json",
        "fsdp_config": {"levels": [str(folder)], "version": 2},
        "run_name": USER,
        "hub_model_id": "me/mine",
        "hub_token": TOKEN,
        "push_to_hub_token": TOKEN,
        "learning_rate": 3e-05,
        "prompt": "either/or: ",
        "examples": ["Paris plays.", "a | b"],
    }


@pytest.fixture(scope="module")
def said(hub, online, folder, tmp_path_factory) -> dict[str, str]:
    """What `publish` returned or raised, per push."""
    cache = tmp_path_factory.mktemp("pusher")
    return run_fresh(PUSH, ROOT, folder, TOKEN, cache=cache, USER=USER, LOGNAME=USER, **online)


@pytest.fixture(scope="module")
def loaded(said, online, tmp_path_factory) -> dict:
    """The answers of a process that knows only the Hub."""
    cache = tmp_path_factory.mktemp("loader")
    return run_fresh(LOAD, TEXT, cache / "again", cache=cache, **online)


def assert_holds_nothing_of_this_machine(files: dict[str, bytes], *paths: Path) -> None:
    """In no byte of any file is there a path, a name or a token of where it was made."""
    places = [ROOT, Path.cwd(), Path.home(), Path(sys.prefix), Path(tempfile.gettempdir()), *paths]
    secrets = [str(place).encode() for place in places]
    secrets += [USER.encode(), TOKEN.encode()]
    # These may be any short word: of code, or two bytes of a number.
    names = {getpass.getuser(), socket.gethostname(), platform.node()}
    for name, content in files.items():
        for secret in secrets:
            assert secret not in content, (name, secret)
        if name.endswith(".json"):  # what a tokenizer remembers
            assert b"local_files_only" not in content
            assert b"is_local" not in content
        if name.endswith(".safetensors"):
            content = content[: 8 + int.from_bytes(content[:8], "little")]
        if name.endswith(".png"):  # its texts come before what is compressed
            content = content.partition(b"IDAT")[0]
        for word in names if not name.endswith(".py") else ():
            assert not re.search(rb"\b%s\b" % re.escape(word.encode()), content), (name, word)


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


def test_published_handler_answers_as_the_pipeline_does(said, loaded, online, tmp_path):
    answers = run_fresh(ENDPOINT, TEXT, tmp_path / "repository", cache=tmp_path / "cache", **online)
    assert answers["one"] == loaded["pipeline"]
    first, second = answers["many"]
    scores = loaded["pipeline"]["labels"]["topic"]["scores"]
    assert first["labels"]["topic"]["scores"] == pytest.approx(scores)
    assert (first["entities"], second["entities"]) == ({}, {})
    assert answers["none"] == []
    assert answers["wrong"] == "The input should be a text. Found int as input 1."
    assert answers["unknown"].startswith("Unknown task 'mood'. This model has: topic, ")


def test_revisions_keep_their_own_weights(said, loaded, hub):
    key = "encoder.embeddings.word_embeddings.weight"
    main, other = (
        load(hub.repositories["owner/name"].files(revision)["model.safetensors"])[key]
        for revision in ("main", "other")
    )
    assert torch.equal(other, -main)
    assert said["other"].endswith(hub.repositories["owner/name"].resolve("other"))
    assert loaded["other"] != loaded["main"]


def test_a_model_that_is_pushed_as_it_is_saved_brings_all_its_files(said, hub, folder):
    files = hub.repositories["owner/saved"].files()
    assert {"modules.json", "1_Pooling/config.json", "pipeline_multitask.py"} <= {*files}
    assert {path.name for path in (folder.parent / "saved").iterdir()} - {"1_Pooling"} <= {*files}


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


@pytest.mark.parametrize("repo_id", ["owner/name", None])
def test_command_writes_what_is_published_to_a_folder(repo_id, hub, said, folder, tmp_path, capsys):
    published = hub.repositories["owner/name"].files()
    options = ["--to", "folder", "--output", str(tmp_path / "mine")]
    export_model.main([str(folder), *options, *(["--repo_id", repo_id] if repo_id else [])])
    assert f"{tmp_path / 'mine'} is ready: 0." in capsys.readouterr().out
    paths = [path for path in (tmp_path / "mine").rglob("*") if path.is_file()]
    files = {path.relative_to(tmp_path / "mine").as_posix(): path.read_bytes() for path in paths}
    assert sorted(files) == PUBLISHED[1:]
    # Nobody asks the Hub here what it says of the base model.
    for name in set(files) - {"README.md", "config.yaml"}:
        assert files[name] == published[name], name
    assert f'model="{repo_id or "mine"}"' in files["README.md"].decode()


def test_command_publishes(hub, online, folder, tmp_path):
    command = [sys.executable, "-m", "multitask_encoder", "export", folder, "--to", "hub"]
    done = run_online([*command, "--repo_id", "owner/by-command"], online, tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    assert f"\nPublished: {hub.endpoint}/owner/by-command/commit/" in done.stdout
    files = hub.repositories["owner/by-command"].files()
    published = hub.repositories["owner/name"].files()
    assert sorted(files) == PUBLISHED
    assert {name for name in files if files[name] != published.get(name)} == {"README.md"}
    assert_holds_nothing_of_this_machine(files, folder.parent)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--to", "hub"], "--to hub needs a --repo_id. Found none."),
        (["--to", "hub", "--repo_id", "a/b", "--output", "c"], "--to hub writes no folder."),
        (["--to", "onnx", "--repo_id", "a/b"], "--repo_id is for --to hub and folder."),
        (["--to", "hub", "--repo_id", "a/b"], "Nothing was published to a/b: "),
    ],
)
def test_command_refuses_in_one_line(options, reason, folder, capsys):
    with pytest.raises(SystemExit) as stop:
        export_model.main([str(folder), *options])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {reason}")
    assert said.count("\n") == 1


# The card


def test_card_has_the_hubs_own_words_for_what_the_model_is(said, hub):
    data = ModelCard(hub.repositories["owner/name"].files()["README.md"].decode()).data
    assert data["base_model"] == BASE_MODEL
    assert data["license"] == "apache-2.0"
    assert data["library_name"] == "transformers"
    assert data["pipeline_tag"] == "feature-extraction"
    assert data["tags"] == [
        "multi-task",
        "sentence-transformers",
        "sentence-similarity",
        "text-classification",
        "token-classification",
    ]
    assert data["widget"] == [{"text": "Paris plays."}, {"text": "a | b"}]
    assert data["datasets"] is None
    found = [
        (result.task_type, result.metric_type, result.metric_name, result.metric_value)
        for result in data["eval_results"]
    ]
    assert found == [
        ("text-classification", "accuracy", "topic_accuracy", 0.9124),
        ("token-classification", "f1", "entities_f1", 0.75),
        ("token-classification", "f1", "entities_strict_f1", 0.7),
        ("sentence-similarity", "spearmanr", "embedding_spearman", 0.6),
    ]
    of_data = {
        (one.dataset_type, one.dataset_name, one.dataset_split) for one in data["eval_results"]
    }
    assert of_data == {("custom", "train.jsonl", "test")}


def test_card_says_what_it_answers_how_it_was_made_and_how_well_it_does(said, hub):
    content = hub.repositories["owner/name"].files()["README.md"].decode()
    assert f"published with multitask-encoder {__version__}." in " ".join(content.split())
    assert "| topic | one label | sports, tech, health |" in content
    assert "| entities | entities, with their character offsets | LOC, PER |" in content
    (code,) = re.findall(r"```python\n(.*?)```", content, flags=re.DOTALL)
    assert len([line for line in code.splitlines() if line]) == 6
    assert 'pipeline("multitask", model="owner/name", trust_remote_code=True)' in code
    assert "Rows: 1,200 for training, 100 for test." in content
    assert "| topic_accuracy | 91.24 |\n| entities_f1 | 75.00 |" in content
    assert "runtime" not in content
    assert "## One multi-task model beside single-task models" in content
    assert "### Metrics on the test split\n\n![Differences of each seed](report.png)" in content
    assert "The encoder's licence is apache-2&#46;0." in content
    assert "](curves.png)\n\n## Results\n" in content
    assert "](confusion.png)\n\n## One multi-task model" in content
    for name in ("report.png", "curves.png", "confusion.png"):
        assert hub.repositories["owner/name"].files()[name] == PICTURE


def test_the_lines_of_use_run_and_answer(said, hub, online, loaded, tmp_path):
    content = hub.repositories["owner/name"].files()["README.md"].decode()
    (code,) = re.findall(r"```python\n(.*?)```", content, flags=re.DOTALL)
    *most, last = code.strip().splitlines()
    script = "\n".join([*most, f"import json; print(json.dumps({last.partition('#')[0]}))"])
    assert run_fresh(script, cache=tmp_path, **online) == len(loaded["main"])


def test_settings_are_published_without_paths(said, hub, folder):
    files = hub.repositories["owner/name"].files()
    settings = yaml.safe_load(files["config.yaml"])
    assert settings == {
        "encoder": BASE_MODEL,
        "revision": "main",
        "tasks": {"topic": {**TOPIC["topic"], "label_map": {"a/b": "~c"}}},
        "train_file": "train.jsonl",
        "test_file": ["test.jsonl", "test-2.jsonl"],
        "fsdp_config": {"version": 2},
        "learning_rate": 3e-05,
        "prompt": "either/or: ",
    }
    assert f"```yaml\n{files['config.yaml'].decode()}```" in files["README.md"].decode()


def test_settings_of_several_data_sets(tmp_path):
    sources = {
        "one": {"data_dir": str(tmp_path), "train_file": "a/b.csv", "columns": {"x": "y/z"}},
        "two": {"dataset": "someone/rows"},
        "three": {"dataset": str(tmp_path)},
    }
    settings = publishable({"datasets": sources, "encoder": str(tmp_path)}, Base())
    one = {"train_file": "b.csv", "columns": {"x": "y/z"}}
    assert settings == {"datasets": {"one": one, "two": {"dataset": "someone/rows"}, "three": {}}}
    config = MultiTaskConfig(tasks=TASKS)
    data = model_card(config, 128, "owner/name", FinishedRun(settings=settings)).data
    assert data["datasets"] == ["someone/rows"]


def test_words_are_published_and_names_of_folders_are_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("csv", "mean", "mine", "synthetic"):
        (tmp_path / name).mkdir()
    words = {"format": "csv", "pooling": "mean", "dataset": "synthetic", "encoding": "x" * 300}
    of_the_machine = {
        "deepspeed": "mine",
        "fsdp_config": "no-such-file.json",
        "teachers": {"topic": "mine", "entities": ["mine"]},
        "lr_scheduler_kwargs": {"steps": [{"from": str(tmp_path)}]},
        "datasets": {"one": {"dataset": "mine"}},
    }
    left: dict = {"lr_scheduler_kwargs": {}, "datasets": {"one": {}}}
    assert publishable(words | of_the_machine, Base()) == words | left


def test_settings_are_a_block_of_code_whatever_they_hold():
    run = FinishedRun(settings={"prompt": "a\n```\n<script>"})
    text = model_card(MultiTaskConfig(tasks=TASKS), 128, "owner/name", run).text
    (block,) = re.findall(r"^````yaml\n(.*?)^````$", text, flags=re.MULTILINE | re.DOTALL)
    assert yaml.safe_load(block) == run.settings


def test_what_a_run_began_with(backbone, tmp_path):
    assert base_of({}) == Base()
    assert base_of({"encoder": str(backbone())}) == Base()  # it has no card
    assert base_of({"encoder": "no/such-encoder"}) == Base()  # and nobody to ask
    card = "---\nbase_model: {}\nlicense: mit\nlanguage: [en, de]\n---\n"
    (tmp_path / "README.md").write_text(card.format(BASE_MODEL))
    known = Base(BASE_MODEL, "mit", ["en", "de"])
    assert base_of({"encoder": str(tmp_path)}) == known
    first = tmp_path / "first"
    first.mkdir()
    (first / "config.yaml").write_text(f"encoder: {tmp_path}")
    assert base_of({"encoder": "else", "model": str(first)}) == known
    # Trained further in its own folder, whose config.yaml was replaced by that of this run.
    (first / "config.yaml").write_text(f"encoder: {tmp_path}\nmodel: {first}/")
    assert base_of({"encoder": "else", "model": str(first)}) == known
    (tmp_path / "README.md").write_text(card.format("[a/b, c/d]"))
    assert base_of({"encoder": str(tmp_path)}) == known._replace(repo_id=None)
    (tmp_path / "README.md").write_text("---\n: [\n---\n")
    assert base_of({"encoder": str(tmp_path)}) == Base()


def test_report_is_that_of_the_comparison_the_run_is_a_part_of(tmp_path):
    (tmp_path / "report.md").write_text(REPORT)
    run = finished_run({}, {}, tmp_path / "multi-seed3")
    assert (run.report, run.picture) == (REPORT, None)
    assert "report.png" not in model_card(MultiTaskConfig(tasks=TASKS), 128, "a/b", run).text
    assert finished_run({}, {}, tmp_path / "topic-seed3").report is None
    (tmp_path / "report.png").touch()
    assert finished_run({}, {}, tmp_path / "multi-seed3").picture == tmp_path / "report.png"


def test_card_of_an_unknown_model(tmp_path):
    config = MultiTaskConfig(tasks={"size": SIZE}, sentence_windows="mean")
    card = model_card(config, 10**30, "owner/name", read_run(tmp_path))
    assert {"license", "base_model", "widget", "model-index"}.isdisjoint(card.data.to_dict())
    assert "## Training" not in card.text
    assert "## Results" not in card.text
    assert "No results of this model are known" in card.text
    assert "windows" not in card.text
    assert "as an embedding, the sentence vector may be worse" in card.text


def test_card_says_so_where_results_are_of_the_validation_split():
    run = FinishedRun(results={"eval_topic_accuracy": 0.5})
    card = model_card(MultiTaskConfig(tasks=TASKS), 128, "owner/name", run)
    assert "| validation split | percent |" in card.text
    assert "There is no test split." in card.text
    assert [one.dataset_split for one in card.data["eval_results"]] == ["validation"]


def test_card_shows_intervals_beside_their_results():
    found = {"test_topic_accuracy": 0.5, "test_topic_accuracy_interval": [0.25, 0.75]}
    card = model_card(MultiTaskConfig(tasks=TASKS), 128, "owner/name", FinishedRun(results=found))
    assert "| topic_accuracy | 50.00 (25.00 to 75.00) |" in card.text
    assert "In parentheses: 95 % bootstrap intervals over rows." in card.text
    assert [one.metric_name for one in card.data["eval_results"]] == ["topic_accuracy"]


def test_the_card_says_how_far_scores_can_be_relied_on():
    errors = {"calibration_error": 0.02, "brier": 0.1, "bins": [[0.9, 0.88, 100]]}
    both = {"before": {**errors, "calibration_error": 0.05}, "after": errors}
    chosen = {"precision": {"0.95": 0.61234}}
    found = {
        "calibration": {"topic": {"temperature": 2.0, "validation": both, "test": both}},
        "thresholds": {
            "topic": {
                "thresholds": chosen,
                "test": {"precision": {"0.95": {"precision": 0.96, "answered": 0.8}}},
            }
        },
        "out_of_scope": {"topic": {"test": {"refused": 0.05, "accuracy": 0.9}}},
    }
    scope = {"centers": 3, "false_alarms": 0.05}
    tasks = {**TASKS, "topic": {**TASKS["topic"], "out_of_scope": scope}}
    run = FinishedRun(results=found, pictures=[Path("reliability.png")])
    text = model_card(MultiTaskConfig(tasks=tasks), 128, "owner/name", run).text
    assert "| topic | 2.00 | 5.00 → 2.00 | 5.00 → 2.00 | 0.1000 → 0.1000 |" in text
    assert "| topic | 95 | 0.612 | 80.0 | 96.0 |" in text
    assert "| topic | test | 5.0 |  |  | 90.0 |" in text
    assert "![How often scores are right](reliability.png)" in text
    assert "- Scores of entities are not calibrated" in text
    assert "- topic: texts that are unlike those of its training get no label" in text
    assert "even if none fits" not in text
    without = model_card(MultiTaskConfig(tasks=TASKS), 128, "owner/name", FinishedRun()).text
    assert "- topic: every text gets one of the labels, even if none fits." in without
    assert "- Scores of topic, entities are not calibrated" in without


def test_the_card_of_a_folder_has_its_intervals_and_scores(tmp_path):
    errors = {"calibration_error": 0.02, "brier": 0.1, "bins": [[0.9, 0.88, 100]]}
    both = {"before": {**errors, "calibration_error": 0.05}, "after": errors}
    unanswered = {"precision": {"0.95": {"precision": math.nan, "answered": 0.0}}}
    found = {
        "eval_topic_accuracy": 0.5,
        "eval_topic_accuracy_interval": [0.25, 0.75],
        "eval_entities_f1": math.nan,
        "calibration": {"topic": {"temperature": 2.0, "validation": both}},
        "thresholds": {
            "topic": {"thresholds": {"precision": {"0.95": 0.61234}}, "validation": unanswered}
        },
        "teachers": [{"model": str(tmp_path)}],
    }
    write_json(found, tmp_path / "all_results.json")
    run = read_run(tmp_path)
    assert "teachers" not in run.results
    text = model_card(MultiTaskConfig(tasks=TASKS), 128, "owner/name", run).text
    assert "| topic_accuracy | 50.00 (25.00 to 75.00) |" in text
    assert "## Scores" in text
    assert "| topic | 2.00 | 5.00 → 2.00 |  | 0.1000 → 0.1000 |  |" in text
    assert "| topic | 95 | 0.612 | 0.0 |  |" in text
    assert "- Scores of entities are not calibrated" in text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("all_results.json", "", "is not valid JSON: Expecting value"),
        ("all_results.json", "[]", "should hold results by their names. Found []."),
        ("config.yaml", "model: [a]", ": model should be a text. Found ['a']."),
        ("config.yaml", "examples: 5", ": examples should be a text or a list. Found 5."),
        ("config.yaml", "datasets: [a]", ": datasets should be a mapping. Found ['a']."),
    ],
)
def test_a_damaged_file_of_a_run_is_named(name, content, message, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        read_run(tmp_path)
    assert str(error.value).startswith(str(tmp_path / name))


def test_card_shows_labels_of_any_text():
    labels = ["a|b", "I-5", "<b>", "two\nlines", "[x](http://y)", "`$\\alpha$`", "ça va"]
    tasks = {"topic": {"type": "sequence_classification", "labels": labels}}
    card = model_card(MultiTaskConfig(tasks=tasks), 128, "owner/name", FinishedRun())
    (row,) = re.findall(r"^\| topic .*$", card.text, flags=re.MULTILINE)
    shown = row.removeprefix("| topic | one label | ").removesuffix(" |")
    assert html.unescape(shown) == ", ".join(labels)
    assert not set(re.sub(r"&#\d+;", "", shown)) & set("|<>[]()`$\\:*_\n")
    assert "I-5" in shown


def test_card_shows_no_more_labels_than_a_reader_does():
    labels = [f"label {number}" for number in range(1000)]
    tasks = {"topic": {"type": "sequence_classification", "labels": labels}}
    card = model_card(MultiTaskConfig(tasks=tasks), 128, "owner/name", FinishedRun())
    assert "label 49, and 950 more |" in card.text


def test_card_gives_a_metric_to_the_task_with_the_longest_name():
    tasks = {
        "topic": {"type": "sequence_classification", "labels": ["a", "b"]},
        "topic_words": {"type": "token_classification", "labels": ["O", "B-X", "I-X"]},
    }
    run = FinishedRun(results={"eval_topic_words_f1": 0.5, "eval_topic_accuracy": 0.25})
    card = model_card(MultiTaskConfig(tasks=tasks), 128, "owner/name", run)
    assert {result.metric_name: result.task_type for result in card.data["eval_results"]} == {
        "topic_words_f1": "token-classification",
        "topic_accuracy": "text-classification",
    }


# A run


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
    return run_online(command, online, output_dir.with_suffix(".cache"))


def run_online(command: list, online: dict, cache: Path) -> subprocess.CompletedProcess:
    """A command of the repository, by someone who is logged in at the Hub."""
    own = {"HF_HOME": str(cache), "HF_TOKEN": TOKEN, "USER": USER, "LOGNAME": USER}
    variables = {**os.environ, **online, **own}
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
    assert sorted([*files, "report.png"]) == PUBLISHED
    assert f"Published: {hub.endpoint}/owner/trained/commit/" in done.stdout
    assert files["model.safetensors"] == (tmp_path / "run" / "model.safetensors").read_bytes()
    assert_holds_nothing_of_this_machine(files, tmp_path, backbone().parent)
    card = ModelCard(files["README.md"].decode())
    reported = {(one.metric_name, one.metric_type) for one in card.data["eval_results"]}
    assert reported == {
        *(("topic_accuracy", "accuracy"), ("topic_macro_f1", "f1")),
        *((f"entities_{name}", name) for name in ("precision", "recall", "f1")),
        ("entities_strict_f1", "f1"),
    }
    assert "Rows: 24 for training, 8 for validation, 8 for test." in card.text
    assert yaml.safe_load(files["config.yaml"])["num_train_epochs"] == 1


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
