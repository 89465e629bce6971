"""Imports run one way, and the parts that must agree on task types do."""

import ast
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
PACKAGES = {
    *("modeling", "data", "training", "export", "inference", "serving", "demo"),
    *("run_multitask", "serve", "app", "handler", "benchmarks", "scripts"),
}
ALLOWED = {
    "modeling": set(),
    "data": set(),
    "training": {"modeling", "data"},
    "export": {"modeling", "data", "training"},
    "inference": {"modeling", "data", "export"},
    "serving": {"modeling", "inference"},
    "demo": {"data", "inference"},
    "app": {"inference", "demo"},
}
WITHIN_MODELING = {
    "configuration_multitask": set(),
    "pooling": set(),
    "losses": set(),
    "decoding": set(),
    "windows": {"decoding"},
    "heads": {"pooling", "losses"},
    "stored_weights": {"configuration_multitask"},
    "modeling_multitask": {"configuration_multitask", "heads", "losses", "stored_weights"},
    "batching": set(),
    "pipeline_multitask": {"batching", "decoding", "windows"},
}


def imports(path: Path) -> list[ast.Import | ast.ImportFrom]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


@pytest.mark.parametrize("package", ALLOWED)
def test_packages_import_only_what_is_below_them(package):
    for path in [*(ROOT / package).glob("*.py"), *ROOT.glob(f"{package}.py")]:
        for node in imports(path):
            if isinstance(node, ast.ImportFrom) and node.level:
                continue
            names = (
                [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            )
            found = {name.split(".")[0] for name in names} & PACKAGES
            assert found <= ALLOWED[package], f"{path.name} imports {found}"


@pytest.mark.parametrize("module", WITHIN_MODELING)
def test_modeling_can_ship_as_remote_code(module):
    allowed = {"torch", "transformers", "safetensors", *__import__("sys").stdlib_module_names}
    for node in imports(ROOT / "modeling" / f"{module}.py"):
        if isinstance(node, ast.ImportFrom) and node.level:
            assert node.level == 1
            assert node.module in WITHIN_MODELING[module]
        else:
            names = (
                [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            )
            assert {name.split(".")[0] for name in names} <= allowed


def test_handler_needs_nothing_but_transformers():
    nodes = imports(ROOT / "multitask_encoder" / "export" / "handler.py")
    assert [node.module for node in nodes] == ["typing", "transformers"]


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
