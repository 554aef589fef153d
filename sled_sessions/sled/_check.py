"""What must be so before the engine is loaded; the package imports it first."""

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
    # Its exit would close the databases of them all, and each would need exception classes of its own.
    raise ImportError("sled works in the main interpreter only: use another process instead")
