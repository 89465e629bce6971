"""Losses per label, and how many labels there are: what sums and means are made of.

Each loss takes logits and labels and returns one value per label, of the labels' shape, in nats
(squared units for regression), and exactly 0 where the label is absent. Absent is -100 for class
ids and NaN for float labels. Nothing is reduced here: a sum over a batch, divided by a count over
a whole optimizer step, does not depend on how the step was split into batches.

Losses of the sentence embedding take vectors in place of logits. Those that compare texts with each
other (`cosent`, `in_batch_negatives`) see the texts of one batch only: they do depend on the split.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F

IGNORE_INDEX = -100
# So that a weight of 1 holds the embedding and leaves the other tasks room (docs/recipes.md).
RETENTION_SCALE = 2.0
SIMILARITY_SCALE = 20.0  # of cosines before a softmax


def _wide(logits: torch.Tensor) -> torch.Tensor:
    """At least float32: a softmax in bfloat16 loses most of its digits."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of class ids.

    Args:
        logits (`torch.Tensor` of shape `(..., num_labels)`): of a head.
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
        logits (`torch.Tensor` of shape `(batch_size, num_labels)`): of a head.
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
        logits (`torch.Tensor` of shape `(batch_size, num_labels)`): of a head.
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


def retention(
    embeddings: torch.Tensor, targets: torch.Tensor, groups: torch.Tensor | None = None
) -> torch.Tensor:
    """Squared distance between the directions of embeddings and of those they are to stay near: a
    feature distillation (Romero et al. 2015, FitNets) from the encoder that training began with.

    Each of a vector's numbers is a label; the value of each is the squared distance of the two unit
    vectors, 2 - 2 x cosine, times `RETENTION_SCALE`.

    Args:
        embeddings (`torch.Tensor` of shape `(batch_size, hidden_size)`): may be cut to the first
            dimensions.
        targets (`torch.FloatTensor` of shape `(batch_size, hidden_size)`): vectors of the encoder
            that training began with, NaN where absent.
        groups: not used.
    """
    present = present_labels(targets)
    size = embeddings.shape[-1]
    targets = F.normalize(targets[:, :size].nan_to_num().to(_wide(embeddings).dtype), dim=-1)
    distances = (F.normalize(_wide(embeddings), dim=-1) - targets).square().sum(-1, keepdim=True)
    return RETENTION_SCALE * distances * present


def cosent(embeddings: torch.Tensor, scores: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """CoSENT: of two pairs of texts, the one of the higher score should have the higher cosine.

    log(1 + sum of exp(20 (c_i - c_j)) over all pairs i, j of the batch with score_i < score_j), as
    in sentence-transformers' CoSENTLoss (Su 2022, https://kexue.fm/archives/8847); for each pair.

    Args:
        embeddings (`torch.Tensor` of shape `(num_texts, hidden_size)`): of the batch's texts.
        scores (`torch.FloatTensor` of shape `(num_texts,)`): of a pair, at its first text; NaN
            elsewhere.
        groups (`torch.LongTensor` of shape `(num_texts,)`): the pair that each text is of; the
            texts of a pair stand together.
    """
    present = present_labels(scores)
    cosines = SIMILARITY_SCALE * pair_cosines(embeddings, groups)[present]
    higher = scores[present][:, None] < scores[present]
    differences = (cosines[:, None] - cosines)[higher]
    loss = torch.cat([differences.new_zeros(1), differences]).logsumexp(0)
    return loss * present


def in_batch_negatives(
    embeddings: torch.Tensor, labels: torch.Tensor, groups: torch.Tensor
) -> torch.Tensor:
    """Of all texts of the batch, a group's second should be the one most like its first.

    Cross-entropy of 20 x cosine over the second text of every group and the further ones, which are
    like none of the first (Henderson et al. 2017, arXiv 1705.00652, section 4.4), as in
    sentence-transformers' MultipleNegativesRankingLoss.

    Args:
        embeddings (`torch.Tensor` of shape `(num_texts, hidden_size)`): of the batch's texts.
        labels (`torch.FloatTensor` of shape `(num_texts,)`): 1 at the first text of a group; NaN
            elsewhere.
        groups (`torch.LongTensor` of shape `(num_texts,)`): the group that each text is of; the
            texts of a group stand together.
    """
    present = present_labels(labels)
    firsts = present.nonzero().squeeze(1)
    candidates = (torch.isin(groups, groups[firsts]) & ~present).nonzero().squeeze(1)
    vectors = F.normalize(_wide(embeddings), dim=-1)
    cosines = SIMILARITY_SCALE * vectors[firsts] @ vectors[candidates].T
    losses = vectors.new_zeros(len(labels))
    # The texts between one first and the next are candidates, in order.
    seconds = torch.searchsorted(candidates, firsts)
    losses[firsts] = F.cross_entropy(cosines, seconds, reduction="none")
    return losses


EMBEDDING_LOSSES: dict[str, Callable[..., torch.Tensor]] = {
    "retention": retention,
    "cosent": cosent,
    "in_batch_negatives": in_batch_negatives,
}


def pair_cosines(embeddings: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """`torch.FloatTensor` of shape `(num_texts,)`: the cosine between each text and the one after
    it, at the first text of a group of several; 0 elsewhere."""
    vectors = F.normalize(_wide(embeddings), dim=-1)
    cosines = F.pad((vectors[:-1] * vectors[1:]).sum(-1), (0, 1))
    begins = begins_group(groups)
    return cosines * (begins & ~F.pad(begins[1:], (0, 1), value=True))


def begins_group(groups: torch.Tensor) -> torch.Tensor:
    """`torch.BoolTensor` of shape `(num_texts,)`: whether a text is the first of its group."""
    begins = torch.ones_like(groups, dtype=torch.bool)
    begins[1:] = groups[1:] != groups[:-1]
    return begins


def present_labels(labels: torch.Tensor) -> torch.Tensor:
    """`torch.BoolTensor` of the labels' shape: False where a label is absent (-100 or NaN)."""
    return ~labels.isnan() if labels.is_floating_point() else labels != IGNORE_INDEX


def count_labels(labels: torch.Tensor) -> torch.Tensor:
    """The number of labels that are there, a scalar `torch.LongTensor`."""
    return present_labels(labels).sum()
