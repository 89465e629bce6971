"""Imports run one way, and no module is there twice."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from multitask_encoder.data.task_kinds import TASK_KINDS
from multitask_encoder.modeling.configuration_multitask import (
    LABELLINGS,
    POOLING_NAMES,
    PROBLEM_TYPES,
    TASK_TYPES,
)
from multitask_encoder.modeling.decoding import UNITS
from multitask_encoder.modeling.heads import HEADS
from multitask_encoder.modeling.losses import LOSSES
from multitask_encoder.modeling.pooling import POOLINGS
from multitask_encoder.training.metrics import METRICS

ROOT = Path(__file__).parent.parent
PACKAGE = "multitask_encoder"
# Room -> the rooms that it may import.
ALLOWED: dict[str, set[str]] = {"modeling": set(), "data": set()}
ALLOWED["arguments"] = {"modeling", "data", "processor"}
ALLOWED["inference"] = {"modeling", "data", "arguments", "files", "processor"}
ALLOWED["training"] = {"modeling", "data", "arguments", "inference", "files"}
ALLOWED["reporting"] = {*ALLOWED["training"], "training"}
ALLOWED["comparison"] = {*ALLOWED["reporting"], "reporting"}
ALLOWED["export"] = {*ALLOWED["comparison"], "comparison"}
ALLOWED["serving"] = {"modeling", "arguments", "inference"}
ALLOWED["demo"] = {"data", "inference"}
WITHIN_MODELING: dict[str, set[str]] = {
    "configuration_multitask": set(),
    "attention": set(),
    "pooling": set(),
    "losses": set(),
    "decoding": set(),
    "library_errors": set(),
    "windows": {"decoding", "library_errors"},
    "heads": {"pooling", "losses", "scope"},
    "scope": set(),
    "sentence_transformers_files": set(),
    "stored_weights": {"configuration_multitask", "library_errors", "scope"},
    "pretrained_encoder": {"configuration_multitask", "library_errors", "stored_weights"},
    "answering": set(),
    "batching": set(),
    "pipeline_multitask": {"answering", "batching", "decoding", "windows"},
    "modeling_multitask": {
        *("attention", "configuration_multitask", "heads", "library_errors", "losses"),
        "pretrained_encoder",
        "scope",
        "sentence_transformers_files",
        "stored_weights",
        "pipeline_multitask",  # which it saves beside itself
    },
}
# Folders at the top that are linked into the package.
LINKED = ("modeling", "data")


def imported(source: str) -> Iterator[tuple[int, str]]:
    """The level (0 is absolute) and the full name of everything that a module imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.level, f"{node.module}.{alias.name}") for alias in node.names)


def rooms_imported(source: str) -> set[str]:
    """The rooms of the package that a module imports by their full names."""
    names = [name.split(".") for level, name in imported(source) if level == 0]
    return {parts[1] for parts in names if parts[0] == PACKAGE and len(parts) > 1}


def top_level(source: str) -> set[str]:
    """The linked folders that a module imports past the package."""
    return {name.split(".")[0] for level, name in imported(source) if level == 0} & set(LINKED)


@pytest.mark.parametrize("room", ALLOWED)
def test_rooms_import_only_what_is_below_them(room):
    files = list((ROOT / PACKAGE / room).glob("*.py"))
    assert files
    for path in files:
        assert rooms_imported(path.read_text(encoding="utf-8")) <= ALLOWED[room] | {room}, path
        for level, _ in imported(path.read_text(encoding="utf-8")):
            assert level <= 1, f"{path} imports from the room above by a relative import"


@pytest.mark.parametrize(
    "source, rooms",
    [
        ("from multitask_encoder.export.onnx import export", {"export"}),
        ("from multitask_encoder import training", {"training"}),
        ("import multitask_encoder.cli.run", {"cli"}),
        ("def f():\n    from multitask_encoder.demo import page", {"demo"}),
        ("from .x import y\nimport torch", set()),
    ],
)
def test_every_form_of_import_is_seen(source, rooms):
    assert rooms_imported(source) == rooms


@pytest.mark.parametrize("source", ["import data", "from modeling.heads import HEADS"])
def test_an_import_past_the_package_is_seen(source):
    assert top_level(source)
    assert not top_level(
        source.replace("import data", "import multitask_encoder.data").replace(
            "from modeling", "from multitask_encoder.modeling"
        )
    )


def code(path: Path) -> str:
    """The Python source of a module, or of a notebook's code cells."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return text
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    return "\n".join("".join(cell["source"]) for cell in cells)


def past_the_package(folder: Path) -> set[str]:
    """The modules and notebooks that import a linked folder by its short name."""
    paths = [*folder.glob("**/*.py"), *folder.glob("**/*.ipynb")]
    names = [path.relative_to(folder).as_posix() for path in paths]
    ours = [name for name in names if not name.startswith((".", "build/", "runs/", "site/"))]
    assert len(ours) > 3
    return {name for name in ours if top_level(code(folder / name))}


def test_nothing_imports_a_linked_folder_past_the_package():
    assert past_the_package(ROOT) == set()


def test_planted_imports_past_the_package_are_found(tmp_path):
    cells = [
        {"cell_type": "markdown", "source": ["import data"]},
        {"cell_type": "code", "source": ["import torch\n", "from modeling import heads"]},
    ]
    (tmp_path / "bad.ipynb").write_text(json.dumps({"cells": cells}))
    (tmp_path / "good.ipynb").write_text(json.dumps({"cells": cells[:1]}))
    (tmp_path / "bad.py").write_text("def f():\n    import data.readers\n")
    (tmp_path / "good.py").write_text("from multitask_encoder.data import readers\n")
    assert past_the_package(tmp_path) == {"bad.ipynb", "bad.py"}


def test_no_file_is_two_modules_in_one_process():
    script = """
import sys
from pathlib import Path
from multitask_encoder.cli import demo, export, main, run, serve

files = [Path(module.__file__).resolve() for module in list(sys.modules.values())
         if getattr(module, "__file__", None) and module.__name__ != "__main__"]
ours = [path for path in files if Path.cwd() in path.parents and ".venv" not in str(path)]
assert len(ours) > 40 and len(ours) == len(set(ours)), ours
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_the_package_is_imported_without_torch():
    script = "import multitask_encoder, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


@pytest.mark.parametrize("module", WITHIN_MODELING)
def test_modeling_can_ship_as_remote_code(module):
    # numpy and safetensors are there wherever transformers is: it needs them.
    allowed = {"torch", "transformers", "safetensors", "numpy", *sys.stdlib_module_names}
    source = (ROOT / "modeling" / f"{module}.py").read_text(encoding="utf-8")
    for level, name in imported(source):
        if level:
            assert level == 1 and name.split(".")[0] in WITHIN_MODELING[module]
        else:
            assert name.split(".")[0] in allowed


def test_handler_needs_nothing_but_transformers():
    source = (ROOT / PACKAGE / "export" / "handler.py").read_text(encoding="utf-8")
    assert {name.split(".")[0] for _, name in imported(source)} == {"typing", "transformers"}


def test_modeling_is_flat_and_whole():
    found = {path.stem for path in (ROOT / "modeling").glob("*.py")} - {"__init__"}
    assert found == set(WITHIN_MODELING)
    assert not [
        path for path in (ROOT / "modeling").iterdir() if path.is_dir() and "__" not in path.name
    ]


def test_heads_kinds_and_metrics_know_the_same_task_types():
    assert set(TASK_TYPES) == set(HEADS) == set(TASK_KINDS) == set(METRICS)
    assert set(PROBLEM_TYPES) == set(LOSSES) == set(METRICS["sequence_classification"])
    assert set(POOLING_NAMES) == set(POOLINGS)
    assert set(LABELLINGS) == set(UNITS)
