"""A tree behaves like a sorted dict."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sortedcontainers import SortedDict

from sled_sessions import sled

KEYS = st.one_of(st.binary(max_size=3), st.binary(max_size=40))
VALUES = st.binary(max_size=300)


class TreeMachine(RuleBasedStateMachine):
    """Any sequence of calls gives the same results as on a sorted dict."""

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
