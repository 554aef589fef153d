"""The engine stands alone: it could be a separate package."""

from engine.processes import python

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
