"""A small dose of fuzz.py, which `make fuzz` runs for long."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("fuzz.py")


# Another process, as this one has threads, which do not outlive a fork.
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="changes are tried in forks")
def test_what_is_changed_at_random_is_taken_or_refused_in_one_line():
    changes = ("--first", "10000", "--changes", "360")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *changes], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "| tokenizer |" in done.stdout
