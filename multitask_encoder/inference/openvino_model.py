"""The model of a folder with an OpenVINO graph, run by OpenVINO; ships with that folder."""

import numpy as np
import openvino
import torch

from .graph_model import GraphModel


class OpenvinoModel(GraphModel):
    """See `GraphModel`."""

    files = ("model.xml", "model.bin")

    def __init__(self, path: str, config):
        super().__init__(path, config)
        # By default it computes in bfloat16 if the CPU can, and answers differ.
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        self._model = openvino.Core().compile_model(path, "CPU", settings)

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = self._model(inputs)
        return {output.any_name: outputs[output] for output in self._model.outputs}
