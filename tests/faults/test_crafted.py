"""Mutated databases with right checksums; `fuzz_folders.py` runs the same for longer."""

import shutil
import subprocess
from collections import Counter

from command import COMMAND
from fuzz_folders import fuzz

SECONDS = 5


def test_mutated_folders(tmp_path):
    """Mutated databases are read or refused; on what crashes or hangs sled all the same, commands end with a line."""
    counts, kept = Counter(), tmp_path / "kept"
    for outcome in fuzz(SECONDS, 0, tmp_path):
        counts[outcome.name] += 1
        if not kept.exists() and outcome.name in {"crashed", "hung"}:
            shutil.copytree(outcome.folder, kept)
    assert counts["read"]
    assert counts["refused"]
    if kept.exists():
        for command in (("salvage",), ("migrate", "--to", "1.0", "--time-limit", "3s")):
            arguments = [*COMMAND, *command, kept, tmp_path / command[0]]
            done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode in {0, 1, 3}
            assert done.stdout or done.stderr
            assert "Traceback" not in done.stderr
