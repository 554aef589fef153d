"""IPython's testing shell, and a store with known sessions."""

from collections.abc import Iterator

import pytest
from IPython.testing.globalipapp import start_ipython
from sessions import save_numbered

from sled_sessions import SledStore


@pytest.fixture(scope="session")
def ipython():
    """The shell. A process can have only one."""
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("VIRTUAL_ENV", raising=False)  # IPython warns if another environment is active
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
def run_failing(run):
    """Runs a cell that must fail with a one-line UsageError containing all these words; returns what it printed."""

    def run_failing(cell: str, *words: str) -> str:
        result, printed = run(cell)
        assert not result.success
        assert printed.startswith("UsageError: ")
        assert printed.count("\n") == 1
        for word in words:
            assert word in printed
        return printed

    return run_failing


@pytest.fixture
def store(tmp_path, clock, ipython) -> Iterator[SledStore]:
    """Twelve sessions, the first two expired; the shell has the store as `store`."""
    with SledStore.open(tmp_path / "storage", clock=clock) as store:
        save_numbered(store, 12, expired=2)
        ipython.user_ns["store"] = store
        yield store
