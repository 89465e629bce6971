"""Loads a pretrained encoder, and refuses what is none."""

import re

import torch
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModel,
    PreTrainedModel,
)

from .configuration_multitask import LARGEST_NUMBER, MultiTaskConfig, check_numbers
from .library_errors import one_line_errors
from .stored_weights import check_encoder, stored_shapes

TOKENS = 8  # of a trial: encoders that shorten texts need some


def pretrained_encoder(
    name_or_path: str, revision: str, dtype: str | torch.dtype, attn_implementation: str | None
) -> PreTrainedModel:
    """An encoder whose weights are safetensors and complete; anything else raises an OSError or a
    ValueError."""
    with one_line_errors(f"encoder {name_or_path!r}"):
        raw, _ = MultiTaskConfig.get_config_dict(name_or_path, revision=revision)
        if "auto_map" in raw and raw.get("model_type") not in CONFIG_MAPPING:
            raise ValueError(
                "It should be an encoder of transformers. Found one with code of its own, which is "
                "never run."
            )
        check_implementations(raw)
        check_numbers(raw, LARGEST_NUMBER)
        check_encoder(
            # False, as None would ask at the terminal.
            AutoConfig.from_pretrained(name_or_path, revision=revision, trust_remote_code=False),
            stored_shapes(name_or_path, revision=revision),
        )
        encoder, report = AutoModel.from_pretrained(
            name_or_path,
            revision=revision,
            trust_remote_code=False,
            dtype=dtype,
            attn_implementation=attn_implementation,
            output_loading_info=True,
            use_safetensors=True,  # all other formats are pickles
        )
    if encoder.config.model_type == MultiTaskConfig.model_type:
        raise ValueError(
            f"encoder {name_or_path!r} is a finished multi-task model; load it with "
            "from_pretrained, or with the key `model`."
        )
    missing = sorted(key for key in report["missing_keys"] if "pooler" not in key)
    if missing:
        raise ValueError(
            f"encoder {name_or_path!r} lacks the weights {', '.join(missing[:3])}"
            f"{', ...' if len(missing) > 3 else ''}."
        )
    if encoder.config.is_encoder_decoder:
        raise ValueError(
            f"encoder {name_or_path!r} should be an encoder alone. Found "
            f"{encoder.config.model_type}, which has a decoder."
        )
    return encoder


def check_implementations(config: dict) -> None:
    """Raise a ValueError for an encoder's config, nested ones included, that names a kernel of the
    Hub, or asks for FNet's tables, the square of its longest text in numbers."""
    for key, value in config.items():
        if isinstance(value, dict):
            check_implementations(value)
        elif key.endswith("_implementation") and not re.fullmatch(r"\w+", str(value)):
            raise ValueError(
                f"`{key}` of its config should be one of transformers, like sdpa. Found {value!r}, "
                "which would be loaded from the Hub."
            )
        elif key == "use_tpu_fourier_optimizations" and value:
            raise ValueError(f"`{key}` of its config should be false. Found {value!r}.")


@torch.no_grad()
def trial(encoder: PreTrainedModel) -> torch.Tensor:
    """The hidden states of a few tokens; raises whatever the encoder's code does."""
    ids = torch.ones(1, TOKENS, dtype=torch.long, device=encoder.device)
    return encoder(input_ids=ids, attention_mask=ids).last_hidden_state


def check_forward(encoder: PreTrainedModel, name_or_path: str) -> None:
    """Refuse an encoder that doesn't turn token ids into a vector each.

    Raises:
        ValueError: it fails, or gives something else.
    """
    expected = (1, TOKENS, encoder.config.hidden_size)
    try:
        found = tuple(trial(encoder).shape)
    except Exception as error:  # of any library's code
        reason = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0]
        raise ValueError(
            f"encoder {name_or_path!r} should turn token ids into vectors. {reason}"
        ) from error
    if found != expected:
        raise ValueError(
            f"encoder {name_or_path!r} should turn {TOKENS} tokens into vectors of shape "
            f"{expected}. Found {found}."
        )
