"""Keys that a run leaves open follow from the encoder's width and the number of rows."""

import json

import pytest
import yaml
from datasets import Dataset
from transformers import AutoConfig, AutoModel, AutoTokenizer

from multitask_encoder.arguments.parsing import resolve
from multitask_encoder.cli import run as run_multitask
from multitask_encoder.training.defaults import epochs_of, fill_defaults, learning_rate_of


class Model:
    class config:
        hidden_size = 384


def filled(rows: int, **keys):
    run = resolve(
        {"tasks": {"topic": {"type": "sequence_classification"}}, "train_file": "x.jsonl", **keys}
    )
    data = {"train": {"data": Dataset.from_dict({"text": [""] * rows})}}
    fill_defaults(run, data, Model)  # type: ignore[arg-type]  # its width is all that is read
    return run


@pytest.mark.parametrize(
    ("width", "rate"), [(384, 3e-4), (768, 7.5e-5), (1024, 4.2e-5), (128, 1e-3)]
)
def test_wide_encoders_learn_slowly(width, rate):
    assert learning_rate_of(width) == rate
    assert learning_rate_of(width, lora=True) == pytest.approx(min(3 * rate, 1e-3), rel=0.05)


@pytest.mark.parametrize(
    ("rows", "epochs"), [(0, 100), (100, 80), (600, 33), (2000, 18), (13_000, 7), (300_000, 3)]
)
def test_few_rows_are_seen_often(rows, epochs):
    assert epochs_of(rows) == epochs


def test_teachers_are_listened_to_for_longer():
    def epochs(**columns) -> float:
        run = resolve(
            {
                "tasks": {"topic": {"type": "sequence_classification"}},
                "teachers": {"topic": "runs/teacher"},
                "train_file": "x.jsonl",
            }
        )
        rows = Dataset.from_dict({"text": [""] * 600, **columns})
        fill_defaults(run, {"train": {"data": rows}}, Model)  # type: ignore[arg-type]
        return run.training.num_train_epochs

    assert epochs() == epochs(topic=[None] * 600) == 65
    assert epochs(topic=[None] * 599 + ["a"]) == 33


def test_keys_left_open_are_chosen_and_saved(tmp_path):
    run = filled(600)
    args = run.training
    assert (args.learning_rate, args.num_train_epochs, args.train_batch_size) == (3e-4, 33, 16)
    assert (args.warmup_steps, args.weight_decay) == (0.1, 0.01)
    assert (args.eval_strategy, args.eval_steps) == ("steps", 0.1)
    assert (args.save_strategy, args.save_steps) == ("steps", 0.1)
    run.save(tmp_path / "config.yaml")
    saved = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert (saved["learning_rate"], saved["num_train_epochs"]) == (3e-4, 33)
    again = filled(7, **saved).training  # the keys of a saved run don't change with its rows
    assert (again.learning_rate, again.num_train_epochs) == (3e-4, 33)


TAGS = {"tags": {"type": "token_classification"}}


@pytest.mark.parametrize(
    ("rows", "keys", "rate"),
    [
        (2000, {"num_train_epochs": 2}, 1.5e-3),
        (2000, {"num_train_epochs": 2, "learning_rate": 6e-4}, 3e-3),
        (2000, {"num_train_epochs": 2, "per_device_train_batch_size": 13}, None),  # 308 steps
        (2000, {"num_train_epochs": 6, "per_device_train_batch_size": 64}, 1.5e-3),
        (2000, {"num_train_epochs": 7, "per_device_train_batch_size": 64}, None),
        (2000, {}, None),
        (2000, {"max_steps": 300}, 1.5e-3),
        (2000, {"max_steps": 301}, None),
        (2000, {"num_train_epochs": 2, "learning_rate": 0}, None),
        (70, {}, None),
        (70, {"num_train_epochs": 50}, None),
        (2000, {"num_train_epochs": 2, "lora_rank": 8}, None),
        (2000, {"num_train_epochs": 2, "head_learning_rate": 1e-4}, 1e-4),
        (2000, {"num_train_epochs": 2, "tasks": {"a": {"type": "sequence_classification"}}}, None),
    ],
)
def test_heads_of_tokens_take_larger_steps_in_short_runs(rows, keys, rate):
    assert filled(rows, **{"tasks": TAGS, **keys}).training.head_learning_rate == rate


def test_a_new_head_of_tokens_asks_for_larger_steps_and_a_held_one_does_not():
    data = {"train": {"data": Dataset.from_dict({"text": [""] * 600})}}
    new = {"b": {"type": "token_classification"}, "c": {"type": "sequence_classification"}}

    def rate(tasks: dict, old: list[str], held: list[str]) -> float | None:
        run = resolve({"tasks": tasks, "train_file": "x.jsonl", "num_train_epochs": 2})
        fill_defaults(run, data, Model, None, old, held)  # type: ignore[arg-type]
        return run.training.head_learning_rate

    for held in ([], list(TAGS)):  # a head that learns more of its own task isn't new either
        assert rate({**TAGS, "c": new["c"]}, list(TAGS), held) is None
        assert rate({**TAGS, "b": new["b"]}, list(TAGS), held) == 1.5e-3


@pytest.mark.parametrize(
    ("held", "keys", "best"),
    [([], {}, True), (["b"], {}, False), (["b"], {"load_best_model_at_end": True}, True),
     (["b"], {"early_stopping_patience": 2}, True)],
)  # fmt: skip
def test_a_held_model_keeps_its_last_epoch(held, keys, best):
    data = {"train": {"data": Dataset.from_dict({"text": [""] * 600})}}
    run = resolve({"tasks": TAGS, "train_file": "x.jsonl", **keys})
    fill_defaults(run, data, Model, None, held, held)  # type: ignore[arg-type]
    assert run.training.load_best_model_at_end is best


@pytest.mark.parametrize(
    ("keys", "frozen"),
    [
        ({}, ["heads.b"]),
        ({"freeze": "nothing"}, ["nothing"]),
        ({"freeze": ["encoder"]}, ["encoder"]),
    ],
)
def test_heads_that_no_row_labels_are_frozen(keys, frozen):
    data = {"train": {"data": Dataset.from_dict({"text": [""] * 600})}}
    run = resolve({"tasks": TAGS, "train_file": "x.jsonl", **keys})
    old = ["b", "c"]
    fill_defaults(run, data, Model, None, old, old, ["b"])  # type: ignore[arg-type]
    assert run.training.freeze == frozen


def test_a_resumed_run_keeps_the_groups_of_its_optimizer(tmp_path):
    data = {"train": {"data": Dataset.from_dict({"text": [""] * 2000})}}

    def rate() -> float | None:
        run = resolve({"tasks": TAGS, "train_file": "x.jsonl", "num_train_epochs": 2})
        fill_defaults(run, data, Model, str(tmp_path / "checkpoint-7"))  # type: ignore[arg-type]
        return run.training.head_learning_rate

    assert rate() == 1.5e-3  # nothing says what the run had
    (tmp_path / "config.yaml").write_text("num_train_epochs: 9\n")
    assert rate() is None


def test_keys_that_are_set_stay():
    keys = {
        "learning_rate": 1e-5,
        "num_train_epochs": 2,
        "per_device_train_batch_size": 4,
        "warmup_steps": 7,
        "weight_decay": 0.5,
    }
    run = filled(600, **keys)
    assert {key: getattr(run.training, key) for key in keys} == keys
    assert run.training.eval_strategy == "epoch"
    assert filled(600, eval_strategy="epoch").training.eval_strategy == "epoch"


def test_the_pull_to_the_start_goes_with_the_rate_and_the_rows():
    assert filled(100).training.l2_sp == 33
    assert filled(100, learning_rate=1e-5).training.l2_sp == 1000
    assert filled(10_000).training.l2_sp == 3.3
    assert filled(100, learning_rate="0").training.l2_sp == 0
    assert filled(600, streaming=True).training.l2_sp == 0
    assert filled(600, l2_sp=0.0).training.l2_sp == 0
    held = {"topic": {"type": "sequence_classification"}, "x": {"type": "sentence_embedding"}}
    assert filled(600, tasks=held).training.l2_sp == 0  # its loss holds the encoder


def test_shards_are_not_pulled(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert filled(600).training.l2_sp == 0


def test_a_step_has_as_many_rows_however_it_is_split():
    assert filled(600, gradient_accumulation_steps=4).training.train_batch_size == 4
    assert filled(600, gradient_accumulation_steps=64).training.train_batch_size == 1
    assert filled(6000).training.train_batch_size == 32


def test_a_number_of_steps_needs_no_epochs():
    run = filled(600, max_steps=50)
    assert "num_train_epochs" not in run.given
    assert run.training.learning_rate == 3e-4


def test_a_run_that_does_not_train_has_no_defaults():
    assert filled(600, do_train=False).given.keys() == {"tasks", "train_file", "do_train"}


def test_an_encoder_that_bfloat16_breaks_trains_in_float32(backbone, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "multitask_encoder.arguments.run_arguments.has_fast_bf16", lambda use_cpu: True
    )
    tokenizer = AutoTokenizer.from_pretrained(backbone("bert"))
    sizes = {"vocab_size": len(tokenizer) + 1, "hidden_size": 16, "num_hidden_layers": 1}
    sizes |= {"num_attention_heads": 2, "intermediate_size": 32}
    config = AutoConfig.for_model("deberta", **sizes)
    AutoModel.from_config(config).save_pretrained(tmp_path / "encoder")
    tokenizer.save_pretrained(tmp_path / "encoder")
    rows = [{"text": text, "topic": label} for text, label in ("ax", "by", "ax", "by")]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    keys = {
        "encoder": str(tmp_path / "encoder"),
        "tasks": {"topic": {"type": "sequence_classification"}},
        "train_file": str(tmp_path / "rows.jsonl"),
        "do_eval": False,
        "output_dir": str(tmp_path / "run"),
        "num_train_epochs": 1,
        "use_cpu": True,
        "report": False,
        "report_to": "none",
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(keys))
    run_multitask.main([str(tmp_path / "run.yaml")])
    assert (tmp_path / "run" / "model.safetensors").is_file()
