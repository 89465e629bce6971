"""Trains small low-rank matrices beside the encoder's weights, which stay as they are.

LoRA (Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", arXiv 2106.09685), on
every linear layer. When training ends, the matrices are added to the weights: the model is again
what any other run leaves, and costs nothing more to use.
"""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager

from multitask_encoder.arguments.run_arguments import MultiTaskTrainingArguments
from multitask_encoder.modeling import MultiTaskModel

from .encoder_layers import layer_stack

NAME = "default"  # of the adapter, which is in its parameters' names


def check_lora(model: MultiTaskModel, args: MultiTaskTrainingArguments) -> None:
    """Refuse `lora_rank` where it can't be used.

    Raises:
        ModuleNotFoundError: `peft` is not installed.
        ValueError: all of the encoder is frozen.
    """
    if args.lora_rank is None:
        return
    importlib.import_module("peft")
    whole = {"everything", "encoder"} & set(args.freeze or [])
    if whole or (args.freeze_layers and args.freeze_layers >= len(layer_stack(model.encoder))):
        key, value = ("freeze", args.freeze) if whole else ("freeze_layers", args.freeze_layers)
        raise ValueError(
            "lora_rank trains the encoder's layers, which should not all be frozen. "
            f"Found {key}: {value}."
        )


@contextmanager
def lora(model: MultiTaskModel, args: MultiTaskTrainingArguments) -> Iterator[bool]:
    """Context in which the encoder's linear layers have matrices of `lora_rank`, and of the encoder
    only those are trained. At its end they are added to the weights.

    Within such a context, or without `lora_rank`, it does nothing. Yields whether it did.
    """
    if args.lora_rank is None or has_lora(model):
        yield False
        return
    from peft import LoraConfig
    from peft.tuners.lora import LoraModel

    trained = [one for one in model.encoder.parameters() if one.requires_grad]
    config = LoraConfig(
        r=args.lora_rank,
        lora_alpha=args.lora_rank,  # a scale of 1, for any rank
        target_modules="all-linear",
    )
    tuner = LoraModel(model.encoder, {NAME: config}, NAME)
    try:
        yield True
    finally:
        tuner.merge_and_unload()
        for parameter in trained:
            parameter.requires_grad_(True)


def has_lora(model: MultiTaskModel) -> bool:
    """Whether the encoder's layers have such matrices."""
    return any(f".{NAME}." in name for name, _ in model.encoder.named_parameters())
