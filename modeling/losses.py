"""Losses per label, and how many labels there are: what sums and means are made of.

Each loss takes logits and labels and returns one value per label, of the labels' shape, in nats
(squared units for regression), and exactly 0 where the label is absent. Absent is -100 for class
ids and NaN for float labels. Nothing is reduced here: a sum over a batch, divided by a count over
a whole optimizer step, does not depend on how the step was split into batches.
"""

import torch
import torch.nn.functional as F

IGNORE_INDEX = -100


def _wide(logits: torch.Tensor) -> torch.Tensor:
    """At least float32: a softmax in bfloat16 loses most of its digits."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of class ids.

    Args:
        logits (`torch.Tensor` of shape `(..., num_labels)`).
        labels (`torch.LongTensor` of shape `(...)`): class ids, -100 where absent.
    """
    losses = F.cross_entropy(
        _wide(logits).flatten(0, -2),
        labels.flatten(),
        ignore_index=IGNORE_INDEX,
        reduction="none",
    )
    return losses.view(labels.shape)


def binary_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of independent yes-or-no labels.

    Args:
        logits (`torch.Tensor` of shape `(batch_size, num_labels)`).
        labels (`torch.FloatTensor` of shape `(batch_size, num_labels)`): 0 to 1, NaN where absent.
    """
    present = present_labels(labels)
    losses = F.binary_cross_entropy_with_logits(
        _wide(logits), labels.nan_to_num().to(_wide(logits).dtype), reduction="none"
    )
    return losses * present


def squared_error(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Squared error of real values.

    Args:
        logits (`torch.Tensor` of shape `(batch_size, num_labels)`).
        labels (`torch.FloatTensor` of shape `(batch_size, num_labels)`): any value, NaN where
            absent.
    """
    present = present_labels(labels)
    return (_wide(logits) - labels.nan_to_num()).square() * present


LOSSES = {
    "single_label_classification": cross_entropy,
    "multi_label_classification": binary_cross_entropy,
    "regression": squared_error,
}


def present_labels(labels: torch.Tensor) -> torch.Tensor:
    """`torch.BoolTensor` of the labels' shape: False where a label is absent (-100 or NaN)."""
    return ~labels.isnan() if labels.is_floating_point() else labels != IGNORE_INDEX


def count_labels(labels: torch.Tensor) -> torch.Tensor:
    """The number of labels that are there, a scalar `torch.LongTensor`."""
    return present_labels(labels).sum()
