"""The package as it is built and installed: away from the clone, and in a new environment."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import multitask_encoder

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# What is not ours of an archive: what setuptools writes beside the package.
METADATA = re.compile(r"(\.egg-info|\.dist-info)(/|$)")


def run(command: list, cwd: Path, **environment: str) -> str:
    """What a command prints; it fails the test where the command fails."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": "", "OMP_NUM_THREADS": "1", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """What a build reads, as a clone has it: links stay links."""
    folder = tmp_path_factory.mktemp("source") / "clone"
    folder.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in ("modeling", "data", "configs", "multitask_encoder"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignored)
    return folder


@pytest.fixture(scope="module")
def built(source, tmp_path_factory) -> dict[str, Path]:
    """`sdist`, the `wheel` made of the folder, and the one made `of_sdist`."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--outdir"]
    try:
        run([*build, folder / "direct", "--wheel"], source)
        run([*build, folder / "through"], source)  # the sdist, and a wheel of it
    except AssertionError as error:
        if "No matching distribution" in str(error) or "Could not find" in str(error):
            pytest.skip("pip can't fetch setuptools")
        raise
    (sdist,) = folder.glob("through/*.tar.gz")
    (wheel,) = folder.glob("direct/*.whl")
    (of_sdist,) = folder.glob("through/*.whl")
    return {"sdist": sdist, "wheel": wheel, "of_sdist": of_sdist}


def wheel_files(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {
            name: archive.read(name) for name in archive.namelist() if not METADATA.search(name)
        }


@pytest.mark.slow  # pip fetches setuptools, twice
def test_the_wheel_holds_the_package_and_nothing_else(built):
    files = wheel_files(built["wheel"])
    assert {name.split("/")[0] for name in files} == {"multitask_encoder"}
    assert files == wheel_files(built["of_sdist"])
    for name in (
        "py.typed",
        "configs/quickstart.yaml",
        "configs/accelerate/gpus.yaml",
        "data/readers.py",
        "data/synthetic_lexicon.yaml",
        "demo/page.css",
        "demo/sentences.yaml",
        "modeling/heads.py",
        "export/handler.py",
        "export/model_card.md",
        "export/endpoint_requirements.txt",
        "reporting/report_page.html.jinja",
    ):
        path = ROOT / "multitask_encoder" / name
        assert files[f"multitask_encoder/{name}"] == path.read_bytes()
    code = {name for name in files if name.endswith(".py")}
    package = ROOT / "multitask_encoder"
    paths = [*package.glob("*.py"), *package.glob("*/*.py")]
    assert code == {path.relative_to(ROOT).as_posix() for path in paths}
    with tarfile.open(built["sdist"]) as archive:
        assert not [member.name for member in archive if member.issym() or member.islnk()]


@pytest.mark.slow
def test_the_wheel_trains_answers_and_exports_in_an_environment_of_its_own(
    built, backbone, tmp_path
):
    """The environment sees this one's dependencies, and nothing of the clone."""
    run([sys.executable, "-m", "venv", tmp_path / "env"], tmp_path)
    python = tmp_path / "env" / "bin" / "python"
    run([python, "-m", "pip", "install", "--quiet", "--no-deps", built["wheel"]], tmp_path)
    (site,) = (tmp_path / "env").glob("lib/python*/site-packages")
    # All but the editable install of the clone, which would be found first.
    theirs = Path(next(path for path in sys.path if path.endswith("site-packages")))
    (site / "dependencies.pth").write_text(f"{theirs}\n")
    command = tmp_path / "env" / "bin" / "multitask-encoder"
    where = run([python, "-c", "import multitask_encoder as m; print(m.__file__)"], tmp_path)
    assert Path(where.strip()).is_relative_to(tmp_path)
    for name in ("data", "modeling", "training"):
        script = f"import importlib.util; assert importlib.util.find_spec({name!r}) is None"
        run([python, "-c", script], tmp_path)
    assert run([command, "--version"], tmp_path).strip() == multitask_encoder.__version__

    rows = [{"text": f"{word} day", "mood": word} for word in ("good", "bad") * 8]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    config = {
        "encoder": str(backbone("bert")),
        "pooling": "cls",
        "tasks": {"mood": {"type": "sequence_classification"}},
        "train_file": "rows.jsonl",
        "validation_file": "rows.jsonl",
        "output_dir": "run",
        "max_steps": 5,
        "report_to": "none",
        "report": False,
    }
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(config))
    run([command, "train", "my.yaml"], tmp_path)
    assert "eval_mood_accuracy" in json.loads((tmp_path / "run" / "all_results.json").read_text())
    answering = ["--model", "run", "--predict_file", "rows.jsonl", "--predict_output", "answers"]
    run([command, "predict", *answering], tmp_path)
    first = (tmp_path / "answers" / "part-00000.jsonl").read_text().splitlines()[0]
    assert json.loads(first)["mood"] in ("good", "bad")
    run([command, "evaluate", "my.yaml", "--model", "run", "--output_dir", "measured"], tmp_path)
    run([command, "export", "run", "--to", "plain-heads", "--task", "mood"], tmp_path)
    assert (tmp_path / "run-mood" / "config.json").is_file()
    run([command, "export", "run", "--to", "folder", "--output", "published"], tmp_path)
    assert (tmp_path / "published" / "handler.py").is_file()


@pytest.mark.slow
def test_two_ranks_start_both_ways(backbone, tmp_path):
    rows = [{"text": f"{word} day", "mood": word} for word in ("good", "bad") * 8]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    config = {
        "encoder": str(backbone("bert")),
        "tasks": {"mood": {"type": "sequence_classification"}},
        "train_file": str(tmp_path / "rows.jsonl"),
        "validation_file": str(tmp_path / "rows.jsonl"),
        "max_steps": 2,
        "use_cpu": True,
        "report_to": "none",
        "report": False,
    }
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(config))
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file"]
    launch += [f"{ROOT}/configs/accelerate/cpu_two_processes.yaml", "--main_process_port"]
    ways = {"script": ["run_multitask.py"], "module": ["-m", "multitask_encoder", "train"]}
    for name, way in ways.items():
        keys = [tmp_path / "my.yaml", "--output_dir", tmp_path / name]
        printed = run([*launch, "0", *way, *keys], ROOT)
        assert "2 processes" in printed
        assert (tmp_path / name / "all_results.json").is_file()


@pytest.mark.slow  # mypy reads the package anew
def test_mypy_sees_an_error_between_two_rooms(source):
    path = source / "multitask_encoder" / "training" / "planted.py"
    path.write_text(
        "from multitask_encoder.data.bad_rows import shown\n"
        "from multitask_encoder.modeling.pooling import pool\n\n"
        "TEXT: int = shown(1)\nVECTOR = pool(1)\n"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-m", "mypy", "-p", "multitask_encoder"],
            cwd=source,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        path.unlink()
    found = [line for line in done.stdout.splitlines() if "planted.py" in line]
    assert any("Incompatible types in assignment" in line for line in found), done.stdout
    assert any("Missing positional arguments" in line for line in found), done.stdout


def test_names_are_imported_when_they_are_used():
    for name in multitask_encoder.__all__:
        assert getattr(multitask_encoder, name) is not None
    assert set(multitask_encoder.__all__) <= set(dir(multitask_encoder))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        multitask_encoder.nothing  # noqa: B018


def test_endpoints_get_the_transformers_that_the_package_asks_for():
    path = ROOT / "multitask_encoder" / "export" / "endpoint_requirements.txt"
    assert path.read_text(encoding="utf-8").strip() in PYPROJECT["project"]["dependencies"]


def test_every_dependency_is_pinned_for_ci_within_its_bounds():
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    pins = {canonicalize_name(name): version for name, version in pins.items()}
    project = PYPROJECT["project"]
    listed = list(project["dependencies"])
    for more in (project["optional-dependencies"], PYPROJECT["dependency-groups"]):
        listed += [line for group in more.values() for line in group if isinstance(line, str)]
    for requirement in map(Requirement, listed):
        if requirement.name != "multitask-encoder":
            assert pins[canonicalize_name(requirement.name)] in requirement.specifier, requirement
