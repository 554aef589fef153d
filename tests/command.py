"""The command `sled-sessions` as a separate process."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

COMMAND = [sys.executable, "-c", "from sled_sessions.cli import main; main()"]
COUNTER = [*COMMAND, "counter", "--port", "0"]


@contextmanager
def counter(*options: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the counter app with these options; yields its process and its address."""
    with subprocess.Popen([*COUNTER, *map(str, options)], stderr=subprocess.PIPE, text=True) as process:
        try:
            lines = []
            for line in process.stderr:
                lines.append(line)
                if found := re.search(r"running on (http://\S+)", line):
                    break
            else:
                pytest.fail("".join(lines))
            yield process, found[1]
        finally:
            process.kill()
