"""The notebooks as files; their outputs are compared by nbval, which runs them as well."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted(Path(__file__).parents[2].joinpath("notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_anywhere_and_leaves_nothing(path, tmp_path, monkeypatch):
    """A fresh kernel runs it in any working folder, and leaves no file there nor in the folder for temporary ones."""
    work, temporary = tmp_path / "work", tmp_path / "temporary"
    work.mkdir()
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=100, kernel_name="python3", resources={"metadata": {"path": str(work)}}).execute()
    assert os.listdir(work) == os.listdir(temporary) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_committed_executed(path):
    """Every cell has run, in order, from a fresh kernel, and none is longer than a screen."""
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(len(cell.source.splitlines()) <= 30 for cell in cells)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_not_compared_says_why(path):
    """A cell whose output is not compared begins with a comment that gives the reason."""
    for cell in nbformat.read(path, as_version=4).cells:
        if "nbval-ignore-output" in cell.metadata.get("tags", []):
            assert cell.source.startswith("# Not compared by the tests: ")
