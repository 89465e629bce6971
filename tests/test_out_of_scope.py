"""Texts that a task is not about get no label, in every runtime."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import results
from safetensors.torch import load_file, save_file
from sklearn.metrics import roc_auc_score
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from multitask_encoder.cli import export
from multitask_encoder.inference import Predictor
from multitask_encoder.modeling import MultiTaskConfig, MultiTaskModel, MultiTaskPipeline
from multitask_encoder.modeling.scope import POINTS, Scope

TOPIC = {"topic": {"type": "sequence_classification", "out_of_scope": 0.1}}
WORDS = {
    "music": ["play", "jazz", "song", "album", "band"],
    "food": ["book", "table", "for", "two", "tonight"],
}


def rows(seed: int, number: int, outside: int = 0) -> list[dict]:
    draw = random.Random(seed)
    found = []
    for index in range(number + outside):
        topic = draw.choice(sorted(WORDS))
        words = draw.choices(WORDS[topic], k=4)
        if index >= number:
            topic, words = "none of these", draw.choices(["zq", "xk", "jv", "7", "9", "§"], k=4)
        found.append({"text": " ".join(words), "topic": topic})
    return found


def scope(centers: int = 3, width: int = 4) -> Scope:
    generator = torch.Generator().manual_seed(0)
    found = Scope(centers, width)
    found.centers = torch.nn.functional.normalize(
        torch.randn(centers, width, generator=generator), dim=-1
    )
    found.scale = torch.tensor([0.5, 2.0])
    return found


def test_the_share_is_that_of_the_quantiles():
    found, generator = scope(), torch.Generator().manual_seed(1)
    logits, vectors = (torch.randn(500, n, generator=generator) for n in (3, 4))
    strangeness = found.strangeness(logits, vectors)
    nearest = torch.nn.functional.normalize(vectors, dim=-1) @ found.centers.T
    expected = -(0.5 * logits.max(-1).values + 2 * nearest.max(-1).values)
    torch.testing.assert_close(strangeness, expected)
    found.quantiles = strangeness.quantile(torch.linspace(0, 1, POINTS))
    shares = found(logits, vectors)
    wanted = np.interp(strangeness, found.quantiles, np.linspace(0, 1, POINTS))
    np.testing.assert_allclose(shares, wanted, atol=1e-5)
    assert shares.min() == 0
    assert shares.max() == pytest.approx(1)
    assert (shares > 0.9).double().mean() == pytest.approx(0.1, abs=0.005)


def test_equal_strangeness_is_no_division_by_zero():
    assert scope()(torch.zeros(2, 3), torch.ones(2, 4)).isfinite().all()


@pytest.fixture
def folder(run):
    """A finished run."""
    return run(
        tasks=TOPIC,
        train_file=rows(0, 120),
        validation_file=rows(1, 150),
        test_file=rows(2, 100, outside=60),
        learning_rate=3e-3,
        num_train_epochs=3,
    )


def pipeline_of(folder) -> MultiTaskPipeline:
    model, tokenizer = MultiTaskModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    return MultiTaskPipeline(model=model, tokenizer=tokenizer)


def test_texts_out_of_scope_get_no_label(folder):
    config = MultiTaskConfig.from_pretrained(folder)
    assert config.tasks["topic"]["out_of_scope"] == {"centers": 120, "false_alarms": 0.1}
    assert config.tasks["topic"]["labels"] == ["food", "music"]
    test = rows(2, 100, outside=60)
    answers = [of["labels"]["topic"] for of in pipeline_of(folder)([row["text"] for row in test])]
    strange = [of["out_of_scope"] for of in answers]
    for of in answers:
        best = max(of["scores"], key=of["scores"].get)
        assert of["label"] == (None if of["out_of_scope"] > 0.9 else best)
    found = results(folder)["out_of_scope"]["topic"]
    outside = [row["topic"] not in WORDS for row in test]
    assert found["test"]["auroc"] == pytest.approx(roc_auc_score(outside, strange))
    assert found["test"]["auroc"] > 0.9
    refused = [of["label"] is None for of in answers]
    assert found["test"]["refused"] == np.mean(refused[:100])
    assert found["test"]["found"] == pytest.approx(np.mean(refused[100:]))
    right = [
        of["label"] == (row["topic"] if row["topic"] in WORDS else None)
        for of, row in zip(answers, test, strict=True)
    ]
    assert found["test"]["accuracy"] == pytest.approx(np.mean(right))
    assert found["validation"]["refused"] == pytest.approx(0.1, abs=0.02)
    assert found["validation"].keys() == {"refused", "accuracy"}  # nothing is out of scope


def test_typed_answers_and_files_have_it(folder, tmp_path, run):
    texts = [{"text": "play jazz"}, {"text": "zq xk jv"}]
    answer, _ = Predictor(str(folder))([one["text"] for one in texts])  # in one batch, as files are
    assert 0 <= answer.labels["topic"].out_of_scope <= 1
    run(
        model=str(folder),
        encoder=None,
        tasks=None,
        train_file=None,
        validation_file=None,
        do_train=False,
        do_predict=True,
        predict_file=texts,
        predict_output=str(tmp_path / "answers"),
    )
    lines = (tmp_path / "answers" / "part-00000.jsonl").read_text().splitlines()
    written = [json.loads(line) for line in lines]
    assert written[1]["topic"] is None
    assert written[1]["topic_out_of_scope"] > 0.9
    assert written[0]["topic_out_of_scope"] == pytest.approx(answer.labels["topic"].out_of_scope)


def test_of_several_windows_the_first_counts(folder):
    pipeline = pipeline_of(folder)
    pipeline.model.config.sentence_windows = "mean"
    limit = pipeline.tokenizer.model_max_length - 2
    (text,) = [row["text"] for row in rows(2, 1)]
    first = " ".join([text] * (limit // 4))
    answers = pipeline([first, f"{first} {'zq ' * 400}"])
    strange = [of["labels"]["topic"]["out_of_scope"] for of in answers]
    assert strange[0] == pytest.approx(strange[1], abs=1e-4)
    scores = [of["labels"]["topic"]["scores"]["music"] for of in answers]
    assert scores[0] != pytest.approx(scores[1], abs=1e-4)  # which is the mean


def test_a_cast_model_keeps_its_scope_in_float32(folder, tmp_path):
    cast = MultiTaskModel.from_pretrained(folder).to(torch.bfloat16)
    cast.save_pretrained(tmp_path / "cast")
    loaded = MultiTaskModel.from_pretrained(tmp_path / "cast", dtype=torch.bfloat16)
    half = MultiTaskModel.from_pretrained(folder, dtype=torch.bfloat16)
    own = MultiTaskModel.from_pretrained(folder)
    for model in (cast, loaded, half):
        assert model.heads["topic"].classifier.weight.dtype == torch.bfloat16
        for name, buffer in own.heads["topic"].scope.named_buffers():
            assert torch.equal(dict(model.heads["topic"].scope.named_buffers())[name], buffer)
        ids = torch.tensor([[2, 8, 9, 3]])
        assert model(input_ids=ids).out_of_scope["topic"].shape == (1,)


def test_other_classes_of_the_model_load_it(folder):
    view = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True)
    scope = MultiTaskModel.from_pretrained(folder).heads["topic"].scope
    torch.testing.assert_close(view.heads["topic"].scope.centers, scope.centers)
    tokens = AutoTokenizer.from_pretrained(folder)(["play jazz"], return_tensors="pt")
    assert view(**tokens).logits.shape == (1, 2)


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_graphs_answer_the_same(backend, folder, tmp_path):
    pytest.importorskip("onnxruntime" if backend == "onnx" else "openvino")
    export.main([str(folder), "--to", backend, "--output", str(tmp_path / "graph")])
    texts = [row["text"] for row in rows(2, 20, outside=20)]
    graph = Predictor(str(tmp_path / "graph"), backend=backend)
    for one, other in zip(Predictor(str(folder))(texts), graph(texts), strict=True):
        before, after = one.labels["topic"], other.labels["topic"]
        assert after.out_of_scope == pytest.approx(before.out_of_scope, abs=2e-3)
        assert after.label == before.label or abs(before.out_of_scope - 0.9) < 2e-3


def test_it_goes_when_the_model_is_trained_further_and_stays_when_it_is_measured(folder, run):
    keys: dict = {"model": str(folder), "encoder": None, "l2_sp": 0, "validation_file": rows(1, 50)}
    run(**keys, tasks=TOPIC, train_file=None, do_train=False, output_dir=f"{folder}-measured")
    measured = results(Path(f"{folder}-measured"))["out_of_scope"]["topic"]
    assert measured["validation"]["refused"] == pytest.approx(0.1, abs=0.1)
    model = MultiTaskModel.from_pretrained(folder)
    model.forget_fitted()
    assert model.heads["topic"].scope is None
    assert "out_of_scope" not in model.config.tasks["topic"]
    tasks = {"topic": {"type": "sequence_classification"}}
    run(**keys, tasks=tasks, train_file=rows(3, 40), output_dir=f"{folder}-trained")
    again = MultiTaskModel.from_pretrained(f"{folder}-trained")
    assert again.heads["topic"].scope is None
    assert "out_of_scope" not in again.config.tasks["topic"]


def test_few_validation_rows_fit_none(run, caplog):
    caplog.set_level("INFO")
    folder = run(tasks=TOPIC, train_file=rows(0, 40), validation_file=rows(1, 99))
    assert "topic gives every text a label: its scope takes 100 validation rows" in caplog.text
    assert "out_of_scope" not in results(folder)
    assert "out_of_scope" not in pipeline_of(folder)("play jazz")["labels"]["topic"]


def test_weights_without_the_centers_are_refused(folder):
    path = Path(folder) / "config.json"
    config = json.loads(path.read_text())
    config["tasks"]["topic"]["out_of_scope"]["centers"] = 121
    path.write_text(json.dumps(config))
    line = r"heads\.topic\.scope\.centers of shape \[121, 16\]\. Found shape \[120, 16\]"
    with pytest.raises(ValueError, match=line):
        MultiTaskModel.from_pretrained(folder)
    config["tasks"]["topic"]["out_of_scope"]["centers"] = 120
    path.write_text(json.dumps(config))
    weights = load_file(Path(folder) / "model.safetensors")
    del weights["heads.topic.scope.scale"]
    save_file(weights, Path(folder) / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"hold heads\.topic\.scope\.scale of shape \[2\]"):
        MultiTaskModel.from_pretrained(folder)


@pytest.mark.parametrize(
    ("scope", "line"),
    [
        (0.05, "should have centers and false_alarms. Found 0.05"),
        ({"centers": 0, "false_alarms": 0.1}, "`centers` in `out_of_scope` of task 'topic' should"),
        ({"centers": 10**9, "false_alarms": 0.1}, "should be from 1 to 10000. Found 1000000000"),
        ({"centers": 9, "false_alarms": 1}, r"`false_alarms` in .* should be in \(0, 1\)"),
    ],
)
def test_a_config_with_another_scope_is_refused(scope, line):
    task = {"type": "sequence_classification", "labels": ["a", "b"], "out_of_scope": scope}
    with pytest.raises(ValueError, match=line):
        MultiTaskConfig(encoder_config={"model_type": "bert"}, tasks={"topic": task})


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (
            {"out_of_scope": 5},
            "tasks.topic.out_of_scope should be in (0, 1): 0.05, say. Found 5",
        ),
        (
            {"out_of_scope": 0.1, "problem_type": "regression"},
            "tasks.topic.out_of_scope is for one label a text. Found regression.",
        ),
    ],
)
def test_a_run_refuses_other_values(keys, line, run, capsys):
    with pytest.raises(SystemExit, match="2"):
        run(tasks={"topic": {"type": "sequence_classification", **keys}})
    assert line in capsys.readouterr().err
