"""`migrate` and `salvage` read the old database in a child process: whatever sled does there, they end with a line."""

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
from cli import misbehaving

from sled_sessions import sled
from sled_sessions.cli.limited import Limits, run_limited
from sled_sessions.operate import OperationError

LIMITS = Limits(memory=1 << 30, time=timedelta(minutes=1))

# An interrupted or killed command, with the call that never ends.
PROGRAM = """
import sys
from pathlib import Path
from datetime import timedelta
from cli import misbehaving
from sled_sessions.cli.limited import Limits, run_limited

def started(process, _):
    print(process, flush=True)

if __name__ == "__main__":
    limits = Limits(memory=1 << 30, time=timedelta(minutes=5))
    run_limited(misbehaving.hang, Path("old"), Path("new"), limits=limits, progress=started)
"""


def limited(function, folder, limits=LIMITS, progress=lambda done, total: None):
    """What a function of `misbehaving` returns from a child process."""
    return run_limited(function, folder / "old", folder / "new", limits=limits, progress=progress)


def test_answer(tmp_path):
    """Progress, results and errors come back from the child process."""
    told = []
    answer = limited(misbehaving.answer, tmp_path, progress=lambda done, total: told.append((done, total)))
    assert (answer, told) == (("old", "new"), [(1, 2)])
    with pytest.raises(OperationError, match="nothing can be read"):
        limited(misbehaving.fail, tmp_path)


@pytest.mark.parametrize(
    ("function", "what"),
    [(misbehaving.segfault, "SIGSEGV"), (misbehaving.abort, "SIGABRT"), (misbehaving.leave, "an exit")],
)
def test_crash(tmp_path, function, what):
    """A child process that crashes is Corruption, and what it has written is removed."""
    with pytest.raises(sled.Corruption, match=f"old is damaged or crafted: {what} ended the process"):
        limited(function, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_time_limit(tmp_path):
    """A child process that hangs ends at the time limit."""
    with pytest.raises(OperationError, match=r"was not read within 500 ms.* --time-limit"):
        limited(misbehaving.hang, tmp_path, Limits(memory=1 << 30, time=timedelta(milliseconds=500)))


def test_memory_limit(tmp_path):
    """A child process that takes more memory than the limit ends, and the error names the option."""
    with pytest.raises(OperationError, match="more memory than --memory-limit"):
        limited(misbehaving.eat, tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_end_of_the_command(tmp_path, number):
    """When the command is interrupted or killed, its child process ends too, even in a call into sled."""
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, tmp_path / "program.py"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as parent:
        child = int(parent.stdout.readline())
        parent.send_signal(number)
        parent.wait(30)
    end = time.monotonic() + 30
    while Path(f"/proc/{child}").exists():
        assert time.monotonic() < end, "the child process goes on"
        time.sleep(0.01)


@pytest.mark.parametrize("arguments", [("salvage",), ("migrate", "--to", "1.0")])
def test_options(run, tmp_path, storage, arguments):
    """Both commands have the options, and say which one was too low."""
    command, *options = arguments
    low = run(command, storage, tmp_path / "new", *options, "--memory-limit", "1M")
    assert (low.code, "--memory-limit" in low.err, (tmp_path / "new").exists()) == (1, True, False)
    late = run(command, storage, tmp_path / "new", *options, "--time-limit", "1ms")
    assert (late.code, "--time-limit" in late.err, (tmp_path / "new").exists()) == (1, True, False)
    assert run(command, storage, tmp_path / "new", *options, "--memory-limit", "0").code == 2
