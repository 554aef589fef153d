"""MemoryStore beyond the protocol: threads, and sweeps whose callbacks use the store."""

import threading
from datetime import timedelta
from functools import partial

import attrs
import pytest
from stores.holding import held_up
from waiting import waits_for

from sled_sessions import MemoryStore, RecordTooLarge, SledStore, SweepStrategy


@pytest.fixture
def store(clock):
    return MemoryStore(clock=clock)


def test_load_during_save(store, new_record, fast_switching):
    """A load during a save returns the old record or the new one, never None."""
    record = store.create(new_record(n=0))
    states = [attrs.evolve(record, data={"n": n}) for n in range(3000)]
    saving = threading.Thread(target=lambda: [store.save(state) for state in states])
    saving.start()
    while saving.is_alive():
        assert store.load(record.id) is not None
    saving.join()


def test_callback_may_use_the_store(store, clock, new_record):
    """`on_expired` may delete and prolong sessions that the sweep has yet to reach, and the sweep respects that."""
    _, deleted, extended = (store.create(new_record(seconds)) for seconds in (1, 2, 3))
    clock.move(timedelta(seconds=10))
    saved = attrs.evolve(extended, expiry_date=new_record(60).expiry_date)

    def listen(record):
        store.delete(deleted.id)
        store.save(saved)

    assert store.delete_expired(on_expired=listen).deleted == 1
    assert list(store.records()) == [saved]


def test_callback_does_not_block_other_threads(store, clock, new_record):
    """Other threads can use the store while `on_expired` runs."""
    expired, other = store.create(new_record(1)), new_record(60)
    clock.move(timedelta(seconds=10))

    def listen(record):
        saving = threading.Thread(target=store.save, args=(other,))
        saving.start()
        saving.join(20)
        assert not saving.is_alive()

    assert store.delete_expired(on_expired=listen).deleted == 1
    assert store.load(expired.id) is None
    assert store.load(other.id) == other


@pytest.mark.parametrize("strategy", SweepStrategy)
def test_sweep_with_zero_budget_completes(store, clock, new_record, strategy):
    """With no budget at all, one sweep for each expired session and a last one are enough to finish."""
    for seconds in (1, 2, *range(60, 160)):
        store.save(new_record(seconds))
    clock.move(timedelta(seconds=10))
    reports = []
    while not reports or not reports[-1].complete:
        reports.append(store.delete_expired(strategy, budget=timedelta(0)))
        assert len(reports) <= 3
    assert sum(report.deleted for report in reports) == 2
    assert store.delete_expired(strategy).examined == (100 if strategy is SweepStrategy.FULL_SCAN else 0)


@pytest.mark.parametrize("options", [{}, {"max_record_bytes": 200}])
def test_records_too_large(clock, tree, new_record, options):
    """The same records are refused as by `SledStore`, and nothing is changed."""
    memory, on_disk = MemoryStore(clock=clock, **options), SledStore(tree, clock=clock, **options)
    assert memory.max_record_bytes == on_disk.max_record_bytes
    largest = new_record(text="")
    largest.data["text"] = "x" * (memory.max_record_bytes - len(largest.encode()) - 4)
    largest.data["text"] += "x" * (memory.max_record_bytes - len(largest.encode()))
    larger = attrs.evolve(largest, data={"text": largest.data["text"] + "x"})
    for store in (memory, on_disk):
        store.save(largest)
        for write in (store.create, store.save, lambda record, store=store: store.update(record.id, lambda _: record)):
            with pytest.raises(RecordTooLarge, match="max_record_bytes"):
                write(larger)
        assert list(store.records()) == [largest]


USES = {
    "create": lambda store, record: store.create(record),
    "save": lambda store, record: store.save(record),
    "update": lambda store, record: store.update(record.id, lambda now: now),
    "delete": lambda store, record: store.delete(record.id),
}


@pytest.mark.parametrize("use", USES)
def test_calls_wait_for_a_running_update(store, new_record, use):
    """While an update runs, every call that writes the same session waits for it to end."""
    record = store.create(new_record())
    updating = held_up(lambda wait: store.update(record.id, wait))
    assert waits_for(updating, partial(USES[use], store, record))


def test_other_sessions_do_not_wait_for_a_running_update(store, clock, new_record):
    """While an update runs, other sessions can be written and swept."""
    updated, expired = store.create(new_record()), store.create(new_record(1))
    clock.move(timedelta(seconds=10))
    with held_up(lambda wait: store.update(updated.id, wait)):
        for use in USES.values():
            use(store, new_record())
        assert store.delete_expired().deleted == 1
    assert store.load(expired.id) is None
