"""The model of a folder with an OpenVINO graph, run by OpenVINO; ships with that folder."""

import sys

import numpy as np
import torch

from .graph_model import GraphModel

# Its import would write an id to the user's folder, and report each start to a web analytics host.
# Where the module that does so can't be found, it goes without.
REPORTER = "openvino_telemetry"
sys.modules.setdefault(REPORTER, None)  # as Python marks a module that is not there
try:
    import openvino
finally:
    if sys.modules[REPORTER] is None:
        del sys.modules[REPORTER]


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
