"""Trees: as a sorted dict, from several threads, with whatever is bytes."""

import array
import struct
import threading
import weakref
from itertools import chain
from pathlib import Path
from random import Random

import pytest
from engine.processes import python
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sortedcontainers import SortedDict

from sled_sessions import sled

KEYS = st.one_of(st.binary(max_size=3), st.binary(max_size=40))
VALUES = st.binary(max_size=300)


class TreeMachine(RuleBasedStateMachine):
    """A tree answers as a sorted dict does, whatever is called in whatever order."""

    @initialize()
    def start(self) -> None:
        self.db = sled.open(temporary=True)
        self.tree = self.db.open_tree("tree")
        self.model: SortedDict[bytes, bytes] = SortedDict()

    def teardown(self) -> None:
        self.db.close()

    def pair(self, index: int) -> tuple[bytes, bytes] | None:
        return self.model.peekitem(index) if self.model else None

    @rule(key=KEYS, value=VALUES)
    def insert(self, key: bytes, value: bytes) -> None:
        assert self.tree.insert(key, value) == self.model.get(key)
        self.model[key] = value

    @rule(key=KEYS)
    def remove(self, key: bytes) -> None:
        assert self.tree.remove(key) == self.model.pop(key, None)

    @rule(key=KEYS, value=VALUES)
    def as_a_dict(self, key: bytes, value: bytes) -> None:
        self.tree[key] = value
        assert self.tree[key] == value
        del self.tree[key]
        self.model.pop(key, None)
        for missing in (lambda: self.tree[key], lambda: self.tree.__delitem__(key)):
            with pytest.raises(KeyError):
                missing()

    @rule(key=KEYS, old=st.none() | VALUES, new=st.none() | VALUES, right=st.booleans())
    def compare_and_swap(self, key: bytes, old: bytes | None, new: bytes | None, right: bool) -> None:
        current = self.model.get(key)
        old = current if right else old
        assert self.tree.compare_and_swap(key, old, new) is (old == current)
        if old == current:
            self.set(key, new)

    @rule(key=KEYS, new=st.none() | VALUES, after=st.booleans())
    def update(self, key: bytes, new: bytes | None, after: bool) -> None:
        current = self.model.get(key)
        method = self.tree.update_and_fetch if after else self.tree.fetch_and_update
        seen = []
        assert method(key, lambda value: seen.append(value) or new) == (new if after else current)
        assert seen == [current]
        self.set(key, new)

    def set(self, key: bytes, new: bytes | None) -> None:
        if new is None:
            self.model.pop(key, None)
        else:
            self.model[key] = new

    @rule(writes=st.lists(st.tuples(KEYS, st.none() | VALUES)))
    def batch(self, writes: list[tuple[bytes, bytes | None]]) -> None:
        batch = sled.Batch()
        for key, value in writes:
            if value is None:
                batch.remove(key)
            else:
                batch.insert(key, value)
            self.set(key, value)
        self.tree.apply_batch(batch)

    @rule(greatest=st.booleans())
    def pop(self, greatest: bool) -> None:
        index = -1 if greatest else 0
        expected = self.model.popitem(index) if self.model else None
        assert (self.tree.pop_max() if greatest else self.tree.pop_min()) == expected

    @rule(key=KEYS)
    def neighbours(self, key: bytes) -> None:
        below, above = self.model.bisect_left(key) - 1, self.model.bisect_right(key)
        assert self.tree.get_lt(key) == (self.model.peekitem(below) if below >= 0 else None)
        assert self.tree.get_gt(key) == (self.model.peekitem(above) if above < len(self.model) else None)
        assert self.tree.get(key) == self.model.get(key)
        assert self.tree.contains(key) is (key in self.tree) is (key in self.model)

    @rule(start=st.none() | KEYS, stop=st.none() | KEYS, reverse=st.booleans())
    def range(self, start: bytes | None, stop: bytes | None, reverse: bool) -> None:
        keys = list(self.model.irange(start, stop, (True, False), reverse=reverse))
        if start is not None and stop is not None and start > stop:
            keys = []
        assert list(self.tree.range(start, stop, reverse=reverse)) == [(key, self.model[key]) for key in keys]
        assert list(self.tree.keys(start, stop, reverse=reverse)) == keys
        assert list(self.tree.values(start, stop, reverse=reverse)) == [self.model[key] for key in keys]

    @rule(prefix=st.one_of(KEYS, st.sampled_from([b"\xff", b"\xff\xff", b"a\xff"])), reverse=st.booleans())
    def prefix(self, prefix: bytes, reverse: bool) -> None:
        expected = [item for item in self.model.items() if item[0].startswith(prefix)]
        assert list(self.tree.prefix(prefix, reverse=reverse)) == expected[:: -1 if reverse else 1]

    @rule()
    def clear(self) -> None:
        self.tree.clear()
        self.model.clear()

    @invariant()
    def same(self) -> None:
        assert list(self.tree) == list(self.model.items())
        assert list(reversed(self.tree)) == list(reversed(self.model.items()))
        assert len(self.tree) == len(self.model)
        assert self.tree.is_empty() is (not self.tree) is (not self.model)
        assert self.tree.first() == self.pair(0)
        assert self.tree.last() == self.pair(-1)


TreeMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestTreeMachine = TreeMachine.TestCase


@given(count=st.integers(0, 3000), reverse=st.booleans())
@settings(max_examples=10, deadline=None)
def test_chunks_join(count: int, reverse: bool) -> None:
    """An iterator that needs several chunks yields every pair once, in order."""
    with sled.open(temporary=True) as db:
        pairs = [(number.to_bytes(4, "big"), b"%d" % number) for number in range(count)]
        for key, value in pairs:
            db.insert(key, value)
        assert list(db.range(reverse=reverse)) == pairs[:: -1 if reverse else 1]


def test_large_values(tree: sled.Tree) -> None:
    """The binding stores values of any size, also those that sled keeps in files of their own."""
    values = {bytes([number]): bytes([number]) * 400_000 for number in range(8)}
    for key, value in values.items():
        tree.insert(key, value)
    assert dict(tree) == values
    assert len(list((tree.db.path / "blobs").iterdir())) == len(values)


@pytest.mark.parametrize(
    "buffer", [bytearray(b"key"), memoryview(b"key"), array.array("b", b"key"), memoryview(b"-k-e-y")[1::2]]
)
def test_buffers(tree: sled.Tree, buffer: bytearray) -> None:
    """Any buffer is accepted where bytes are, and bytes come back."""
    assert tree.insert(buffer, buffer) is None
    assert tree.get(b"key") == tree.get(buffer) == b"key"
    assert type(tree.get(buffer)) is bytes
    assert tree.compare_and_swap(buffer, buffer, buffer)
    assert list(tree.range(buffer, None)) == list(tree.prefix(buffer)) == [(b"key", b"key")]


def test_text_is_refused(tree: sled.Tree) -> None:
    """Text where bytes are needed raises a TypeError that names the cure, and nothing is written."""
    with pytest.raises(TypeError, match=r"keys and values are bytes, not str: use \.encode\(\)"):
        tree.insert("key", b"value")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="bytes, not str"):
        tree.insert(b"key", "value")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="bytes, not int"):
        tree.get(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="bytes, not str"):
        tree.update_and_fetch(b"key", lambda _: "value")  # type: ignore[arg-type, return-value]
    with pytest.raises(TypeError, match="bytes, not str"):
        sled.Batch().insert("key", b"value")  # type: ignore[arg-type]
    assert tree.is_empty()


def test_update_passes_exceptions(tree: sled.Tree) -> None:
    """An exception in an update's function leaves the value alone and comes through unchanged."""
    tree.insert(b"key", b"value")
    error = KeyError("mine")

    def fail(_: bytes | None) -> bytes:
        raise error

    with pytest.raises(KeyError) as raised:
        tree.update_and_fetch(b"key", fail)
    assert raised.value is error
    assert tree.get(b"key") == b"value"


def test_update_may_use_the_tree(tree: sled.Tree) -> None:
    """An update's function may write to the same tree; a conflicting write makes it run again."""
    calls = []

    def function(value: bytes | None) -> bytes:
        calls.append(value)
        if len(calls) == 1:
            tree.insert(b"key", b"other")
        return (value or b"") + b"!"

    assert tree.update_and_fetch(b"key", function) == b"other!"
    assert calls == [None, b"other"]


def test_concurrent_updates(tree: sled.Tree) -> None:
    """No update is lost when several threads update one key."""

    def count() -> None:
        for _ in range(300):
            tree.update_and_fetch(b"count", lambda value: b"%d" % (int(value or b"0") + 1))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tree.get(b"count") == b"1200"


def test_popping_threads(tree: sled.Tree) -> None:
    """No two threads pop the same pair."""
    for number in range(1000):
        tree.insert(number.to_bytes(2, "big"), b"")
    popped: list[bytes] = []

    def pop(method: str) -> None:
        while pair := getattr(tree, method)():
            popped.append(pair[0])

    threads = [threading.Thread(target=pop, args=[f"pop_{end}"]) for end in ("min", "max", "min", "max")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(popped) == [number.to_bytes(2, "big") for number in range(1000)]


def test_threads_share_an_iterator(tree: sled.Tree) -> None:
    """Threads that share an iterator get each pair once between them."""
    keys = [number.to_bytes(4, "big") for number in range(20_000)]
    for key in keys:
        tree.insert(key, b"")
    iterator = tree.keys()
    seen: list[list[bytes]] = [[] for _ in range(4)]
    threads = [threading.Thread(target=mine.extend, args=[iterator]) for mine in seen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(chain(*seen)) == keys


def test_writing_while_iterating(tree: sled.Tree) -> None:
    """Removing what an iterator has yielded, as a sweep does, neither skips nor repeats a pair."""
    keys = [number.to_bytes(4, "big") for number in range(5000)]
    for key in keys:
        tree.insert(key, b"")
    seen = []
    for key in tree.keys():  # noqa: SIM118 - a tree iterates pairs
        seen.append(key)
        tree.remove(key)
    assert seen == keys
    assert tree.is_empty()


def test_trees(db: sled.Db) -> None:
    """Trees have names, are kept apart, know their database, and the database is its own default tree."""
    assert isinstance(db, sled.Tree)
    assert db.db is db
    assert db.name == b"__sled__default"
    text, raw = db.open_tree("ä"), db.open_tree(b"\xff")
    assert text.name == "ä".encode()
    assert db.tree_names() == [b"__sled__default", "ä".encode(), b"\xff"]
    assert text.db is raw.db is db
    text.insert(b"key", b"text")
    db.insert(b"key", b"default")
    assert (text.get(b"key"), raw.get(b"key"), db.get(b"key")) == (b"text", None, b"default")
    assert db.open_tree("ä".encode()).get(b"key") == b"text"


def test_wrong_names(db: sled.Db, tree: sled.Tree) -> None:
    """What is no name of a tree is a TypeError that speaks of names."""
    for call in (db.open_tree, db.drop_tree):
        for name, kind in ((5, "int"), (tree, "Tree"), (None, "NoneType")):
            with pytest.raises(TypeError, match=f"a tree's name is str or bytes, not {kind}"):
                call(name)  # type: ignore[arg-type]


def test_dropped_tree(db: sled.Db) -> None:
    """A dropped tree is gone, its handles say so, and a new one of that name starts empty."""
    tree = db.open_tree("tree")
    tree.insert(b"key", b"value")
    assert db.drop_tree("tree") is True
    assert db.drop_tree(b"tree") is False
    with pytest.raises(sled.CollectionNotFound, match=r"open it again with Db\.open_tree"):
        tree.get(b"key")
    with pytest.raises(sled.CollectionNotFound):
        list(tree)
    assert db.open_tree("tree").is_empty()
    with pytest.raises(sled.Unsupported):
        db.drop_tree("__sled__default")


def test_handles_live_in_weak_dictionaries(db: sled.Db) -> None:
    """Databases and trees can be keys, also weak ones."""
    tree = db.open_tree("tree")
    table = weakref.WeakKeyDictionary({db: 1, tree: 2})
    assert table[tree.db] == 1
    del tree
    assert dict(table) == {db: 1}


def test_no_bytes_in_reprs(tree: sled.Tree) -> None:
    """A repr names the tree and its folder and shows no key or value."""
    tree.insert(b"secret", b"secret")
    assert "tree" in repr(tree)
    assert "secret" not in repr(tree) + repr(tree.range()) + repr(tree.db)
    with pytest.raises(TypeError):
        sled.Tree()


def test_batch_is_reusable(db: sled.Db) -> None:
    """A batch can be filled further and applied again, and its last write of a key counts."""
    batch = sled.Batch()
    batch.insert(b"a", b"1")
    batch.remove(b"a")
    batch.insert(b"b", b"1")
    db.apply_batch(batch)
    assert dict(db) == {b"b": b"1"}
    batch.insert(b"a", b"2")
    db.open_tree("other").apply_batch(batch)
    assert dict(db.open_tree("other")) == {b"a": b"2", b"b": b"1"}


def test_checksums(db: sled.Db) -> None:
    """Equal content gives equal checksums, other content others."""
    one, other = db.open_tree("one"), db.open_tree("other")
    one.insert(b"key", b"value")
    before = db.checksum()
    assert one.checksum() != other.checksum()
    other.insert(b"key", b"value")
    assert one.checksum() == other.checksum()
    assert db.checksum() != before


def test_generated_ids_rise(db: sled.Db) -> None:
    """Ids rise, and none comes twice, also after a restart."""
    ids = [db.generate_id() for _ in range(1000)]
    db.close()
    with sled.open(db.path) as again:
        ids.append(again.generate_id())
    assert ids == sorted(set(ids))


def test_backwards_over_keys_that_count_down(db: sled.Db) -> None:
    """Keys with many bytes of 255, such as a user's events with the newest first, are read backwards as any others."""
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


def test_backwards_over_long_keys(db: sled.Db) -> None:
    """Keys that have a lot in common, or are long and have nothing, are found backwards as well."""
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
def test_backwards_over_any_keys(keys: set[bytes], data: st.DataObject) -> None:
    """Whatever the keys are, they are read backwards from any place to any other."""
    with sled.open(temporary=True) as db:
        for key in keys:
            db.insert(key, key)
        some = st.sampled_from([b"", b"\xff" * 13, *sorted(keys)])
        start, stop = data.draw(some), data.draw(some)
        expected = [key for key in sorted(keys, reverse=True) if start <= key < stop]
        assert list(db.keys(start, stop, reverse=True)) == expected
        below = max((key for key in keys if key < stop), default=None)
        assert db.get_lt(stop) == (None if below is None else (below, below))


@pytest.mark.slow
def test_dropping_a_tree_that_is_being_emptied(folder: Path) -> None:
    """drop_tree comes to an end beside a thread that removes keys, which is then told that there is no such tree."""
    code = """
import sys, threading
from sled_sessions import sled
db = sled.open(sys.argv[1])
def clear(tree):
    try: tree.clear()
    except sled.CollectionNotFound: pass
for turn in range(300):
    tree = db.open_tree("tree")
    for number in range(300): tree.insert(b"%d" % number, b"value")
    threads = [threading.Thread(target=clear, args=[tree]), threading.Thread(target=db.drop_tree, args=["tree"])]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
"""
    done = python(code, folder)
    assert (done.returncode, done.stderr) == (0, "")
