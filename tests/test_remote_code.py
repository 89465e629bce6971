"""A saved folder answers in a process that has never seen this repository."""

import json
import shutil

import pytest
import torch
from conftest import TASKS
from fresh_process import run_fresh
from transformers import AutoTokenizer

from multitask_encoder.inference.loading import load_tokenizer
from multitask_encoder.modeling import MultiTaskModel, MultiTaskPipeline

TEXT = "Paris plays in the park, and Anna sings."
ALL_TASKS = {
    **TASKS,
    "mood": {"type": "sequence_classification", "labels": ["good", "bad"]},
    "slots": {"type": "token_classification", "labels": ["O", "B-WHO", "I-WHO"]},
}
CODE = [
    "answering.py",
    "attention.py",
    "batching.py",
    "configuration_multitask.py",
    "decoding.py",
    "heads.py",
    "library_errors.py",
    "losses.py",
    "modeling_multitask.py",
    "pipeline_multitask.py",
    "pooling.py",
    "pretrained_encoder.py",
    "scope.py",
    "sentence_transformers_files.py",
    "stored_weights.py",
    "windows.py",
]
SCRIPT = """
import importlib.util, json, sys
from transformers import (
    AutoModel, AutoModelForSequenceClassification, AutoModelForTokenClassification, AutoTokenizer,
    pipeline,
)

text, folder, again = sys.argv[1:]
trusted = {"trust_remote_code": True}
tokenizer = AutoTokenizer.from_pretrained(folder, **trusted)
batch = tokenizer(text, return_tensors="pt")
model = AutoModel.from_pretrained(folder, **trusted)
model.save_pretrained(again)
tokenizer.save_pretrained(again)
output = model(**batch)
answers = {
    "importable": [name for name in ("modeling", "data") if importlib.util.find_spec(name)],
    "embedding": output.sentence_embedding.tolist(),
    "logits": {name: logits.tolist() for name, logits in output.logits.items()},
    "views": {},
}
for kind in (AutoModelForSequenceClassification, AutoModelForTokenClassification):
    for task_name in (None, "mood" if kind is AutoModelForSequenceClassification else "slots"):
        named = {"task_name": task_name} if task_name else {}
        view = kind.from_pretrained(folder, **named, **trusted)
        answers["views"][view.task_name] = {
            "logits": view(**batch).logits.tolist(),
            "labels": list(view.config.id2label.values()),
        }
stock = ("text-classification", "token-classification", "feature-extraction")
for task in (*stock, "multitask"):
    answers[task] = pipeline(task, model=folder, **trusted)(text)
for entity in answers["token-classification"]:
    entity["score"] = float(entity["score"])
print(json.dumps(answers))
"""
HOSTILE_SCRIPT = """
import json, os, sys
from transformers import AutoModel

text, planted, nested, plain, marker = sys.argv[1:]
answers = {}
for name, choice in (("refused", {"trust_remote_code": False}), ("not asked", {})):
    try:
        AutoModel.from_pretrained(planted, **choice)
    except ValueError as error:
        answers[name] = str(error)
    answers[f"{name}: code ran"] = os.path.exists(marker)
for name, folder in (("nested", nested), ("plain", plain)):
    model = AutoModel.from_pretrained(folder, trust_remote_code=True)
    answers[name] = model(**model.dummy_inputs).sentence_embedding.tolist()
answers["nested: code ran"] = os.path.exists(marker)
AutoModel.from_pretrained(planted, trust_remote_code=True)
answers["trusted: code ran"] = os.path.exists(marker)
print("\\n" + json.dumps(answers))  # a question may stand on the line
"""


def save(model: MultiTaskModel, tokenizer, folder) -> None:
    """As any loop saves."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="module")
def model(backbone) -> MultiTaskModel:
    torch.manual_seed(0)
    return MultiTaskModel.from_backbone(str(backbone()), tasks=ALL_TASKS).eval()


@pytest.fixture(scope="module")
def folder(model, backbone, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    save(model, AutoTokenizer.from_pretrained(backbone()), folder)
    return folder


@pytest.fixture(scope="module")
def again(tmp_path_factory):
    """Where the fresh process saves the model again."""
    return tmp_path_factory.mktemp("again")


@pytest.fixture(scope="module")
def answers(folder, again, tmp_path_factory) -> dict:
    """What a fresh process answers."""
    return run_fresh(SCRIPT, TEXT, folder, again, cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def expected(model, folder):
    """What this process answers."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        return model(**tokenizer(TEXT, return_tensors="pt"))


def test_folder_holds_the_code_and_nothing_to_unpickle(folder):
    names = sorted(path.name for path in folder.iterdir())
    assert [name for name in names if name.endswith(".py")] == CODE
    assert [name for name in names if name not in CODE] == [
        "1_Pooling",
        "config.json",
        "config_sentence_transformers.json",
        "model.safetensors",
        "modules.json",
        "sentence_bert_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_auto_model_answers_the_same_in_a_fresh_process(answers, expected):
    assert answers["importable"] == []
    assert answers["embedding"] == expected.sentence_embedding.tolist()
    assert answers["logits"] == {name: one.tolist() for name, one in expected.logits.items()}


def test_one_task_views_answer_the_first_or_the_named_task(answers, expected):
    assert list(answers["views"]) == ["topic", "mood", "entities", "slots"]
    for name, view in answers["views"].items():
        assert view["logits"] == expected.logits[name].tolist()
        assert view["labels"] == ALL_TASKS[name]["labels"]


def test_stock_pipelines_answer_the_first_task_of_their_type(answers, expected):
    scores = expected.logits["topic"][0].softmax(-1)
    best = int(scores.argmax())
    (answer,) = answers["text-classification"]
    assert answer["label"] == ALL_TASKS["topic"]["labels"][best]
    assert answer["score"] == pytest.approx(float(scores[best]))
    best = expected.logits["entities"][0].argmax(-1)
    labels = [ALL_TASKS["entities"]["labels"][one] for one in best]
    found = {entity["index"]: entity["entity"] for entity in answers["token-classification"]}
    assert found == {
        index: label for index, label in enumerate(labels[:-1]) if label != "O" and index > 0
    }
    assert answers["feature-extraction"] == expected.last_hidden_state.tolist()


def test_multitask_pipeline_answers_the_same_in_a_fresh_process(answers, model, folder):
    ours = MultiTaskPipeline(model=model, tokenizer=AutoTokenizer.from_pretrained(folder))
    assert answers["multitask"] == ours(TEXT)


def test_folder_saved_again_elsewhere_answers_the_same(answers, folder, again, tmp_path):
    assert sorted(path.name for path in again.glob("*.py")) == CODE
    config, first = (json.loads((one / "config.json").read_text()) for one in (again, folder))
    assert config["auto_map"] == first["auto_map"]
    assert config["custom_pipelines"]["multitask"]["impl"] == "pipeline_multitask.MultiTaskPipeline"
    assert run_fresh(SCRIPT, TEXT, again, tmp_path / "third", cache=tmp_path / "cache") == answers


def test_code_runs_only_when_trusted(model, folder, tmp_path):
    """Code that leaves a marker is planted in the model's own, and named by a nested config."""
    marker, planted, nested, plain = (
        tmp_path / name for name in ("marker", "planted", "nested", "plain")
    )
    write_marker = f"open({str(marker)!r}, 'w').close()\n"
    shutil.copytree(folder, planted)
    with (planted / "configuration_multitask.py").open("a") as file:
        file.write(write_marker)
    shutil.copytree(folder, nested)
    (nested / "hostile.py").write_text(write_marker)
    config = json.loads((nested / "config.json").read_text())
    config["encoder_config"] |= {
        "trust_remote_code": True,
        "auto_map": {"AutoConfig": "hostile.Config", "AutoModel": "hostile.Model"},
    }
    (nested / "config.json").write_text(json.dumps(config))
    model.save_pretrained(plain)

    answers = run_fresh(
        HOSTILE_SCRIPT, TEXT, planted, nested, plain, marker, cache=tmp_path / "cache"
    )
    for name in ("refused", "not asked"):
        assert "trust_remote_code=True" in answers[name]
        assert not answers[f"{name}: code ran"]
    with torch.no_grad():
        embedding = model(**model.dummy_inputs).sentence_embedding.tolist()
    assert answers["nested"] == answers["plain"] == embedding
    assert not answers["nested: code ran"]
    assert answers["trusted: code ran"]


# Encoders


def with_code(encoder, target, **config):
    """A copy of an encoder with other values in its config.json, and code that leaves a mark."""
    shutil.copytree(encoder, target)
    given = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(given | config))
    (target / "own.py").write_text(f"open({str(target / 'mark')!r}, 'w').close()\n")
    return target


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {
                "model_type": "own",
                "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"},
            },
            "It should be an encoder of transformers. Found one with code of its own, which is ",
        ),
        (
            {"attn_implementation": "someone/kernel"},
            "`attn_implementation` of its config should be one of transformers, like sdpa. Found",
        ),
        (
            {"_attn_implementation": "someone/kernel:attention"},
            "`_attn_implementation` of its config should be one of transformers, like sdpa. Found",
        ),
    ],
    ids=["code", "kernel", "kernel set by code"],
)
def test_encoder_that_needs_code_is_refused_without_a_question(
    config, message, backbone, tmp_path, monkeypatch
):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("It asks."))
    folder = with_code(backbone(), tmp_path / "encoder", **config)
    with pytest.raises(ValueError, match=f"^Can't load encoder '{folder}': {message}"):
        MultiTaskModel.from_backbone(str(folder), tasks=TASKS)
    assert not (folder / "mark").exists()


def test_encoder_beside_code_that_it_does_not_need_runs_none(backbone, tmp_path):
    own = {"AutoConfig": "own.Config", "AutoModel": "own.Model"}
    folder = with_code(backbone(), tmp_path / "encoder", auto_map=own)
    MultiTaskModel.from_backbone(str(folder), tasks=TASKS)
    assert not (folder / "mark").exists()


def test_tokenizer_with_code_runs_none_without_a_question(backbone, tmp_path, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("It asks."))
    folder = with_code(backbone(), tmp_path / "encoder")
    path = folder / "tokenizer_config.json"
    own = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", None]}}
    path.write_text(json.dumps(json.loads(path.read_text()) | own))
    assert load_tokenizer(str(folder)).get_vocab() == load_tokenizer(str(backbone())).get_vocab()
    assert not (folder / "mark").exists()
