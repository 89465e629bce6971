"""Runs a script where nothing of this repository can be imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch


def run_fresh(
    script: str, *arguments, cache: Path, python: str | Path = sys.executable, **environment: str
) -> dict:
    """The JSON that `script` prints as its last line, run in a new process outside the repository.

    Args:
        arguments: the script's `sys.argv[1:]`.
        cache (`Path`): a folder for all that the Hugging Face libraries keep; and where it runs.
        python: that of the environment to run in.
        environment: variables besides those of this process; None takes one away.
    """
    cache.mkdir(parents=True, exist_ok=True)
    variables = {
        **os.environ,
        "HF_HOME": str(cache),
        "HF_MODULES_CACHE": str(cache / "modules"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": str(torch.get_num_threads()),  # the same sums in the same order
        **environment,
    }
    done = subprocess.run(
        [python, "-I", "-c", script, *map(str, arguments)],
        cwd=cache,
        env={name: value for name, value in variables.items() if value is not None},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
