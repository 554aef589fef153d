"""Questions for a fresh interpreter: how long an import or an opening takes, and how much memory grows.

`ask` starts the interpreter, and `answer` runs in it.
"""

import json
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from benchmarks import peers
from benchmarks.peers.sled import SledPeer
from benchmarks.workload import Workload
from sled_sessions import SledStore, SweepStrategy, sled

LOADS = 2000
"""The number of loads before a peer's memory is measured."""

HEAVY = ("IPython", "asyncio", "litestar", "matplotlib", "numpy", "pandas", "redis", "starlette", "tqdm", "uvicorn")
"""Packages that importing sled_sessions should not load."""

_TESTS = str(Path(__file__).resolve().parents[1])
_IMPORT = """
import json, sys, time
before = set(sys.modules)
start = time.perf_counter()
import {modules}
seconds = time.perf_counter() - start
print(json.dumps([seconds, sorted(set(sys.modules) - before)]))
"""


def ask(question: str, *arguments: object) -> float:
    """The answer of a fresh interpreter; nan if this operating system cannot give it."""
    program = f"import sys; sys.path.append({_TESTS!r}); from benchmarks.probe import answer; answer()"
    return float(_run(program, question, *map(str, arguments)))


def answer() -> None:
    """Answer the question on the command line, as JSON on standard output."""
    question, *arguments = sys.argv[1:]
    sys.stdout.write(json.dumps(_QUESTIONS[question](*arguments)))


def import_seconds(*modules: str) -> tuple[float, list[str]]:
    """How long a fresh interpreter takes to import these modules, and the names of all modules it then has loaded."""
    seconds, loaded = json.loads(_run(_IMPORT.format(modules=", ".join(modules))))
    return seconds, loaded


def _run(program: str, *arguments: str) -> str:
    environment = dict(os.environ)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode files
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    ).stdout


def _opening(folder: str) -> float:
    start = time.perf_counter()
    store = SledStore.open(folder)
    seconds = time.perf_counter() - start
    store.close()
    return seconds


def _opening_bare(folder: str) -> float:
    start = time.perf_counter()
    db = sled.open(folder)
    db.open_tree("session")
    seconds = time.perf_counter() - start
    db.close()
    return seconds


def _idle_memory(folder: str) -> float:
    """Resident bytes of a process that has opened the store and done nothing else."""
    with SledStore.open(folder):
        return _resident("VmRSS")


def _sweep_memory(folder: str, strategy: str, now: str) -> float:
    """How far resident memory rises during a sweep.

    Everything is read before, so that sled's cache is full and the rise is due to the sweep alone.
    """
    with SledStore.open(folder) as store:
        deque(store.tree, maxlen=0)
        deque(store.expiring(), maxlen=0)
        before = _resident("VmRSS")
        try:
            Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
        except OSError:
            return float("nan")
        store.delete_expired(SweepStrategy(strategy), now=datetime.fromisoformat(now))
        return max(_resident("VmHWM") - before, 0.0)


def _peer_memory(name: str, folder: str, sessions: str) -> float:
    """How far resident memory rises when a peer, already imported, opens its files and loads `LOADS` sessions."""
    made = SledPeer if name == SledPeer.name else peers.find(name)
    workload = Workload(int(sessions))
    ids = [workload.id(number) for number in workload.random_numbers(LOADS)]
    before = _resident("VmRSS")
    peer = made(Path(folder))  # type: ignore[misc] # only installed peers are measured
    peer.load(ids)
    grown = _resident("VmRSS") - before
    peer.close()
    return max(grown, 0.0)


def _resident(field: str) -> float:
    """A memory field of this process's `/proc` status, in bytes; nan without `/proc`."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return float("nan")
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith(field))


_QUESTIONS: dict[str, Callable[..., float]] = {
    "opening": _opening,
    "opening-bare": _opening_bare,
    "idle-memory": _idle_memory,
    "sweep-memory": _sweep_memory,
    "peer-memory": _peer_memory,
}
