"""Exports answer as the model does, each loaded by the runtime that it is for."""

import importlib.util
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import ENCODERS, TASKS
from datasets import Dataset
from fresh_process import run_fresh
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from transformers import AutoConfig, AutoModel, pipeline

from multitask_encoder.cli import export as export_model
from multitask_encoder.export import onnx, openvino, parity, plain_heads, sentence_transformers
from multitask_encoder.export.folders import whole_folder
from multitask_encoder.export.typical_texts import typical_texts
from multitask_encoder.inference.loading import graph_class, load_finished, load_pipeline
from multitask_encoder.modeling import MultiTaskConfig, MultiTaskModel, MultiTaskPipeline

LONG = "Anna plays in the park in Paris. " * 30
TEXTS = [
    "Paris.",
    "",
    LONG,
    "Anna plays in Paris",
    "x",
    "the play is  in\tParis and\nRome",
    "é 👍🏽 中",
]
# Loads every kind of folder where nothing of this repository can be imported.
SCRIPT = """
import importlib.util, json, sys
from sentence_transformers import SentenceTransformer
from transformers import pipeline

texts, whole, *graphs = json.loads(sys.argv[1])
trusted = {"trust_remote_code": True}
ours = ("modeling", "export")
answers = {"importable": [name for name in ours if importlib.util.find_spec(name)]}
encoder = SentenceTransformer(whole, device="cpu", **trusted)
answers["sentence-transformers"] = encoder.encode(texts).tolist()
for graph in graphs:
    answers[graph] = pipeline("multitask", model=graph, **trusted)(texts)
print(json.dumps(answers))
"""


@pytest.fixture
def make_trained(make_model):
    """As `make_model`, with heads that don't give all texts one answer."""

    def make(family: str = "bert", **kwargs) -> MultiTaskModel:
        model = make_model(family, **kwargs).eval()
        for head in model.heads.values():
            head.classifier.weight.data.normal_()
            head.classifier.bias.data.normal_()
        return model

    return make


def save(model: MultiTaskModel, tokenizer, folder: Path) -> Path:
    """As a run saves."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def assert_same(found: list[dict], expected: list[dict], tolerance: float) -> None:
    """Equal labels and entities; numbers that differ by no more than the tolerance."""
    for one, other in zip(found, expected, strict=True):
        assert one["embedding"] == pytest.approx(other["embedding"], abs=tolerance)
        assert one["labels"].keys() == other["labels"].keys()
        for name, answer in one["labels"].items():
            assert answer["label"] == other["labels"][name]["label"]
            assert answer["scores"] == pytest.approx(other["labels"][name]["scores"], abs=tolerance)
        for name, entities in one["entities"].items():
            assert len(entities) == len(other["entities"][name])
            for entity, same in zip(entities, other["entities"][name], strict=True):
                assert entity == {**same, "score": pytest.approx(same["score"], abs=tolerance)}


# What is compared, and how


def test_batches_have_sizes_of_one_and_long_texts_in_windows(tokenizer):
    config = MultiTaskConfig(stride=5)
    found = [tuple(ids.shape) for ids, _ in parity.batches(list(parity.TEXTS), tokenizer, config)]
    assert found[:2] == [(1, 2), (1, 3)]
    assert all(length == 128 for _, length in found[2:])
    assert sum(rows for rows, _ in found) > len(parity.TEXTS) + 5


def test_differences_are_shares_of_the_largest_value():
    expected = {"a": torch.tensor([0.5, -8.0]), "b": torch.tensor([0.5])}
    found = {"a": torch.tensor([0.5, -7.0]), "b": torch.tensor([0.25])}
    assert parity.differences(expected, found) == {"a": 0.125, "b": 0.25}
    parity.refuse_large({"a": 0.125}, 0.125)
    for bad in (0.2, float("nan")):
        with pytest.raises(ValueError, match=r"^The export should answer .* Found .* in 'a': "):
            parity.refuse_large({"a": bad}, 0.125)


def test_typical_differences_are_those_of_all_batches_together():
    far, near = torch.tensor([3.0, 4.0]), torch.zeros(2)
    pairs = [({"a": far}, {"a": far + 1}), ({"a": near}, {"a": near})]
    assert parity.typical_differences(pairs) == {"a": pytest.approx((2 / 25) ** 0.5)}


def test_one_odd_token_is_no_broken_graph_in_int8(make_trained, tokenizer):
    model = make_trained()

    def export(batch: parity.Batch) -> parity.Outputs:
        found = parity.outputs(model, batch)
        found["entities"] = found["entities"].clone()
        found["entities"][0] *= 1.5  # the first token of each batch
        return found

    with pytest.raises(ValueError, match="in 'entities'"):
        parity.check(model, tokenizer, export, 0.1)
    parity.check(model, tokenizer, export, 0.1, typically=True)
    broken = lambda batch: parity.outputs(model, (batch[0].roll(1, 1), batch[1]))  # noqa: E731
    with pytest.raises(ValueError, match="The export should answer as the model does"):
        parity.check(model, tokenizer, broken, onnx.INT8_TOLERANCE, typically=True)


def test_a_difference_that_is_no_number_is_the_largest(make_trained, tokenizer):
    model = make_trained()

    def export(batch: parity.Batch) -> parity.Outputs:
        found = parity.outputs(model, batch)
        return {"topic": found["topic"] * (float("nan") if len(batch[0]) == 1 else 1)}

    with pytest.raises(ValueError, match=r"Found a difference of nan in 'topic'"):
        parity.check(model, tokenizer, export, 1.0)


def test_a_folder_is_whole_or_not_there(tmp_path):
    target = tmp_path / "exports" / "one"
    with pytest.raises(RuntimeError), whole_folder(target) as folder:
        (folder / "half").write_text("x")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with whole_folder(target) as folder:
        (folder / "file").write_text("x")
        (folder / "file").chmod(0o600)
        assert not target.exists()
    assert (target / "file").stat().st_mode & 0o777 == target.stat().st_mode & 0o666
    assert [path.name for path in target.parent.iterdir()] == ["one"]
    with pytest.raises(ValueError, match=r"one is already there\. Remove it"), whole_folder(target):
        pass


# sentence-transformers


@pytest.mark.parametrize(
    ("family", "pooling", "normalize"),
    [("bert", "mean", True), ("roberta", "cls", False), ("modernbert", "max", True)],
)
def test_sentence_transformers_gives_the_embedding(
    family, pooling, normalize, make_trained, tokenizer, tmp_path
):
    prompts = {"default": "query: ", "passage": "the passage: "}
    model = make_trained(family, pooling=pooling, normalize=normalize, prompts=prompts)
    largest = sentence_transformers.export(model, tokenizer, tmp_path)
    assert largest.keys() == {"embedding"}

    encoder = SentenceTransformer(str(tmp_path), device="cpu")
    assert encoder.max_seq_length == 128
    assert prompts.items() <= encoder.prompts.items()
    ours = MultiTaskPipeline(model=model, tokenizer=tokenizer)
    for prompt_name in (None, "passage"):
        found = encoder.encode(TEXTS, prompt_name=prompt_name)
        expected = [one["embedding"] for one in ours(TEXTS, prompt_name=prompt_name)]
        assert found == pytest.approx(torch.tensor(expected).numpy(), abs=1e-5)
    assert not list(tmp_path.glob("*.py"))
    assert "auto_map" not in (tmp_path / "config.json").read_text()


@pytest.mark.parametrize(("pooling", "normalize"), [("cls", True), ("max", False)])
def test_sentence_transformers_pools_a_saved_model_as_it_does(
    pooling, normalize, make_trained, tokenizer, tmp_path
):
    prompts = {"default": "query: "}
    model = make_trained(pooling=pooling, normalize=normalize, prompts=prompts)
    save(model, tokenizer, tmp_path)
    ours = MultiTaskPipeline(model=model, tokenizer=tokenizer)(TEXTS, tasks=[])
    encoder = SentenceTransformer(str(tmp_path), device="cpu", trust_remote_code=True)
    expected = np.array([answer["embedding"] for answer in ours])
    assert encoder.encode(TEXTS) == pytest.approx(expected, abs=1e-5)
    encoder.prompts, encoder.default_prompt_name = {"other": "passage: "}, "other"
    encoder.save_pretrained(str(tmp_path / "again"))
    again = SentenceTransformer(str(tmp_path / "again"), device="cpu", trust_remote_code=True)
    assert again.prompts["other"] == "passage: " and again.default_prompt_name == "other"
    assert again.encode(TEXTS) == pytest.approx(encoder.encode(TEXTS), abs=1e-6)


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_sentence_transformers_trains_it_further_and_resumes(
    family, make_trained, tokenizer, tmp_path
):
    sentence_transformers.export(make_trained(family), tokenizer, tmp_path / "export")
    pairs = Dataset.from_dict({"anchor": TEXTS * 4, "positive": TEXTS[::-1] * 4})

    def train(name: str, resume: str | None = None) -> SentenceTransformer:
        encoder = SentenceTransformer(str(tmp_path / "export"), device="cpu")
        arguments = SentenceTransformerTrainingArguments(
            output_dir=str(tmp_path / name),
            per_device_train_batch_size=4,
            max_steps=4,
            save_steps=2,
            learning_rate=1e-3,
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
        )
        loss = MultipleNegativesRankingLoss(encoder)
        SentenceTransformerTrainer(
            model=encoder, args=arguments, train_dataset=pairs, loss=loss
        ).train(resume_from_checkpoint=resume)
        return encoder

    whole = train("whole")
    resumed = train("resumed", str(tmp_path / "whole" / "checkpoint-2"))
    expected = whole.encode(TEXTS)
    assert resumed.encode(TEXTS) == pytest.approx(expected, abs=1e-6)
    whole.save_pretrained(str(tmp_path / "further"))
    loaded = SentenceTransformer(str(tmp_path / "further"), device="cpu")
    assert loaded.encode(TEXTS) == pytest.approx(expected, abs=1e-6)
    before = SentenceTransformer(str(tmp_path / "export"), device="cpu").encode(TEXTS)
    assert abs(before - expected).max() > 1e-3


def test_texts_that_are_averaged_over_windows_are_left_out_of_the_check(
    make_trained, tokenizer, tmp_path
):
    model = make_trained(sentence_windows="mean")
    assert sentence_transformers.export(model, tokenizer, tmp_path)["embedding"] < 1e-5


# One head as the family's own class


@pytest.mark.parametrize("family", ENCODERS)
@pytest.mark.parametrize("task_name", ["topic", "entities"])
def test_every_family_has_plain_heads(task_name, family, make_trained, tokenizer, tmp_path):
    model = make_trained(family, pooling="cls")
    largest = plain_heads.export(model, tokenizer, task_name, tmp_path)
    assert largest[task_name] < 1e-5
    config = AutoConfig.from_pretrained(tmp_path)
    assert config.model_type == family
    assert list(config.id2label.values()) == TASKS[task_name]["labels"]
    assert not list(tmp_path.glob("*.py"))


@pytest.mark.parametrize(("family", "pooling"), [("bert", "cls"), ("modernbert", "mean")])
def test_stock_text_classification_gives_the_labels(
    family, pooling, make_trained, tokenizer, tmp_path
):
    tags = {**TASKS["topic"], "problem_type": "multi_label_classification"}
    model = make_trained(family, pooling=pooling, tasks={**TASKS, "tags": tags})
    ours = MultiTaskPipeline(model=model, tokenizer=tokenizer)(TEXTS)
    for name in ("topic", "tags"):
        folder = tmp_path / name
        plain_heads.export(model, tokenizer, name, folder)
        stock = pipeline("text-classification", model=str(folder), device="cpu", top_k=None)
        for text, answer in zip(TEXTS, ours, strict=True):
            (scores,) = stock([text], truncation=True)
            found = {one["label"]: one["score"] for one in scores}
            assert found == pytest.approx(answer["labels"][name]["scores"], abs=1e-5)


def test_a_head_with_its_own_pooling_is_plain_beside_a_mean_embedding(
    make_trained, tokenizer, tmp_path
):
    topic = {**TASKS["topic"], "pooling": "cls"}
    model = make_trained(pooling="mean", tasks={**TASKS, "topic": topic})
    assert plain_heads.export(model, tokenizer, "topic", tmp_path)["topic"] < 1e-5


def test_stock_token_classification_gives_the_entities(make_trained, tokenizer, tmp_path):
    model = make_trained()
    # The stock pipeline takes an `I-` after an `O`, ours never does: here are none.
    model.heads["entities"].classifier.bias.data[[2, 4]] = -100
    plain_heads.export(model, tokenizer, "entities", tmp_path)
    stock = pipeline(
        "token-classification", model=str(tmp_path), device="cpu", aggregation_strategy="first"
    )
    ours = MultiTaskPipeline(model=model, tokenizer=tokenizer)
    text = "Anna plays in Paris and Rome is in the park"
    expected = [
        (one["start"], one["end"], one["label"]) for one in ours(text)["entities"]["entities"]
    ]
    assert [(one["start"], one["end"], one["entity_group"]) for one in stock(text)] == expected
    assert len(expected) > 1


@pytest.mark.parametrize(
    ("family", "pooling", "task_name", "reason"),
    [
        ("bert", "mean", "topic", r"bert's own .* pools by cls\. Found .* pools by mean"),
        ("modernbert", "max", "topic", r"pools by cls or mean\. Found .* pools by max"),
        (
            "bert",
            "cls",
            "embedding",
            r"^Unknown head 'embedding'\. This model has: topic, entities",
        ),
        ("bert", "cls", "many", r"at most 7 labels .* Found 8"),
    ],
)
def test_what_a_family_cannot_answer_is_refused(
    family, pooling, task_name, reason, make_model, tokenizer, tmp_path
):
    many = {"type": "sequence_classification", "labels": list("abcdefgh")}
    tasks = {**TASKS, "many": many} if task_name == "many" else TASKS
    model = make_model(family, pooling=pooling, tasks=tasks)
    with pytest.raises(ValueError, match=reason) as error:
        plain_heads.export(model, tokenizer, task_name, tmp_path)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_families_without_a_known_class_are_refused(tokenizer, tmp_path):
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 300}
    encoder = AutoConfig.for_model("albert", **sizes, embedding_size=8, intermediate_size=32)
    model = MultiTaskModel(MultiTaskConfig(encoder_config=encoder, tasks=TASKS, pooling="cls"))
    with pytest.raises(ValueError, match=r"^albert's own .* not supported\. Supported: bert, "):
        plain_heads.export(model.eval(), tokenizer, "topic", tmp_path)
    assert plain_heads.export(model, tokenizer, "entities", tmp_path)["entities"] < 1e-5


# Graphs


@pytest.fixture(scope="module")
def graph_model(backbone) -> MultiTaskModel:
    torch.manual_seed(0)
    moments = {label: {"mean": 3.0, "std": 0.5} for label in TASKS["topic"]["labels"]}
    stars = {**TASKS["topic"], "problem_type": "regression", "standardization": moments}
    tasks = {**TASKS, "stars": stars}
    model = MultiTaskModel.from_backbone(
        str(backbone()), tasks=tasks, normalize=True, prompts={"default": "the "}
    )
    for head in model.heads.values():
        head.classifier.weight.data.normal_()
    return model.eval()


@pytest.fixture(scope="module")
def onnx_folder(graph_model, tokenizer, tmp_path_factory) -> Path:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="needs multitask-encoder[export]")
    folder = tmp_path_factory.mktemp("onnx")
    largest = onnx.export(graph_model, tokenizer, folder)
    assert largest.keys() == {"embedding", "topic", "entities", "stars"}
    return folder


@pytest.fixture
def graph_at_hand(onnx_folder, monkeypatch) -> None:
    """The graph is not made a second time."""

    def write_graph(model, path: Path) -> None:
        for file in onnx_folder.glob("model.onnx*"):
            (path.parent / file.name).write_bytes(file.read_bytes())

    for module in (onnx, openvino):
        monkeypatch.setattr(module, "write_graph", write_graph)


@pytest.fixture
def onnx_pipeline(onnx_folder) -> MultiTaskPipeline:
    return load_pipeline(str(onnx_folder), backend="onnx")


@pytest.mark.parametrize("batch_size", [None, 1, 3])
def test_onnx_answers_through_the_pipeline(batch_size, onnx_pipeline, graph_model, tokenizer):
    ours = MultiTaskPipeline(model=graph_model, tokenizer=tokenizer)
    assert_same(onnx_pipeline(TEXTS, batch_size=batch_size), ours(TEXTS), 1e-5)
    assert onnx_pipeline("x", tasks="topic")["labels"].keys() == {"topic"}
    assert onnx_pipeline("x", tasks="topic")["entities"] == {}


def test_int8_is_smaller_and_near(graph_model, tokenizer, onnx_folder, graph_at_hand, tmp_path):
    largest = onnx.export(graph_model, tokenizer, tmp_path, int8=True)
    assert 0 < max(largest.values()) < onnx.INT8_TOLERANCE
    assert not (tmp_path / "model.onnx.data").exists()
    import onnx as package

    kinds = {node.op_type for node in package.load(tmp_path / "model.onnx").graph.node}
    assert "MatMulInteger" in kinds


WATCHED = """
import json, sys

said = []

def watch(event, arguments):
    writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if writes or event.startswith(("socket.connect", "socket.get", "subprocess")):
        said.append(f"{event} {arguments[0]}")

sys.addaudithook(watch)
sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
from multitask_encoder.inference.openvino_model import openvino, without_reporter

with without_reporter():
    import nncf
left = "openvino_telemetry" in sys.modules
print(json.dumps({"core": str(openvino.Core()), "said": said, "left": left}))
"""


def test_openvino_reports_to_nobody(tmp_path):
    pytest.importorskip("openvino", reason="needs multitask-encoder[export]")
    if importlib.util.find_spec("nncf") is None:
        pytest.skip("needs multitask-encoder[export]")
    found = run_fresh(
        WATCHED, str(Path(__file__).parent.parent), cache=tmp_path / "cache", HOME=str(tmp_path)
    )
    of_libraries = [one for one in found["said"] if "telemetry" in one or "intel" in one]
    assert of_libraries == []
    assert [one for one in found["said"] if one.startswith("socket")] == []
    assert not found["left"]
    assert not (tmp_path / "intel").exists()


def test_openvino_answers_through_the_pipeline(graph_model, tokenizer, graph_at_hand, tmp_path):
    pytest.importorskip("openvino", reason="needs multitask-encoder[export]")
    openvino.export(graph_model, tokenizer, tmp_path)
    theirs = load_pipeline(str(tmp_path), backend="openvino")
    ours = MultiTaskPipeline(model=graph_model, tokenizer=tokenizer)
    assert_same(theirs(TEXTS), ours(TEXTS), 1e-4)
    texts = [f"{text} {number}" for number in range(10) for text in TEXTS]
    with ThreadPoolExecutor(4) as executor:
        assert list(executor.map(theirs, texts)) == list(map(theirs, texts))


def test_openvino_in_int8_is_near_by_weights_that_no_processor_overflows(
    graph_model, tokenizer, graph_at_hand, tmp_path
):
    if importlib.util.find_spec("nncf") is None:  # importing it here, it would report its use
        pytest.skip("needs multitask-encoder[export]")
    largest = openvino.export(graph_model, tokenizer, tmp_path, texts=TEXTS)
    assert 0 < max(largest.values()) < onnx.INT8_TOLERANCE
    from multitask_encoder.inference.openvino_model import openvino as package

    graph = package.Core().read_model(tmp_path / "model.xml")
    largest_of_each = []
    for node in graph.get_ops():
        if node.get_type_name() == "Constant" and node.get_element_type() == package.Type.i8:
            multiplied = node  # by its scale, and then by what the node gets
            for _ in range(3):
                (multiplied, *_) = [
                    one.get_node() for one in multiplied.output(0).get_target_inputs()
                ]
            if multiplied.get_type_name() == "MatMul":
                largest_of_each.append(np.abs(node.data.astype(int)).max())
    assert len(largest_of_each) > 12
    assert max(largest_of_each) <= 64


@pytest.mark.slow  # a process that imports everything anew
def test_folders_answer_where_this_repository_is_not(graph_model, tokenizer, onnx_folder, tmp_path):
    whole = save(graph_model, tokenizer, tmp_path / "whole")
    sentence_transformers.describe(graph_model.config, tokenizer, whole)
    inputs = json.dumps([TEXTS, str(whole), str(onnx_folder)])
    answers = run_fresh(SCRIPT, inputs, cache=tmp_path / "cache")
    assert answers["importable"] == []
    expected = MultiTaskPipeline(model=graph_model, tokenizer=tokenizer)(TEXTS)
    assert_same(answers[str(onnx_folder)], expected, 1e-5)
    for found, answer in zip(answers["sentence-transformers"], expected, strict=True):
        assert found == pytest.approx(answer["embedding"], abs=1e-5)


def test_a_folder_with_a_graph_holds_no_weights_of_torch_and_no_code_of_heads(onnx_folder):
    assert {path.name for path in onnx_folder.iterdir()} - {"model.onnx.data"} == {
        "answering.py",
        "batching.py",
        "config.json",
        "configuration_multitask.py",
        "decoding.py",
        "graph_model.py",
        "library_errors.py",
        "model.onnx",
        "onnx_model.py",
        "pipeline_multitask.py",
        "tokenizer.json",
        "tokenizer_config.json",
        "windows.py",
    }


def test_a_damaged_graph_is_one_line(onnx_folder, tmp_path):
    config = json.loads((onnx_folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(OSError, match=r"^Can't load model .*") as error:
        graph_class("onnx").from_pretrained(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.slow  # seconds for each graph
@pytest.mark.parametrize("family", [family for family in ENCODERS if family != "bert"])
def test_every_family_has_a_graph(family, make_trained, tokenizer, tmp_path):
    largest = onnx.export(make_trained(family), tokenizer, tmp_path)
    assert max(largest.values()) < 1e-5


# The command


@pytest.fixture
def finished(make_trained, tokenizer, tmp_path) -> Path:
    return save(make_trained(pooling="cls"), tokenizer, tmp_path / "run")


def test_command_writes_beside_the_run_and_says_what(finished, capsys):
    export_model.main([str(finished), "--to", "plain-heads", "--task", "entities"])
    said = capsys.readouterr().out
    assert f"{finished}-entities is ready: 0." in said
    assert "  entities: " in said
    tagger = AutoModel.from_pretrained(f"{finished}-entities")
    assert type(tagger).__name__ == "BertModel"
    export_model.main([str(finished), "--to", "sentence-transformers"])
    assert SentenceTransformer(f"{finished}-sentence-transformers", device="cpu").encode("x").shape
    for path in finished.parent.rglob("*.json"):
        if finished not in path.parents:
            assert str(finished.parent) not in path.read_text(), "where it was made"


def test_the_folder_that_one_is_in_is_exported_beside_it(finished, monkeypatch):
    monkeypatch.chdir(finished)
    export_model.main([".", "--to", "plain-heads", "--task", "entities"])
    assert Path(f"{finished}-entities", "config.json").is_file()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--to", "plain-heads"], "--to plain-heads, and no other, needs a --task. Found none."),
        (["--to", "onnx", "--task", "topic"], "Found --task topic with --to onnx."),
        (["--to", "folder", "--int8"], "--int8 is for --to onnx and openvino. Found --to folder."),
        (["--to", "onnx", "--int8", "--texts", "x"], "--texts is for --to openvino --int8."),
        (["--to", "openvino", "--int8"], "Int8 needs texts like those that the model will read"),
        (["--to", "openvino", "--int8", "--texts", "no.txt"], "no.txt"),
        (["--to", "plain-heads", "--task", "mood"], "Unknown head 'mood'."),
    ],
)
def test_command_refuses_in_one_line(options, reason, finished, capsys):
    with pytest.raises(SystemExit) as stop:
        export_model.main([str(finished), *options])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert reason in said
    assert said.count("\n") == 1
    assert [path.name for path in finished.parent.iterdir()] == ["run"]


def write_run(folder: Path, count: int) -> Path:
    """config.yaml of a run that learned from `count` rows of two data sets."""
    folder.mkdir(exist_ok=True)
    rows = [{"tokens": ["row", str(index)], "topic": "a"} for index in range(count)]
    for name, part in {"one": rows[: count // 3], "other": rows[count // 3 :]}.items():
        text = "".join(f"{json.dumps(row)}\n" for row in part)
        (folder.parent / f"{name}.jsonl").write_text(text)
    keys = {
        "encoder": "somewhere",
        "tasks": {"topic": {"type": "sequence_classification"}},
        "datasets": {
            name: {"train_file": f"{folder.parent}/{name}.jsonl"} for name in ("one", "other")
        },
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(keys))
    return folder


@pytest.mark.parametrize("count", [4, 900])
def test_typical_texts_are_from_all_over_the_rows_that_the_run_learned_from(count, tmp_path):
    texts = typical_texts(str(write_run(tmp_path / "run", count)))
    assert len(texts) == min(count, 300) == len(set(texts))
    assert (texts[0], texts[-1]) == ("row 0", f"row {count - 1}")
    (tmp_path / "other.jsonl").unlink()
    with pytest.raises(
        ValueError, match=r"--texts FILE\. Those that .* not at hand: .*other\.jsonl"
    ):
        typical_texts(str(tmp_path / "run"))


@pytest.mark.parametrize("fast", [True, False])
def test_openvino_in_int8_takes_texts_and_says_where_it_pays(
    fast, finished, tmp_path, monkeypatch, capsys
):
    taken: dict = {}
    monkeypatch.setattr(openvino, "export", lambda **keys: taken.update(keys) or {})
    monkeypatch.setattr(export_model, "has_int8_products", lambda: fast)
    (tmp_path / "texts.txt").write_text("Anna plays in Paris\n\nRome\n")
    options = ["--to", "openvino", "--int8", "--texts", str(tmp_path / "*.txt")]
    export_model.main([str(finished), *options])
    assert taken["texts"] == ["Anna plays in Paris", "Rome"]
    said = capsys.readouterr().out
    assert f"{finished}-openvino-int8 is ready: " in said
    assert ("It is made for processors with VNNI or AMX." in said) is not fast


def test_nothing_is_left_of_an_export_that_answers_otherwise(finished, monkeypatch, capsys):
    monkeypatch.setattr(plain_heads, "TOLERANCE", -1.0)
    with pytest.raises(SystemExit):
        export_model.main([str(finished), "--to", "plain-heads", "--task", "topic"])
    assert "error: The export should answer as the model does" in capsys.readouterr().err
    assert [path.name for path in finished.parent.iterdir()] == ["run"]


def test_anything_but_a_finished_model_is_refused(finished, backbone, tmp_path):
    with pytest.raises(OSError, match=r"^Can't load model 'nowhere'"):
        load_finished("nowhere")
    with pytest.raises(OSError, match=r"^There is no folder '.*/ruin'\. Beside it: run\.$"):
        load_finished(str(finished.with_name("ruin")))
    with pytest.raises(ValueError, match=r"`model_type` of a finished model's config should be"):
        load_finished(str(backbone()))
    (finished / "tokenizer.json").write_text("{")
    with pytest.raises(OSError, match=r"^Can't load the tokenizer of "):
        load_finished(str(finished))


def test_a_missing_package_is_one_line(finished, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(SystemExit) as stop:
        export_model.main([str(finished), "--to", "openvino"])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert "openvino is not installed: pip install 'multitask-encoder[export]'" in said
