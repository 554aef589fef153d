"""Refuses to load the engine outside the main interpreter."""

import importlib


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
