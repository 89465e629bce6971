"""The model of a folder with an OpenVINO graph, run by OpenVINO; ships with that folder."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from .graph_model import GRAPHS, GraphModel

REPORTER = "openvino_telemetry"


@contextmanager
def without_reporter() -> Iterator[None]:
    """Import OpenVINO's packages in silence: they would write an id to the user's folder, and
    report each use to a web analytics host. Where the module that does so can't be found, they go
    without."""
    sys.modules.setdefault(REPORTER, None)  # as Python marks a module that is not there
    try:
        yield
    finally:
        if sys.modules[REPORTER] is None:
            del sys.modules[REPORTER]


with without_reporter():
    import openvino


class OpenvinoModel(GraphModel):
    """See `GraphModel`."""

    files = GRAPHS["openvino"]

    def __init__(self, path: str, config):
        super().__init__(path, config)
        # By default it computes in bfloat16 if the CPU can, and answers differ.
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        self._model = openvino.Core().compile_model(path, "CPU", settings)
        self._of_thread = threading.local()

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        # The model's own request is one for all threads, and answers of one would be another's.
        if not hasattr(self._of_thread, "request"):
            self._of_thread.request = self._model.create_infer_request()
        outputs = self._of_thread.request.infer(inputs)
        return {output.any_name: outputs[output] for output in self._model.outputs}
