"""All answers of a model as one ONNX graph, in float32 or with weights in int8.

The folder answers through the same pipeline, by onnxruntime:
`pipeline("multitask", model=folder, trust_remote_code=True)`.
"""

import copy
import tempfile
import warnings
from functools import partial
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase
from transformers.dynamic_module_utils import custom_object_save

from multitask_encoder.inference.graph_model import EMBEDDING, INPUTS, LOGITS, OUT_OF_SCOPE
from multitask_encoder.inference.loading import graph_class
from multitask_encoder.modeling import MultiTaskModel
from multitask_encoder.modeling.library_errors import first_line
from multitask_encoder.modeling.pipeline_multitask import save_pipeline_code

from . import parity
from .folders import save_tokenizer

OPSET = 18
# In int8 trained MiniLMs are typically off by 0.01 to 0.36, and at single odd tokens by more than
# their largest value. Of a graph that reads a wrong input or no mask, the embedding at least is off
# by 0.45 to 1.9: the tolerance detects a broken graph. Quality is measured on a test split.
TOLERANCE, INT8_TOLERANCE = 1e-4, 0.4


class GraphOutputs(nn.Module):
    """The model as a function from tensors to tensors, which can be traced to a graph."""

    def __init__(self, model: MultiTaskModel):
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        output = self.model(input_ids=input_ids, attention_mask=attention_mask)
        strange = output.out_of_scope or {}
        return output.sentence_embedding, *output.logits.values(), *strange.values()


def export(
    model: MultiTaskModel, tokenizer: PreTrainedTokenizerBase, folder: Path, int8: bool = False
) -> dict[str, float]:
    """Write the graph, with config, tokenizer and code, to `folder`, and run it there.

    Args:
        int8 (`bool`): whether weights are stored, and matrices multiplied, in int8: a quarter of
            the size, and other answers.

    Returns:
        `dict[str, float]`: the largest difference of each answer, in int8 the typical one (see
            parity.py).

    Raises:
        ValueError: a difference is above `TOLERANCE` (in int8, `INT8_TOLERANCE`).
    """
    if int8:
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            write_graph(model, Path(scratch, "model.onnx"))
            quantize(Path(scratch, "model.onnx"), folder / "model.onnx")
    else:
        write_graph(model, folder / "model.onnx")
    return write_and_check_the_rest(model, tokenizer, "onnx", folder, int8)


def write_graph(model: MultiTaskModel, path: Path) -> None:
    """The graph of all heads and the embedding, for any number of texts of any length.

    Raises:
        ValueError: torch can't convert the encoder.
    """
    shape = {0: "batch_size", 1: "seq_len"}
    # Two tensors: given the same one twice, the exporter makes one input.
    ids, mask = torch.ones(2, 9, dtype=torch.long), torch.ones(2, 9, dtype=torch.long)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own calls of torch
        try:
            torch.onnx.export(
                GraphOutputs(model).eval(),
                (ids, mask),
                path,
                input_names=list(INPUTS),
                output_names=[
                    EMBEDDING,
                    *(LOGITS + name for name in model.heads),
                    *(OUT_OF_SCOPE + name for name, head in model.heads.items() if head.scope),
                ],
                dynamic_shapes=(shape, shape),
                opset_version=OPSET,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            family = model.config.encoder_config.model_type
            cause = first_line(error.__cause__ or error)
            raise ValueError(f"torch can't convert {family} to an ONNX graph: {cause}") from error


def quantize(source: Path, target: Path) -> None:
    """Write the graph with weights in int8; activations are quantised at run time."""
    import onnx
    from onnxruntime.quantization import quantize_dynamic

    graph = onnx.load(source)
    # The sizes that the exporter noted contradict those that the quantiser infers.
    del graph.graph.value_info[:]
    # A scale per column halves the error. Without VNNI, processors add products in 16 bits, which
    # weights of 8 bits overflow: 7 bits are used.
    quantize_dynamic(graph, target, per_channel=True, reduce_range=True)


def write_and_check_the_rest(
    model: MultiTaskModel,
    tokenizer: PreTrainedTokenizerBase,
    backend: str,
    folder: Path,
    int8: bool,
) -> dict[str, float]:
    """Write the config, the tokenizer, and the code that lets the folder answer anywhere; then
    compare its answers, see `parity.check`."""
    runtime = graph_class(backend)
    config = copy.deepcopy(model.config)
    save_pipeline_code(config, str(folder))
    custom_object_save(runtime, folder)
    module = runtime.__module__.rpartition(".")[2]
    config.auto_map = {"AutoModel": f"{module}.{runtime.__name__}"}
    config.architectures = [runtime.__name__]
    config.save_pretrained(folder)  # adds itself to the auto_map
    save_tokenizer(tokenizer, folder)
    graph = runtime.from_pretrained(folder)
    tolerance = INT8_TOLERANCE if int8 else TOLERANCE
    return parity.check(model, tokenizer, partial(parity.outputs, graph), tolerance, int8)
