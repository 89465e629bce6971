"""In which precision a finished model answers."""

import torch

from multitask_encoder.modeling import MultiTaskModel, MultiTaskPipeline
from multitask_encoder.modeling.pretrained_encoder import trial
from multitask_encoder.processor import has_fast_bf16


def answers_in_bf16(model: MultiTaskModel, asked: bool | None = None, use_cpu: bool = True) -> bool:
    """Whether a model should answer in bfloat16.

    Args:
        asked (`bool`, *optional*): what the user says. By default it should where that is several
            times as fast (`has_fast_bf16`), unless a task is a regression, whose numbers have more
            digits; and it does if it `computes` there.
        use_cpu (`bool`): whether it answers on the processor, though there may be a GPU.
    """
    if asked is not None:
        return asked
    tasks = model.config.tasks.values()
    if any(task.get("problem_type") == "regression" for task in tasks):
        return False
    return has_fast_bf16(use_cpu)


def computes(model: MultiTaskModel) -> bool:
    """Whether the encoder computes finite numbers: in bfloat16 some have larger ones, or transforms
    that lack the type."""
    try:
        return bool(trial(model.encoder).isfinite().all())
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, TypeError, ValueError):
        return False


def print_precision(pipeline: MultiTaskPipeline) -> None:
    """Say that a command's answers are in bfloat16, if they are."""
    if pipeline.model.dtype == torch.bfloat16:
        print("Answers are computed in bfloat16; --bf16 false has them in float32.", flush=True)
