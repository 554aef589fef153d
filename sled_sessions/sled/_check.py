"""Refuses to load the engine outside the main interpreter, and explains a missing one."""

import importlib
from importlib.util import find_spec
from pathlib import Path


def _is_main_interpreter() -> bool:
    for name in ("_interpreters", "_xxsubinterpreters"):  # since Python 3.13, and before
        try:
            interpreters = importlib.import_module(name)
        except ImportError:
            continue
        return bool(interpreters.get_current() == interpreters.get_main())
    return True


if not _is_main_interpreter():
    # A subinterpreter's exit would close the databases of all interpreters, and each would need its own exceptions.
    raise ImportError("sled works in the main interpreter only: use another process instead")

if find_spec("sled_sessions.sled._native") is None:
    # Python looks in the current folder first, so a clone hides the package that is installed beside it.
    raise ImportError(
        f"{Path(__file__).parents[1]} has no compiled engine, since it is the source folder and not the installed "
        "package: run in another folder, or build the engine here with `pip install -e .`"
    )
