"""The model: an encoder with any number of heads, as one Hugging Face `PreTrainedModel`.

Importing this package registers the classes, so that `AutoModel`, `pipeline` and friends know
them without remote code. Saved folders carry the other modules of this package, and do not need
this one.
"""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)
from transformers.pipelines import PIPELINE_REGISTRY

from .configuration_multitask import MultiTaskConfig
from .modeling_multitask import (
    MultiTaskForSequenceClassification,
    MultiTaskForTokenClassification,
    MultiTaskModel,
    MultiTaskOutput,
)
from .pipeline_multitask import MultiTaskPipeline

AutoConfig.register(MultiTaskConfig.model_type, MultiTaskConfig)
AutoModel.register(MultiTaskConfig, MultiTaskModel)
AutoModelForSequenceClassification.register(MultiTaskConfig, MultiTaskForSequenceClassification)
AutoModelForTokenClassification.register(MultiTaskConfig, MultiTaskForTokenClassification)
PIPELINE_REGISTRY.register_pipeline(
    "multitask", pipeline_class=MultiTaskPipeline, pt_model=AutoModel, type="text"
)

__all__ = [
    "MultiTaskConfig",
    "MultiTaskForSequenceClassification",
    "MultiTaskForTokenClassification",
    "MultiTaskModel",
    "MultiTaskOutput",
    "MultiTaskPipeline",
]
