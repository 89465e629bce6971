"""The loss of soft labels, against torch's own, and how it mixes with labels."""

import copy

import pytest
import torch
import torch.nn.functional as F
from datasets import Dataset, Features
from test_trainer import assert_same_gradients, step_gradients

from multitask_encoder.data.soft_labels import Taught, soft_features
from multitask_encoder.modeling.heads import SequenceClassificationHead
from multitask_encoder.training.distillation import (
    labels_or_targets,
    soft_loss,
    taught_difference,
    teacher_loss,
)

NAN = float("nan")


def distributions(*shape: int) -> torch.Tensor:
    return torch.randn(*shape).softmax(-1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 5)])
def test_classes_have_the_kl_divergence(shape, temperature):
    logits, targets = torch.randn(*shape), distributions(*shape)
    found = soft_loss(logits, targets, "single_label_classification", temperature)
    softened = (targets.log() / temperature).softmax(-1)
    scores = (logits / temperature).log_softmax(-1)
    expected = F.kl_div(scores, softened, reduction="none").sum(-1) * temperature**2
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", ["single_label_classification", "multi_label_classification"])
def test_a_head_that_agrees_has_no_loss(kind):
    logits = torch.randn(3, 4)
    same = logits.softmax(-1) if kind.startswith("single") else logits.sigmoid()
    assert soft_loss(logits, same, kind).abs().max() < 1e-6
    assert (soft_loss(logits, same.flip(1), kind).sum(-1, keepdim=True) > 0).all()


def test_labels_that_the_teacher_lacks_are_left_out():
    logits, known = torch.randn(3, 4, requires_grad=True), [0, 2, 3]
    targets = torch.full((3, 4), -1.0)
    targets[:, known] = distributions(3, 3)
    found = soft_loss(logits, targets, "single_label_classification", 2.0)
    alone = soft_loss(logits[:, known], targets[:, known], "single_label_classification", 2.0)
    torch.testing.assert_close(found, alone)
    found.sum().backward()
    assert logits.grad is not None and logits.grad[:, 1].abs().max() == 0


def test_several_labels_have_the_cross_entropy_less_its_least_value():
    logits, targets = torch.randn(3, 4), torch.rand(3, 4)
    found = soft_loss(logits, targets, "multi_label_classification")
    expected = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    least = F.binary_cross_entropy(targets, targets, reduction="none")
    torch.testing.assert_close(found, expected - least)


def test_numbers_have_the_squared_error():
    head, numbers = head_of("regression"), torch.tensor([[2.0], [3.0]])
    targets = torch.tensor([[4.5], [NAN]])
    assert teacher_loss(head, numbers, targets).tolist() == [[6.25], [0.0]]
    head.standardization = [(0.0, 5.0)]
    assert teacher_loss(head, numbers, targets).tolist() == [[0.25], [0.0]]


@pytest.mark.parametrize("kind", ["single_label_classification", "multi_label_classification"])
def test_an_absent_target_has_no_loss_and_no_gradient(kind):
    logits = torch.randn(2, 3, requires_grad=True)
    targets = torch.stack([torch.full((3,), NAN), distributions(3)])
    loss = soft_loss(logits, targets, kind)
    loss.sum().backward()
    assert loss.view(2, -1)[0].abs().sum() == 0
    assert logits.grad is not None and logits.grad[0].abs().sum() == 0
    assert logits.grad.isfinite().all()


def head_of(kind: str) -> SequenceClassificationHead:
    return SequenceClassificationHead(4, 3, 0.0, kind)


def test_labels_and_soft_labels_are_mixed():
    """Rows: labelled and taught, labelled alone, taught alone, neither; and a label that the
    teacher lacks, which stays beside what it says of the others."""
    head, logits = head_of("single_label_classification"), torch.randn(5, 3)
    labels = torch.tensor([1, 2, -101, -100, 2])
    targets = torch.full((5, 3), NAN)
    targets[[0, 2]] = distributions(2, 3)
    targets[4] = torch.tensor([0.25, 0.75, -1.0])
    hard, soft = head.loss(logits, labels), soft_loss(logits, targets, head.problem_type)
    found = hard.sum() + taught_difference(head, logits, labels, targets, 0.25, 1.0)
    expected = 0.75 * hard[0] + 0.25 * soft[0] + hard[1] + soft[2] + hard[4] + soft[4]
    torch.testing.assert_close(found, expected)
    assert (labels_or_targets(labels, targets) >= 0).tolist() == [True, True, True, False, True]


def test_numbers_are_mixed_label_by_label():
    head, logits = head_of("regression"), torch.zeros(2, 3)
    labels = torch.tensor([[1.0, NAN, NAN], [NAN, NAN, 2.0]])
    targets = torch.tensor([[3.0, 1.0, 2.0], [NAN, NAN, NAN]])
    found = head.loss(logits, labels).sum()
    found += taught_difference(head, logits, labels, targets, 0.5, 1.0)
    assert found == 0.5 * 1 + 0.5 * 9 + 1 + 4 + 4
    assert labels_or_targets(labels, targets).isnan().tolist() == [[False] * 3, [True, True, False]]


def with_soft_labels(rows: Dataset, tasks: dict) -> tuple[Dataset, dict[str, Taught]]:
    """Rows of which every second has random soft labels of topic, and every third of entities;
    the teacher of topic lacks a label. Every fifth row has no topic of its own."""
    sizes = {name: len(tasks[name]["labels"]) for name in ("topic", "entities")}
    known = {"topic": list(range(1, sizes["topic"])), "entities": list(range(sizes["entities"]))}
    columns: dict[str, list] = {
        key: []
        for name in known
        for key in soft_features(name, by_token=name == "entities", loaded=False)
    }
    topics, random = [], torch.Generator().manual_seed(0)
    for index, row in enumerate(rows):
        topics.append(-100 if index % 5 == 0 else row["topic"])
        places = [place for place in row["entities.positions"] if place >= 0]
        for name, units, every in (("topic", [0], 2), ("entities", places, 3)):
            units = units if index % every == 0 else []
            k = min(8, len(known[name]))
            values = torch.rand(len(units), k, generator=random).softmax(-1) * 0.9
            columns[f"{name}.soft"].append(values.flatten().tolist())
            columns[f"{name}.soft_ids"].append(known[name][:k] * len(units))
        columns["entities.soft_places"].append(places if index % 3 == 0 else [])
    features = Features(rows.features)
    for name in known:
        features |= soft_features(name, by_token=name == "entities", loaded=False)
    content = {**rows.to_dict(), **columns, "topic": topics}
    taught = {
        name: Taught(known[name], sizes[name], by_token=name == "entities", of_classes=True)
        for name in known
    }
    return Dataset.from_dict(content, features), taught


@pytest.mark.parametrize("weight", [None, 0.3])
def test_a_taught_step_is_the_same_however_it_is_accumulated(
    weight, make_trainer, make_model, synthetic_splits
):
    splits, tasks = synthetic_splits
    train, taught = with_soft_labels(splits["train"].select(range(24)), tasks)
    model = make_model(tasks=tasks, attn_implementation="eager").double()
    steps = []
    for batch_size, accumulation, tokens in [(24, 1, 16384), (8, 3, 16384), (2, 12, 16384),
                                             (24, 1, 300)]:  # fmt: skip
        trainer = make_trainer(
            model=copy.deepcopy(model),
            train=train,
            tasks=tasks,
            per_device_train_batch_size=batch_size,
            gradient_accumulation_steps=accumulation,
            max_grad_norm=0.0,
            max_batch_tokens=tokens,
            teacher_weight=weight,
            teacher_temperature=2.0,
        )
        trainer.data_collator.taught = taught
        steps.append(step_gradients(trainer))
    for loss, gradients in steps[1:]:
        assert loss == pytest.approx(steps[0][0], rel=1e-6)
        assert_same_gradients(gradients, steps[0][1], 1e-7)  # targets are float32


def test_teachers_are_followed_less_and_less(make_trainer, make_model, synthetic_splits):
    """At the first step the teacher alone counts where there are both, at the last the label."""
    splits, tasks = synthetic_splits
    train, taught = with_soft_labels(splits["train"].select(range(12)), tasks)
    model = make_model(tasks=tasks, attn_implementation="eager").double()
    found = {}
    for name, weight, step in [("begin", None, 0), ("end", None, 10), ("soft", 1.0, 5),
                               ("hard", 0.0, 5)]:  # fmt: skip
        trainer = make_trainer(
            model=copy.deepcopy(model), train=train, tasks=tasks, teacher_weight=weight
        )
        trainer.data_collator.taught = taught
        trainer.state.global_step, trainer.state.max_steps = step, 10
        batch = trainer.data_collator([train[index] for index in range(12)])
        (batch,), counts = trainer.get_batch_samples(iter([batch]), 1, model.device)
        loss = trainer.compute_loss(trainer.model, batch, num_items_in_batch=counts)
        found[name] = float(loss.detach())
    assert found["begin"] == found["soft"]
    assert found["end"] == found["hard"] != found["soft"]
