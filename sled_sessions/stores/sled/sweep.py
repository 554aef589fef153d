"""The two sweeps of a store on sled: by the expiry index, and by reading every record."""

from sled_sessions.errors import DecodeError
from sled_sessions.records import codec
from sled_sessions.records.record import KEY_LENGTH
from sled_sessions.stores.sled.index import ExpiryIndex
from sled_sessions.stores.sled.indexed_tree import IndexedTree
from sled_sessions.stores.sweep import PROGRESS_STEP, Sweep, SweepReport, SweepStrategy


class Sweeps:
    """Sweeps of one store, which remember where a `limit` or `budget` has stopped the last one."""

    def __init__(self, sessions: IndexedTree) -> None:
        self._sessions = sessions
        self._stopped_at: dict[SweepStrategy, bytes] = {}

    def run(self, sweep: Sweep) -> SweepReport:
        """Delete what has expired, and when that is done the marks that have ended."""
        index = self._sessions.index
        if index is None:
            sweep.strategy = SweepStrategy.FULL_SCAN
        # A sweep without limits sees everything, so also what has expired behind the place where another one stopped.
        after = self._stopped_at.pop(sweep.strategy, None) if not sweep.dry_run else None
        if not sweep.resumes:
            after = None
        if index is not None and sweep.strategy is SweepStrategy.EXPIRY_INDEX:
            stopped_at = self._by_index(sweep, index, after)
        else:
            stopped_at = self._by_reading(sweep, after)
        if not sweep.dry_run:
            if stopped_at is None:
                self._sessions.rotated.sweep(sweep.until)
            else:
                self._stopped_at[sweep.strategy] = stopped_at
        return sweep.report(complete=stopped_at is None)

    def _by_index(self, sweep: Sweep, index: ExpiryIndex, after: bytes | None) -> bytes | None:
        """Sweep by the index; returns the entry at which `limit` or `budget` ended it."""
        for entry in index.due(sweep.until, after):
            sweep.examined += 1
            self._expire(sweep, entry[-KEY_LENGTH:], entry)
            if sweep.is_watched and sweep.is_over():
                return entry
        return None

    def _by_reading(self, sweep: Sweep, after: bytes | None) -> bytes | None:
        """Sweep by reading every record; returns the key at which `limit` or `budget` ended it."""
        until = sweep.until
        latest, decode_moment = codec.latest_moment(until), codec.decode_moment
        examined, is_watched = 0, sweep.is_watched  # local variables: attributes would cost a fiftieth of the scan
        for key, value in self._sessions.tree.range(None if after is None else after + b"\0"):
            examined += 1
            try:
                moment = decode_moment(value)
                is_due = moment <= latest and codec.moment_to_microseconds(moment) <= until
            except DecodeError:
                sweep.undecodable += 1
                is_due = False
            if is_due:
                self._expire(sweep, key, None)
            if is_watched and (is_due or examined % PROGRESS_STEP == 0):
                sweep.examined = examined
                if sweep.is_over():
                    return key
        sweep.examined = examined
        return None

    def _expire(self, sweep: Sweep, key: bytes, entry: bytes | None) -> None:
        try:
            value = self._sessions.expire(key, sweep.until, entry, dry_run=sweep.dry_run)
        except DecodeError:
            sweep.undecodable += 1
            return
        if value is not None:
            sweep.count_deleted(key, value)
