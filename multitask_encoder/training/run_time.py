"""How much of a run are its training steps."""

import time

from transformers import TrainerCallback


class StepTime(TrainerCallback):
    """Adds up the `seconds` from one training step to the next, reading their rows included, where
    nothing is evaluated or saved between; of a resumed run, those since then. A GPU may still be at
    work when a step returns, and is waited for in the next."""

    def __init__(self):
        self.seconds = 0.0
        self._began: float | None = None

    def on_step_begin(self, args, state, control, **kwargs):
        if self._began is None:
            self._began = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs):
        now = time.perf_counter()
        self.seconds += now - (self._began or now)
        self._began = now

    def _pause(self, args, state, control, **kwargs):
        self._began = None

    on_evaluate = on_save = on_epoch_end = on_train_end = _pause
