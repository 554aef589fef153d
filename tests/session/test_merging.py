"""What a commit writes when a session has changed both here and elsewhere."""

import copy
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import JSON
from pausing import Pausing, finish

from sled_sessions import Id, MemoryStore, Record, Session
from sled_sessions.session import Outcome, SessionManager
from sled_sessions.session.commit import commit

FAR = datetime(2099, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("wrong", ["too much", FAR])
def test_nested_change_taken_back(store, clock, wrong):
    """A nested change that the app takes back is not written, even if JSON could not have represented it."""
    record = store.create(Record(Id.new(), {"cart": {"items": [1]}}, FAR))
    with SessionManager(store, clock=clock).session(record.id) as session:
        before = copy.deepcopy(session["cart"])
        session["cart"]["items"].append(wrong)
        session["cart"] = before
        session["error"] = "rejected"
    assert store.load(record.id).data == {"cart": {"items": [1]}, "error": "rejected"}


def test_commit_is_a_snapshot(store, clock):
    """Changes to values during a commit are written, and checked, by the next one."""
    record = store.create(Record(Id.new(), {"cart": [], "seen": [1]}, FAR))
    session = Session(lambda: store.load(record.id), clock=clock)
    session["cart"].append(1)
    assert session["seen"] == [1]
    steps = commit(session, Pausing(store))
    steps.send(None)
    session["cart"].append(float("nan"))
    session["seen"].append(2)
    finish(steps)
    assert store.load(record.id).data == {"cart": [1], "seen": [1]}
    session["cart"].pop()
    finish(commit(session, Pausing(store)))
    assert store.load(record.id).data == {"cart": [1], "seen": [1, 2]}


KEYS = st.sampled_from("abc")


CHANGES = st.lists(st.tuples(st.just("set"), KEYS, JSON) | st.tuples(st.just("remove"), KEYS, st.none()), max_size=6)


def apply(changes, target):
    for what, key, value in changes:
        if what == "set":
            target[key] = copy.deepcopy(value)
        else:
            target.pop(key, None)


def encoded(data):
    return json.dumps(data, sort_keys=True)


@given(st.dictionaries(KEYS, JSON, min_size=1), st.lists(CHANGES, max_size=4))
def test_commits_equal_a_dict(data, commits):
    """After any changes and commits the store holds what a dict would."""
    store = MemoryStore()
    manager = SessionManager(store)
    id = store.create(Record(Id.new(), copy.deepcopy(data), FAR)).id
    model = data
    for changes in commits:
        session = manager.open(id)
        apply(changes, session)
        apply(changes, model)
        outcome = manager.commit(session)
        record = store.load(id)
        if not model and changes:
            assert record is None
            assert outcome is Outcome.GONE
            return
        assert encoded(record.data) == encoded(model)


@given(st.dictionaries(KEYS, JSON, min_size=1), CHANGES, CHANGES)
def test_merging(data, mine, others):
    """A commit writes the keys that differ from what was loaded, and keeps what others have written to the rest."""
    store = MemoryStore()
    manager = SessionManager(store)
    id = store.create(Record(Id.new(), {**copy.deepcopy(data), "kept": 0}, FAR)).id
    session = manager.open(id)
    session.load()
    with manager.session(id) as other:
        apply(others, other)
    expected = dict(store.load(id).data)
    apply(mine, session)
    before, after = {**data, "kept": 0}, dict(session)
    for key in before.keys() | after.keys():
        if key not in after:
            expected.pop(key, None)
        elif key not in before or encoded(before[key]) != encoded(after[key]):
            expected[key] = after[key]
    manager.commit(session)
    assert encoded(store.load(id).data) == encoded(expected)
