"""The shipped configs, end to end: with small random encoders of the named architectures."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file

from multitask_encoder.cli import run as run_multitask
from multitask_encoder.modeling import MultiTaskModel

ROOT = Path(__file__).parent.parent
SMALL = [
    "--train_size=40",
    "--validation_size=12",
    "--test_size=12",
    "--num_train_epochs=1",
    "--max_length=128",
    "--use_cpu",
    "--bf16=false",
    "--disable_tqdm",
    "--report_to=none",
    "--report=false",
]


@pytest.mark.parametrize(
    ("config", "family", "pooling", "tasks"),
    [
        ("bert_cls_topic_ner", "bert", "cls", ["topic", "entities"]),
        ("distilbert_mean_topic_sentiment", "distilbert", "mean", ["topic", "sentiment"]),
        ("quickstart", "bert", "mean", ["topic", "sentiment", "entities", "embedding"]),
    ],
)
def test_known_system_trains_end_to_end(
    config, family, pooling, tasks, backbone, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    path = str(ROOT / "configs" / f"{config}.yaml")
    run_multitask.main([path, "--encoder", str(backbone(family)), "--output_dir", "run", *SMALL])
    model = MultiTaskModel.from_pretrained("run")
    assert model.encoder.config.model_type == family
    assert model.config.pooling == pooling
    assert list(model.config.tasks) == tasks
    results = json.loads(Path("run/all_results.json").read_text())
    for task in set(tasks) - {"embedding"}:
        main = "f1" if task == "entities" else "accuracy"
        assert 0 <= results[f"test_{task}_{main}"] <= 1
    assert {"eval_score", "test_score", "test_exact_match", "test_loss"} <= results.keys()
    shown = capsys.readouterr().out
    assert "Results (percent)" in shown
    assert "exact_match" in shown


def test_a_large_model_teaches_a_small_one(backbone, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [
        {"tokens": ["play", f"{word}{n}"], "slots": ["O", "B-genre"], "intent": word}
        for n in range(8)
        for word in ("jazz", "rock")
    ]
    texts = [{"text": f"text {n}"} for n in range(4)]
    for folder, content in (("snips", rows), ("crossner", texts), ("uci_sentences", texts)):
        Path(folder).mkdir()
        for split in ("train", "validation", "test"):
            lines = "".join(f"{json.dumps(row)}\n" for row in content)
            Path(folder, f"{split}.jsonl").write_text(lines)
    encoder = ["--encoder", str(backbone("bert"))]
    for config, data_dir in (("snips_teacher", "snips"), ("snips_distilled", ".")):
        path = str(ROOT / "configs" / f"{config}.yaml")
        run_multitask.main([path, *encoder, "--data_dir", data_dir, *SMALL[3:]])
    results = json.loads(Path("runs/snips_distilled/all_results.json").read_text())
    found = [(row["task"], row["model"]) for row in results["teachers"]]
    names = ("runs/snips_teacher", "this model")
    assert found == [(task, name) for task in ("intent", "slots") for name in names]


def test_labels_of_the_second_system_are_the_named_ones():
    run = yaml.safe_load((ROOT / "configs" / "distilbert_mean_topic_sentiment.yaml").read_text())
    assert run["encoder"] == "distilbert-base-uncased"
    assert run["tasks"]["topic"]["labels"] == [
        "Finance/Tech",
        "Health/Lifestyle",
        "Entertainment/Sports",
    ]


def test_finished_run_is_evaluated_predicts_and_grows_a_head(backbone, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = str(ROOT / "configs" / "bert_cls_topic_ner.yaml")
    encoder = str(backbone("bert"))
    run_multitask.main([path, "--encoder", encoder, "--output_dir", "first", *SMALL])
    Path("texts.jsonl").write_text('{"text": "one in paris"}\n{"text": "two"}\n')
    run_multitask.main(
        [
            path,
            *("--model", "first"),
            *("--output_dir", "again"),
            *("--do_train=false", "--do_test"),
            *("--do_predict", "--predict_file", "texts.jsonl"),
            *SMALL,
        ]
    )
    first, again = (
        json.loads(Path(run, "all_results.json").read_text()) for run in ("first", "again")
    )
    assert again["test_score"] == pytest.approx(first["test_score"])
    (part,) = Path("again/predictions").glob("part-*.jsonl")
    rows = [json.loads(line) for line in Path(part).read_text().splitlines()]
    assert [row["text"] for row in rows] == ["one in paris", "two"]
    assert {"topic", "topic_score", "entities", "embedding"} < rows[0].keys()

    run_multitask.main(
        [
            path,
            *("--model", "first"),
            *("--output_dir", "grown"),
            *("--tasks.sentiment.type", "sequence_classification"),
            "--learning_rate=0",
            *SMALL,
        ]
    )
    grown, before = MultiTaskModel.from_pretrained("grown"), MultiTaskModel.from_pretrained("first")
    assert list(grown.config.tasks) == ["topic", "entities", "sentiment"]
    for name in ("topic", "entities"):
        old = before.heads[name].classifier.weight
        assert grown.heads[name].classifier.weight.equal(old)


@pytest.mark.slow
def test_bare_accelerate_launch_runs_two_processes(backbone, tmp_path):
    launched = subprocess.run(
        [
            *(sys.executable, "-m", "accelerate.commands.launch"),
            *("--config_file", "configs/accelerate/cpu_two_processes.yaml"),
            "run_multitask.py",
            *("--encoder", str(backbone("bert"))),
            *("--output_dir", str(tmp_path / "run")),
            *SMALL,
        ],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert launched.returncode == 0, launched.stderr[-2000:]
    assert "No config given: running configs/quickstart.yaml." in launched.stdout
    assert "2 processes" in launched.stdout
    results = json.loads((tmp_path / "run" / "all_results.json").read_text())
    assert 0 <= results["test_score"] <= 1


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "accelerate").glob("*.yaml")))
def test_launch_config_is_one_accelerate_reads(path):
    assert load_config_from_file(str(path)).num_processes == 2
