"""The notebook as it is kept: whole, small, nobody's paths in it; and that it runs."""

import json
import re
from itertools import chain
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from multitask_encoder.cli.get_backbone import get_backbone

ROOT = Path(__file__).parent.parent
PATH = ROOT / "notebooks" / "multitask_walkthrough.ipynb"
A_MACHINES_PATH = re.compile(r"(?<![\w.])/(home|root|Users|work|tmp|opt|usr|var)/|[A-Z]:\\\\")
LINK = re.compile(r"\]\(([^)#:]+)\)")
LARGEST = 500_000


def read() -> NotebookNode:
    return nbformat.read(PATH, as_version=4)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shapes(cell: NotebookNode) -> list[tuple]:
    """What of a cell's outputs is the same in every run: their kinds, and how many lines each text
    has. What is printed comes in one output or in several, as the kernel was in time."""
    found: list[tuple] = []
    for output in cell.outputs:
        if output.output_type == "stream":
            kind, text = ("stream", output.name), output.text
            if found and found[-1][0] == kind:
                text = found.pop()[1] + text
        else:
            kind = (output.output_type, *sorted(output.data))
            text = output.data.get("text/plain", "")
        found.append((kind, text))
    return [(kind, len(text.splitlines())) for kind, text in found]


def test_kept_notebook_was_run_in_order_without_an_error():
    notebook = read()
    nbformat.validate(notebook)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for output in chain.from_iterable(cell.outputs for cell in cells):
        assert output.output_type != "error"
        assert output.get("name") != "stderr", output.text


def test_kept_notebook_is_small_and_holds_no_path_of_a_machine():
    assert PATH.stat().st_size < LARGEST
    found = A_MACHINES_PATH.search(json.dumps(read()))
    assert not found, found


def test_links_lead_to_files():
    sources = [cell.source for cell in read().cells if cell.cell_type == "markdown"]
    links = [link for source in sources for link in LINK.findall(source)]
    assert links
    assert not [link for link in links if not (PATH.parent / link).is_file()]


@pytest.mark.slow
def test_notebook_runs_top_to_bottom_in_a_new_kernel(tmp_path, monkeypatch):
    for variable in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(variable, str(tmp_path))
    kept, notebook = read(), read()
    if not (ROOT / "backbones" / "minilm").exists():
        get_backbone("minilm", ROOT / "backbones")  # what it prints is not in the kept notebook
    place = {"metadata": {"path": str(PATH.parent)}}
    NotebookClient(notebook, timeout=3600, resources=place).execute()
    for cell, before in zip(code_cells(notebook), code_cells(kept), strict=True):
        assert shapes(cell) == shapes(before), cell.source
