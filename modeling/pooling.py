"""Pooling: one vector per sentence from the hidden states of its tokens. Padding never leaks in."""

import torch


def cls_pooling(hidden_states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """The first token that is not padding: `[CLS]`, even if the batch is padded on the left."""
    first = attention_mask.to(torch.int32).argmax(dim=1)
    return hidden_states[torch.arange(len(first), device=first.device), first]


def mean_pooling(hidden_states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """The mean of all tokens but padding, special tokens included (as sentence-transformers)."""
    mask = attention_mask.unsqueeze(-1).to(hidden_states.dtype)
    return (hidden_states * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)


def max_pooling(hidden_states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """The largest value of each dimension over all tokens but padding."""
    padding = attention_mask.unsqueeze(-1) == 0
    return hidden_states.masked_fill(padding, torch.finfo(hidden_states.dtype).min).amax(dim=1)


POOLINGS = {"cls": cls_pooling, "mean": mean_pooling, "max": max_pooling}


def pool(pooling: str, hidden_states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """Pool `hidden_states` by the method named `pooling`.

    Args:
        pooling (`str`): `cls`, `mean` or `max`.
        hidden_states (`torch.Tensor` of shape `(batch_size, seq_len, hidden_size)`): the encoder's.
        attention_mask (`torch.Tensor` of shape `(batch_size, seq_len)`): 1 for tokens, 0 for
            padding.

    Returns:
        `torch.Tensor` of shape `(batch_size, hidden_size)`.

    Example:

    ```python
    >>> import torch
    >>> from multitask_encoder.modeling.pooling import pool
    >>> hidden_states = torch.tensor([[[1.0, -4.0], [3.0, -2.0], [9.0, 9.0]]])
    >>> pool("mean", hidden_states, attention_mask=torch.tensor([[1, 1, 0]]))
    tensor([[ 2., -3.]])

    ```
    """
    return POOLINGS[pooling](hidden_states, attention_mask)
