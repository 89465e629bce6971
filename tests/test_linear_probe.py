"""Sentence heads begin as linear probes, equal to those that scikit-learn fits."""

from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge

from multitask_encoder.data.collator import MultiTaskCollator
from multitask_encoder.data.label_alignment import IGNORE_INDEX
from multitask_encoder.data.soft_labels import Taught
from multitask_encoder.modeling.losses import binary_cross_entropy, cross_entropy, squared_error
from multitask_encoder.training.linear_probe import begin_as_probes, fit


@pytest.fixture
def vectors() -> torch.Tensor:
    return torch.randn(60, 5, generator=torch.Generator().manual_seed(0)) * 3 + 1


def standardised(vectors: torch.Tensor) -> tuple[np.ndarray, float]:
    scale = vectors.std(0, correction=0).mean()
    return ((vectors - vectors.mean(0)) / scale).numpy(), scale.item()


def test_a_probe_is_logistic_regression(vectors):
    labels = (vectors[:, 0] + 0.5 * vectors[:, 1]).argsort().argsort() // 20
    weight, bias = fit(cross_entropy, vectors, labels, 3)
    inputs, scale = standardised(vectors)
    reference = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(inputs, labels)
    np.testing.assert_allclose(weight * scale, reference.coef_, atol=2e-3)
    expected = reference.predict_proba(inputs)
    np.testing.assert_allclose((vectors @ weight.T + bias).softmax(-1), expected, atol=2e-3)


def test_a_probe_of_several_labels_is_one_logistic_regression_each(vectors):
    labels = (vectors[:, :2] > 1).float()
    weight, bias = fit(binary_cross_entropy, vectors, labels, 2)
    inputs, _ = standardised(vectors)
    for column in (0, 1):
        reference = LogisticRegression(C=1.0, tol=1e-8).fit(inputs, labels[:, column])
        expected = reference.predict_proba(inputs)[:, 1]
        answers = (vectors @ weight[column] + bias[column]).sigmoid()
        np.testing.assert_allclose(answers, expected, atol=2e-3)


def test_a_probe_of_numbers_is_ridge_regression(vectors):
    labels = vectors[:, :1] * 2 - vectors[:, 1:2]
    weight, bias = fit(squared_error, vectors, labels, 1)
    inputs, _ = standardised(vectors)
    reference = Ridge(alpha=0.5).fit(inputs, labels)
    np.testing.assert_allclose(
        (vectors @ weight.T + bias)[:, 0], reference.predict(inputs).ravel(), atol=2e-3
    )


def test_sentence_heads_begin_as_probes_and_others_stay(make_model, synthetic_splits, tokenizer):
    splits, tasks = synthetic_splits
    model, rows = make_model(tasks=tasks), splits["train"]
    before = {name: head.classifier.weight.clone() for name, head in model.heads.items()}
    begin_as_probes(model, rows, tokenizer.pad_token_id, seed=0)
    changed = {
        name: not torch.equal(head.classifier.weight, before[name])
        for name, head in model.heads.items()
    }
    assert changed == {"topic": True, "sentiment": True, "entities": False}
    again = make_model(tasks=tasks)
    again.load_state_dict(model.state_dict())
    begin_as_probes(again, rows, tokenizer.pad_token_id, seed=0)
    for name in model.heads:  # the same from the same encoder and rows
        assert torch.equal(model.heads[name].classifier.weight, again.heads[name].classifier.weight)


def test_a_teacher_stands_in_for_labels(make_model, synthetic_splits, tokenizer):
    splits, tasks = synthetic_splits
    labelled, taught = make_model(tasks=tasks), make_model(tasks=tasks)
    taught.load_state_dict(labelled.state_dict())
    begin_as_probes(labelled, splits["train"], tokenizer.pad_token_id, seed=0)

    def soften(row: dict) -> dict:
        soft = [float(label == row["topic"]) for label in range(3)]
        return {"topic": IGNORE_INDEX, "topic.soft": soft, "topic.soft_ids": [0, 1, 2]}

    says = {"topic": Taught(known=[0, 1, 2], size=3, by_token=False, of_classes=True)}
    rows = splits["train"].map(soften)
    begin_as_probes(taught, rows, tokenizer.pad_token_id, seed=0, taught=says)
    for one, other in zip(labelled.parameters(), taught.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-3)


def test_a_probe_is_as_good_under_autocast(make_model, synthetic_splits, tokenizer):
    splits, tasks = synthetic_splits
    losses = []
    for autocast in (nullcontext, partial(torch.autocast, "cpu", torch.bfloat16)):
        model, rows = make_model(tasks=tasks), splits["train"]
        begin_as_probes(model, rows, tokenizer.pad_token_id, seed=0, autocast=autocast)
        collate = MultiTaskCollator(tokenizer, tasks)
        losses.append(model(**collate(list(rows))).losses["topic"].item())
    assert losses[1] == pytest.approx(losses[0], rel=0.1)
    assert losses[1] < 0.9 * np.log(3)
