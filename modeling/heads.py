"""Heads, which turn the encoder's hidden states into answers. They take values, no config."""

import torch
import torch.nn.functional as F
from torch import nn

from .losses import LOSSES
from .pooling import pool
from .scope import Scope


class EmbeddingHead(nn.Module):
    """Pools the hidden states into the sentence embedding. Has no parameters.

    Args:
        pooling (`str`): `cls`, `mean` or `max`.
        normalize (`bool`): scale the embedding to length 1.
    """

    def __init__(self, pooling: str, normalize: bool):
        super().__init__()
        self.pooling = pooling
        self.normalize = normalize

    def forward(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The pooled vector, which sentence heads read, and the embedding made from it, both of
        shape `(batch_size, hidden_size)`."""
        pooled = self.pool(hidden_states, attention_mask, self.pooling)
        return pooled, F.normalize(pooled, dim=-1) if self.normalize else pooled

    def pool(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor, pooling: str
    ) -> torch.Tensor:
        """As `pooling.pool`, for heads that read a vector other than the embedding's."""
        return pool(pooling, hidden_states, attention_mask)


class ClassificationHead(nn.Module):
    """Dropout and one linear layer: `(..., hidden_size)` to `(..., num_labels)`.

    Args:
        hidden_size (`int`), num_labels (`int`): the width of the input and of the output.
        dropout (`float`): probability in [0, 1); a regression has none.
        problem_type (`str`): `single_label_classification`, `multi_label_classification` or
            `regression`; decides the loss.

    Attributes:
        class_weights (`list[float]`, *optional*): the factor of each label's loss, in the order of
            the labels; by default all are 1.
        standardization (`list[tuple[float, float]]`, *optional*): of a regression, the mean and
            standard deviation of each number, in the order of the labels. The linear layer gives
            numbers of mean 0 and standard deviation 1, whatever their unit, and the loss is of
            these. By default the layer gives the numbers themselves.
        scope (`Scope`, *optional*): says which texts the task is not about.
    """

    class_weights: list[float] | None = None
    standardization: list[tuple[float, float]] | None = None
    scope: Scope | None

    def __init__(self, hidden_size: int, num_labels: int, dropout: float, problem_type: str):
        super().__init__()
        self.scope = None
        self.problem_type = problem_type
        # Noise in an answer that is a number is a squared error of its own.
        self.dropout = nn.Dropout(0.0 if problem_type == "regression" else dropout)
        self.classifier = nn.Linear(hidden_size, num_labels)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        hidden_states, device = self.dropout(hidden_states), hidden_states.device.type
        if self.problem_type != "regression" or not torch.is_autocast_enabled(device):
            return self.in_units(self.classifier(hidden_states))
        # A number such as 2003.6 has more digits than autocast's type.
        with torch.autocast(device, enabled=False):
            return self.in_units(self.classifier(hidden_states.to(self.classifier.bias.dtype)))

    def in_units(self, outputs: torch.Tensor) -> torch.Tensor:
        """The logits that outputs of the linear layer stand for: of a regression, numbers in the
        units of its labels."""
        if self.standardization is None:
            return outputs
        means, stds = self._factors(self.standardization, outputs.device).unbind(-1)
        return outputs * stds + means

    def loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """One loss per label, of the labels' shape; 0 where a label is absent (see losses.py)."""
        loss = LOSSES[self.problem_type]
        of_labels = self.class_weights
        if self.standardization is not None:
            of_labels = [std for _, std in self.standardization]
        if of_labels is None:
            return loss(logits, labels)
        return loss(logits, labels, self._factors(of_labels, logits.device))

    @staticmethod
    def _factors(values: list, device: torch.device) -> torch.Tensor:
        return torch.tensor(values).to(device, non_blocking=True)


class SequenceClassificationHead(ClassificationHead):
    """Reads a pooled vector: logits of shape `(batch_size, num_labels)`."""

    reads_tokens = False


class TokenClassificationHead(ClassificationHead):
    """Reads every token: logits of shape `(batch_size, seq_len, num_labels)`."""

    reads_tokens = True


# The model's one EmbeddingHead answers `sentence_embedding`, which has no head of its own.
HEADS = {
    "sequence_classification": SequenceClassificationHead,
    "token_classification": TokenClassificationHead,
    "sentence_embedding": None,
}
