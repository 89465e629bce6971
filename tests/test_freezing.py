"""What is frozen stays as it is and costs nothing; the rest is trained as if it were alone."""

import copy
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from conftest import ENCODERS, TASKS, results
from safetensors.torch import load_file
from transformers import AlbertConfig, AlbertModel, TrainerCallback

from multitask_encoder.arguments.run_arguments import MultiTaskTrainingArguments
from multitask_encoder.cli import run as run_multitask
from multitask_encoder.training.encoder_layers import layer_stack, parameter_depths
from multitask_encoder.training.freezing import check_freezing, frozen_parameters, parameter_counts
from multitask_encoder.training.layer_cache import cached_layers

ROOT = Path(__file__).parent.parent


@pytest.fixture
def arguments(tmp_path):
    def make(**keys) -> MultiTaskTrainingArguments:
        keys = {"output_dir": str(tmp_path), "use_cpu": True, "bf16": False, **keys}
        return MultiTaskTrainingArguments(report_to="none", **keys)

    return make


class Watch(TrainerCallback):
    """Weights as each epoch begins, and what is found in each forward pass of training."""

    def __init__(self, model):
        self.weights, self.outputs = [], []
        self.in_training: list[set[str]] = []
        model.register_forward_hook(self.look)

    def look(self, model, _, output):
        if model.training:
            self.outputs.append(output.last_hidden_state.requires_grad)
            self.in_training.append({n for n, one in model.named_modules() if one.training})

    def on_epoch_begin(self, args, state, control, model=None, **kwargs):
        self.weights.append(snapshot(model))

    def on_train_end(self, args, state, control, model=None, optimizer=None, **kwargs):
        self.weights.append(snapshot(model))
        # Not those of the stand-in for token embeddings alone, which is gone by the end.
        names = {id(one): name for name, one in model.named_parameters()}
        groups = optimizer.param_groups
        self.held = {names[id(one)] for group in groups for one in group["params"]}
        self.with_state = {names[id(one)] for one in optimizer.state}


def snapshot(model) -> dict[str, torch.Tensor]:
    return {name: one.detach().clone() for name, one in model.state_dict().items()}


def moved(before: dict, after: dict) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


def train(make_trainer, model, **keys):
    keys = {
        "per_device_train_batch_size": 30,
        "learning_rate": 1e-2,
        "num_train_epochs": 1,
        "logging_steps": 100,
        **keys,
    }
    trainer = make_trainer(model=model, **keys)
    watch = Watch(trainer.model)
    trainer.add_callback(watch)
    trainer.train(resume_from_checkpoint=keys.get("resume_from_checkpoint"))
    return trainer, watch


def with_dropout(model, probability: float = 0.5):
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = probability
    return model


# Where parameters are


@pytest.mark.parametrize("family", ENCODERS)
def test_every_parameter_of_an_encoder_has_its_depth(family, make_model):
    encoder = make_model(family).encoder
    depths = parameter_depths(encoder)
    assert list(depths) == [name for name, _ in encoder.named_parameters()]
    for depth, layer in enumerate(layer_stack(encoder), 1):
        inside = {id(one) for one in layer.parameters()}
        assert {n for n, one in encoder.named_parameters() if id(one) in inside} <= {
            name for name, found in depths.items() if found == depth
        }
    outside = {
        name: depth
        for name, depth in depths.items()
        if ".layer." not in name and not name.startswith("layers.")
    }
    above = {name for name, depth in outside.items() if depth}
    assert above == ({"final_norm.weight"} if family == "modernbert" else set())
    assert all(outside[name] == 2 for name in above)
    assert not encoder.training


def test_layers_that_share_weights_are_no_stack(make_model, arguments):
    model = make_model()
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
    model.encoder = AlbertModel(AlbertConfig(vocab_size=300, num_hidden_layers=3, **sizes))
    for keys in (
        {"freeze_layers": 1},
        {"unfreeze_layers_per_epoch": 1.0},
        {"layer_learning_rate_decay": 0.9},
        {"freeze": ["encoder"], "cache_frozen_layers": True},
    ):
        with pytest.raises(ValueError, match=r"lists its 3 layers\. Found a list of 1 in Albert"):
            check_freezing(model, arguments(**keys), streaming=False)
    frozen = frozen_parameters(model, arguments(freeze=["embeddings"]))
    assert "encoder.embeddings.word_embeddings.weight" in frozen
    assert not any("albert_layer_groups" in name for name in frozen)


# What is frozen for good


@pytest.mark.parametrize(
    ("freeze", "stays"),
    [
        (["encoder"], ["encoder."]),
        (["embeddings"], ["encoder.embeddings."]),
        (["encoder", "heads.topic"], ["encoder.", "heads.topic."]),
    ],
)
def test_parts_stay_as_they_are(freeze, stays, make_trainer, make_model, synthetic_splits):
    model = with_dropout(make_model(tasks=synthetic_splits[1]))
    names = {name for name, _ in model.named_parameters()}
    frozen = {name for name in names if name.startswith(tuple(stays))}
    trainer, watch = train(make_trainer, model, freeze=freeze)
    assert moved(watch.weights[0], watch.weights[-1]) == names - frozen
    assert watch.held == watch.with_state == names - frozen
    sizes = {name: one.numel() for name, one in model.named_parameters()}
    assert parameter_counts(model, trainer.args) == (
        sum(sizes[name] for name in names - frozen),
        sum(sizes.values()),
    )
    if "encoder" in freeze:
        assert not any(watch.outputs)  # no graph at all
    else:
        assert all(watch.outputs)
    parts = tuple(part.rstrip(".") for part in stays)
    for modules in watch.in_training:
        assert "" in modules
        assert "heads.sentiment.dropout" in modules
        assert not [name for name in modules if name.startswith(parts)]
        assert ("encoder.encoder.layer.0.attention.self.dropout" in modules) is (
            "encoder" not in freeze
        )
    model.train()
    assert all(module.training for module in model.modules())
    assert all(one.requires_grad for one in model.parameters())


def test_frozen_encoder_answers_the_same_in_training(make_trainer, make_model, synthetic_splits):
    model = with_dropout(make_model(tasks=synthetic_splits[1]))
    states = []
    trainer = make_trainer(model=model, freeze=["encoder"], max_steps=1)

    def keep(model, args, kwargs, output):
        states.append((kwargs["input_ids"], kwargs["attention_mask"], output.last_hidden_state))

    model.register_forward_hook(keep, with_kwargs=True)
    trainer.train()
    ids, mask, found = states[0]
    expected = model.eval()(input_ids=ids, attention_mask=mask).last_hidden_state
    assert torch.equal(found, expected)


def test_everything_frozen_is_nothing_to_train(make_trainer, make_model, synthetic_splits):
    model = make_model(tasks=synthetic_splits[1])
    before = snapshot(model)
    heads = [f"heads.{name}" for name in synthetic_splits[1]]
    for freeze in (["everything"], ["encoder", *heads]):
        trainer = make_trainer(model=model, freeze=freeze)
        assert trainer.train().global_step == 0
        assert parameter_counts(model, trainer.args)[0] == 0
        assert not moved(before, snapshot(model))
        assert "eval_score" in trainer.evaluate()


# Gradual unfreezing


def trained_depths(watch, model) -> list[set]:
    """By epoch, the depths of the parameters that changed; None for heads."""
    depths = parameter_depths(model.encoder)
    pairs = zip(watch.weights, watch.weights[1:], strict=False)
    return [{depths.get(name.removeprefix("encoder.")) for name in moved(*pair)} for pair in pairs]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"unfreeze_layers_per_epoch": 1.0}, [{None}, {None, 2}, {None, 1, 2}, {None, 0, 1, 2}]),
        ({"unfreeze_layers_per_epoch": 0.5}, [{None}, {None}, {None, 2}]),
        (
            {"unfreeze_layers_per_epoch": 2.0, "freeze_layers": 1},
            [{None}, {None, 2}],
        ),
        ({"unfreeze_layers_per_epoch": 3.0, "freeze": ["embeddings"]}, [{None}, {None, 1, 2}]),
    ],
)
def test_layers_are_trained_from_the_top(
    keys, expected, make_trainer, make_model, synthetic_splits
):
    model = make_model(tasks=synthetic_splits[1])
    _, watch = train(make_trainer, model, num_train_epochs=len(expected), **keys)
    assert trained_depths(watch, model) == expected
    steps = len(watch.outputs) // len(expected)
    assert not any(watch.outputs[:steps])  # the heads alone need no graph below them
    assert all(watch.outputs[-steps:])
    assert watch.with_state == moved(watch.weights[0], watch.weights[-1])
    assert all(one.requires_grad for one in model.parameters())


def test_gradual_unfreezing_goes_on_where_it_was(make_trainer, make_model, synthetic_splits):
    model = with_dropout(make_model(tasks=synthetic_splits[1]), 0.2)
    keys = {
        "unfreeze_layers_per_epoch": 1.0,
        "num_train_epochs": 3,
        "save_total_limit": None,
    }
    saving = {"save_strategy": "steps", "save_steps": 1, "output_dir": "whole"}
    whole, _ = train(make_trainer, copy.deepcopy(model), **saving, **keys)
    folder = Path(whole.args.output_dir)
    for step in (3, 4):  # in the second epoch, and after it: 2 steps each
        again, watch = train(
            make_trainer,
            copy.deepcopy(model),
            output_dir=f"again-{step}",
            resume_from_checkpoint=str(folder / f"checkpoint-{step}"),
            **keys,
        )
        assert not moved(snapshot(whole.model), snapshot(again.model))
        assert trained_depths(watch, model)[0] == ({None, 2} if step == 3 else {None, 1, 2})


# Learning rates


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_each_layer_has_its_learning_rate(family, make_trainer, make_model, synthetic_splits):
    model = make_model(family, tasks=synthetic_splits[1])
    trainer = make_trainer(
        model=model,
        learning_rate=1e-3,
        head_learning_rate=5e-3,
        layer_learning_rate_decay=0.5,
        weight_decay=0.1,
    )
    optimizer = trainer.create_optimizer()
    depths = parameter_depths(model.encoder)
    decaying = trainer.get_decay_parameter_names(model)
    names = {id(one): name for name, one in model.named_parameters()}
    found = {
        names[id(one)]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for one in group["params"]
    }
    assert found == {
        name: (
            {0: 2.5e-4, 1: 5e-4, 2: 1e-3, None: 5e-3}[depths.get(name.removeprefix("encoder."))],
            0.1 if name in decaying else 0.0,
        )
        for name in names.values()
    }
    assert optimizer.param_groups[0]["lr"] == 1e-3  # the one that is logged


def test_steps_are_of_the_learning_rates(make_trainer, make_model, synthetic_splits):
    model = make_model(tasks=synthetic_splits[1])
    depths = parameter_depths(model.encoder)
    _, watch = train(
        make_trainer,
        model,
        max_steps=1,
        learning_rate=1e-3,
        head_learning_rate=1e-2,
        layer_learning_rate_decay=0.1,
    )
    expected = {0: 1e-5, 1: 1e-4, 2: 1e-3, None: 1e-2}
    for name, weight in watch.weights[0].items():
        step = (watch.weights[-1][name] - weight).abs().max().item()
        # The first step of AdamW is as large as the learning rate, where there is a gradient.
        assert step <= 1.01 * expected[depths.get(name.removeprefix("encoder."))]
        if name.endswith("dense.weight"):
            assert step == pytest.approx(expected[depths[name.removeprefix("encoder.")]], rel=0.05)


def test_by_default_groups_are_those_of_the_trainer(make_trainer):
    groups = make_trainer(learning_rate=1e-3, weight_decay=0.1).create_optimizer().param_groups
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(1e-3, 0.1), (1e-3, 0.0)]


# The cache


@pytest.mark.parametrize(
    ("family", "keys"),
    [
        # The layers of RoBERTa and XLM-RoBERTa are BERT's.
        *((family, {"freeze_layers": 1}) for family in ENCODERS if "roberta" not in family),
        ("modernbert", {"freeze": ["encoder"]}),
        ("bert", {"freeze_layers": 2, "max_batch_tokens": 300}),
    ],
)
def test_lower_layers_stay_as_they_are_and_may_be_cached(
    family, keys, make_trainer, make_model, synthetic_splits, monkeypatch
):
    splits, tasks = synthetic_splits
    model = with_dropout(make_model(family, tasks=tasks).double(), 0.2)
    depths = parameter_depths(model.encoder)
    num_layers = keys.get("freeze_layers", 2)
    frozen = {f"encoder.{n}" for n, depth in depths.items() if depth <= num_layers}
    layers = layer_stack(model.encoder)
    ran_in_training: list = []
    kind, forward = type(layers[0]), type(layers[0]).forward

    def watched(self, *args, **kwargs):
        if torch.is_grad_enabled():
            ran_in_training.append(self)
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(kind, "forward", watched)
    runs = []
    for cached in (False, True):
        trainer, watch = train(
            make_trainer,
            copy.deepcopy(model),
            train=splits["train"].select(range(16)),
            per_device_train_batch_size=8,
            max_steps=3,
            eval_strategy="steps",
            eval_steps=3,
            cache_frozen_layers=cached,
            **keys,
        )
        assert moved(watch.weights[0], watch.weights[-1]) == set(watch.weights[0]) - frozen
        assert watch.held == watch.with_state == set(watch.weights[0]) - frozen
        own = layer_stack(trainer.model.encoder)
        ran = [place for place, layer in enumerate(own) if layer in ran_in_training]
        assert ran == list(range(num_layers if cached else 0, 2))
        assert not any("forward" in vars(layer) for layer in own)
        logs = trainer.state.log_history
        runs.append((trainer.model, [one["eval_loss"] for one in logs if "eval_loss" in one]))
    (plain, plain_losses), (cached, cached_losses) = runs
    for name, weight in cached.state_dict().items():
        torch.testing.assert_close(
            weight, plain.state_dict()[name], rtol=1e-8, atol=1e-10, msg=name
        )
    assert plain_losses
    assert plain_losses == pytest.approx(cached_losses, rel=1e-8)
    assert not list(Path(trainer.args.output_dir).glob("*.tmp"))


def test_cache_is_filled_from_the_checkpoint(make_trainer, make_model, synthetic_splits):
    keys = {
        "freeze_layers": 1,
        "cache_frozen_layers": True,
        "num_train_epochs": 2,
        "save_total_limit": None,
    }
    model = make_model(tasks=synthetic_splits[1])
    saving = {"save_strategy": "epoch", "output_dir": "whole"}
    whole, _ = train(make_trainer, copy.deepcopy(model), **saving, **keys)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()  # as a model that is not the one that the run began with
    checkpoint = str(Path(whole.args.output_dir) / "checkpoint-2")
    again, _ = train(
        make_trainer, model, output_dir="again", resume_from_checkpoint=checkpoint, **keys
    )
    assert not moved(snapshot(whole.model), snapshot(again.model))


def test_cache_says_its_size_and_needs_room(
    make_model, synthetic_splits, tmp_path, monkeypatch, caplog
):
    model = make_model()
    arguments = (model, 1, synthetic_splits[0]["train"], 0, tmp_path, 1000)
    caplog.set_level(logging.INFO, "multitask_encoder.training")
    with cached_layers(*arguments):
        assert not list(tmp_path.iterdir())
    assert "Caching the outputs of frozen layers: 0 MB in " in caplog.text
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("", (), {"free": 10})())
    with pytest.raises(ValueError, match=r"cache_frozen_layers needs 0 MB in .* Found 0 MB free"):
        cached_layers(*arguments).__enter__()
    layer_stack(model.encoder)[1].register_forward_hook(lambda _, args, states: states[0])
    with pytest.raises(ValueError, match="Found others in BertModel"):
        cached_layers(model, 2, *arguments[2:]).__enter__()


# Errors


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"freeze_layers": -1}, "freeze_layers should be at least 0. Found -1."),
        ({"unfreeze_layers_per_epoch": 0.0},
         "unfreeze_layers_per_epoch should be above 0, and finite. Found 0.0."),
        ({"layer_learning_rate_decay": 1.5},
         "layer_learning_rate_decay should be above 0 and at most 1. Found 1.5."),
        ({"layer_learning_rate_decay": 0.0},
         "layer_learning_rate_decay should be above 0 and at most 1. Found 0.0."),
        ({"head_learning_rate": -1.0},
         "head_learning_rate should be above 0, and finite. Found -1.0."),
        ({"cache_frozen_layers": True, "freeze_layers": 1, "unfreeze_layers_per_epoch": 1.0},
         "cache_frozen_layers needs layers that are frozen for the whole run. "
         "Found unfreeze_layers_per_epoch: 1.0."),
    ],
)  # fmt: skip
def test_values_out_of_range_are_refused(keys, message, arguments):
    with pytest.raises(ValueError) as raised:
        arguments(**keys)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("keys", "streaming", "message"),
    [
        ({"freeze": ["heads.embedding"]}, False,
         "freeze should name some of everything, nothing, encoder, embeddings, heads.topic, "
         "heads.entities. Found 'heads.embedding'."),
        ({"freeze_layers": 3}, False,
         "freeze_layers should be at most 2, the layers of this encoder. Found 3."),
        ({"freeze": ["heads.topic", "heads.entities"], "unfreeze_layers_per_epoch": 1.0}, False,
         "unfreeze_layers_per_epoch begins with the heads: at least one should be trained. "
         "Found freeze: heads.topic, heads.entities."),
        ({"unfreeze_layers_per_epoch": 1.0}, True,
         "unfreeze_layers_per_epoch needs epochs; streaming has none."),
        ({"freeze_layers": 1, "cache_frozen_layers": True}, True,
         "cache_frozen_layers needs rows that are read again. Found streaming."),
        ({"freeze": ["embeddings"], "cache_frozen_layers": True}, False,
         "cache_frozen_layers needs freeze_layers of at least 1, or freeze: encoder. "
         "Found freeze_layers: None, freeze: ['embeddings']."),
    ],
)  # fmt: skip
def test_what_the_model_lacks_is_refused(keys, streaming, message, make_model, arguments):
    with pytest.raises(ValueError) as raised:
        check_freezing(make_model(tasks=TASKS), arguments(**keys), streaming)
    assert str(raised.value) == message


# Whole runs


def test_a_run_freezes_by_its_keys(run, backbone, caplog):
    folder = run("--freeze_layers", "1", freeze=["embeddings"], cache_frozen_layers=True)
    saved = load_file(folder / "model.safetensors")
    start = load_file(backbone("bert") / "model.safetensors")
    for key, same in [
        ("embeddings.word_embeddings.weight", True),
        ("encoder.layer.0.output.dense.weight", True),
        ("encoder.layer.1.output.dense.weight", False),
    ]:
        assert torch.equal(saved[f"encoder.{key}"], start[key]) is same
    assert "2,258 of 17,538 parameters are trained." in caplog.text


def test_a_run_with_everything_frozen_only_evaluates(run, caplog):
    folder = run(freeze="everything")
    assert "All of 17,538 parameters are frozen: nothing is trained." in caplog.text
    assert "eval_score" in results(folder)
    assert "train_loss" not in results(folder)
    assert (folder / "model.safetensors").exists()


def test_a_run_names_the_parts_that_can_be_frozen(run, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(freeze="heads.topics")
    assert stopped.value.code == 2
    assert capsys.readouterr().err.endswith(
        "error: freeze should name some of everything, nothing, encoder, embeddings, heads.topic. "
        "Found 'heads.topics'.\n"
    )


RANKS_RUN = {
    "head_dropout": 0.0,
    "dataset": "synthetic",
    "train_size": 12,
    "validation_size": 5,
    "test_size": 5,
    "tasks": {
        "topic": {"type": "sequence_classification"},
        "entities": {"type": "token_classification"},
    },
    "optim": "sgd",  # Adam would enlarge rounding
    "learning_rate": 0.1,
    "num_train_epochs": 4,
    "gradient_accumulation_steps": 2,
    "max_batch_tokens": 60,
    "eval_strategy": "no",
    "save_strategy": "no",
    "load_best_model_at_end": False,
    "use_cpu": True,
    "bf16": False,
    "report_to": "none",
    "report": False,
    "disable_tqdm": True,
}


@pytest.mark.slow
def test_two_ranks_train_the_same_weights(backbone, tmp_path):
    """Layers that join in later, and a cache that both ranks fill."""
    common = {"encoder": str(backbone("bert")), **RANKS_RUN}
    cases: dict[str, dict] = {
        "gradual": {"unfreeze_layers_per_epoch": 1.0, "layer_learning_rate_decay": 0.5},
        "cached": {"freeze_layers": 1, "cache_frozen_layers": True, "freeze": ["heads.topic"]},
    }
    configs = {}
    for ranks in (1, 2):
        for name, keys in cases.items():
            folder = tmp_path / f"{name}-{ranks}"
            batch = {"per_device_train_batch_size": 4 // ranks, "output_dir": str(folder)}
            configs[name, ranks] = tmp_path / f"{name}-{ranks}.yaml"
            configs[name, ranks].write_text(yaml.safe_dump(common | keys | batch))
    for name in cases:
        run_multitask.main([str(configs[name, 1])])
    launched = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc_per_node", "2", "tests/several_runs.py"),
            *(str(configs[name, 2]) for name in cases),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert launched.returncode == 0, launched.stderr
    assert launched.stdout.count("2 processes") == 2
    start = load_file(backbone("bert") / "model.safetensors")
    for name in cases:
        one, two = (
            load_file(tmp_path / f"{name}-{ranks}" / "model.safetensors") for ranks in (1, 2)
        )
        for key, weight in one.items():
            torch.testing.assert_close(two[key], weight, rtol=1e-4, atol=1e-5, msg=key)
        for key, same in [
            ("embeddings.word_embeddings.weight", name == "cached"),
            ("encoder.layer.0.output.dense.weight", name == "cached"),
            ("encoder.layer.1.output.dense.weight", False),
        ]:
            assert torch.equal(two[f"encoder.{key}"], start[key]) is same
        assert not list((tmp_path / f"{name}-2").glob("*.tmp"))
