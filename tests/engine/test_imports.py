"""The engine stands alone: it could be a separate package."""

import shutil
import subprocess
import sys
from pathlib import Path

from engine.processes import python

import sled_sessions

CODE = """
import sys, types, importlib.machinery
package = types.ModuleType("sled_sessions")
package.__path__ = importlib.machinery.PathFinder.find_spec("sled_sessions").submodule_search_locations
sys.modules["sled_sessions"] = package
from sled_sessions import sled
from sled_sessions.sled import salvage, v1
print(*sorted(name for name in sys.modules if name.startswith("sled_sessions.") and ".sled" not in name))
"""


def test_nothing_else_is_imported() -> None:
    """Importing the engine imports no other module of the package."""
    done = python(CODE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")


def test_sources_without_the_compiled_engine(tmp_path: Path) -> None:
    """In a clone whose folder hides the installed package, the error says so in one line, with the cure."""
    source = Path(sled_sessions.__file__).parent
    shutil.copytree(source, tmp_path / "sled_sessions", ignore=shutil.ignore_patterns("rust", "*.so", "__pycache__"))
    for command in ("-c", "from sled_sessions import SledStore"), ("-m", "sled_sessions", "counter"):
        run = [sys.executable, *command]
        done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1
        error = done.stderr.splitlines()[-1]
        assert f": {tmp_path / 'sled_sessions'} has no compiled engine" in error
        assert "run in another folder" in error
        assert "pip install -e ." in error
        assert "circular" not in done.stderr
        assert "During handling" not in done.stderr
    assert len(done.stderr.splitlines()) == 1, "a command has no traceback"
