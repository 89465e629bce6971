"""Whether a text is one of those that a sentence task is about."""

import torch
import torch.nn.functional as F
from torch import nn

POINTS = 201  # of the distribution: every half percent


class Scope(nn.Module):
    """How strange a text is, beside the in-scope texts of a validation split.

    A text is strange if no label is likely and no text of the training rows is near: its
    strangeness falls with the greatest logit (Vaze et al. 2022, "Open-Set Recognition: a Good
    Closed-Set Classifier is All You Need?", arXiv 2110.06207) and with the cosine of its embedding
    and the nearest of `centers` (Sun et al. 2022, "Out-of-Distribution Detection with Deep Nearest
    Neighbors", arXiv 2204.06507), by `scale`.

    Args:
        num_centers (`int`), hidden_size (`int`): the shape of the centers.

    Attributes:
        centers (`torch.Tensor` of shape `(num_centers, hidden_size)`): embeddings of length 1 that
            stand for those of the training rows.
        scale (`torch.Tensor` of shape `(2,)`): the factors of logit and cosine.
        quantiles (`torch.Tensor` of shape `(201,)`): the strangeness of validation texts, at every
            half percent of them, ascending.
    """

    centers: torch.Tensor
    scale: torch.Tensor
    quantiles: torch.Tensor

    def __init__(self, num_centers: int, hidden_size: int):
        super().__init__()
        self.register_buffer("centers", torch.zeros(num_centers, hidden_size))
        self.register_buffer("scale", torch.ones(2))
        self.register_buffer("quantiles", torch.zeros(POINTS))

    def _apply(self, fn, recurse=True):
        """Stays in float32 where a model is cast: the quantiles are close to each other."""
        before = dict(self.named_buffers())
        super()._apply(fn, recurse)
        for name, buffer in before.items():
            if (moved := getattr(self, name)).dtype != buffer.dtype:
                setattr(self, name, buffer.to(moved.device))
        return self

    def forward(self, logits: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """The share of in-scope texts that are less strange, in 0 to 1, of shape `(batch_size,)`.

        Args:
            logits (`torch.Tensor` of shape `(batch_size, num_labels)`): of the task.
            embedding (`torch.Tensor` of shape `(batch_size, hidden_size)`): of the model.
        """
        strangeness = self.strangeness(logits, embedding).unsqueeze(-1)
        low, high = self.quantiles[:-1], self.quantiles[1:]
        steps = (strangeness - low) / (high - low).clamp(min=1e-6)
        return steps.clamp(0, 1).mean(-1)

    def strangeness(self, logits: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """Of shape `(batch_size,)`, in units of the scale; arguments as of `forward`."""
        vectors = F.normalize(embedding.to(self.centers), dim=-1)
        nearest = (vectors @ self.centers.T).amax(-1)
        return -(self.scale[0] * logits.to(self.scale).amax(-1) + self.scale[1] * nearest)
