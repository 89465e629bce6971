"""run_multitask.py, killed by SIGKILL: python killed_run.py WHERE STEP [arguments of the run]

WHERE is `step`, between two steps, or `checkpoint`, when half of one is written. Under a launcher
only the last rank is killed.
"""

import os
import signal
import sys

from transformers import Trainer

from multitask_encoder.cli import run as run_multitask


def kill(self: Trainer) -> None:
    if self.state.global_step == STEP and self.args.process_index == self.args.world_size - 1:
        os.kill(os.getpid(), signal.SIGKILL)


WHERE, STEP = sys.argv[1], int(sys.argv[2])
METHOD = {"step": "training_step", "checkpoint": "_save_optimizer_and_scheduler"}[WHERE]
original = getattr(Trainer, METHOD)


def killing(self, *args, **kwargs):
    kill(self)
    return original(self, *args, **kwargs)


setattr(Trainer, METHOD, killing)
run_multitask.main(sys.argv[3:])
