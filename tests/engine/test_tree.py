"""Trees: values, iteration and updates, also from several threads."""

import array
import threading
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sled_sessions import sled


@given(count=st.integers(0, 3000), reverse=st.booleans())
@settings(max_examples=10, deadline=None)
def test_chunks_join(count: int, reverse: bool) -> None:
    """An iterator over several chunks yields every pair once, in order."""
    with sled.open(temporary=True) as db:
        pairs = [(number.to_bytes(4, "big"), b"%d" % number) for number in range(count)]
        for key, value in pairs:
            db.insert(key, value)
        assert list(db.range(reverse=reverse)) == pairs[:: -1 if reverse else 1]


def test_large_values(tree: sled.Tree) -> None:
    """Values of any size can be stored, including those that sled puts into separate files."""
    values = {bytes([number]): bytes([number]) * 400_000 for number in range(8)}
    for key, value in values.items():
        tree.insert(key, value)
    assert dict(tree) == values
    assert len(list((tree.db.path / "blobs").iterdir())) == len(values)


@pytest.mark.parametrize(
    "buffer", [bytearray(b"key"), memoryview(b"key"), array.array("b", b"key"), memoryview(b"-k-e-y")[1::2]]
)
def test_buffers(tree: sled.Tree, buffer: bytearray) -> None:
    """Any buffer is accepted in place of bytes; results are bytes."""
    assert tree.insert(buffer, buffer) is None
    assert tree.get(b"key") == tree.get(buffer) == b"key"
    assert type(tree.get(buffer)) is bytes
    assert tree.compare_and_swap(buffer, buffer, buffer)
    assert list(tree.range(buffer, None)) == list(tree.prefix(buffer)) == [(b"key", b"key")]


def test_text_is_refused(tree: sled.Tree) -> None:
    """Text in place of bytes raises a TypeError that says what to do, and nothing is written."""
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
    """An exception in an update's function leaves the value unchanged and is passed on unchanged."""
    tree.insert(b"key", b"value")
    error = KeyError("mine")

    def fail(_: bytes | None) -> bytes:
        raise error

    with pytest.raises(KeyError) as raised:
        tree.update_and_fetch(b"key", fail)
    assert raised.value is error
    assert tree.get(b"key") == b"value"


def test_update_may_use_the_tree(tree: sled.Tree) -> None:
    """An update's function may write to the same tree, and runs again after a conflicting write."""
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
    """Threads that share an iterator together get each pair once."""
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


def test_batch_is_reusable(db: sled.Db) -> None:
    """A batch can be extended and applied again, and its last write of a key counts."""
    batch = sled.Batch()
    batch.insert(b"a", b"1")
    batch.remove(b"a")
    batch.insert(b"b", b"1")
    db.apply_batch(batch)
    assert dict(db) == {b"b": b"1"}
    batch.insert(b"a", b"2")
    db.open_tree("other").apply_batch(batch)
    assert dict(db.open_tree("other")) == {b"a": b"2", b"b": b"1"}
