"""A full disk and a read-only folder."""

import contextlib
import errno
import json
import os
import subprocess
import sys

import pytest
from command import COMMAND
from operate.databases import contents, fill

from sled_sessions import SledStore, operate, sled

MEGABYTE = 1_000_000

# The limit simulates a full disk for this process: writes beyond it fail.
SAVE_UNTIL_FULL = """
import json, resource, sys
from datetime import UTC, datetime, timedelta
from sled_sessions import Id, Record, SessionError, SledStore, sled

limit = int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
acknowledged, saved = [], []
try:
    with SledStore.open(sys.argv[1]) as store:
        try:
            while True:
                record = Record(Id.new(), {"pad": "x" * 500}, datetime(2099, 1, 1, tzinfo=UTC))
                store.save(record)
                saved.append(str(record.id))
                if len(saved) == 100:
                    store.flush(fsync=True)
                    acknowledged += saved
                    saved = []
        except SessionError as error:
            print(json.dumps(["save", type(error.__cause__).__name__, str(error)]))
            for call in (lambda: store.save(record), store.flush, store.delete_expired):
                try:
                    call()
                except SessionError:
                    pass
except (SessionError, sled.SledError) as error:
    print(json.dumps(["close", type(error).__name__, str(error)]))
print(json.dumps(["acknowledged", *acknowledged]))
"""


@contextlib.contextmanager
def mounted(folder, *options):
    """Mount a small in-memory file system."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", folder]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def save_until_full(folder, limit):
    """The process's messages by kind, and the ids that a flush has acknowledged."""
    run = subprocess.run(
        [sys.executable, "-c", SAVE_UNTIL_FULL, folder, str(limit)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    messages = {kind: rest for kind, *rest in map(json.loads, run.stdout.splitlines())}
    return messages, messages["acknowledged"]


def check_after(folder, acknowledged):
    """With free space again, the database opens and holds every acknowledged session."""
    assert acknowledged
    with SledStore.open(folder) as store:
        found = {str(record.id) for record in store.records()}
        assert found >= set(acknowledged)
        report = store.verify_index()
        assert (report.missing, report.undecodable) == (0, 0)


def test_full_disk(tmp_path):
    """On a full disk a save raises and nothing hangs; once there is space, all acknowledged sessions are there."""
    with mounted(tmp_path / "disk", "size=8m") as disk:
        messages, acknowledged = save_until_full(disk / "storage", 0)
        assert messages["save"][0] in {"SledIOError", "ClosedError"}
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        check_after(disk / "storage", acknowledged)


def test_file_size_limit(tmp_path):
    """The same holds under a limit on the file size, as with a quota."""
    messages, acknowledged = save_until_full(tmp_path / "storage", 6 * MEGABYTE)
    assert "save" in messages
    check_after(tmp_path / "storage", acknowledged)


@pytest.mark.parametrize("command", ["backup", "compact", "migrate", "export"])
def test_no_space_for_a_copy(tmp_path, command):
    """A copy without enough space fails with an error, leaves no partial copy and does not change the original."""
    fill(tmp_path / "storage", 20_000)
    before = contents(tmp_path / "storage")
    options = ["--to", "1.0"] if command == "migrate" else []
    with mounted(tmp_path / "disk", "size=3m") as disk:
        run = subprocess.run(
            [*COMMAND, command, tmp_path / "storage", disk / "new", *options],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (run.returncode, run.stderr.count("\n")) == (1, 1), run.stderr
        assert "No space left" in run.stderr
        assert not (disk / "new").exists()
    assert contents(tmp_path / "storage") == before


def test_read_only_folder(tmp_path):
    """Opening a database on a read-only file system raises an OSError that names it, and changes nothing."""
    fill(tmp_path / "storage", 10)
    before = contents(tmp_path / "storage")
    with mounted(tmp_path / "disk", "size=64m") as disk:
        with sled.open(tmp_path / "storage") as db:
            operate.backup(db, disk / "file")
        operate.restore(disk / "file", disk / "storage")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        for folder in (disk / "storage", disk / "other"):
            with pytest.raises(sled.SledIOError) as raised:
                sled.open(folder)
            assert raised.value.errno == errno.EROFS
            assert str(folder) in str(raised.value)
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        assert contents(disk / "storage") == before
