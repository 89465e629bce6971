"""LoRA trains small matrices beside the encoder's weights, and leaves an ordinary model."""

import json
import sys

import pytest
import torch
from conftest import ENCODERS, results
from safetensors.torch import load_file

from multitask_encoder.modeling import MultiTaskModel
from multitask_encoder.training.freezing import parameter_counts
from multitask_encoder.training.lora import has_lora


def linear_layers(model) -> dict[str, torch.nn.Linear]:
    return {
        name: module
        for name, module in model.encoder.named_modules()
        if isinstance(module, torch.nn.Linear)
    }


@pytest.mark.parametrize("family", ENCODERS)
def test_only_linear_layers_and_heads_move_and_by_the_rank(
    family, make_trainer, make_model, synthetic_splits
):
    model = make_model(family, tasks=synthetic_splits[1])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trainer = make_trainer(model, lora_rank=2, learning_rate=1e-2, max_steps=3)
    trainer.train()
    assert not has_lora(model)
    assert list(model.state_dict()) == list(before)
    assert all(parameter.requires_grad for parameter in model.parameters())
    layers = {f"encoder.{name}.weight" for name in linear_layers(model)}
    moved = {name for name, value in model.state_dict().items() if not value.equal(before[name])}
    assert moved == layers | {name for name in before if name.startswith("heads.")}
    for name in layers:
        change = (model.state_dict()[name] - before[name]).double()
        assert torch.linalg.matrix_rank(change, rtol=1e-4) == 2


def test_parameters_are_counted(make_trainer, make_model, synthetic_splits):
    model = make_model(tasks=synthetic_splits[1])
    plain = sum(one.numel() for one in model.parameters())
    heads = sum(one.numel() for one in model.heads.parameters())
    matrices = sum(2 * sum(one.weight.shape) for one in linear_layers(model).values())
    arguments = make_trainer(model, lora_rank=2).args
    assert parameter_counts(model, arguments) == (matrices + heads, plain + matrices)
    assert not has_lora(model)


def test_frozen_layers_have_none_that_moves(make_trainer, make_model, synthetic_splits):
    model = make_model(tasks=synthetic_splits[1])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    make_trainer(model, lora_rank=2, freeze_layers=1, max_steps=3).train()
    lowest = [name for name in before if ".layer.0." in name]
    assert lowest and all(model.state_dict()[name].equal(before[name]) for name in lowest)
    assert not model.state_dict()[lowest[0].replace(".0.", ".1.")].equal(before[lowest[0]])


def test_a_run_leaves_an_ordinary_model_and_resumes(run, tmp_path):
    keys = {"lora_rank": 2, "learning_rate": 1e-2, "num_train_epochs": 2, "save_total_limit": 9}
    folder = run(**keys)
    whole = load_file(folder / "model.safetensors")
    model = MultiTaskModel.from_pretrained(folder)
    assert set(model.state_dict()) == set(whole)
    assert json.loads((folder / "config.json").read_text()).get("peft_config") is None
    scores = results(folder)
    run("--resume_from_checkpoint", str(folder / "checkpoint-2"), **keys)
    again = load_file(folder / "model.safetensors")
    assert all(torch.equal(value, again[name]) for name, value in whole.items())
    assert results(folder)["eval_score"] == scores["eval_score"]


def test_a_checkpoint_is_no_model_and_goes_on_with_its_rank_only(run, capsys):
    keys = {"learning_rate": 1e-2, "num_train_epochs": 2, "save_total_limit": 9}
    checkpoint = run(lora_rank=2, **keys) / "checkpoint-2"
    with pytest.raises(ValueError, match="a checkpoint of a run with lora_rank, to resume from"):
        MultiTaskModel.from_pretrained(checkpoint)
    before = sorted(path.name for path in checkpoint.parent.iterdir())
    for other in ({"lora_rank": 4}, {}, {"lora_rank": 2, "freeze_layers": 1}):
        with pytest.raises(SystemExit, match="2"):
            run("--resume_from_checkpoint", str(checkpoint), **keys, **other)
        assert ", as in the run being resumed from" in capsys.readouterr().err
        assert sorted(path.name for path in checkpoint.parent.iterdir()) == before


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"lora_rank": 0}, "lora_rank should be at least 1. Found 0."),
        (
            {"lora_rank": 2, "freeze": ["encoder"]},
            "lora_rank trains the encoder's layers, which should not all be frozen. "
            "Found freeze: ['encoder'].",
        ),
        (
            {"lora_rank": 2, "freeze_layers": 2},
            "which should not all be frozen. Found freeze_layers: 2.",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(keys, message, run, capsys):
    with pytest.raises(SystemExit, match="2"):
        run(**keys)
    assert message in capsys.readouterr().err


def test_without_peft_the_extra_is_named(run, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(SystemExit, match="2"):
        run(lora_rank=2)
    assert "peft is not installed: pip install 'multitask-encoder[lora]'" in capsys.readouterr().err
