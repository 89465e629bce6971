"""Losses, one value per label, and the number of labels: the parts of sums and means.

Each loss takes logits and labels and returns one value per label, of the labels' shape, in nats
(squared standard deviations for regression), and exactly 0 where the label is absent. Absent is
-100, or any other negative number, for class ids and NaN for float labels. Nothing is reduced here:
a sum over a batch, divided by a count over a whole optimizer step, does not depend on how the step
was split into batches.

Losses of the sentence embedding take vectors in place of logits. `cosent` and `in_batch_negatives`
compare the texts of one batch with each other, so they do depend on the split.

The *Inputs* table of each loss shows the columns of a row in the data, and the labels made of them.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F

IGNORE_INDEX = -100
# So that a weight of 1 holds the embedding and leaves the other tasks room (docs/recipes.md).
RETENTION_SCALE = 2.0
SIMILARITY_SCALE = 20.0  # of cosines before a softmax
# The losses that take one label for each vector of logits; the others take one for each number.
ONE_LABEL = ("single_label_classification", "cosent", "in_batch_negatives")


def _wide(logits: torch.Tensor) -> torch.Tensor:
    """Widen to float32 or more: a softmax in bfloat16 loses most of its digits."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _like(logits: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor | None:
    """The weights in the type of the widened logits, as torch wants them."""
    return None if weights is None else weights.to(_wide(logits).dtype)


def cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Cross-entropy of class ids, for `single_label_classification` and for tokens.

    `-weights[label] log(softmax(logits)[label])`, as `torch.nn.functional.cross_entropy` without a
    reduction.

    Inputs:

    | columns | labels |
    |---|---|
    | `text`, the name of a label | `(batch_size,)` class ids |
    | `tokens` and a tag for each, or `text` and spans | `(batch_size, seq_len)` class ids |

    Args:
        logits (`torch.Tensor` of shape `(..., num_labels)`): from a head.
        labels (`torch.LongTensor` of shape `(...)`): class ids, -100 where absent.
        weights (`torch.FloatTensor` of shape `(num_labels,)`, *optional*): of the classes; by
            default 1.

    Returns:
        `torch.FloatTensor` of shape `(...)`: at least 0.

    Example:

    ```python
    >>> import torch
    >>> from multitask_encoder.modeling.losses import cross_entropy
    >>> logits = torch.tensor([[2.0, 0.0], [0.0, 0.0], [1.0, 3.0]])
    >>> cross_entropy(logits, torch.tensor([0, 1, -100]))  # the third text has no label
    tensor([0.1269, 0.6931, 0.0000])

    ```
    """
    losses = F.cross_entropy(
        _wide(logits).flatten(0, -2),
        torch.where(labels < 0, IGNORE_INDEX, labels).flatten(),
        weight=_like(logits, weights),
        ignore_index=IGNORE_INDEX,
        reduction="none",
    )
    return losses.view(labels.shape)


def binary_cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Cross-entropy of independent yes-or-no labels, for `multi_label_classification`.

    `-w y log(sigmoid(x)) - (1 - y) log(1 - sigmoid(x))` for the logit `x`, the label `y` and its
    weight `w`, as `torch.nn.functional.binary_cross_entropy_with_logits` with a `pos_weight` and
    without a reduction.

    Inputs:

    | columns | labels |
    |---|---|
    | `text`, a list of labels | `(batch_size, num_labels)` zeros and ones |

    Args:
        logits (`torch.Tensor` of shape `(batch_size, num_labels)`): from a head.
        labels (`torch.FloatTensor` of shape `(batch_size, num_labels)`): 0 to 1, NaN where absent.
        weights (`torch.FloatTensor` of shape `(num_labels,)`, *optional*): of the labels where they
            are 1; by default 1.

    Returns:
        `torch.FloatTensor` of shape `(batch_size, num_labels)`: at least 0.

    Example:

    ```python
    >>> import torch
    >>> from multitask_encoder.modeling.losses import binary_cross_entropy
    >>> logits = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    >>> binary_cross_entropy(logits, torch.tensor([[1.0, 0.0], [1.0, torch.nan]]))
    tensor([[0.1269, 0.6931],
            [0.6931, 0.0000]])

    ```
    """
    present = present_labels(labels)
    losses = F.binary_cross_entropy_with_logits(
        _wide(logits),
        labels.nan_to_num().to(_wide(logits).dtype),
        pos_weight=_like(logits, weights),
        reduction="none",
    )
    return losses * present


def squared_error(
    logits: torch.Tensor, labels: torch.Tensor, stds: torch.Tensor | None = None
) -> torch.Tensor:
    """Squared error of real values, for `regression`.

    `((logit - label) / std) ** 2`, as `torch.nn.functional.mse_loss` of standardised numbers
    without a reduction.

    Inputs:

    | columns | labels |
    |---|---|
    | `text`, a number | `(batch_size, 1)` floats, or `(batch_size,)` as stock models take them |
    | `text`, a number for each of the task's labels | `(batch_size, num_labels)` floats |

    Args:
        logits (`torch.Tensor` of shape `(batch_size, num_labels)`): from a head.
        labels (`torch.FloatTensor` of shape `(batch_size, num_labels)`): any value, NaN where
            absent; of shape `(batch_size,)` where there is one number a text.
        stds (`torch.FloatTensor` of shape `(num_labels,)`, *optional*): the unit of each number's
            error, above 0; by default 1.

    Returns:
        `torch.FloatTensor` of shape `(batch_size, num_labels)`: at least 0.

    Example:

    ```python
    >>> import torch
    >>> from multitask_encoder.modeling.losses import squared_error
    >>> squared_error(torch.tensor([[2.0], [3.0]]), torch.tensor([[4.5], [torch.nan]]))
    tensor([[6.2500],
            [0.0000]])

    ```
    """
    labels = labels.reshape(logits.shape)
    present = present_labels(labels)
    errors = _wide(logits) - labels.nan_to_num()
    return (errors if stds is None else errors / stds).square() * present


LOSSES: dict[str, Callable[..., torch.Tensor]] = {
    "single_label_classification": cross_entropy,
    "multi_label_classification": binary_cross_entropy,
    "regression": squared_error,
}


def retention(
    embeddings: torch.Tensor, targets: torch.Tensor, groups: torch.Tensor | None = None
) -> torch.Tensor:
    """Squared distance between the directions of an embedding and of its target, the embedding of
    the same text by the encoder that training began with: it keeps the embedding where it was.

    `2 |e / |e| - t / |t||^2`, which is `4 (1 - cosine)`, counted once for each number of the
    target. A feature distillation (Romero et al. 2015, FitNets, arXiv 1412.6550).

    Inputs:

    | columns | labels |
    |---|---|
    | `text`, with or without labels of other tasks | `(batch_size, hidden_size)` target vectors |

    Args:
        embeddings (`torch.Tensor` of shape `(batch_size, hidden_size)`): may be cut to the first
            dimensions.
        targets (`torch.FloatTensor` of shape `(batch_size, hidden_size)`): vectors of the encoder
            that training began with, NaN where absent.
        groups: not used.

    Returns:
        `torch.FloatTensor` of shape `(batch_size, hidden_size)`: 0 to 8, the same within a row.

    Example:

    ```python
    >>> import torch
    >>> from multitask_encoder.modeling.losses import retention
    >>> embeddings = torch.tensor([[3.0, 0.0], [0.0, 2.0]])
    >>> retention(embeddings, torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    tensor([[0., 0.],
            [4., 4.]])

    ```
    """
    present = present_labels(targets)
    size = embeddings.shape[-1]
    targets = F.normalize(targets[:, :size].nan_to_num().to(_wide(embeddings).dtype), dim=-1)
    distances = (F.normalize(_wide(embeddings), dim=-1) - targets).square().sum(-1, keepdim=True)
    return RETENTION_SCALE * distances * present


def cosent(embeddings: torch.Tensor, scores: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """CoSENT: of two pairs of texts, the one with the higher score should have the higher cosine.

    `log(1 + sum of exp(20 (c_i - c_j)))` over all pairs i, j of the batch with score_i < score_j,
    where c is a pair's cosine; the same value for each pair. As sentence-transformers' CoSENTLoss
    (Su 2022, https://kexue.fm/archives/8847).

    Inputs:

    | columns | labels |
    |---|---|
    | two texts, a score | the score at the first text, NaN at the second |

    Args:
        embeddings (`torch.Tensor` of shape `(num_texts, hidden_size)`): of the batch's texts.
        scores (`torch.FloatTensor` of shape `(num_texts,)`): a pair's, at its first text; NaN
            elsewhere.
        groups (`torch.LongTensor` of shape `(num_texts,)`): the number of each text's pair; the
            texts of a pair are adjacent.

    Returns:
        `torch.FloatTensor` of shape `(num_texts,)`: at least 0.

    Example:

    ```python
    >>> import torch
    >>> from multitask_encoder.modeling.losses import cosent
    >>> embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> scores = torch.tensor([0.1, torch.nan, 0.9, torch.nan])  # the cosines are 1 and 0
    >>> cosent(embeddings, scores, groups=torch.tensor([0, 0, 1, 1]))
    tensor([20.,  0., 20.,  0.])

    ```
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
    """A group's second text should be the one of the batch that is most like its first.

    `-log(exp(20 c_k) / sum of exp(20 c_j))`, where c_j is the cosine of the first text with the
    second or a further text j of any group, and k is its own group's second (Henderson et al. 2017,
    arXiv 1705.00652, section 4.4). As sentence-transformers' MultipleNegativesRankingLoss.

    Inputs:

    | columns | labels |
    |---|---|
    | two texts that belong together | 1 at the first text, NaN at the second |
    | the same, and further texts that do not | 1 at the first text, NaN at the others |

    Args:
        embeddings (`torch.Tensor` of shape `(num_texts, hidden_size)`): of the batch's texts.
        labels (`torch.FloatTensor` of shape `(num_texts,)`): 1 at the first text of a group; NaN
            elsewhere.
        groups (`torch.LongTensor` of shape `(num_texts,)`): the number of each text's group; the
            texts of a group are adjacent.

    Returns:
        `torch.FloatTensor` of shape `(num_texts,)`: at least 0.

    Example:

    ```python
    >>> import torch
    >>> from multitask_encoder.modeling.losses import in_batch_negatives
    >>> embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> labels = torch.tensor([1.0, torch.nan, 1.0, torch.nan])  # both second texts are alike
    >>> in_batch_negatives(embeddings, labels, groups=torch.tensor([0, 0, 1, 1]))
    tensor([0.6931, 0.0000, 0.6931, 0.0000])

    ```
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


def check_labels(task: str, loss: str, outputs: torch.Tensor, labels: torch.Tensor) -> None:
    """Refuse labels of another shape than their loss takes: torch would stretch some over others.

    Args:
        task (`str`), loss (`str`): the task's name, and its loss's in `LOSSES` or
            `EMBEDDING_LOSSES`.
        outputs (`torch.Tensor`): the logits or vectors that the loss takes.
        labels (`torch.Tensor`): to check.

    Raises:
        ValueError: with the shape expected.
    """
    vectors, numbers = tuple(outputs.shape[:-1]), tuple(outputs.shape)
    expected = vectors if loss in ONE_LABEL else numbers
    found = tuple(labels.shape) if isinstance(labels, torch.Tensor) else type(labels).__name__
    one_number = loss == "regression" and numbers[-1] == 1
    if found != expected and not (one_number and found == vectors):
        raise ValueError(
            f"Labels of task {task!r} should be a tensor of shape {expected}. Found {found}."
        )


def present_labels(labels: torch.Tensor) -> torch.Tensor:
    """`torch.BoolTensor` of the labels' shape: False where a label is absent (negative or NaN)."""
    return ~labels.isnan() if labels.is_floating_point() else labels >= 0


def numbers(labels: torch.Tensor) -> torch.Tensor:
    """Labels of a regression as floats: of whole numbers, which may be negative, only -100 is
    absent."""
    if not isinstance(labels, torch.Tensor) or labels.is_floating_point():
        return labels
    return torch.where(labels == IGNORE_INDEX, torch.nan, labels.float())


def count_labels(labels: torch.Tensor) -> torch.Tensor:
    """The number of labels that are present, and of rows with one: a `torch.LongTensor` of shape
    `(2,)`. Counts of parts of a step add up to those of the step."""
    present = present_labels(labels)
    return torch.stack([present.sum(), present.view(len(present), -1).any(1).sum()])
