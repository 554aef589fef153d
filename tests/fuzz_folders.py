"""Open databases with mutated content and right checksums, and tell what becomes of the process.

    python tests/fuzz_folders.py --seconds 600 --keep crashes

What the check on opening cannot see crashes or hangs sled in a child process. Each such folder is kept if `--keep` is
given, so that one can look whether a check could have told.
"""

import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Timer
from typing import NamedTuple

import click
from crafted import LINK, META, NODE, change_message, change_snapshot, messages

from sled_sessions import BackendError, Id, Record, SledStore, sled

SEGMENT = 1 << 19
PATIENCE = 10
"""Seconds after which a process hangs."""

FAR = datetime(2100, 1, 1, tzinfo=UTC)
INTERESTING = (0, 1, 2, 127, 128, 240, 241, 249, 250, 255)


class Outcome(NamedTuple):
    """What became of the process that opened a folder: it is "read", "refused", "crashed" or "hung"."""

    seed: int
    name: str
    folder: Path


def build(folder: Path) -> None:
    """Write a database with an index, another tree, a blob and a snapshot; always the same one."""
    chance = random.Random(0)
    for _ in range(3):
        with sled.open(folder, flush_every_ms=None) as db:
            store = SledStore(db.open_tree("session"), max_record_bytes=1 << 20)
            other = db.open_tree("other")
            for number in range(120):
                expiry = FAR + timedelta(days=chance.randrange(1, 50))
                store.save(Record(Id(chance.randbytes(16)), {"n": number, "pad": "x" * chance.randrange(90)}, expiry))
                other.insert(chance.randbytes(chance.randrange(1, 9)), chance.randbytes(chance.randrange(40)))
            store.save(Record(Id(b"blob" * 4), {"pad": "x" * 200_000}, FAR))
            for key in list(other.keys())[::3]:
                other.remove(key)


def mutate(folder: Path, chance: random.Random) -> None:
    """Change some bytes of messages and of the snapshot, and repair the checksums."""
    log = bytearray((folder / "db").read_bytes())
    pages = [each for each in messages(log, SEGMENT) if each.kind in {META, NODE, LINK} and each.stop > each.start]
    for message in chance.sample(pages, chance.choice((1, 1, 2, 5))):
        content = log[message.start : message.stop]
        scramble(content, chance)
        change_message(log, message, content)
    if chance.random() < 0.8:
        (folder / "db").write_bytes(log)
    if chance.random() < 0.3:
        for snapshot in folder.glob("snap.*"):
            change_snapshot(snapshot, lambda content: scramble(content, chance))


def scramble(content: bytearray, chance: random.Random) -> None:
    """Change some bytes, most often in the beginning, where the structure is."""
    for _ in range(chance.choice((1, 1, 2, 4))):
        at = min(chance.randrange(len(content)), chance.randrange(len(content)))
        content[at] = chance.choice((chance.choice(INTERESTING), chance.randrange(256), content[at] ^ 1))


def use(folder: Path) -> str:
    """Do with a folder what a program does."""
    try:
        with SledStore.open(folder) as store:
            for name in store.tree.db.tree_names():
                with suppress(sled.SledError):
                    list(store.tree.db.open_tree(name))
            store.verify_index()
            store.save(Record(Id.new(), {"n": 1}, datetime.now(UTC) + timedelta(days=1)))
            store.delete_expired()
    except (sled.SledError, BackendError, ValueError) as error:
        return f"refused {type(error).__name__}"
    return "read"


class Worker:
    """A process that uses one folder after another; a new one after each that does not survive."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def use(self, folder: Path) -> str:
        """What becomes of the process."""
        process = self._process
        timer = Timer(PATIENCE, process.kill)
        timer.start()
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            print(folder, file=process.stdin, flush=True)
        answer = process.stdout.readline().strip()
        is_late = not timer.is_alive()
        timer.cancel()
        if answer and not is_late:
            return answer.split()[0]
        self.close()
        self._start()
        return "hung" if is_late else "crashed"

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


def fuzz(seconds: float, seed: int, parent: Path) -> Iterator[Outcome]:
    """Use mutated folders until the time is over. The folder of an outcome exists until the next one is asked for."""
    whole, end = parent / "whole", time.monotonic() + seconds
    build(whole)
    worker = Worker()
    try:
        while time.monotonic() < end:
            folder = parent / str(seed)
            shutil.copytree(whole, folder)
            mutate(folder, random.Random(seed))
            before = parent / f"{seed}.before"
            shutil.copytree(folder, before)
            yield Outcome(seed, worker.use(folder), before)
            shutil.rmtree(folder)
            shutil.rmtree(before)
            seed += 1
    finally:
        worker.close()


def serve() -> None:
    """Answer with the outcome for each folder on standard input."""
    for line in sys.stdin:
        click.echo(use(Path(line.rstrip("\n"))))


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--seconds", type=float, default=60, help="How long.")
@click.option("--seed", type=int, default=0, help="The first one; each folder takes the next.")
@click.option("--keep", type=click.Path(path_type=Path), help="Where to copy folders that crash or hang a process.")
@click.option("--serve", "is_worker", is_flag=True, hidden=True)
def main(seconds: float, seed: int, keep: Path | None, is_worker: bool) -> None:
    """Open databases with mutated content and right checksums. Exit code 3: some crashed or hung the process."""
    if is_worker:
        serve()
        return
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as parent:
        for outcome in fuzz(seconds, seed, Path(parent)):
            counts[outcome.name] += 1
            if outcome.name in {"crashed", "hung"}:
                click.echo(f"seed {outcome.seed}: {outcome.name}")
                if keep is not None:
                    shutil.copytree(outcome.folder, keep / f"{outcome.seed} {outcome.name}")
    click.echo(", ".join(f"{number:,} {name}" for name, number in sorted(counts.items())))
    if counts["crashed"] + counts["hung"]:
        sys.exit(3)


if __name__ == "__main__":
    main()
