"""Encoders of many families: each answers, learns and round-trips, or is refused in a line."""

import re
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModel

from multitask_encoder.inference import precision
from multitask_encoder.modeling import MultiTaskModel
from multitask_encoder.training.dropout import leave_out_dropout

SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
SMALL = {"embedding_size": 16}
OF_GPT = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64, "vocab_size": 50}
FAMILIES: dict[str, dict] = {
    "albert": SIZES | SMALL,
    "bert": SIZES,
    "big_bird": SIZES,
    "camembert": SIZES,
    "canine": {key: value for key, value in SIZES.items() if key != "vocab_size"},
    "convbert": SIZES | SMALL,
    "deberta": SIZES,
    "deberta-v2": SIZES,
    "distilbert": {"vocab_size": 50, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32},
    "electra": SIZES | SMALL,
    "fnet": {key: value for key, value in SIZES.items() if key != "num_attention_heads"},
    "gpt2": OF_GPT,
    "ibert": SIZES,
    "layoutlm": SIZES,
    "longformer": SIZES | {"attention_window": 4},
    "megatron-bert": SIZES,
    "mobilebert": SIZES
    | SMALL
    | {"intra_bottleneck_size": 16, "true_hidden_size": 16, "num_feedforward_networks": 1},
    "modernbert": SIZES,
    "mpnet": SIZES,
    "nystromformer": SIZES,
    "rembert": SIZES | {"input_embedding_size": 16, "output_embedding_size": 16},
    "roberta": SIZES,
    "roformer": SIZES | SMALL,
    "squeezebert": SIZES | SMALL,
    "xlm-roberta": SIZES,
    "xlnet": {"vocab_size": 50, "d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 32},
}
TASKS = {
    "topic": {"type": "sequence_classification", "labels": ["a", "b"]},
    "tags": {"type": "token_classification", "labels": ["O", "B-X", "I-X"]},
}


def saved(family: str, sizes: dict, folder: Path) -> str:
    torch.manual_seed(0)
    AutoModel.from_config(AutoConfig.for_model(family, **sizes)).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_encoder_of_the_family_learns_round_trips_and_answers_in_bfloat16(family, tmp_path):
    encoder = saved(family, FAMILIES[family], tmp_path / "encoder")
    model = MultiTaskModel.from_backbone(encoder, TASKS, dtype="float32")
    batch = {
        "input_ids": torch.randint(1, 50, (2, 7)),
        "attention_mask": torch.tensor([[1] * 7, [1] * 5 + [0] * 2]),
    }
    labels = {"topic": torch.tensor([0, 1]), "tags": torch.randint(0, 3, (2, 7))}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        works = precision.computes(model)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=works):
        loss = model.train()(**batch, labels=labels).loss
    loss.backward()
    assert loss.isfinite()
    missing = [name for name, value in model.encoder.named_parameters() if value.grad is None]
    assert len(missing) < len(list(model.encoder.parameters())) / 2
    model.eval().save_pretrained(tmp_path / "model")
    again = MultiTaskModel.from_pretrained(tmp_path / "model")(**batch)
    expected = model(**batch)
    assert again.sentence_embedding.shape == (2, 16)
    for name, logits in expected.logits.items():
        torch.testing.assert_close(again.logits[name], logits)
    leave_out_dropout(model.train())
    for name, logits in model(**batch).logits.items():
        torch.testing.assert_close(logits, expected.logits[name])
    cast = model.eval().bfloat16()
    assert precision.computes(cast) == (family != "fnet")  # whose transform lacks the type
    if precision.computes(cast):
        for name, logits in cast(**batch).logits.items():
            torch.testing.assert_close(logits.float(), expected.logits[name], rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    ("family", "sizes"),
    [
        ("t5", {"vocab_size": 50, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1,
                "num_heads": 2}),
        ("bart", {"vocab_size": 50, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1,
                  "encoder_attention_heads": 2, "decoder_attention_heads": 2,
                  "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}),
    ],
)  # fmt: skip
def test_an_encoder_with_a_decoder_is_refused(family, sizes, tmp_path):
    encoder = saved(family, sizes, tmp_path)
    message = f"should be an encoder alone. Found {family}, which has a decoder."
    with pytest.raises(ValueError, match=re.escape(message)):
        MultiTaskModel.from_backbone(encoder, TASKS)


def test_what_needs_more_than_texts_is_refused(tmp_path):
    sizes = {key: SIZES[key] for key in ("hidden_size", "num_hidden_layers", "num_attention_heads")}
    encoder = saved("vit", sizes | {"image_size": 8, "patch_size": 4}, tmp_path)
    with pytest.raises(ValueError, match="should turn token ids into vectors"):
        MultiTaskModel.from_backbone(encoder, TASKS)


def test_the_guide_lists_the_families():
    guide = (Path(__file__).parent.parent / "docs" / "choosing.md").read_text(encoding="utf-8")
    (line,) = [line for line in guide.splitlines() if line.startswith("Tested families: ")]
    assert line == f"Tested families: {', '.join(FAMILIES)}."
