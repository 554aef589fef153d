"""Stores compared with a plain dict under random sequences of operations."""

import tempfile
from datetime import UTC, datetime, timedelta

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from sled_sessions import Id, MemoryStore, Record, SledStore, SweepStrategy, sled
from sled_sessions.testing import MovableClock

lifetimes = st.timedeltas(timedelta(seconds=-3), timedelta(seconds=90)) | st.sampled_from(
    [timedelta(0), timedelta(microseconds=1), timedelta(seconds=1), timedelta(days=400)]
)
data = st.dictionaries(st.text("abc", max_size=2), st.integers(0, 9) | st.lists(st.booleans(), max_size=2), max_size=3)


class StoreMachine(RuleBasedStateMachine):
    """Compares a store with a dict of records; a record is live if it expires after now."""

    ids = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        self.clock = MovableClock(datetime(2030, 1, 1, 12, 0, 0, 250_000, UTC))  # a failure can be replayed
        self.model: dict[Id, Record] = {}

    def make_store(self) -> object:
        raise NotImplementedError

    @initialize()
    def start(self) -> None:
        self.store = self.make_store()

    def live(self, id: Id) -> Record | None:
        record = self.model.get(id)
        return record if record is not None and record.expiry_date > self.clock() else None

    @rule(target=ids, data=data, lifetime=lifetimes)
    def create(self, data, lifetime):
        record = self.store.create(Record(Id.new(), data, self.clock() + lifetime))
        assert record.id not in self.model
        self.model[record.id] = record
        return record.id

    @rule(target=ids, id=ids, data=data, lifetime=lifetimes)
    def create_over(self, id, data, lifetime):
        record = self.store.create(Record(id, data, self.clock() + lifetime))
        assert (record.id == id) is (id not in self.model)
        self.model[record.id] = record
        return record.id

    @rule(id=ids, data=data, lifetime=lifetimes)
    def save(self, id, data, lifetime):
        self.model[id] = Record(id, data, self.clock() + lifetime)
        self.store.save(self.model[id])

    @rule(id=ids, lifetime=lifetimes)
    def update(self, id, lifetime):
        expiry_date = self.clock() + lifetime

        def change(record):
            return attrs.evolve(record, data={**record.data, "n": 1}, expiry_date=expiry_date)

        before = self.live(id)
        updated = self.store.update(id, change)
        assert updated == (None if before is None else change(before))
        if updated is not None:
            self.model[id] = updated

    @rule(id=ids)
    def load(self, id):
        assert self.store.load(id) == self.live(id)

    @rule(id=ids)
    def delete(self, id):
        assert self.store.delete(id) is (self.model.pop(id, None) is not None)

    @rule(delta=st.timedeltas(timedelta(0), timedelta(seconds=70)))
    def time_passes(self, delta):
        self.clock.now += delta

    @rule(strategy=st.none() | st.sampled_from(SweepStrategy))
    def sweep(self, strategy):
        while not (report := self.store.delete_expired(strategy)).complete:
            pass
        expired = [id for id in self.model if self.live(id) is None]
        for id in expired:
            del self.model[id]
        assert report.undecodable == 0

    @rule(strategy=st.sampled_from(SweepStrategy), limit=st.integers(1, 3))
    def sweep_in_part(self, strategy, limit):
        deleted = []
        report = self.store.delete_expired(strategy, limit=limit, on_expired=deleted.append)
        assert len(deleted) == report.deleted <= limit
        for record in deleted:
            assert self.live(record.id) is None
            assert self.model.pop(record.id) == record

    @invariant()
    def records_equal_model(self):
        assert {record.id: record for record in self.store.records()} == self.model
        assert self.store.count() == len(self.model)

    @invariant()
    def first_expiry_equals_model(self):
        first = min((record.expiry_date for record in self.model.values()), default=None)
        found = self.store.first_expiry()
        if first is None:
            assert found is None
        else:
            step = getattr(self.store, "resolution", None) or timedelta(0)
            assert first - step <= found <= first

    @invariant()
    def expiring_is_ordered_and_complete(self):
        found = list(self.store.expiring())
        assert sorted(id.key for _, id in found) == sorted(id.key for id in self.model)
        assert [at for at, _ in found] == sorted(at for at, _ in found)


class MemoryMachine(StoreMachine):
    def make_store(self):
        return MemoryStore(clock=self.clock)


class SledMachine(StoreMachine):
    """Adds closing and reopening, rebuilding, and a check of the index after each step."""

    strategy = SweepStrategy.EXPIRY_INDEX
    resolution = timedelta(seconds=1)

    def make_store(self):
        self.folder = tempfile.TemporaryDirectory()
        return self.open()

    def open(self):
        self.db = sled.open(self.folder.name, flush_every_ms=None)
        return SledStore(
            self.db.open_tree("session"), strategy=self.strategy, resolution=self.resolution, clock=self.clock
        )

    @rule()
    def reopen(self):
        self.db.close()
        self.store = self.open()

    @rule()
    def rebuild(self):
        if self.strategy is SweepStrategy.EXPIRY_INDEX:
            assert self.store.rebuild_index()

    @invariant()
    def index_is_exact(self):
        report = self.store.verify_index()
        assert report
        assert report.records == len(self.model)
        assert report.entries == (len(self.model) if self.strategy is SweepStrategy.EXPIRY_INDEX else 0)

    def teardown(self):
        self.db.close()
        self.folder.cleanup()


class FineSledMachine(SledMachine):
    resolution = timedelta(microseconds=1)


class CoarseSledMachine(SledMachine):
    resolution = timedelta(minutes=1)


class FullScanMachine(SledMachine):
    strategy = SweepStrategy.FULL_SCAN


TestMemory = MemoryMachine.TestCase
TestSled = SledMachine.TestCase
TestFineSled = FineSledMachine.TestCase
TestCoarseSled = CoarseSledMachine.TestCase
TestFullScan = FullScanMachine.TestCase
StoreMachine.TestCase.settings = TestMemory.settings = TestSled.settings = TestFineSled.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None
)
TestCoarseSled.settings = TestFullScan.settings = TestSled.settings
