"""Database folders to operate on."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

from sled_sessions import Id, Record, SledStore, sled
from sled_sessions.operate import contents_of

EXPIRY = datetime(2099, 1, 1, tzinfo=UTC)


def fill(path, count, *, expired=0, **options):
    """Create a database with this many live and expired sessions, and return them all."""
    records = [Record(Id.new(), {"n": n, "pad": "x" * 200}, EXPIRY + timedelta(seconds=n)) for n in range(count)]
    records += [Record(Id.new(), {"n": n}, datetime(2020, 1, 1, tzinfo=UTC)) for n in range(expired)]
    with SledStore.open(path, **options) as store:
        for record in records:
            store.save(record)
    return records


def contents(path):
    """The contents of a database folder."""
    with sled.open(path) as db:
        return contents_of(db.export())


def start(code, *arguments):
    """Run Python code in another process, with its output in a pipe."""
    return subprocess.Popen(
        [sys.executable, "-u", "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def lines(path):
    """The objects of a file of JSON Lines."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
