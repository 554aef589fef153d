"""The notebooks as files, and run in another folder. nbval runs them in theirs and compares the outputs."""

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted(Path(__file__).parents[2].joinpath("notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_anywhere_and_leaves_nothing(path, tmp_path, monkeypatch):
    """Each notebook runs in any folder, and leaves no file there or in the folder for temporary files."""
    work, temporary = tmp_path / "work", tmp_path / "temporary"
    work.mkdir()
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=100, kernel_name="python3", resources={"metadata": {"path": str(work)}}).execute()
    assert os.listdir(work) == os.listdir(temporary) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_committed_executed(path):
    """Every cell has run, in order, in a fresh kernel, and fits on a screen."""
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(len(cell.source.splitlines()) <= 25 for cell in cells)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_ignored_outputs_are_explained(path):
    """A cell whose output is not compared begins with a comment that gives the reason; no cell is skipped."""
    for cell in nbformat.read(path, as_version=4).cells:
        tags = cell.metadata.get("tags", [])
        assert set(tags) <= {"nbval-ignore-output", "raises-exception"}
        assert "NBVAL" not in cell.source
        if "nbval-ignore-output" in tags:
            assert cell.source.startswith("# Not compared by the tests: ")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_has_no_traces_of_the_machine(path):
    """A committed notebook names the default kernel and no folders except temporary ones."""
    notebook = nbformat.read(path, as_version=4)
    assert notebook.metadata.kernelspec.name == "python3"
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert not re.search(r"/(home|root|work|Users|usr|opt)/", path.read_text("utf-8"))
