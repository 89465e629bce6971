"""How much of a run are its training steps: the rest is reading, evaluating and saving."""

import time

from transformers import TrainerCallback


class StepTime(TrainerCallback):
    """Adds up the `seconds` that training steps take, from their first batch to the new weights; of
    a resumed run, those since then."""

    def __init__(self):
        self.seconds = 0.0
        self._began = 0.0

    def on_step_begin(self, args, state, control, **kwargs):
        self._began = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs):
        self.seconds += time.perf_counter() - self._began
