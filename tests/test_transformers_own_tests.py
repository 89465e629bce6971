"""transformers' own model tests, from the source of the installed version."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import transformers

ROOT = Path(__file__).parent.parent
# What the source of a release lacks and its model tests import.
LACKING = {
    "exporters/test_export.py": "class ExportTesterMixin: pass",
    "generation/test_utils.py": "class GenerationTesterMixin: pass",
    "utils/test_configuration_utils.py": "config_common_kwargs = {'output_hidden_states': True}",
}


@pytest.mark.slow
def test_ours_passes_the_tests_of_transformers_models(tmp_path):
    version = transformers.__version__
    download = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(tmp_path)),
        *("--no-binary", "transformers", "--no-build-isolation", f"transformers=={version}"),
    ]
    if subprocess.run(download, capture_output=True).returncode:
        pytest.skip(f"no source of transformers {version} at hand")
    with tarfile.open(tmp_path / f"transformers-{version}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    source = tmp_path / f"transformers-{version}"
    for name, content in {"__init__.py": "", **LACKING}.items():
        path = source / "tests" / name
        path.parent.mkdir(exist_ok=True)
        path.with_name("__init__.py").touch()
        path.write_text(content)
    shutil.copy(ROOT / "tests" / "transformers_model_tests.py", source / "tests" / "test_ours.py")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider"),
            *("-c", os.devnull, "--rootdir", ".", "tests/test_ours.py"),
        ],
        cwd=source,
        env={**os.environ, "PYTHONPATH": f"{source}:{ROOT}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    (passed,) = re.findall(r"(\d+) passed", done.stdout)[:1]
    assert int(passed) > 900
