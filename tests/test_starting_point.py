"""Each step takes the encoder some of the way back to where it started."""

import copy

import pytest
import torch
from torch import nn
from transformers import TrainerState

from multitask_encoder.training.starting_point import PullToStart


def test_the_pull_is_the_strength_times_the_learning_rate():
    encoder, head = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    groups = [{"params": [encoder.weight], "lr": 0.1}, {"params": [head.weight], "lr": 0.1}]
    optimizer, state = torch.optim.SGD(groups), TrainerState(global_step=0)
    for layer in (encoder, head):
        layer.weight.detach().fill_(5.0)
    pull = PullToStart(encoder, strength=1.0)

    def step() -> tuple[float, float]:
        optimizer.step()
        pull.on_optimizer_step(None, state, None, optimizer=optimizer)
        state.global_step += 1
        return encoder.weight.item(), head.weight.item()

    encoder.weight.grad = head.weight.grad = torch.full((1, 1), 10.0)
    # Each step is 1 down; the fourth goes 4 x 10 % of the way back, but not in the head.
    steps = [step() for _ in range(5)]
    assert steps == [
        pytest.approx(one, abs=1e-6) for one in ((4, 4), (3, 3), (2, 2), (2.6, 1), (1.6, 0))
    ]
    optimizer.param_groups[0]["lr"] = 100.0
    assert [step()[0] for _ in range(3)][-1] == 5.0  # no further than the start


def test_weights_are_pulled_by_what_they_matter():
    encoder = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.1)
    start = encoder.weight.detach().clone()
    matters = {encoder.weight: torch.tensor([[0.0, 1.0, 2.0, 100.0]])}
    pull = PullToStart(encoder, 1.0, matters)
    encoder.weight.detach().add_(1)
    encoder.bias.detach().add_(1)
    pull.on_optimizer_step(None, TrainerState(global_step=3), None, optimizer=optimizer)
    moved = (encoder.weight - start).flatten()
    # 4 x 10 % of the way back for a weight of 1, and no further than the start.
    assert moved.tolist() == pytest.approx([1, 0.6, 0.2, 0], abs=1e-6)


def test_weights_that_are_frozen_are_not_copied():
    encoder = nn.Linear(2, 3)
    encoder.bias.requires_grad_(False)
    assert PullToStart(encoder, 1.0).starts.keys() == {encoder.weight}


def distance(model, start) -> float:
    pairs = zip(model.encoder.parameters(), start.encoder.parameters(), strict=True)
    return sum((one - other).square().sum().item() for one, other in pairs) ** 0.5


@pytest.mark.parametrize("used_rows", [True, False])
def test_a_trained_encoder_is_nearer_to_its_start(
    make_trainer, make_model, synthetic_splits, used_rows, monkeypatch
):
    trainer_class = type(make_trainer())
    monkeypatch.setattr(trainer_class, "_may_leave_out_rows", lambda _: used_rows)
    start = make_model(tasks=synthetic_splits[1])
    distances = []
    for strength in (None, 0.0, 100.0, 1000.0):
        model = copy.deepcopy(start)
        trainer = make_trainer(
            model=model,
            l2_sp=strength,
            learning_rate=1e-3,
            max_steps=4,
            lr_scheduler_type="constant",
        )
        trainer.train()
        distances.append(distance(model, start))
    assert distances[0] == distances[1] > distances[2] > 0  # in Python, nothing pulls by default
    assert distances[3] == 0
