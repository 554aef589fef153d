"""`sled-sessions copy`: live sessions between databases, servers and files, so that visitors stay logged in."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pytest
from command import COMMAND
from servers import shared_cluster, shared_server

from sled_sessions import Id, Record, SledStore
from sled_sessions.operate import CopyReport, OperationError, copy_sessions, export_lines, place_at
from sled_sessions.records import jsonl
from sled_sessions.redis import RedisStore

SOON = datetime.now(UTC) + timedelta(hours=1)
"""With microseconds, so that an expiry that was rounded is found out."""

KINDS = ["database", "server", "cluster", "file"]


def new_records(count: int) -> list[Record]:
    return [Record(Id.new(), {"n": n, "cart": ["ä", 1.5, None, {}]}, SOON + timedelta(seconds=n)) for n in range(count)]


def expired(record: Record) -> Record:
    return attrs.evolve(record, id=Id.new(), expiry_date=datetime(2020, 1, 1, tzinfo=UTC))


@pytest.fixture
def new_place(tmp_path):
    """Makes the name of a new, empty place of a kind."""
    shared_server().flush()
    shared_cluster().flush()

    def make(kind: str, number: int) -> str:
        match kind:
            case "database":
                return str(tmp_path / f"storage{number}")
            case "file":
                return str(tmp_path / f"sessions{number}.jsonl")
            case "cluster":
                return shared_cluster().url
            case _:
                return f"{shared_server().url}/{number}"

    return make


def save_in(place: str, records: list[Record]) -> None:
    if "://" in place:

        async def save() -> None:
            async with RedisStore.from_url(place) as store:
                for record in records:
                    await store.save(record)

        asyncio.run(save())
    elif place.endswith(".jsonl"):
        lines = [jsonl.to_line(record.id.key, record.encode()) for record in records]
        Path(place).write_bytes(b"".join(line + b"\n" for line in lines))
    else:
        with SledStore.open(place) as store:
            for record in records:
                store.save(record)


def values_in(place: str) -> set[bytes]:
    """The bytes of all records, read without the code under test."""
    if "://" in place:

        async def read() -> set[bytes]:
            async with RedisStore.from_url(place) as store:
                return {value async for _, value in store.pairs()}

        return asyncio.run(read())
    if place.endswith(".jsonl"):
        return {jsonl.from_line(line)[1] for line in Path(place).read_bytes().splitlines()}
    with SledStore.open(place) as store:
        assert store.verify_index()
        return set(store.tree.values())


def encoded(records: list[Record]) -> set[bytes]:
    return {record.encode() for record in records}


def copy(source: str, target: str, **options) -> CopyReport:
    return asyncio.run(copy_sessions(place_at(source), place_at(target), **options))


def run(*arguments: object, **options) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, "copy", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("source", KINDS)
def test_every_pair_of_places(new_place, source, target):
    """Every live session arrives with the same bytes, id and expiry; expired ones do not; repeating copies nothing."""
    if source == target == "cluster":
        pytest.skip("it would be one place")
    records = new_records(150)
    source_name, target_name = new_place(source, 0), new_place(target, 1)
    save_in(source_name, records)
    gone = 0
    if source in ("database", "file"):  # a server deletes them itself
        save_in(source_name, [*(records if source == "file" else []), *map(expired, records[:10])])
        gone = 10
    assert copy(source_name, target_name) == CopyReport(copied=150, expired=gone)
    assert values_in(target_name) == encoded(records)
    assert copy(source_name, target_name) == CopyReport(there=150, expired=gone)
    assert values_in(target_name) == encoded(records)


@pytest.mark.parametrize("target", ["server", "cluster"])
def test_expiry_on_a_server(new_place, target):
    """A copied session expires on the server at the same time as in the database, to the millisecond, never earlier."""
    (record,) = new_records(1)
    source, url = new_place("database", 0), new_place(target, 1)
    save_in(source, [record])
    copy(source, url)

    async def expires() -> int:
        async with RedisStore.from_url(url) as store:
            return await store.client.pexpiretime(f"session:{record.id}")

    assert timedelta() <= datetime.fromtimestamp(asyncio.run(expires()) / 1000, UTC) - record.expiry_date
    assert asyncio.run(expires()) / 1000 - record.expiry_date.timestamp() < 0.001


@pytest.mark.parametrize("target", KINDS)
def test_kill_and_repeat(new_place, target):
    """After a kill in the middle, repeating the command completes the copy, with every session once."""
    records = new_records(3000)
    source, name = new_place("database", 0), new_place(target, 1)
    save_in(source, records)
    program = f"""
import asyncio, os, signal
from sled_sessions.operate import copy_sessions, place_at

def progress(done, total):
    if done >= 2000:  # enough to have flushed a file's buffer
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(copy_sessions(place_at({source!r}), place_at({name!r}), progress=progress))
"""
    killed = subprocess.run([sys.executable, "-c", program], timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    again = run(source, name, "--json")
    assert again.returncode == 0, again.stderr
    report = json.loads(again.stdout)
    assert report["copied"] + report["there"] == 3000
    assert report["copied"] < 3000 or target == "database"  # sled may not have flushed its log yet
    assert values_in(name) == encoded(records)
    if target == "file":
        assert len(Path(name).read_bytes().splitlines()) == 3000


def test_truncated_target_is_completed(tmp_path):
    """Wherever an interruption cut the target file, repeating the copy gives the same complete file."""
    records = new_records(2)
    source, target = str(tmp_path / "source.jsonl"), tmp_path / "target.jsonl"
    save_in(source, records)
    whole = Path(source).read_bytes()
    for end in range(len(whole)):
        target.write_bytes(whole[:end])
        copy(source, str(target))
        assert target.read_bytes() == whole


def test_newer_session_in_target(new_place):
    """A session that expires later in the target was used there and is left alone; an older state is overwritten."""
    used, old, other = new_records(3)
    source, target = new_place("database", 0), new_place("server", 1)
    later = attrs.evolve(used, data={"n": "used"}, expiry_date=used.expiry_date + timedelta(seconds=1))
    save_in(source, [used, old, other])
    earlier = attrs.evolve(old, data={"n": "old"}, expiry_date=old.expiry_date - timedelta(seconds=1))
    save_in(target, [later, earlier])
    assert copy(source, target) == CopyReport(copied=2, there=1)
    assert values_in(target) == encoded([later, old, other])


def test_changed_session_in_a_file(new_place):
    """A file keeps the sessions that it has; those that have changed since are reported, with exit code 3."""
    changed, same, new = new_records(3)
    source, target = new_place("database", 0), new_place("file", 1)
    save_in(source, [changed, same])
    assert copy(source, target) == CopyReport(copied=2)
    save_in(source, [attrs.evolve(changed, data={"n": "changed"}), new])
    result = run(source, target)
    assert result.returncode == 3
    assert result.stdout == (
        "1 session copied, 1 existed already, 0 expired; "
        "1 differs from the file's: delete the file, or choose another name\n"
    )
    assert values_in(target) == encoded([changed, same, new])
    assert copy(source, target) == CopyReport(there=2, differs=1)


def test_failed_records(new_place, tmp_path):
    """An undecodable record, or one too large for the target, is counted and the rest copied, with exit code 3."""
    records = new_records(5)
    source, target = new_place("database", 0), new_place("server", 1)
    save_in(source, records)
    large = Record(Id.new(), {"n": "x" * 200_000}, SOON)
    with SledStore.open(source, max_record_bytes=1_000_000) as store:
        store.tree.insert(Id.new().key, b"no record")
        store.tree.insert(large.id.key, large.encode())
    result = run(source, target)
    assert result.returncode == 3
    assert result.stdout == (
        "5 sessions copied, 0 existed already, 0 expired; 2 not copied (unreadable, or too large)\n"
    )
    assert values_in(target) == encoded(records)


@pytest.mark.parametrize("source", ["database", "file"])
def test_record_under_another_id(new_place, tmp_path, source):
    """A record whose key is not its id, which no store can load, is not copied under the id that it contains."""
    (record,) = new_records(1)
    database, target = new_place("database", 0), new_place("database", 1)
    with SledStore.open(database) as store:
        store.tree.insert(Id.new().key, record.encode())
        store.tree.insert(b"short", record.encode())
        lines = b"".join(export_lines(store.tree))
    (tmp_path / "lines.jsonl").write_bytes(lines)
    assert copy(database if source == "database" else str(tmp_path / "lines.jsonl"), target) == CopyReport(failed=2)
    assert values_in(target) == set()


def test_foreign_values_on_a_server(new_place):
    """Another session's record, or a list, under a session's key counts as failed, and the rest is copied."""
    inside, record = new_records(2)
    source, target = new_place("server", 0), new_place("database", 1)
    save_in(source, [record])
    with shared_server().client() as client:
        client.set(f"session:{Id.new()}", inside.encode())
        client.lpush(f"session:{Id.new()}", "no record")
    assert copy(source, target) == CopyReport(copied=1, failed=2)
    assert values_in(target) == encoded([record])


def test_progress(new_place):
    """Progress ends with all sessions, and knows the total, except for files."""
    save_in(new_place("database", 0), new_records(150))
    steps = ["database", "server", "file", "database"]
    for number, total in enumerate([150, 150, None]):
        seen = []
        source, target = (new_place(steps[each], each) for each in (number, number + 1))
        copy(source, target, progress=lambda *step, seen=seen: seen.append(step))
        assert seen == [(64, total), (128, total), (150, total)]


def test_pipe(new_place, tmp_path):
    """`-` writes only lines to standard output, and reads standard input."""
    records = new_records(5)
    source, target = new_place("database", 0), new_place("database", 1)
    save_in(source, records)
    out = run(source, "-")
    assert (out.returncode, len(out.stdout.splitlines())) == (0, 5)
    assert out.stderr.startswith("5 sessions copied")
    assert run("-", target, input=out.stdout).returncode == 0
    assert values_in(target) == encoded(records)


def test_file_permissions(new_place):
    """A file of sessions is readable by its owner only, because ids are as good as passwords."""
    source, target = new_place("database", 0), new_place("file", 1)
    save_in(source, new_records(1))
    copy(source, target)
    assert Path(target).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"to do: everything", b"one\ntwo", b'{"id": 1}', b'{"idea":"', b"\x00\xff"])
def test_not_a_sessions_file(new_place, tmp_path, content):
    """A file that does not hold sessions is neither extended nor cut, and the error names the line."""
    source, target = new_place("database", 0), tmp_path / "notes"
    save_in(source, new_records(1))
    target.write_bytes(content)
    with pytest.raises(OperationError, match="line 1: "):
        copy(source, str(target))
    assert target.read_bytes() == content


def test_bad_line(new_place, tmp_path):
    """A line that is not a session ends the copy with its number; the sessions before it are copied."""
    records = new_records(2)
    source, target = new_place("file", 0), new_place("database", 1)
    save_in(source, records)
    with Path(source).open("ab") as lines:
        lines.write(b"nonsense\n")
    with pytest.raises(OperationError, match="line 3: "):
        copy(source, target)
    Path(source).write_bytes(Path(source).read_bytes().replace(b"nonsense\n", b""))
    copy(source, target)
    assert values_in(target) == encoded(records)


def test_errors_are_one_line(new_place, tmp_path):
    """A missing, unknown, locked or unreachable source, or one that is the target: one line; nothing is created."""
    source, target = new_place("database", 0), tmp_path / "new"
    save_in(source, new_records(1))
    for arguments, code, words in [
        ((tmp_path / "nothing", target), 1, "not found"),
        ((tmp_path / "nothing.jsonl", target), 1, "No such file"),
        (("redis://:secret#@localhost", target), 1, "quoted"),
        (("redis+cluster://localhost/3", target), 1, "db"),
        (("http://:secret@localhost", target), 1, "redis://"),
        ((source, tmp_path / "folder" / "that" / "lacks.jsonl"), 1, "no folder"),
        ((source, target, "--tree", "other"), 1, "no tree 'other'"),
        ((f"redis://:secret@127.0.0.1:{unused_port()}", target), 1, "Connect"),
        ((source, f"redis+cluster://127.0.0.1:{unused_port()}"), 1, "luster"),
    ]:
        result = run(*arguments)
        assert (result.returncode, len(result.stderr.splitlines())) == (code, 1), result.stderr
        assert words in result.stderr
        assert "secret" not in result.stderr
        assert not target.exists()
    same = run(source, tmp_path / "x" / ".." / Path(source).name)
    assert (same.returncode, "are the same" in same.stderr) == (2, True)
    with SledStore.open(source):
        locked = run(source, target)
    assert (locked.returncode, len(locked.stderr.splitlines())) == (4, 1)


@pytest.mark.parametrize("name", ["localhost:6379", "127.0.0.1:6379/0", "[::1]:6379/"])
def test_server_without_scheme(new_place, tmp_path, monkeypatch, name):
    """A server's address without a scheme is not taken for a new folder, and the error does not show it."""
    source = new_place("database", 0)
    save_in(source, new_records(1))
    monkeypatch.chdir(tmp_path)
    for pair in ((source, name), (source, f"user:secret@{name}"), (f"user:secret@{name}", source)):
        with pytest.raises(OperationError, match=r"redis://") as caught:
            copy(*pair)
        assert "secret" not in str(caught.value)
    assert not (tmp_path / name).exists()
    (tmp_path / name).mkdir(parents=True)
    assert copy(source, name) == CopyReport(copied=1)


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
