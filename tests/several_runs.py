"""Runs of run_multitask.py one after the other, in one process or one group of ranks.

python several_runs.py CONFIG CONFIG ...
"""

import sys

from multitask_encoder.cli import run as run_multitask

for config in sys.argv[1:]:
    run_multitask.run_command([config])
run_multitask.leave_process_group()
