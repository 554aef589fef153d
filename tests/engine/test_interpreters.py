"""Subinterpreters: the engine works only in the main interpreter."""

from pathlib import Path

from engine.processes import python

CODE = """
import sys
try: import _interpreters as interpreters
except ImportError: import _xxsubinterpreters as interpreters
from sled_sessions import sled
db = sled.open(sys.argv[1])
other = interpreters.create()
interpreters.run_string(other, '''
try: from sled_sessions import sled
except ImportError as error: print(error)
''')
interpreters.destroy(other)
print(db.insert(b"key", b"value"))
"""


def test_another_interpreter(folder: Path) -> None:
    """Importing the engine in a subinterpreter raises ImportError, and the main interpreter's databases stay open."""
    done = python(CODE, folder)
    assert done.stdout == "sled works in the main interpreter only: use another process instead\nNone\n"
    assert (done.returncode, done.stderr) == (0, "")
