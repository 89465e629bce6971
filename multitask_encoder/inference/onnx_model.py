"""The model of a folder with an ONNX graph, run by onnxruntime; ships with that folder."""

import numpy as np
import onnxruntime
import torch

from .graph_model import GRAPHS, GraphModel


class OnnxModel(GraphModel):
    """See `GraphModel`."""

    files = GRAPHS["onnx"]
    optional_files = ("model.onnx.data",)  # the weights, if they are beside the graph

    def __init__(self, path: str, config):
        super().__init__(path, config)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self._session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )
        self._names = [output.name for output in self._session.get_outputs()]

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(self._names, self._session.run(self._names, inputs), strict=True))
