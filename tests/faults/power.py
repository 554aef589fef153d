"""The possible contents of a disk after a power cut, derived from the system calls that strace recorded."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random

import attrs
import pytest

SECTOR = 512
"""Bytes that a disk writes atomically."""

_CALLS = "write,pwrite64,fsync,openat,unlink,mkdir,ftruncate"
_LINE = re.compile(r"(\d+) +(?:<\.\.\. )?(\w+)(?:\(| resumed>)(.*)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_OPEN_FILE = re.compile(r"\d+<((?:\\x[0-9a-f]{2})*)>")


@attrs.define
class Call:
    """A system call, with the log lines where it began (`begun`) and returned (`done`)."""

    name: str
    begun: int
    arguments: str = ""
    done: float = float("inf")

    @property
    def path(self) -> str:
        """The file it acts on."""
        return _decoded((_OPEN_FILE.match(self.arguments) or _TEXT.search(self.arguments))[1]).decode()

    @property
    def data(self) -> bytes:
        """The bytes it writes."""
        return _decoded(_TEXT.search(self.arguments)[1])

    @property
    def number(self) -> int:
        """Its last argument."""
        return int(self.arguments.rpartition(",")[2].strip(" )"))


class Recording:
    """The writes of a program to `folder`, and what it prints meanwhile."""

    def __init__(self, program: str, folder: Path, *arguments: str) -> None:
        if shutil.which("strace") is None:
            pytest.skip("needs strace")
        self.folder = folder
        log = folder.with_suffix(".log")
        trace = ["strace", "-f", "-qq", "-y", "-xx", "-s", "10000000", "-e", f"trace={_CALLS}", "-o", log]
        with folder.with_suffix(".out").open("w") as out:
            command = [*trace, sys.executable, "-c", program, folder, *arguments]
            done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True, timeout=100, check=False)
        if "ptrace" in done.stderr:
            pytest.skip("strace is not permitted to trace here")
        assert done.returncode == 0, done.stderr
        calls = list(_calls(log.read_text().splitlines()))
        self.length = max(call.begun for call in calls)
        writes = (call for call in calls if call.name == "write")
        self.printed = [(call.begun, call.data.decode()) for call in writes if call.path == out.name]
        self._calls = [call for call in calls if Path(call.path).is_relative_to(folder)]

    def cut(self, moment: int, random: Random, into: Path) -> None:
        """Write to `into` what the disk may hold if the power fails at this line of the log.

        Everything written before an fsync that has returned is kept. Of the rest, each sector and each new file name
        is kept or lost at random; a removed name stays removed.
        """
        files: dict[str, bytearray] = {}
        chance = random.choice([0, 0.5, 0.9, 1])
        for call in self._calls:
            if call.begun > moment:
                break
            path, is_kept = call.path, self._is_synced(call, moment)
            match call.name:
                case "openat" if "O_CREAT" in call.arguments and (is_kept or random.random() < chance):
                    files.setdefault(path, bytearray())
                case "ftruncate" if path in files:
                    del files[path][call.number :]
                    files[path].extend(bytes(call.number - len(files[path])))
                case "unlink":
                    files.pop(path, None)
                case "pwrite64" | "write" if path in files:
                    start = call.number if call.name == "pwrite64" else len(files[path])  # sled appends
                    _write(files[path], start, call.data, lambda kept=is_kept: kept or random.random() < chance)
        shutil.rmtree(into, ignore_errors=True)
        (into / "blobs").mkdir(parents=True)
        for path, content in files.items():
            (into / Path(path).relative_to(self.folder)).write_bytes(content)

    def _is_synced(self, call: Call, moment: int) -> bool:
        """Whether, at this moment, a later fsync of the file has returned, or of the folder for a new name."""
        synced = str(Path(call.path).parent) if call.name == "openat" else call.path
        return any(
            sync.name == "fsync" and sync.path == synced and call.done < sync.begun and sync.done <= moment
            for sync in self._calls
        )


def _calls(lines):
    pending: dict[str, Call] = {}
    for number, line in enumerate(lines):
        if (found := _LINE.match(line)) is None:
            continue  # a thread has exited
        thread, name, rest = found.groups()
        call = pending.pop(thread, None) or Call(name, number)
        if rest.endswith("<unfinished ...>"):
            call.arguments = rest.removesuffix("<unfinished ...>")
            pending[thread] = call
            continue
        arguments, _, result = rest.rpartition(" = ")
        call.arguments += arguments
        call.done = number
        if not result.startswith("-1"):
            yield call
    yield from pending.values()


def _write(file, start, data, is_kept):
    end = start + len(data)
    file.extend(bytes(max(end - len(file), 0)))
    for sector in range(start - start % SECTOR, end, SECTOR):
        low, high = max(sector, start), min(sector + SECTOR, end)
        if is_kept():
            file[low:high] = data[low - start : high - start]


def _decoded(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))
