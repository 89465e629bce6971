"""One encoder, many heads: a text's embedding, its labels and its entities in one forward pass.

>>> from multitask_encoder import Predictor
>>> predict = Predictor("runs/mine")  # doctest: +SKIP

The names below are imported when they are first used, so that `import multitask_encoder` is fast
and needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multitask_encoder.arguments.run_arguments import MultiTaskTrainingArguments
    from multitask_encoder.data.collator import MultiTaskCollator
    from multitask_encoder.inference.predictor import Predictor
    from multitask_encoder.modeling import MultiTaskConfig, MultiTaskModel, MultiTaskPipeline
    from multitask_encoder.training.trainer import MultiTaskTrainer

__version__ = "0.1.0"

_MODULES = {
    "MultiTaskCollator": "multitask_encoder.data.collator",
    "MultiTaskConfig": "multitask_encoder.modeling",
    "MultiTaskModel": "multitask_encoder.modeling",
    "MultiTaskPipeline": "multitask_encoder.modeling",
    "MultiTaskTrainer": "multitask_encoder.training.trainer",
    "MultiTaskTrainingArguments": "multitask_encoder.arguments.run_arguments",
    "Predictor": "multitask_encoder.inference.predictor",
}

__all__ = [
    "MultiTaskCollator",
    "MultiTaskConfig",
    "MultiTaskModel",
    "MultiTaskPipeline",
    "MultiTaskTrainer",
    "MultiTaskTrainingArguments",
    "Predictor",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
