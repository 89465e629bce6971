"""Attention of short texts in bfloat16 on a processor.

torch's fused kernel is made for long texts. On a processor in bfloat16 it takes, with its backward
pass, ten times as long as plain matrix products for a dozen tokens, and twice as long for 512
(benchmarks/NOTES.md).
"""

import torch
import torch.nn.functional as F
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "sdpa_or_products"  # among the attention implementations of transformers
SHORT = 512  # tokens; the products keep a square of them for every head
FEW = 64  # tokens of all texts, for which one call takes less time than three


def use_products_where_faster(encoder: PreTrainedModel) -> None:
    """Let an encoder that would take torch's fused kernel take plain products where these are
    faster. Those with attention of their own stay as they are."""
    sdpa = encoder.config._attn_implementation == "sdpa"
    if sdpa and encoder._can_set_attn_implementation():
        encoder.set_attn_implementation(NAME)


def sdpa_or_products(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **kwargs,
) -> tuple[torch.Tensor, None]:
    """As transformers' `sdpa_attention_forward`, up to rounding.

    Args:
        query, key, value (`torch.Tensor` of shape `(batch_size, num_heads, seq_len, head_size)`)
        attention_mask (`torch.Tensor` of shape `(batch_size, 1, seq_len, seq_len)`, *optional*):
            true where a token is read, or what is added to the scores.

    Returns:
        `torch.Tensor` of shape `(batch_size, seq_len, num_heads, head_size)`, and no probabilities.
    """
    # A model that reads both ways says so; others read what is before, where there is no mask.
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    plain = kwargs.get("position_bias") is None and kwargs.get("softcap") is None
    if (
        not _in_bfloat16(query)
        or key.shape[2] > SHORT
        or (len(query) * query.shape[2] <= FEW and not query.requires_grad)
        or key.shape[1] != query.shape[1]
        or (causal and attention_mask is None)
        or not plain
    ):
        return sdpa_attention_forward(
            module,
            query,
            key,
            value,
            attention_mask,
            dropout=dropout,
            scaling=scaling,
            is_causal=is_causal,
            **kwargs,
        )
    scores = query @ key.transpose(2, 3) * (scaling or query.shape[-1] ** -0.5)
    if attention_mask is not None and attention_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
    elif attention_mask is not None:
        scores = scores + attention_mask
    probabilities = scores.softmax(dim=-1)
    if dropout:
        probabilities = F.dropout(probabilities, dropout)
    return (probabilities @ value).transpose(1, 2).contiguous(), None


def _in_bfloat16(tensor: torch.Tensor) -> bool:
    """Whether a processor's products of this tensor are in bfloat16."""
    if tensor.device.type != "cpu":
        return False
    if torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu") == torch.bfloat16
    return tensor.dtype == torch.bfloat16


AttentionInterface.register(NAME, sdpa_or_products)
AttentionMaskInterface.register(NAME, sdpa_mask)
