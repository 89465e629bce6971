"""A model as the graphs of other runtimes."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from transformers import PreTrainedTokenizerBase

from multitask_encoder.export import onnx, openvino
from multitask_encoder.export.typical_texts import TEXTS
from multitask_encoder.inference.graph_model import GraphModel
from multitask_encoder.inference.loading import graph_class
from multitask_encoder.modeling import MultiTaskModel

# Form -> what exports it, with which keys by the benchmark's texts.
GRAPHS: dict[str, tuple[ModuleType, Callable[[list[str]], dict[str, Any]]]] = {
    "ONNX": (onnx, lambda texts: {}),
    "ONNX, int8": (onnx, lambda texts: {"int8": True}),
    "OpenVINO": (openvino, lambda texts: {}),
    "OpenVINO, int8": (openvino, lambda texts: {"texts": texts[:TEXTS]}),
}


def export(
    name: str,
    model: MultiTaskModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: list[str],
    path: Path,
) -> None:
    """Write a model's graph, one of `GRAPHS`, to a folder; `texts` scale the activations of those
    in int8."""
    module, keys = GRAPHS[name]
    module.export(model, tokenizer, path, **keys(texts))


def load_graph(name: str, path: Path) -> GraphModel:
    """What `export` has written, with as many threads as torch has now."""
    module, _ = GRAPHS[name]
    return graph_class(module.__name__.rpartition(".")[2]).from_pretrained(path)
