"""The notebooks as files. nbval runs them in their own folder and compares outputs; here each runs again elsewhere."""

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted(Path(__file__).parents[2].joinpath("notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_anywhere_and_leaves_nothing(path, tmp_path, monkeypatch):
    """A fresh kernel runs it again, in any folder, and leaves no file there nor in the folder for temporary ones."""
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
    assert all(len(cell.source.splitlines()) <= 25 for cell in cells)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_not_compared_says_why(path):
    """A cell whose output is not compared begins with a comment that gives the reason; none is left out altogether."""
    for cell in nbformat.read(path, as_version=4).cells:
        tags = cell.metadata.get("tags", [])
        assert set(tags) <= {"nbval-ignore-output", "raises-exception"}
        assert "NBVAL" not in cell.source
        if "nbval-ignore-output" in tags:
            assert cell.source.startswith("# Not compared by the tests: ")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_tells_nothing_of_where_it_ran(path):
    """A committed notebook names the kernel that everybody has, and no folder but temporary ones."""
    notebook = nbformat.read(path, as_version=4)
    assert notebook.metadata.kernelspec.name == "python3"
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert not re.search(r"/(home|root|work|Users|usr|opt)/", path.read_text("utf-8"))
