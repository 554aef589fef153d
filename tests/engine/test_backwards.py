"""Reading backwards, whatever the keys are."""

import struct
import time
from itertools import islice
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from sortedcontainers import SortedDict

from sled_sessions import sled


def test_keys_that_count_down(db: sled.Db) -> None:
    """Keys with many bytes of 255, such as a user's events, newest first, can be read backwards, where sled panics."""
    random = Random(39)
    moments = [2**64 - moment for moment in random.sample(range(1_700_000_000, 1_700_009_000), 5000)]
    keys = sorted(struct.pack(">IQ", random.randrange(10), moment) for moment in moments)
    for key in keys:
        db.insert(key, b"value")
    assert list(db.keys(reverse=True)) == keys[::-1]
    for user in range(10):
        prefix = struct.pack(">I", user)
        expected = [(key, b"value") for key in keys[::-1] if key.startswith(prefix)]
        assert list(db.prefix(prefix, reverse=True)) == expected
    for place in range(1, 5000, 7):
        assert db.get_lt(keys[place]) == (keys[place - 1], b"value")
    assert [db.pop_max() for _ in keys] == [(key, b"value") for key in keys[::-1]]
    assert db.pop_max() is db.last() is None


def test_every_search_ends_soon(db: sled.Db) -> None:
    """At keys where sled searches for seconds before it panics, a search takes milliseconds."""
    for user in range(50):
        for moment in range(100):
            db.insert(struct.pack(">IQ", user, 2**64 - 1_700_000_000 - moment), bytes(250))
    began = time.monotonic()
    for user in range(1, 50):
        assert db.get_lt(struct.pack(">I", user)) == (struct.pack(">IQ", user - 1, 2**64 - 1_700_000_000), bytes(250))
    assert time.monotonic() - began < 1


def test_long_keys(db: sled.Db) -> None:
    """Keys with long common prefixes, and long keys without, can be read backwards."""
    random = Random(1)
    long = [b"x" * 30_000 + b"%02d" % number for number in range(20)]
    groups = [random.randbytes(1000) + b"%03d" % number for number in range(20)]
    keys = sorted(
        [*long, *groups, *(b"a" * length for length in range(200)), *(bytes(length) for length in range(1, 50))]
    )
    for key in keys:
        db.insert(key, b"value")
    assert list(db.keys(reverse=True)) == keys[::-1]
    for place in range(1, len(keys)):
        assert db.get_lt(keys[place]) == (keys[place - 1], b"value")


@given(keys=st.sets(st.lists(st.sampled_from([0, 1, 97, 255]), max_size=12).map(bytes), max_size=300), data=st.data())
def test_any_keys(keys: set[bytes], data: st.DataObject) -> None:
    """Any keys can be read backwards between any bounds."""
    with sled.open(temporary=True) as db:
        for key in keys:
            db.insert(key, key)
        some = st.sampled_from([b"", b"\xff" * 13, *sorted(keys)])
        start, stop = data.draw(some), data.draw(some)
        expected = [key for key in sorted(keys, reverse=True) if start <= key < stop]
        assert list(db.keys(start, stop, reverse=True)) == expected
        below = max((key for key in keys if key < stop), default=None)
        assert db.get_lt(stop) == (None if below is None else (below, below))


def random_key(random: Random, kind: int) -> bytes:
    """A short key, one with runs of 0 and 255, one with a long shared prefix, or a moment that counts down."""
    if kind == 0:
        return random.randbytes(random.randrange(4))
    if kind == 1:
        return bytes(random.choices((0, 1, 97, 255), k=random.randrange(14)))
    if kind == 2:
        return b"x" * random.randrange(40, 43) + random.randrange(3000).to_bytes(2, "big")
    return struct.pack(">IQ", random.randrange(3), 2**64 - 1 - random.randrange(9000))


@given(random=st.randoms(use_true_random=False), kind=st.integers(0, 4))
@settings(max_examples=30, deadline=None)
def test_after_splits_and_merges(random: Random, kind: int) -> None:
    """After many inserts and removals, which split and merge pages, reading backwards matches a sorted dict."""
    with sled.open(temporary=True) as db:
        model: SortedDict[bytes, bytes] = SortedDict()

        def key() -> bytes:
            return random_key(random, random.randrange(4) if kind == 4 else kind)

        for _ in range(4):
            for _ in range(random.randrange(400)):
                new = key()
                db[new] = model[new] = bytes(random.choice((0, 30, 3000)))
            for gone in list(islice(model.irange(key()), random.randrange(400))):
                del db[gone], model[gone]
            for _ in range(20):
                start, stop = key(), key()
                below = model.bisect_left(stop) - 1
                assert db.get_lt(stop) == (model.peekitem(below) if below >= 0 else None)
                expected = [] if start > stop else list(model.irange(start, stop, (True, False), reverse=True))
                assert list(db.keys(start, stop, reverse=True)) == expected
            assert db.last() == (model.peekitem() if model else None)
            assert db.pop_max() == (model.popitem() if model else None)
