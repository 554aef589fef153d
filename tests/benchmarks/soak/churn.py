"""The process that churns a store until it is killed: visitors who create, update, save, load and delete sessions.

It prints a line of JSON every `Options.every` seconds. The clock moves with the operations, so that sessions expire,
and are swept, without waiting.
"""

import json
import os
import random
import sys
import threading
import time
import traceback
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs

from benchmarks.soak.footprint import Footprint, resident
from benchmarks.soak.ledger import LIFETIME, Content, Ledger, Session, id_of
from sled_sessions import DELETE, Record, SledStore, sled
from sled_sessions.records.codec import from_microseconds
from sled_sessions.records.record import KEY_LENGTH
from sled_sessions.stores.sled.durability import Durability
from sled_sessions.stores.sled.index import ENTRY_LENGTH
from sled_sessions.stores.sled.opening import FLUSH_EVERY_MS

_TREE = "session"


@attrs.frozen(kw_only=True)
class Options:
    """How to churn.

    Attributes:
        folder: The database.
        ledger: The file of the ledger.
        live: Slots; about as many sessions are live.
        low: Least characters of text in a session.
        high: Most characters.
        threads: Threads that write.
        rate: The most operations per second, of all threads; None for no limit.
        durability: What a write waits for.
        segment_size: Bytes in a segment of a new database; None for sled's default.
        flush_every_ms: sled's option; the default is that of `SledStore.open`.
        sweep: Seconds between sweeps.
        every: Seconds between lines.
    """

    folder: str
    ledger: str
    live: int
    low: int
    high: int
    threads: int = 4
    rate: int | None = None
    durability: Durability = "interval"
    segment_size: int | None = None
    flush_every_ms: int = FLUSH_EVERY_MS
    sweep: float = 1.0
    every: float = 10.0

    def content(self) -> Content:
        """What the records hold."""
        return Content(self.low, self.high)

    def open(self, ledger: Ledger) -> tuple[sled.Db, SledStore]:
        """Open the database and the store on it, which has the ledger's clock."""
        db = sled.open(self.folder, segment_size=self.segment_size, flush_every_ms=self.flush_every_ms)
        store = SledStore(db.open_tree(_TREE), durability=self.durability, clock=lambda: from_microseconds(ledger.now))
        return db, store


class Wrong(Exception):
    """A session is not what its visitor left."""


class Churn:
    """The visitors of one process."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._content = options.content()
        self._folder = Path(options.folder)
        self._ledger = Ledger(Path(options.ledger), options.live)
        self._db, self._store = options.open(self._ledger)
        self._sessions = [self._ledger.session(slot) for slot in range(options.live)]
        self._turn = threading.Lock()
        self._failure = threading.Event()

    def run(self) -> None:
        """Churn until killed, or until something is wrong, which ends the process with exit code 1."""
        threading.excepthook = self._fail
        _write({"ready": True})
        for thread in range(self._options.threads):
            threading.Thread(target=self._visit_all, args=(thread,), daemon=True).start()
        start = last = time.monotonic()
        before, swept, sweeps = self._ledger.operations, 0, []
        while not self._failure.wait(self._options.sweep):
            began = time.perf_counter()
            swept += self._store.delete_expired().deleted
            sweeps.append(time.perf_counter() - began)
            now = time.monotonic()
            if now - last >= self._options.every:
                done = self._ledger.operations
                _write(
                    {
                        "seconds": round(now - start, 1),
                        "operations": done,
                        "per_second": round((done - before) / (now - last)),
                        **self._live(),
                        **attrs.asdict(Footprint.of(self._folder)),
                        "rss": resident(),
                        "sweeps": len(sweeps),
                        "swept": swept,
                        "sweep_ms": round(1000 * sorted(sweeps)[len(sweeps) // 2], 2),
                        "sweep_ms_max": round(1000 * max(sweeps), 2),
                    }
                )
                last, before, swept = now, done, 0
                sweeps.clear()
        os._exit(1)  # without closing the database: it is in whatever state the failure left it

    def _visit_all(self, thread: int) -> None:
        chance = random.Random()
        options = self._options
        slots = range(thread, options.live, options.threads)
        pause = 0.0 if options.rate is None else options.threads / options.rate
        due = time.monotonic()
        while True:
            if pause:
                due = max(due + pause, time.monotonic())  # a thread that is late does not catch up
                time.sleep(max(due - time.monotonic(), 0))
            slot = chance.choice(slots)
            with self._turn:
                now = self._ledger.tick()
            session = self._sessions[slot]
            kind = chance.random()
            if session is None or session.expires <= now:
                self._create(slot, now)
            elif kind < 0.6:
                self._update(slot, session, now)
            elif kind < 0.8:
                self._save(slot, session.born, self._ledger.begin(slot), now)
            elif kind < 0.95:
                self._load(slot, session)
            else:
                self._delete(slot, session)

    def _create(self, slot: int, now: int) -> None:
        n = self._ledger.begin(slot)
        record = self._record(slot, n, n, now)
        if self._store.create(record).id != record.id:
            raise Wrong(f"slot {slot}: its new session's id is taken")
        self._done(slot, n, n, now)

    def _save(self, slot: int, born: int, n: int, now: int) -> None:
        self._store.save(self._record(slot, n, born, now))
        self._done(slot, n, born, now)

    def _update(self, slot: int, session: Session, now: int) -> None:
        n = self._ledger.begin(slot)

        def change(record: Record) -> Record:
            self._compare(slot, session, record)
            return attrs.evolve(record, data=self._content.data(slot, n, session.born), expiry_date=_expiry(now))

        if self._store.update(session.id, change) is None:
            self._require_expired(slot, session)
            self._sessions[slot] = None
        else:
            self._done(slot, n, session.born, now)

    def _load(self, slot: int, session: Session) -> None:
        record = self._store.load(session.id)
        if record is None:
            self._require_expired(slot, session)
            self._sessions[slot] = None
        else:
            self._compare(slot, session, record)

    def _delete(self, slot: int, session: Session) -> None:
        n = self._ledger.begin(slot)
        self._ledger.ending(slot, n)
        is_deleted = self._store.delete(session.id) if n % 2 else self._log_out(session)
        if is_deleted:
            self._ledger.ended(slot, session.born)
        else:
            self._require_expired(slot, session)
        self._sessions[slot] = None

    def _log_out(self, session: Session) -> bool:
        """Delete as a request does that has loaded the session; returns whether there was one."""
        is_met = False

        def change(record: Record) -> Any:
            nonlocal is_met
            is_met = True
            return DELETE

        self._store.update(session.id, change)
        return is_met

    def _record(self, slot: int, n: int, born: int, now: int) -> Record:
        return Record(id_of(slot, born), self._content.data(slot, n, born), _expiry(now))

    def _done(self, slot: int, n: int, born: int, now: int) -> None:
        session = Session(id_of(slot, born), born, n, now + LIFETIME)
        self._ledger.saved(slot, session)
        self._sessions[slot] = session

    def _require_expired(self, slot: int, session: Session) -> None:
        if self._ledger.now < session.expires:
            raise Wrong(f"slot {slot}: its live session is missing")

    def _compare(self, slot: int, session: Session, record: Record) -> None:
        if record.data != self._content.data(slot, session.n, session.born):
            raise Wrong(f"slot {slot}: its session is not what its operation {session.n} wrote")

    def _live(self) -> dict[str, int]:
        """The number of live sessions, and about the bytes of their records and index entries."""
        now = self._ledger.now
        sizes = [
            self._content.size(slot, session.n) + KEY_LENGTH + ENTRY_LENGTH
            for slot, session in enumerate(self._sessions)
            if session is not None and session.expires > now
        ]
        return {"live": len(sizes), "live_bytes": sum(sizes)}

    def _fail(self, raised: threading.ExceptHookArgs) -> None:
        _write_failure(raised.exc_value)
        self._failure.set()


def _expiry(now: int) -> datetime:
    return from_microseconds(now + LIFETIME)


def _write(line: dict[str, Any]) -> None:
    os.write(1, (json.dumps(line) + "\n").encode())


def _write_failure(error: BaseException | None) -> None:
    _write({"failure": "".join(traceback.format_exception(error))})


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


def main() -> None:
    """Churn with the options on the command line, a JSON object; end when standard input does, with the parent."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        churn = Churn(Options(**json.loads(sys.argv[1])))
    except Exception as error:  # noqa: BLE001 - reported to the parent
        _write_failure(error)
        sys.exit(1)
    churn.run()
