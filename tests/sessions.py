"""Records for tests, and changes for `update`."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import attrs

from sled_sessions import Id, Record, SledStore
from sled_sessions.stores.protocol import Change

SCRIPT = "<script>alert('x')</script>"
SECRET = "b2c7e1f09a6d4f3e"


def save_numbered(store, count, *, expired=0):
    """Save `count` sessions that expire a minute apart; the first `expired` of them have expired already."""
    for number in range(count):
        data = {"number": number, "name": SCRIPT, "csrf_token": SECRET, "nested": {"password": SECRET}}
        expiry = store.clock() + timedelta(minutes=number - expired, seconds=30)
        store.save(Record(id_of(number), data, expiry))


def new_record(seconds: float = 600, **data: object) -> Record:
    """A record that expires in this many seconds of real time."""
    return Record(Id.new(), data, datetime.now(UTC) + timedelta(seconds=seconds))


def uses(store: SledStore, record: Record) -> list[Callable[[], object]]:
    """Each kind of call that reads or writes a store's records, except for a sweep."""
    return [
        lambda: store.save(record),
        lambda: store.create(record),
        lambda: store.load(record.id),
        lambda: store.delete(record.id),
        lambda: store.update(record.id, lambda now: now),
        store.count,
        store.flush,
        store.verify_index,
        store.rebuild_index,
        store.first_expiry,
        lambda: list(store.records()),
        lambda: list(store.expiring()),
    ]


def increment(record: Record) -> Record:
    """A change that adds 1 to `n`."""
    return attrs.evolve(record, data={"n": record.data["n"] + 1})


def with_data(data: dict[str, object]) -> Change:
    """A change that replaces the data."""
    return lambda record: attrs.evolve(record, data=data)


def id_of(number: int) -> Id:
    """The id of the session with this number; the ids are spread out, as random ones are."""
    return Id((number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128).to_bytes(16))
