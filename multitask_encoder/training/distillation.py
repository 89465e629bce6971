"""The loss of soft labels: how far the heads' answers are from their teachers'.

Where a unit has both a label and a soft label, its loss is a mix of the two, `teacher_weight` for
the soft one: by default it falls from 1 to 0 over the training, from imitating the teacher to the
labels alone (Clark et al. 2019, "BAM! Born-Again Multi-Task Networks", arXiv 1907.04829). Where
only a teacher says anything, its loss counts in full.
"""

import torch
import torch.nn.functional as F
from torch import nn

from multitask_encoder.modeling.losses import present_labels


def soft_loss(
    logits: torch.Tensor, targets: torch.Tensor, problem_type: str, temperature: float = 1.0
) -> torch.Tensor:
    """The loss of each unit, or of each label where a text has several; 0 where the target is
    absent.

    For classes `T^2 KL(p_T || q_T)`, where `p_T` and `q_T` are the target's and the logits'
    probabilities at the temperature T (Hinton et al. 2015, arXiv 1503.02531): over all labels, or
    over those that the teacher knows if it lacks some. For yes-or-no labels the same of each
    label's two probabilities.

    Args:
        logits (`torch.Tensor` of shape `(..., num_labels)`): from a head.
        targets (`torch.FloatTensor` of the same shape): probabilities, NaN where absent, negative
            for classes that the teacher doesn't know.
        problem_type (`str`): `single_label_classification` or `multi_label_classification`.
        temperature (`float`): above 0.

    Returns:
        `torch.FloatTensor` of shape `(...)` for classes, of the logits' shape for several labels:
        at least 0.
    """
    there = present_labels(targets)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature
    targets = targets.nan_to_num().to(logits.dtype)
    if problem_type == "multi_label_classification":
        # Class 1 has the logit, class 0 the logit 0.
        logits = torch.stack([torch.zeros_like(logits), logits], -1)
        targets = torch.stack([1 - targets, targets], -1)
    else:
        there = there.any(-1)
        unknown = targets < 0
        logits = logits.masked_fill(unknown, torch.finfo(logits.dtype).min)
        targets = targets.clamp(min=0)
    soft = targets.pow(1 / temperature)
    soft = soft / soft.sum(-1, keepdim=True).clamp(min=torch.finfo(soft.dtype).tiny)
    scores = F.log_softmax(logits, dim=-1)
    cross_entropy = -torch.where(soft > 0, soft * scores, 0.0).sum(-1)
    entropy = -torch.special.xlogy(soft, soft).sum(-1)
    return temperature**2 * (cross_entropy - entropy) * there


def teacher_loss(
    head: nn.Module, logits: torch.Tensor, targets: torch.Tensor, temperature: float = 1.0
) -> torch.Tensor:
    """How far a head's logits are from its teachers' answers: for numbers its own loss with these
    as labels, otherwise `soft_loss`."""
    if head.problem_type == "regression":
        return head.loss(logits, targets)
    return soft_loss(logits, targets, head.problem_type, temperature)


def labels_or_targets(labels: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Labels to count: present where a label or a soft label is."""
    if labels.is_floating_point():
        return torch.where(labels.isnan(), targets, labels)
    taught = present_labels(targets).any(-1)
    return torch.where(taught & (labels < 0), 0, labels)


def taught_difference(
    head: nn.Module,
    logits: torch.Tensor,
    labels: torch.Tensor,
    targets: torch.Tensor,
    weight: float,
    temperature: float,
) -> torch.Tensor:
    """What the soft labels of a batch add to the sum of a task's losses.

    Args:
        head (`nn.Module`): of the task.
        logits, labels, targets (`torch.Tensor`): as `teacher_loss` takes them, labels as the head.
        weight (`float`): of the soft label where there are both, in 0 to 1.
        temperature (`float`): above 0.
    """
    soft = teacher_loss(head, logits, targets, temperature)
    taught, labelled = present_labels(targets), present_labels(labels)
    # A label that the teacher doesn't know stays beside what it says of the others.
    whole = torch.ones_like(labelled)
    if not labels.is_floating_point():
        taught = taught.any(-1)
        whole = ~(targets < 0).any(-1)
    mixed = taught & labelled & whole
    hard = head.loss(logits, labels)
    return torch.where(mixed, weight * (soft - hard), soft).sum()
