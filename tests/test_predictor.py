"""The typed answers are the pipeline's."""

import json

import numpy as np
import pytest
import torch
from conftest import TASKS

from multitask_encoder.export import onnx
from multitask_encoder.export.folders import whole_folder
from multitask_encoder.inference import (
    Answer,
    Answers,
    Entity,
    Label,
    Predictor,
    load_pipeline,
    loading,
)
from multitask_encoder.inference.precision import answers_in_bf16
from multitask_encoder.modeling import MultiTaskPipeline

TEXTS = ["Anna plays in Paris", "", "<b>Rome</b> & the park" * 3]
TAGS = {
    "type": "sequence_classification",
    "labels": ["R&D", "<i>", "law"],
    "problem_type": "multi_label_classification",
}


@pytest.fixture
def model(make_model):
    model = make_model(tasks={**TASKS, "tags": TAGS}).eval()
    for head in model.heads.values():
        head.classifier.weight.data.normal_()
    return model


@pytest.fixture
def folder(model, tokenizer, tmp_path):
    model.save_pretrained(tmp_path / "run")
    tokenizer.save_pretrained(tmp_path / "run")
    return tmp_path / "run"


def test_small_numbers_are_not_rounded_away():
    shown = [str(Label("share", score, {"share": score})) for score in (0.0034, 0.97, 1084.4, 0.0)]
    assert shown == ["share (0.0034)", "share (0.97)", "share (1084.40)", "share (0.00)"]


@pytest.fixture
def predict(model, tokenizer):
    return Predictor(MultiTaskPipeline(model=model, tokenizer=tokenizer))


def test_answers_are_the_pipelines(predict):
    expected = predict.pipeline(TEXTS)
    answers = predict(TEXTS)
    for text, answer, one in zip(TEXTS, answers, expected, strict=True):
        assert answer.text == text
        assert answer.embedding.dtype == np.float32
        assert answer.embedding.tolist() == pytest.approx(one["embedding"])
        assert answer.labels == {name: Label(**label) for name, label in one["labels"].items()}
        assert answer.entities == {
            name: [Entity(**entity) for entity in found] for name, found in one["entities"].items()
        }
    assert any(answer.entities["entities"] for answer in answers)
    assert answers.embeddings.shape == (3, 16)
    assert str(predict(TEXTS[0])) == str(answers[0])
    assert list(predict.config.tasks) == ["topic", "entities", "embedding", "tags"]


def test_answers_in_words():
    answer = Answer(
        text="Anna saw Rome.",
        embedding=np.zeros(4, dtype=np.float32),
        labels={
            "topic": Label("a", 0.75, {"a": 0.75, "b": 0.25}),
            "unsure": Label(None, 0.4, {}),
            "tags": Label(["a", "b"], [0.9, 0.6], {}),
            "no_tags": Label([], [], {}),
            "moods": Label(["joy", "fear"], [1.0, -2.0], {"joy": 1.0, "fear": -2.0}),
        },
        entities={
            "entities": [Entity(0, 4, "Anna", "PER", 0.9), Entity(9, 13, "Rome", "LOC", 0.8)],
            "slots": [],
        },
    )
    assert str(answer).splitlines() == [
        "Anna saw Rome.",
        "  topic        a (0.75)",
        "  unsure       none (0.40)",
        "  tags         a (0.90), b (0.60)",
        "  no_tags      none",
        "  moods        joy (1.00), fear (-2.00)",
        "  entities     Anna [PER], Rome [LOC]",
        "  slots        none",
        "  embedding    4 numbers",
    ]
    assert answer.pieces("entities") == [
        *(("Anna", "PER"), (" saw ", None), ("Rome", "LOC"), (".", None))
    ]
    assert answer.pieces("slots") == [("Anna saw Rome.", None)]


def test_asked_for_less(predict):
    answer = predict(TEXTS[0], tasks="topic", top_k=1, thresholds=1.0)
    assert list(answer.labels) == ["topic"] and answer.entities == {}
    assert answer.labels["topic"].label is None and len(answer.labels["topic"].scores) == 1
    with pytest.raises(ValueError, match="Unknown task 'mood'"):
        predict(TEXTS, tasks=["mood"])


def test_a_stream_is_answered_in_order(predict):
    texts = [f"Anna {number}" for number in range(50)]
    assert [answer.text for answer in predict.stream(iter(texts))] == texts


def test_a_table_has_a_row_per_text(predict):
    answers = predict(TEXTS)
    table = answers.to_pandas()
    assert list(table.columns) == [
        *("text", "topic", "topic_score", "tags", "tags_score", "entities", "embedding")
    ]
    assert table["text"].tolist() == TEXTS
    assert table["topic"].tolist() == [answer.labels["topic"].label for answer in answers]
    for answer, found in zip(answers, table["entities"], strict=True):
        assert [Entity(**one) for one in found] == answer.entities["entities"]
    assert np.stack(table["embedding"]).tolist() == answers.embeddings.tolist()
    assert len(predict([]).to_pandas()) == 0


def test_a_notebook_shows_markup_as_text(predict):
    shown = predict(TEXTS, thresholds={"tags": 0})._repr_html_()
    assert "<mark>" in shown and "&lt;" in shown and "&lt;i&gt;" in shown and "R&amp;D" in shown
    assert "<b>Rome" not in shown and "<i>" not in shown


def test_a_folder_is_answered_by_each_backend(folder, model, tokenizer, tmp_path):
    with whole_folder(tmp_path / "graph") as graph:
        onnx.export(model, tokenizer, graph)
    expected = Predictor(folder)(TEXTS)
    found = Predictor(tmp_path / "graph", backend="onnx")(TEXTS)
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one.embedding - other.embedding).max() < 1e-5
        assert [entity.text for entity in one.entities["entities"]] == [
            entity.text for entity in other.entities["entities"]
        ]
        assert one.labels["topic"].label == other.labels["topic"].label


@pytest.mark.parametrize(
    ("backend", "error", "message"),
    [
        ("tpu", ValueError, "backend should be one of torch, onnx, openvino. Found 'tpu'"),
        ("onnx", OSError, r"should hold model\.onnx, as an export does\. Found none\.$"),
        ("openvino", OSError, r"should hold model\.xml, as an export does\. Found none\.$"),
    ],
)
def test_what_cannot_be_loaded_is_one_line(backend, error, message, folder):
    with pytest.raises(error, match=message) as found:
        load_pipeline(str(folder), backend)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_an_export_names_its_backend(name, folder):
    (folder / "model.safetensors").rename(folder / {"onnx": "model.onnx"}.get(name, "model.xml"))
    with pytest.raises(ValueError, match=f"is an export for {name}. .* with --backend {name}"):
        Predictor(folder)


def test_no_graph_answers_on_another_device(folder):
    with pytest.raises(ValueError, match=r"cuda:0 needs the backend torch\. Found onnx"):
        Predictor(folder, backend="onnx", device="cuda:0")


def test_no_texts_have_no_embeddings(predict):
    assert predict([]).embeddings.shape == (0, 16)
    assert Answers().embeddings.dtype == np.float32


def test_a_folder_with_less_than_its_config_says_is_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    config["tasks"]["mood"] = {"type": "sequence_classification", "labels": ["good", "bad"]}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"weights should hold heads\.mood.* Found none"):
        Predictor(folder)


def test_a_table_has_the_values_of_regressions(make_model, tokenizer):
    numbers = {"type": "sequence_classification", "problem_type": "regression"}
    tasks = {"stars": {**numbers, "labels": ["stars"]}, "both": {**numbers, "labels": ["x", "y"]}}
    model = make_model(tasks=tasks).eval()
    answers = Predictor(MultiTaskPipeline(model=model, tokenizer=tokenizer))(TEXTS)
    table = answers.to_pandas()
    assert list(table.columns) == ["text", "stars", "both", "embedding"]
    assert table["stars"].tolist() == [answer.labels["stars"].score for answer in answers]
    assert table["both"].tolist() == [answer.labels["both"].scores for answer in answers]


def test_a_table_has_each_name_once(make_model, tokenizer):
    topic = {"type": "sequence_classification", "labels": ["a", "b"]}
    model = make_model(tasks={"topic": topic, "topic_score": topic}).eval()
    answers = Predictor(MultiTaskPipeline(model=model, tokenizer=tokenizer))(TEXTS)
    with pytest.raises(ValueError, match="columns of the answers should have different names"):
        answers.to_pandas()


FAST = "multitask_encoder.inference.precision.has_fast_bf16"


def test_an_encoder_that_bfloat16_breaks_answers_in_float32(folder, monkeypatch):
    monkeypatch.setattr(FAST, lambda use_cpu: True)
    expected = Predictor(folder, bf16=False)(TEXTS[0])
    monkeypatch.setattr(loading, "computes", lambda model: False)
    found = Predictor(folder)
    assert found.pipeline.model.dtype == torch.float32
    assert found(TEXTS[0]).embedding.tolist() == expected.embedding.tolist()
    assert Predictor(folder, bf16=True).pipeline.model.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("device", "use_cpu"),
    [(None, False), ("cpu", True), ("cpu:0", True), (torch.device("cpu"), True), (-1, True),
     ("cuda:1", False), (0, False)],
)  # fmt: skip
def test_the_device_decides_what_is_fast(device, use_cpu):
    assert loading._is_cpu(device) is use_cpu


@pytest.mark.parametrize("fast", [True, False])
def test_answers_are_in_bfloat16_where_that_is_fast_unless_told(
    fast, folder, tmp_path, monkeypatch, capsys
):
    """Files, `Predictor`, the service and the demo have one default."""
    from multitask_encoder.cli.run import main
    from multitask_encoder.serving.options import ServiceOptions

    monkeypatch.setattr(FAST, lambda use_cpu: fast)
    (tmp_path / "in.txt").write_text("a\n")
    argv = ["--model", str(folder), "--do_predict", "--do_train", "false"]
    argv += ["--predict_file", str(tmp_path / "in.txt"), "--overwrite_output_dir"]
    argv += ["--output_dir", str(tmp_path / "out"), "--use_cpu", "--report_to", "none"]
    for bf16 in (None, True, False):
        expected = fast if bf16 is None else bf16
        main(argv if bf16 is None else [*argv, "--bf16", str(bf16).lower()])
        assert ("Answers are computed in bfloat16" in capsys.readouterr().out) is expected
        for pipeline in (
            Predictor(folder, bf16=bf16).pipeline,
            ServiceOptions.of({"model": str(folder), "bf16": bf16}).load(),
        ):
            assert (pipeline.model.dtype == torch.bfloat16) is expected


def test_what_bfloat16_would_spoil_is_answered_in_float32(make_model, monkeypatch):
    monkeypatch.setattr(FAST, lambda use_cpu: True)
    price = {"type": "sequence_classification", "problem_type": "regression", "labels": ["price"]}
    numbers = make_model(tasks={"price": price}).eval()
    assert not answers_in_bf16(numbers)
    assert answers_in_bf16(numbers, asked=True)
    topic = {"type": "sequence_classification", "labels": ["a", "b"]}
    assert answers_in_bf16(make_model(tasks={"topic": topic}).eval())
