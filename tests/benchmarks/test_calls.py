"""The Python calls of one counter request."""

import os
import subprocess
import sys
from pathlib import Path

from benchmarks import calls

SCRIPT = Path(calls.__file__)


def test_a_request_keeps_to_its_limits():
    """A counter request of a known session makes at most 50 Python calls in at most 9 files of the package."""
    found = calls.count()
    assert found.calls <= 50
    assert found.files <= 9


def test_only_the_package_is_counted():
    """The count starts in the middleware, holds the store's work, and is the same for every request."""
    with calls.visitors(2) as visitors:
        first, *others = [visitors.count() for _ in range(4)]
    assert first.sequence[0] == ("web/middleware.py", "SessionMiddleware.__call__")
    assert {"SledStore.load", "SledStore.update"} <= {function for _, function in first.sequence}
    assert all(other == first for other in others)
    assert 0 < first.files <= first.switches + 1 <= first.calls


def test_two_checkouts_in_turns():
    """The script counts and times two checkouts without a package `benchmarks` on the path."""
    checkout = SCRIPT.parents[2]
    result = subprocess.run(
        [sys.executable, SCRIPT, "--time", "--beside", checkout, "--rounds", "2"],
        env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = result.stdout.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [str(checkout)] * 4
    assert lines[0] == lines[1] == f"{checkout}: {calls.count()}"
    assert lines[2].endswith("1.000 of the first")
