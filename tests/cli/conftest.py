"""The command line, called as the shell calls it but in this process."""

import sys
from typing import NamedTuple

import pytest

from sled_sessions import cli


class Result(NamedTuple):
    """What a command printed and returned."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch, capfd):
    """Call `sled-sessions` with these arguments."""

    def call(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["sled-sessions", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfd.readouterr()
        return Result(ended.value.code or 0, out, err)

    return call
