"""All answers of a model as one OpenVINO graph, converted from the ONNX graph.

The folder answers through the same pipeline, by OpenVINO:
`pipeline("multitask", model=folder, trust_remote_code=True)`.
"""

import tempfile
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from multitask_encoder.modeling import MultiTaskModel

from .onnx import write_and_check_the_rest, write_graph

TOLERANCE = 1e-4


def export(
    model: MultiTaskModel, tokenizer: PreTrainedTokenizerBase, folder: Path
) -> dict[str, float]:
    """Write the graph, with config, tokenizer and code, to `folder`, and run it there.

    Returns:
        `dict[str, float]`: the largest difference of each answer (see parity.py).

    Raises:
        ValueError: a difference is above `TOLERANCE`.
    """
    from multitask_encoder.inference.openvino_model import openvino

    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        write_graph(model, Path(scratch, "model.onnx"))
        # Not with `convert_model`, which reports its use to Intel.
        converted = openvino.Core().read_model(Path(scratch, "model.onnx"))
        openvino.save_model(converted, folder / "model.xml", compress_to_fp16=False)
    return write_and_check_the_rest(model, tokenizer, "openvino", folder, TOLERANCE)
