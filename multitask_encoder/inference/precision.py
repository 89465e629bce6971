"""In which precision a finished model answers."""

import copy

import torch

from multitask_encoder.modeling import MultiTaskModel, MultiTaskPipeline
from multitask_encoder.modeling.pretrained_encoder import trial
from multitask_encoder.processor import has_fast_bf16


def in_precision(
    model: MultiTaskModel, bf16: bool | None = None, use_cpu: bool = True
) -> MultiTaskModel:
    """The model in the precision that it answers in: itself, or a copy in bfloat16.

    Args:
        bf16 (`bool`, *optional*): whether it is bfloat16. By default it is where that is several
            times as fast (`has_fast_bf16`), unless the encoder can't compute in it or a task is a
            regression, whose numbers have more digits.
        use_cpu (`bool`): whether it answers on the processor, though there may be a GPU.
    """
    by_default = bf16 is None
    if by_default:
        bf16 = has_fast_bf16(use_cpu) and not _has_numbers(model)
    if not bf16:
        return model
    cast = copy.deepcopy(model).bfloat16()  # half the memory traffic of autocasting
    return model if by_default and not _computes(cast) else cast


def _has_numbers(model: MultiTaskModel) -> bool:
    return any(task.get("problem_type") == "regression" for task in model.config.tasks.values())


def _computes(model: MultiTaskModel) -> bool:
    """Whether the encoder runs, and to finite numbers."""
    try:
        return bool(trial(model.encoder).isfinite().all())
    except (RuntimeError, TypeError, ValueError):  # transforms that lack the type, as FNet's
        return False


def print_precision(pipeline: MultiTaskPipeline) -> None:
    """Say that a command's answers are in bfloat16, if they are."""
    if pipeline.model.dtype == torch.bfloat16:
        print("Answers are computed in bfloat16; --bf16 false has them in float32.", flush=True)
