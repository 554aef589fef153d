"""What a churn has begun and what the store has acknowledged, in a file that survives `kill -9`; and the check.

The visitor of a slot numbers its operations from 1. Before each one it notes that it begins, and after it that the
store has returned. The file is mapped into memory, so that a note costs less than a microsecond.
"""

import mmap
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Self

import attrs

from sled_sessions import Id, Record
from sled_sessions.records.codec import to_microseconds

LIFETIME = 3_600_000_000
"""Microseconds from a write to the expiry that it sets."""

_START = 1_900_000_000_000_000
_VISITS = 3
"""Operations that a session gets on average within its lifetime."""

_BEGUN, _SAVED, _BORN, _EXPIRES, _ENDING, _ENDED = range(6)
_FIELDS = 8
_BARE = 72
"""Bytes of a record without text."""

_POOL = b"".join(blake2b(b"%d" % number).hexdigest().encode() for number in range(2048)).decode() * 2


@attrs.frozen
class Content:
    """What the visitor of a slot writes as its n-th operation: derived from both, so that a check can derive it too.

    Attributes:
        low: The fewest bytes of a record.
        high: The most.
    """

    low: int
    high: int

    def size(self, slot: int, n: int) -> int:
        """About the bytes of the record."""
        return self.low + _mixed(slot, n) % (self.high - self.low + 1)

    def data(self, slot: int, n: int, born: int) -> dict[str, object]:
        """The data of a record; `born` is the number of the operation that created the session."""
        start = _mixed(slot, n) % (len(_POOL) // 2)
        return {"slot": slot, "n": n, "born": born, "text": _POOL[start : start + self.size(slot, n) - _BARE]}


def _mixed(slot: int, n: int) -> int:
    return (slot * 2_654_435_761 + n * 40_503) & 0xFFFFFFFF


def id_of(slot: int, born: int) -> Id:
    """The id of the session that a slot's operation number `born` created."""
    return Id(blake2b(b"%d.%d" % (slot, born), digest_size=16).digest())


@attrs.frozen
class Session:
    """A session of a slot, as of its last acknowledged write."""

    id: Id
    born: int
    n: int
    expires: int


class Ledger:
    """The notes of all slots, and the clock, which moves by operations."""

    def __init__(self, path: Path, slots: int) -> None:
        self.slots = slots
        self._tick = LIFETIME // (_VISITS * slots) + 1
        size = 8 * _FIELDS * (slots + 1)
        with path.open("a+b") as file:
            file.truncate(size)
            self._map = mmap.mmap(file.fileno(), size)
        self._notes = memoryview(self._map).cast("Q")

    def close(self) -> None:
        """Unmap the file."""
        self._notes.release()
        self._map.close()

    def copy(self) -> "Snapshot":
        """What has been noted so far."""
        return Snapshot(bytes(self._map))

    @property
    def operations(self) -> int:
        """The number of operations that have begun."""
        return self._notes[0]

    @property
    def now(self) -> int:
        """The time in microseconds."""
        return _START + self._tick * self._notes[0]

    def tick(self) -> int:
        """Count an operation, and return the time; one thread at a time."""
        self._notes[0] += 1
        return _START + self._tick * self._notes[0]

    def begin(self, slot: int) -> int:
        """Note that an operation begins; returns its number."""
        place = (slot + 1) * _FIELDS
        self._notes[place] += 1
        return self._notes[place]

    def saved(self, slot: int, session: Session) -> None:
        """Note that a write has returned."""
        place, notes = (slot + 1) * _FIELDS, self._notes
        notes[place + _BORN] = session.born
        notes[place + _EXPIRES] = session.expires
        notes[place + _SAVED] = session.n  # last: it makes the others count

    def ending(self, slot: int, n: int) -> None:
        """Note that the operation that has begun deletes the session."""
        self._notes[(slot + 1) * _FIELDS + _ENDING] = n

    def ended(self, slot: int, born: int) -> None:
        """Note that the deletion has returned of the session that operation `born` created."""
        self._notes[(slot + 1) * _FIELDS + _ENDED] = born

    def session(self, slot: int) -> Session | None:
        """The live session of a slot, or None."""
        _, saved, born, expires, ending, _ = self._fields(slot)
        if saved > ending and expires > self.now:
            return Session(id_of(slot, born), born, saved, expires)
        return None

    def settle(self, found: dict[int, list[Session]]) -> None:
        """Continue from the sessions that a check has found after a kill."""
        for slot in range(self.slots):
            place = (slot + 1) * _FIELDS
            sessions = found.get(slot, [])
            latest = max(sessions, key=lambda session: session.n, default=None)
            if self._notes[place + _ENDED] in [session.born for session in sessions]:
                self._notes[place + _ENDED] = 0  # the deletion was lost, as the durability allows
            self._notes[place + _SAVED] = self._notes[place + _ENDING] = 0
            if latest is not None:
                self.saved(slot, latest)

    def _fields(self, slot: int) -> list[int]:
        place = (slot + 1) * _FIELDS
        return self._notes[place : place + 6].tolist()


class Snapshot:
    """A copy of the ledger at one moment."""

    def __init__(self, content: bytes) -> None:
        self._notes = memoryview(content).cast("Q")

    def slot(self, slot: int) -> list[int]:
        """The notes of a slot."""
        place = (slot + 1) * _FIELDS
        return self._notes[place : place + 6].tolist()


@attrs.define
class Found:
    """The sessions that a database holds for each slot, and what is wrong with them."""

    sessions: dict[int, list[Session]]
    wrong: list[str]

    @classmethod
    def read(cls, records: Iterator[Record], content: Content) -> Self:
        """Read all records, and compare each with what its slot wrote under its number."""
        sessions: dict[int, list[Session]] = {}
        wrong = []
        for record in records:
            slot, n, born = (int(record.data.get(key, 0)) for key in ("slot", "n", "born"))
            if record.data != content.data(slot, n, born) or record.id != id_of(slot, born):
                wrong.append(f"a record differs from what slot {slot} wrote as its operation {n}")
                continue
            sessions.setdefault(slot, []).append(Session(record.id, born, n, to_microseconds(record.expiry_date)))
        return cls(sessions, wrong)

    def compare(self, ledger: Ledger, promised: Snapshot) -> None:
        """Compare with the ledger.

        Args:
            ledger: What the killed process had noted at the end.
            promised: What it had noted when the last write that must have survived was acknowledged.
        """
        now, end = ledger.now, ledger.copy()
        for slot in range(ledger.slots):
            begun, _, _, _, ending, _ = end.slot(slot)
            _, saved, _, expires, _, ended = promised.slot(slot)
            sessions = self.sessions.get(slot, [])
            numbers = [session.n for session in sessions]
            if numbers and max(numbers) > begun:
                self.wrong.append(f"slot {slot} has operation {max(numbers)}, which it had not begun")
            if saved > ending and expires > now and max(numbers, default=0) < saved:
                self.wrong.append(f"slot {slot} lost its operation {saved}: it has {numbers}")
            if ended in [session.born for session in sessions]:
                self.wrong.append(f"slot {slot} has the deleted session back that its operation {ended} created")
