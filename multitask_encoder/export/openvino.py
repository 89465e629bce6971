"""All answers of a model as one OpenVINO graph, converted from the ONNX graph, in float32 or int8.

The folder answers through the same pipeline, by OpenVINO:
`pipeline("multitask", model=folder, trust_remote_code=True)`.
"""

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from multitask_encoder.inference.graph_model import INPUTS
from multitask_encoder.modeling import MultiTaskModel

from . import parity
from .onnx import write_and_check_the_rest, write_graph


def export(
    model: MultiTaskModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    texts: Sequence[str] | None = None,
) -> dict[str, float]:
    """Write the graph, with config, tokenizer and code, to `folder`, and run it there.

    Args:
        texts (`Sequence[str]`, *optional*): like those that the model will read; with them weights
            and activations are int8: a quarter of the size, and other answers.

    Returns:
        `dict[str, float]`: the largest difference of each answer, in int8 the typical one (see
            parity.py).

    Raises:
        ValueError: as `onnx.export`.
    """
    from multitask_encoder.inference.openvino_model import openvino

    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        write_graph(model, Path(scratch, "model.onnx"))
        # Not with `convert_model`, which reports its use to Intel.
        converted = openvino.Core().read_model(Path(scratch, "model.onnx"))
        if texts is not None:
            converted = quantize(converted, texts, model, tokenizer)
        openvino.save_model(converted, folder / "model.xml", compress_to_fp16=False)
    return write_and_check_the_rest(model, tokenizer, "openvino", folder, int8=texts is not None)


def quantize(
    graph: Any, texts: Sequence[str], model: MultiTaskModel, tokenizer: PreTrainedTokenizerBase
) -> Any:
    """The graph with weights and activations in int8, scaled by the texts. Shows progress."""
    from multitask_encoder.inference.openvino_model import without_reporter

    with without_reporter():
        import nncf
    nncf.set_log_level(logging.ERROR)
    rows = [
        dict(zip(INPUTS, (tensor.numpy() for tensor in batch), strict=True))
        for text in texts
        for batch in parity.batches([text], tokenizer, model.config)
    ]
    return nncf.quantize(
        graph,
        nncf.Dataset(rows),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(rows),
        # Without VNNI, processors add products in 16 bits, which weights of 8 bits overflow: all
        # take 7 bits, so that the graph answers alike everywhere.
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            overflow_fix=nncf.OverflowFix.ENABLE
        ),
    )
