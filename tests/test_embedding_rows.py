"""Training only the token embeddings that the data uses: the same weights for less."""

import copy

import pytest
import torch
from conftest import ENCODERS
from torch import nn
from transformers import Trainer

from multitask_encoder.modeling import MultiTaskModel
from multitask_encoder.training.embedding_rows import EmbeddingRows, only_used_rows, used_ids


def train(make_trainer, model, **kwargs):
    """A few steps that change much, in float64; and the optimizer's parameters at the first."""
    trainer = make_trainer(
        model=copy.deepcopy(model),
        per_device_train_batch_size=10,
        learning_rate=1e-2,
        weight_decay=0.1,
        save_total_limit=None,
        **{"max_steps": 6, "max_grad_norm": 0.0, **kwargs},
    )
    sizes = []

    def keep(*args, **kwargs):
        groups = trainer.optimizer.param_groups
        sizes.append(sum(one.numel() for group in groups for one in group["params"]))
        return trainer.control

    trainer.callback_handler.on_pre_optimizer_step = keep
    trainer.train()
    return trainer, sizes[0]


@pytest.mark.parametrize("family", ENCODERS)
def test_weights_are_those_of_training_the_whole_table(
    family, make_trainer, make_model, synthetic_splits, monkeypatch
):
    splits, tasks = synthetic_splits
    model = make_model(family, tasks=tasks).double()
    some, size_of_some = train(make_trainer, model)
    monkeypatch.setattr(
        "multitask_encoder.training.trainer.MultiTaskTrainer._may_leave_out_rows", lambda _: False
    )
    everything, size_of_all = train(make_trainer, model)
    for (name, found), expected in zip(
        some.model.state_dict().items(), everything.model.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10, msg=name)

    embedding, start = (one.encoder.get_input_embeddings() for one in (some.model, model))
    assert type(embedding) is nn.Embedding
    used = torch.from_numpy(used_ids(splits["train"], len(start.weight)))
    changed = (embedding.weight != start.weight).any(1)
    if start.padding_idx is not None:
        changed[start.padding_idx] = used[start.padding_idx]  # never gets a gradient
    assert changed[used].all()
    assert not changed[~used].any()
    left_out = int((~used).sum()) - int(not used[0])  # padding has its row
    assert size_of_all - size_of_some == left_out * start.embedding_dim


def test_checkpoints_hold_the_whole_table(make_trainer, make_model, synthetic_splits, tmp_path):
    _, tasks = synthetic_splits
    model = make_model(tasks=tasks)
    trainer, _ = train(make_trainer, model, max_steps=2, save_strategy="steps", save_steps=1)
    for folder in ("checkpoint-1", "checkpoint-2"):
        saved = MultiTaskModel.from_pretrained(str(tmp_path / "run" / folder))
        assert saved.encoder.get_input_embeddings().weight.shape == (300, 16)
    for name, weight in saved.state_dict().items():
        assert torch.equal(weight, trainer.model.state_dict()[name]), name


def test_evaluation_between_steps_reads_what_was_trained(
    make_trainer, make_model, synthetic_splits
):
    splits, tasks = synthetic_splits
    trainer, _ = train(
        make_trainer, make_model(tasks=tasks), max_steps=3, eval_strategy="steps", eval_steps=3
    )
    logged = next(one for one in trainer.state.log_history if "eval_loss" in one)
    again = trainer.evaluate()
    assert again["eval_loss"] == pytest.approx(logged["eval_loss"], rel=1e-6)
    known = used_ids(splits["train"], 300)
    assert (used_ids(splits["validation"], 300) & ~known).any()  # rows that stayed as they were


def test_model_can_be_trained_twice(make_trainer, make_model, synthetic_splits):
    _, tasks = synthetic_splits
    trainer, _ = train(make_trainer, make_model(tasks=tasks), max_steps=2)
    before = trainer.model.encoder.get_input_embeddings().weight.clone()
    trainer.train()
    assert not torch.equal(trainer.model.encoder.get_input_embeddings().weight, before)


def test_rows_stand_in_for_the_table():
    embedding = nn.Embedding(10, 4, padding_idx=0)
    start = embedding.weight.detach().clone()
    module = EmbeddingRows(embedding, torch.tensor([0, 2, 5]))
    ids = torch.tensor([[2, 5, 0], [5, 5, 2]])
    assert module.weight.shape == (3, 4)
    assert torch.equal(module(ids), embedding(ids))
    module(ids).sum().backward()
    assert torch.equal(module.weight.grad[:, 0], torch.tensor([0.0, 2.0, 3.0]))
    with pytest.raises(IndexError):
        module(torch.tensor([7]))

    module.weight.data += 1
    module.eval()
    expected = start.clone()
    expected[[0, 2, 5]] += 1
    assert torch.equal(module(torch.arange(10)), expected)
    assert torch.equal(module.state_dict()["weight"], expected)
    assert list(module.state_dict()) == ["weight"]

    module.load_state_dict({"weight": start})
    assert torch.equal(module.weight, start[[0, 2, 5]])
    assert torch.equal(module(torch.arange(10)), start)
    with pytest.raises(RuntimeError, match="weight"):
        module.load_state_dict({})


@pytest.mark.parametrize("case", ["frozen", "shared", "of its own kind", "normed"])
def test_embeddings_that_are_more_than_a_table_are_left_alone(case, make_model, synthetic_splits):
    class Scaled(nn.Embedding):
        pass

    encoder = make_model().encoder
    embedding = encoder.get_input_embeddings()
    if case == "frozen":
        embedding.weight.requires_grad = False
    elif case == "shared":
        encoder.again = nn.Linear(16, 300)
        encoder.again.weight = embedding.weight
    elif case == "normed":
        embedding.max_norm = 1.0
    else:
        encoder.set_input_embeddings(Scaled(300, 16))
        embedding = encoder.get_input_embeddings()
    with only_used_rows(encoder, synthetic_splits[0]["train"], padding_id=0) as replaced:
        assert not replaced
        assert encoder.get_input_embeddings() is embedding


def test_embeddings_do_not_decay(make_trainer, make_model):
    trainer = make_trainer(model=make_model())
    decaying = trainer.get_decay_parameter_names(trainer.model)
    assert not [name for name in decaying if "embeddings" in name]
    assert "heads.topic.classifier.weight" in decaying
    assert len(decaying) == 2 * 6 + 2


def test_clipping_in_the_optimizers_step_is_clipping(
    make_trainer, make_model, synthetic_splits, monkeypatch
):
    _, tasks = synthetic_splits
    model = make_model(tasks=tasks).double()
    ours, _ = train(make_trainer, model, max_grad_norm=0.1)
    monkeypatch.setattr(
        "multitask_encoder.training.trainer.MultiTaskTrainer._clip_grad_norm",
        Trainer._clip_grad_norm,
    )
    theirs, _ = train(make_trainer, model, max_grad_norm=0.1)
    norms = [
        [one["grad_norm"] for one in trainer.state.log_history if "grad_norm" in one]
        for trainer in (ours, theirs)
    ]
    assert min(norms[0]) > 0.1  # every step was clipped
    assert norms[0] == pytest.approx(norms[1], rel=1e-6)
    for found, expected in zip(ours.model.parameters(), theirs.model.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-8)
