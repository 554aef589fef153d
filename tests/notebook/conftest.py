"""IPython's testing shell, and a store with known sessions."""

from collections.abc import Iterator

import pytest
from IPython.testing.globalipapp import start_ipython
from sessions import save_numbered

from sled_sessions import SledStore


@pytest.fixture(scope="session")
def ipython():
    """The one shell that a process can have."""
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("VIRTUAL_ENV", raising=False)  # IPython warns of another one than ours that is active
        shell = start_ipython()
    shell.run_line_magic("load_ext", "sled_sessions")
    yield shell
    shell.history_manager.end_session()


@pytest.fixture
def run(ipython, capsys):
    """Runs a cell; returns its result and what it printed."""
    names = set(ipython.user_ns)

    def run(cell: str):
        capsys.readouterr()
        result = ipython.run_cell(cell)
        printed = capsys.readouterr()
        return result, printed.out + printed.err

    yield run
    for name in set(ipython.user_ns) - names:
        value = ipython.user_ns.pop(name)
        if isinstance(value, SledStore):
            value.close()


@pytest.fixture
def store(tmp_path, clock, ipython) -> Iterator[SledStore]:
    """Twelve sessions, of which the first two have expired; bound to `store` in the shell."""
    with SledStore.open(tmp_path / "storage", clock=clock) as store:
        save_numbered(store, 12, expired=2)
        ipython.user_ns["store"] = store
        yield store
