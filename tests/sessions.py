"""Sessions for tests, and what is done with them."""

from datetime import UTC, datetime, timedelta

import attrs

from sled_sessions import Id, Record

SCRIPT = "<script>alert('x')</script>"
SECRET = "b2c7e1f09a6d4f3e"


def save_numbered(store, count, *, expired=0):
    """Save so many sessions that expire one minute after the other; of the first ones so many have expired."""
    for number in range(count):
        data = {"number": number, "name": SCRIPT, "csrf_token": SECRET, "nested": {"password": SECRET}}
        expiry = store.clock() + timedelta(minutes=number - expired, seconds=30)
        store.save(Record(id_of(number), data, expiry))


def new_record(seconds: float = 600, **data: object) -> Record:
    """A session that expires in so many seconds of real time."""
    return Record(Id.new(), data, datetime.now(UTC) + timedelta(seconds=seconds))


def increment(record: Record) -> Record:
    """A change that counts."""
    return attrs.evolve(record, data={"n": record.data["n"] + 1})


def id_of(number: int) -> Id:
    """The id of a session."""
    return Id((number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128).to_bytes(16))
