"""Losses: equal to torch's reduced ones, zero where a label is absent."""

import math

import pytest
import torch
import torch.nn.functional as F

from multitask_encoder.modeling.losses import (
    LOSSES,
    count_labels,
    cross_entropy,
    present_labels,
    root_per_row,
    sum_per_row,
)

NAN = math.nan
CASES = {
    "single_label_classification": (torch.randn(4, 3), torch.tensor([0, -100, 2, 1])),
    "multi_label_classification": (
        torch.randn(3, 2),
        torch.tensor([[1.0, NAN], [NAN, NAN], [0.0, 1.0]]),
    ),
    "regression": (torch.randn(3, 1), torch.tensor([[1.5], [NAN], [-2.0]])),
}


@pytest.mark.parametrize("problem_type", LOSSES)
def test_absent_labels_cost_exactly_nothing(problem_type):
    logits, labels = CASES[problem_type]
    logits = logits.clone().requires_grad_()
    losses = LOSSES[problem_type](logits, labels)
    assert losses.shape == labels.shape
    assert losses[~present_labels(labels)].eq(0).all()
    losses.sum().backward()
    assert logits.grad.isfinite().all()
    absent = labels.isnan() if labels.is_floating_point() else labels == -100
    rows = absent if absent.dim() == 1 else absent.all(-1)
    assert logits.grad[rows].eq(0).all()


@pytest.mark.parametrize("problem_type", LOSSES)
def test_sum_over_count_is_torchs_mean(problem_type):
    logits, labels = CASES[problem_type]
    mean = LOSSES[problem_type](logits, labels).sum() / count_labels(labels)[0]
    present = present_labels(labels)
    expected = {
        "single_label_classification": lambda: F.cross_entropy(logits, labels),
        "multi_label_classification": lambda: F.binary_cross_entropy_with_logits(
            logits[present], labels[present]
        ),
        "regression": lambda: F.mse_loss(logits[present], labels[present]),
    }[problem_type]()
    torch.testing.assert_close(mean, expected)


def test_token_labels_keep_their_shape():
    logits, labels = torch.randn(2, 5, 3), torch.tensor([[0, 1, -100, 2, 0], [-100] * 5])
    losses = cross_entropy(logits, labels)
    assert losses.shape == (2, 5)
    torch.testing.assert_close(losses.sum() / 4, F.cross_entropy(logits.transpose(1, 2), labels))


def test_bfloat16_logits_are_summed_in_float32():
    logits = torch.randn(4, 3).bfloat16()
    assert cross_entropy(logits, torch.tensor([0, 1, 2, 0])).dtype == torch.float32
    assert cross_entropy(logits.double(), torch.tensor([0, 1, 2, 0])).dtype == torch.float64


def test_labels_and_labelled_rows_are_counted():
    tokens = torch.tensor([[0, -100, 2], [-100, -100, -100], [1, 1, 1]])
    assert count_labels(tokens).tolist() == [5, 2]
    assert count_labels(torch.tensor([[1.0, 0.0], [torch.nan, torch.nan]])).tolist() == [2, 1]
    assert count_labels(torch.tensor([3, -100])).tolist() == [1, 1]
    assert count_labels(torch.tensor([-100])).tolist() == [0, 0]


def test_a_mean_over_labels_is_pulled_to_a_sum_over_each_row():
    labels, rows = torch.tensor([40, 10])
    assert sum_per_row(labels, rows) == 4
    assert root_per_row(labels, rows) == 2
    assert sum_per_row(*torch.tensor([0, 0])) == 0
