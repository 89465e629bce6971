"""The options of the service."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from transformers.utils import logging as transformers_logging

from multitask_encoder.arguments.choices import Backend
from multitask_encoder.inference.loading import load_pipeline
from multitask_encoder.modeling import MultiTaskPipeline

from .api import Limits
from .front_door import MAX_BODY_BYTES


class ServiceOptions(BaseModel):
    """The model to serve, the resources, and the limits of requests."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model: str = Field(min_length=1, description="a run folder, an exported folder, or a Hub id")
    backend: Backend = Field("torch", description="the runtime")
    bf16: bool | None = Field(None, description="compute in bfloat16; default: where it is fast")
    replicas: int = Field(1, ge=1, description="processes that answer")
    threads: int = Field(1, ge=1, description="of each replica; what Ray reserves as num_cpus")
    gpus: float = Field(0, ge=0, description="of each replica; 0.5 lets two share one")
    max_texts: int = Field(256, ge=1, description="of a request")
    max_characters: int = Field(100_000, ge=1, description="of a text")
    max_tokens: int = Field(2**15, ge=1, description="of a request's texts together")
    max_body_bytes: int = Field(MAX_BODY_BYTES, ge=1, description="of a request")

    @classmethod
    def of(cls, given: dict[str, Any]) -> "ServiceOptions":
        """From strings or values.

        Raises:
            ValueError: an unknown, missing or invalid option; in one line.
        """
        try:
            return cls(**given)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            found = "" if first["type"] == "missing" else f" Found {first['input']!r}."
            raise ValueError(f"{name}: {first['msg']}.{found}") from None

    def load(self) -> MultiTaskPipeline:
        """The pipeline. Raises as `load_pipeline`; gpus with another backend are a ValueError."""
        if self.gpus and self.backend != "torch":
            raise ValueError(f"gpus needs the backend torch. Found {self.backend}.")
        transformers_logging.disable_progress_bar()  # they would fill a log
        device = None if self.gpus else "cpu"
        return load_pipeline(self.model, self.backend, device, self.bf16)

    def limits(self) -> Limits:
        return Limits(self.max_texts, self.max_characters, self.max_tokens, self.max_body_bytes)
