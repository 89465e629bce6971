"""What each weight matters to what a model says is measured by its gradients."""

import pytest
import torch

from multitask_encoder.data.collator import MultiTaskCollator
from multitask_encoder.training.importance import draw, importance


def test_weights_matter_as_the_gradients_of_drawn_labels_say(
    make_model, synthetic_splits, tokenizer
):
    splits, tasks = synthetic_splits
    model, rows = make_model(tasks=tasks), splits["train"].select(range(6))
    found = importance(model, rows, tokenizer.pad_token_id, ["topic", "entities"], seed=0)
    names = dict(model.encoder.named_parameters())
    tokens = model.encoder.get_input_embeddings().weight
    assert {id(one) for one in found} == {id(one) for one in names.values() if one is not tokens}
    whole = torch.cat([matters.flatten() for matters in found.values()])
    assert whole.mean() == pytest.approx(1)
    assert whole.min() >= 0
    # No gradient is left behind, and the same seed draws the same.
    assert all(one.grad is None for one in model.parameters())
    again = importance(model, rows, tokenizer.pad_token_id, ["topic", "entities"], seed=0)
    assert all(torch.equal(found[one], again[one]) for one in found)


def test_it_is_the_root_of_the_mean_square_of_the_gradients(
    make_model, synthetic_splits, tokenizer, monkeypatch
):
    monkeypatch.setattr("multitask_encoder.training.importance.TEXTS_AT_ONCE", 1)
    splits, tasks = synthetic_splits
    model, rows = make_model(tasks=tasks), splits["train"].select(range(5))
    found = importance(model, rows, tokenizer.pad_token_id, ["topic"], seed=0)
    squares = {one: torch.zeros_like(one) for one in found}
    generator = torch.Generator().manual_seed(0)
    shuffled = rows.shuffle(seed=0)["input_ids"][:]
    for ids in sorted(shuffled, key=len, reverse=True):  # batches begin with the longest
        logits = model(
            input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)).long()
        ).logits["topic"]
        label = torch.multinomial(logits.softmax(-1), 1, generator=generator)
        model.zero_grad()
        (-logits.log_softmax(-1)[0, label.item()]).backward()
        for one in found:
            squares[one] += 0 if one.grad is None else one.grad.square()
    roots = {one: square.sqrt() for one, square in squares.items()}
    mean = torch.cat([root.flatten() for root in roots.values()]).mean()
    for one, root in roots.items():
        torch.testing.assert_close(found[one], root / mean, atol=1e-4, rtol=1e-3)


def test_what_no_answer_depends_on_does_not_matter(make_model, synthetic_splits, tokenizer):
    splits, tasks = synthetic_splits
    model = make_model(tasks=tasks)
    for one in model.encoder.parameters():
        one.requires_grad_(False)
    assert importance(model, splits["train"], tokenizer.pad_token_id, ["topic"], seed=0) == {}
    model.encoder.get_input_embeddings().weight.requires_grad_(True)  # is always left out
    assert importance(model, splits["train"], tokenizer.pad_token_id, ["topic"], seed=0) == {}


@pytest.mark.parametrize("task", ["topic", "entities"])
def test_labels_are_drawn_as_likely_as_they_are(task, make_model, synthetic_splits, tokenizer):
    splits, tasks = synthetic_splits
    model = make_model(tasks=tasks)
    batch = MultiTaskCollator(tokenizer, tasks)(list(splits["train"].select(range(2))))
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([draw(model, task, logits[task], generator) for _ in range(2000)])
    assert drawn.shape[1:] == batch["labels"][task].shape
    shares = torch.stack([(drawn == label).float().mean(0) for label in range(3)], -1)
    torch.testing.assert_close(shares, logits[task].softmax(-1)[..., :3], atol=0.05, rtol=0)


@pytest.mark.parametrize("kind", ["multi_label_classification", "regression"])
def test_several_labels_and_numbers_are_drawn_around_the_answers(kind, make_model):
    labels = ["a", "b"]
    task = {"type": "sequence_classification", "labels": labels, "problem_type": kind}
    model, logits = make_model(tasks={"kind": task}), torch.tensor([[0.0, 3.0]])
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([draw(model, "kind", logits, generator) for _ in range(4000)])[:, 0]
    if kind == "regression":
        torch.testing.assert_close(drawn.mean(0), logits[0], atol=0.05, rtol=0)
        torch.testing.assert_close(drawn.var(0), torch.full((2,), 0.5), atol=0.05, rtol=0)
        model.heads["kind"].standardization = [(0.0, 1.0), (5.0, 10.0)]  # whatever the unit
        wide = torch.stack([draw(model, "kind", logits, generator) for _ in range(4000)])[:, 0]
        torch.testing.assert_close(wide.var(0), torch.tensor([0.5, 50.0]), atol=0.05, rtol=0.1)
    else:
        assert set(drawn.flatten().tolist()) == {0.0, 1.0}
        torch.testing.assert_close(drawn.mean(0), logits[0].sigmoid(), atol=0.05, rtol=0)
