"""Attention of short texts in bfloat16: the same as transformers' own, by plain products."""

import pytest
import torch
from transformers import BertConfig, BertModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from multitask_encoder.modeling import MultiTaskModel, attention

ROWS, HEADS, TOKENS, SIZE = 3, 2, 7, 8
BFLOAT16, FLOAT32 = torch.bfloat16, torch.float32


class Layer(torch.nn.Module):
    """What an encoder's layer says of itself."""

    is_causal = False


@pytest.fixture
def taken(monkeypatch) -> list[str]:
    """Fills with a name at each call of the fused kernel."""
    found = []

    def fused(*args, **kwargs):
        found.append("fused")
        return sdpa_attention_forward(*args, **kwargs)

    monkeypatch.setattr(attention, "sdpa_attention_forward", fused)
    return found


def tensors(
    dtype: torch.dtype, tokens: int = TOKENS, key_heads: int = HEADS
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A query, a key and a value."""
    torch.manual_seed(0)
    query, key, value = (
        torch.randn(ROWS, heads, tokens, SIZE).to(dtype).requires_grad_()
        for heads in (HEADS, key_heads, key_heads)
    )
    return query, key, value


def masks(dtype: torch.dtype) -> dict[str, torch.Tensor | None]:
    """No mask, one of which token is read, and one of numbers to add."""
    read = torch.ones(ROWS, 1, TOKENS, TOKENS, dtype=torch.bool)
    read[0, :, :, 4:] = False
    added = torch.zeros(read.shape, dtype=dtype).masked_fill(~read, torch.finfo(dtype).min)
    return {"none": None, "read": read, "added": added}


@pytest.mark.parametrize("mask", ["none", "read", "added"])
@pytest.mark.parametrize("scaling", [None, 0.5])
def test_products_are_the_fused_kernel_up_to_rounding(mask, scaling, taken):
    given = masks(BFLOAT16)[mask]
    exact = tuple(one.detach().float().requires_grad_() for one in tensors(BFLOAT16))
    wide = given.float() if mask == "added" else given
    expected, _ = sdpa_attention_forward(Layer(), *exact, wide, scaling=scaling)
    ours = tensors(BFLOAT16)
    found, probabilities = attention.sdpa_or_products(Layer(), *ours, given, scaling=scaling)
    assert not taken and probabilities is None
    assert found.shape == (ROWS, TOKENS, HEADS, SIZE) and found.dtype == BFLOAT16
    torch.testing.assert_close(found.float(), expected, atol=0.03, rtol=0.03)
    found.float().square().sum().backward()
    expected.square().sum().backward()
    for one, other in zip(ours, exact, strict=True):
        torch.testing.assert_close(one.grad.float(), other.grad, atol=0.1, rtol=0.1)


def test_dropout_leaves_out_what_is_read(taken):
    query, key, value = tensors(BFLOAT16)
    found, _ = attention.sdpa_or_products(
        Layer(), query, key, torch.ones_like(value), None, dropout=0.5
    )
    assert not taken
    kept = found.float()[..., 0]  # of all ones: the sum of the kept probabilities, doubled
    assert kept.std() > 0.1 and 0.7 < kept.mean() < 1.3


CASES: dict[str, tuple] = {
    "float32": (tensors(FLOAT32), {}),
    "longer than short": (tensors(BFLOAT16, attention.SHORT + 1), {}),
    "shared keys": (tensors(BFLOAT16, key_heads=1), {}),
    "what is before": (tensors(BFLOAT16), {"is_causal": True}),
    "biased by position": (
        tensors(BFLOAT16),
        {"position_bias": torch.zeros(1, HEADS, TOKENS, TOKENS, dtype=BFLOAT16)},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_all_else_is_the_fused_kernel(case, taken):
    given, keys = CASES[case]
    layer = Layer()
    layer.num_key_value_groups = HEADS // given[1].shape[1]
    expected, _ = sdpa_attention_forward(layer, *given, None, **keys)
    found, _ = attention.sdpa_or_products(layer, *given, **{"attention_mask": None, **keys})
    assert taken == ["fused"] and torch.equal(found, expected)


def test_autocast_counts_as_bfloat16(taken):
    given = tensors(FLOAT32)
    with torch.autocast("cpu", dtype=BFLOAT16):
        found, _ = attention.sdpa_or_products(Layer(), *given, None)
    assert not taken and found.dtype == BFLOAT16
    with torch.autocast("cpu", dtype=torch.float16):
        attention.sdpa_or_products(Layer(), *given, None)
    assert taken == ["fused"]


def test_only_the_fused_kernel_is_replaced(make_model):
    assert make_model().encoder.config._attn_implementation == attention.NAME
    eager = make_model(attn_implementation="eager")
    assert eager.encoder.config._attn_implementation == "eager"


def test_a_saved_model_names_no_implementation(make_model, tmp_path):
    make_model().save_pretrained(tmp_path)
    assert attention.NAME not in (tmp_path / "config.json").read_text()
    loaded = MultiTaskModel.from_pretrained(tmp_path)
    assert loaded.encoder.config._attn_implementation == attention.NAME


@pytest.mark.parametrize("padding", [0, 3])
def test_an_encoder_in_bfloat16_gives_the_same_as_with_eager_attention(padding, taken):
    config = BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, attn_implementation="eager",
    )  # fmt: skip
    torch.manual_seed(0)
    encoder = BertModel(config, add_pooling_layer=False).to(BFLOAT16).eval()
    batch = {"input_ids": torch.randint(50, (2, 9)), "attention_mask": torch.ones(2, 9)}
    batch["attention_mask"][0, 9 - padding :] = 0
    expected = encoder(**batch).last_hidden_state
    encoder.set_attn_implementation("sdpa")
    attention.use_products_where_faster(encoder)
    assert encoder.config._attn_implementation == attention.NAME
    found = encoder(**batch).last_hidden_state
    assert not taken
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0.05)
