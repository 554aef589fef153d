"""What has to be asked of a fresh interpreter: the time of an import and of opening, and the growth of memory.

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

from sled_sessions import SledStore, SweepStrategy, sled
from sled_sessions.bench import peers
from sled_sessions.bench.peers.sled import SledPeer
from sled_sessions.bench.workload import Workload

LOADS = 2000
"""Loads after which a peer's memory is looked at."""

HEAVY = ("IPython", "asyncio", "litestar", "matplotlib", "numpy", "pandas", "redis", "starlette", "tqdm", "uvicorn")
"""What importing the package should not load."""

_IMPORT = """
import json, sys, time
before = set(sys.modules)
start = time.perf_counter()
import {modules}
seconds = time.perf_counter() - start
print(json.dumps([seconds, sorted(set(sys.modules) - before)]))
"""


def ask(question: str, *arguments: object) -> float:
    """The answer of a fresh interpreter; nan when this system cannot tell."""
    return float(_run(f"from {__name__} import answer; answer()", question, *map(str, arguments)))


def answer() -> None:
    """Answer the question on the command line, on standard output and in JSON."""
    question, *arguments = sys.argv[1:]
    sys.stdout.write(json.dumps(_QUESTIONS[question](*arguments)))


def import_seconds(*modules: str) -> tuple[float, list[str]]:
    """How long a fresh interpreter takes to import these, and what it has loaded then."""
    seconds, loaded = json.loads(_run(_IMPORT.format(modules=", ".join(modules))))
    return seconds, loaded


def _run(program: str, *arguments: str) -> str:
    environment = dict(os.environ)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # or it would compile what an installed package has compiled
    return subprocess.run(  # noqa: S603 - this interpreter, and a program of this module
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
    """Resident bytes of a process that has opened the store and done nothing."""
    with SledStore.open(folder):
        return _resident("VmRSS")


def _sweep_memory(folder: str, strategy: str, now: str) -> float:
    """How far resident memory rises above that of the store at rest, while it sweeps.

    Everything is read once before, so that sled's cache is full; what comes on top is the sweep's own.
    """
    with SledStore.open(folder) as store:
        deque(store.tree, maxlen=0)
        deque(store.expiring(), maxlen=0)
        before = _resident("VmRSS")
        try:
            Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
        except OSError:
            return float("nan")
        store.delete_expired(SweepStrategy(strategy), now=datetime.fromisoformat(now))
        return max(_resident("VmHWM") - before, 0.0)


def _peer_memory(name: str, folder: str, sessions: str) -> float:
    """How far resident memory grows when a peer, imported before, is opened and loads some of so many sessions."""
    made = SledPeer if name == SledPeer.name else peers.find(name)
    workload = Workload(int(sessions))
    ids = [workload.id(number) for number in workload.random_numbers(LOADS)]
    before = _resident("VmRSS")
    peer = made(Path(folder))  # type: ignore[misc] # it was found before
    peer.load(ids)
    grown = _resident("VmRSS") - before
    peer.close()
    return max(grown, 0.0)


def _resident(what: str) -> float:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return float("nan")
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith(what))


_QUESTIONS: dict[str, Callable[..., float]] = {
    "opening": _opening,
    "opening-bare": _opening_bare,
    "idle-memory": _idle_memory,
    "sweep-memory": _sweep_memory,
    "peer-memory": _peer_memory,
}
