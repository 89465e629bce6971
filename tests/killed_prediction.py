"""run_multitask.py, killed by SIGKILL when it has answered so many rows:
python killed_prediction.py ROWS [arguments of the run]"""

import os
import signal
import sys
from unittest.mock import patch

from multitask_encoder.cli import run as run_multitask
from multitask_encoder.inference.tables import JsonlFile

rows, original = int(sys.argv[1]), JsonlFile.write
written = 0


def killing(self, row) -> None:
    global written
    original(self, row)
    self._file.flush()
    written += 1
    if written == rows:
        os.kill(os.getpid(), signal.SIGKILL)


patch.object(JsonlFile, "write", killing).start()
run_multitask.main(sys.argv[2:])
