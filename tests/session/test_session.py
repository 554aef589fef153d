"""The session as a dict, and what it says of itself."""

import copy
import json
import os
import pickle
from collections.abc import MutableMapping
from datetime import UTC, datetime, timedelta
from enum import IntEnum

import msgspec
import pytest
from engine.processes import in_fork
from hypothesis import given
from hypothesis import strategies as st
from json_values import JSON
from waiting import waits_for

from sled_sessions import EncodeError, Expiry, Id, MemoryStore, Record, Session
from sled_sessions.session import Outcome, SessionManager
from sled_sessions.session.drive import drive
from sled_sessions.session.session import DEADLINE, _filling

FAR = datetime(2099, 1, 1, tzinfo=UTC)


def session_with(**data) -> Session:
    return Session(lambda: Record(Id.new(), data, FAR))


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        (lambda s: s["a"], 1),
        (lambda s: s.get("a"), 1),
        (lambda s: s.get("z", 5), 5),
        (lambda s: "a" in s, True),
        (lambda s: 3 in s, False),
        (len, 2),
        (bool, True),
        (list, ["a", "b"]),
        (lambda s: list(reversed(s)), ["b", "a"]),
        (dict, {"a": 1, "b": [2]}),
        (lambda s: {**s}, {"a": 1, "b": [2]}),
        (lambda s: s.copy(), {"a": 1, "b": [2]}),
        (lambda s: list(s.values()), [1, [2]]),
        (lambda s: list(s.items()), [("a", 1), ("b", [2])]),
        (lambda s: s == {"a": 1, "b": [2]}, True),
        (lambda s: s != {"a": 1}, True),
        (lambda s: s != {"a": 1, "b": [2]}, False),
        (lambda s: s | {"a": 0, "c": 3}, {"a": 0, "b": [2], "c": 3}),
        (lambda s: {"a": 0, "c": 3} | s, {"a": 1, "b": [2], "c": 3}),
        (lambda s: s.pop("a"), 1),
        (lambda s: s.pop("z", None), None),
        (lambda s: s.setdefault("a", 9), 1),
        (lambda s: s.is_empty, False),
        (json.dumps, '{"a": 1, "b": [2]}'),
        (lambda s: json.dumps({"session": s}), '{"session": {"a": 1, "b": [2]}}'),
    ],
)
def test_each_operation_loads(use, expected):
    """Whatever is asked first of a session, it answers with what is in the store."""
    assert use(session_with(a=1, b=[2])) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda s: s.update(c=3), {"a": 1, "b": [2], "c": 3}),
        (lambda s: s.__ior__({"c": 3}), {"a": 1, "b": [2], "c": 3}),
        (lambda s: s.__ior__([("c", 3)]), {"a": 1, "b": [2], "c": 3}),
        (lambda s: s.pop("a"), {"b": [2]}),
        (lambda s: s.__delitem__("a"), {"b": [2]}),
        (lambda s: s.popitem(), {"a": 1}),  # a dict's is the last one, a MutableMapping's the first
        (lambda s: s.clear(), {}),
        (lambda s: s["b"].append(3), {"a": 1, "b": [2, 3]}),
        (lambda s: next(iter(s.items())) and s.get("b").append(3), {"a": 1, "b": [2, 3]}),
        (lambda s: [v.append(3) for v in s.values() if v != 1], {"a": 1, "b": [2, 3]}),
        (lambda s: s.setdefault("c", {}).update(d=4), {"a": 1, "b": [2], "c": {"d": 4}}),
    ],
)
def test_each_change_is_noticed(change, expected):
    """Whichever way a session is changed, it says so and has the new content."""
    session = session_with(a=1, b=[2])
    assert not session.is_modified
    change(session)
    assert session.is_modified
    assert dict(session) == expected


@pytest.mark.parametrize(
    "use",
    [
        lambda s: s.update(a=1, b=[2]),
        lambda s: s["b"],
        lambda s: s.setdefault("b", []),
        lambda s: (s["b"].append(3), s["b"].pop()),
        lambda s: (s.update(c=1), s.pop("c")),
        lambda s: s.pop("z", None),
        dict,
    ],
)
def test_what_changes_nothing(use):
    """Reading, setting what is there and taking back a change are no changes."""
    session = session_with(a=1, b=[2])
    use(session)
    assert not session.is_modified


def test_the_order_of_keys_is_no_change():
    """An object of JSON that has the same keys in another order is the same, at any depth; that of a list counts."""
    session = session_with(name={"first": "Ada", "last": "Lovelace", "ids": [{"a": 1, "b": 2}]})
    session["name"] = {"ids": [{"b": 2, "a": 1}], "last": "Lovelace", "first": "Ada"}
    assert not session.is_modified
    session["name"]["ids"][0]["a"] = True
    assert session.is_modified


def test_an_equal_value_of_another_class_changes_nothing():
    """What is stored of a subclass is the plain value: setting one that equals what is there is no change."""

    class Text(str):
        pass

    session = session_with(text="a", number=1, truth=True)
    session["text"] = Text("a")
    session["number"] = IntEnum("Number", ["ONE"]).ONE
    assert not session.is_modified
    session["truth"] = 1
    assert session.is_modified


@pytest.mark.parametrize("wrong", ["too much", FAR])
def test_what_was_rolled_back(store, clock, wrong):
    """A nested change that the app takes back is not written, whatever else is, and JSON need not have held it."""
    record = store.create(Record(Id.new(), {"cart": {"items": [1]}}, FAR))
    with SessionManager(store, clock=clock).session(record.id) as session:
        before = copy.deepcopy(session["cart"])
        session["cart"]["items"].append(wrong)
        session["cart"] = before
        session["error"] = "rejected"
    assert store.load(record.id).data == {"cart": {"items": [1]}, "error": "rejected"}


def test_a_commit_is_of_one_moment(store, clock):
    """What an asyncio task does to a value while another one commits it is for the next commit, and checked there."""
    record = store.create(Record(Id.new(), {"cart": [], "seen": [1]}, FAR))
    session = Session(lambda: store.load(record.id), clock=clock)
    session["cart"].append(1)
    assert session["seen"] == [1]
    steps = session.commit()
    _, arguments = steps.send(None)
    session["cart"].append(float("nan"))
    session["seen"].append(2)
    with pytest.raises(StopIteration):
        steps.send(store.update(*arguments))
    assert store.load(record.id).data == {"cart": [1], "seen": [1]}
    session["cart"].pop()
    drive(session.commit(), store)
    assert store.load(record.id).data == {"cart": [1], "seen": [1, 2]}


def test_it_is_a_mapping_and_a_dict():
    """Code that asks for either gets it."""
    assert isinstance(session_with(), MutableMapping)
    assert isinstance(session_with(), dict)


def test_readers_of_its_memory():
    """What reads a dict without asking it fails on a session that is not loaded, and never takes it for empty."""
    session = session_with(a=1)
    with pytest.raises(TypeError, match="NotLoaded"):
        msgspec.json.encode(session)
    session.load()
    assert msgspec.json.encode(session) == b'{"a":1}'


def test_missing_keys():
    """A key that is not there is a KeyError, as in any dict."""
    session = session_with()
    for use in (lambda: session["a"], lambda: session.pop("a"), lambda: session.__delitem__("a"), session.popitem):
        with pytest.raises(KeyError, match="a"):
            use()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("a", object(), r"session\['a'\]: JSON has no object"),
        ("a", [1, {"b": {1, 2}}], r"session\['a'\]\[1\]\['b'\]: JSON has no set"),
        ("a", float("nan"), r"session\['a'\]: JSON has no NaN"),
        ("a", 2**64, r"session\['a'\]: an integer beyond 64 bits"),
        ("a", "\ud800", r"session\['a'\]: text with a lone surrogate"),
        ("a", {1: 2}, r"session\['a'\]: a key is int"),
        (1, "b", "keys are text"),
        ("\ud800", 1, "session: a key: text with a lone surrogate"),
        (DEADLINE, 1, "is taken"),
    ],
)
def test_what_json_cannot_hold(key, value, message):
    """It is refused where it is set, by a message that names the place, and the session is as before."""
    session = session_with(a=0)
    with pytest.raises(EncodeError, match=message):
        session[key] = value
    assert dict(session) == {"a": 0}
    assert not session.is_modified


def test_nothing_is_shown_of_the_content():
    """A repr shows neither the whole id nor any value, and does not load."""
    record = Record(Id.new(), {"password": "hunter2"}, FAR)
    session = Session(lambda: record)
    assert repr(session) == "Session(not loaded)"
    session.load()
    assert str(record.id) not in repr(session)
    assert "hunter2" not in repr(session) + str(session) + f"{session}"
    assert "password" in repr(session)
    session["password"] = "hunter3"
    assert "hunter" not in repr(next(session.commit())) + repr(session.changes())


@pytest.mark.parametrize("use", [copy.copy, copy.deepcopy, pickle.dumps])
def test_no_copies(use):
    """A session cannot be copied or pickled by accident; the message says what can."""
    with pytest.raises(TypeError, match=r"dict\(\.\.\.\)"):
        use(session_with())


def test_a_load_that_fails_is_tried_again():
    """A store that fails once has not emptied the session."""
    answers = iter([OSError(), Record(Id.new(), {"a": 1}, FAR)])

    def load():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    session = Session(load)
    with pytest.raises(OSError):  # noqa: PT011
        session["a"]
    assert session["a"] == 1


def test_a_load_that_comes_second():
    """What another thread has loaded meanwhile, and changed since, stays."""
    loads = []

    def load():
        loads.append(None)
        if len(loads) == 1:
            session["a"] = 2  # as another thread would
        return Record(Id.new(), {"a": 1}, FAR)

    session = Session(load)
    assert session["a"] == 2


def test_one_thread_fills_a_session():
    """While one thread fills a session, another one waits."""
    assert waits_for(_filling.lock, session_with(a=1).load)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_forked_child():
    """A session is loaded in a child that was forked while another thread was filling one."""
    with _filling.lock:
        assert in_fork(lambda: session_with(a=1)["a"]) == "1"


def test_when_an_id_is_needed():
    """A new session needs one from its first key on, and a stored one when its id is cycled."""
    session, stored = Session(lambda: None), session_with(a=1)
    assert not session.needs_new_id
    session.load()
    assert not session.needs_new_id
    session["a"] = 1
    assert session.needs_new_id
    stored["a"] = 2
    assert not stored.needs_new_id
    stored.cycle_id()
    assert stored.needs_new_id


def test_expiry(clock):
    """expiry_date and expiry_age tell what a commit now would write; None is the end of the browser session."""
    session = Session(lambda: None, expiry=Expiry.on_inactivity(timedelta(hours=1)), clock=clock)
    assert session.expiry_date == clock() + timedelta(hours=1)
    assert session.expiry_age == timedelta(hours=1)
    session.expiry = Expiry.at(clock() - timedelta(hours=1))
    assert session.expiry_age == timedelta(0)
    session.expiry = None
    assert session.expiry == Expiry.on_session_end()
    assert session.expiry_age == timedelta(weeks=2)
    assert session.is_modified


def test_touching_a_session_that_would_expire_earlier(store, clock):
    """`touch_after` spares no write that brings the expiry nearer by as much."""
    record = store.create(Record(Id.new(), {"a": 1}, clock() + timedelta(hours=5)))
    session = Session(lambda: record, expiry=Expiry.on_inactivity(timedelta(hours=1)), clock=clock)
    drive(session.commit(always_save=True, touch_after=timedelta(hours=2)), store)
    assert store.load(record.id).expiry_date == clock() + timedelta(hours=1)


def test_a_failed_request_leaves_nothing_to_commit():
    """With `only_end` every change is dropped, also that of the id and that of the policy."""
    session = session_with(a=1)
    session["a"] = 2
    session.cycle_id()
    session.expiry = Expiry.on_inactivity(timedelta(hours=1))
    assert list(session.commit(only_end=True)) == []
    assert session.is_untouched
    assert not session.is_modified


def test_the_expiry_date_knows_the_deadline(store, clock):
    """Also of a session that nothing else has used yet, the expiry date is that of the record."""
    manager = SessionManager(
        store, expiry=Expiry.on_inactivity(timedelta(hours=5), at_most=timedelta(hours=6)), clock=clock
    )
    with manager.session() as session:
        session["n"] = 1
    clock.advance(hours=4)
    assert manager.open(session.id).expiry_age == timedelta(hours=2)
    assert manager.open(session.id).expiry_date == clock() + timedelta(hours=2)


@pytest.mark.parametrize(
    ("later", "left"),
    [
        (Expiry.on_inactivity(timedelta(hours=10)), 4),
        (Expiry.on_inactivity(timedelta(hours=10), at_most=timedelta(days=1)), 4),
        (Expiry.on_inactivity(timedelta(hours=10), at_most=timedelta(hours=2)), 2),
    ],
)
def test_a_deadline_only_comes_nearer(store, clock, later, left):
    """A session that was begun with a deadline has one under each policy that comes after, and no later one."""
    begun = Expiry.on_inactivity(timedelta(hours=10), at_most=timedelta(hours=5))
    with SessionManager(store, expiry=begun, clock=clock).session() as session:
        session["n"] = 1
    clock.advance(hours=1)
    with SessionManager(store, expiry=later, clock=clock).session(session.id) as session:
        session["n"] = 2
    assert store.load(session.id).expiry_date == clock() + timedelta(hours=left)


def test_a_deadline_is_no_data(store, clock):
    """A session that has nothing left but its deadline ends."""
    manager = SessionManager(store, expiry=Expiry.on_inactivity(timedelta(1), at_most=timedelta(2)), clock=clock)
    with manager.session() as session:
        session["n"] = 1
    with manager.session(session.id) as session:
        del session["n"]
    assert store.count() == 0


@pytest.mark.parametrize("at_most", [None, timedelta(days=1)])
def test_a_foreign_deadline_is_ignored(store, clock, at_most):
    """What another program left under the deadline's key is no deadline."""
    record = store.create(Record(Id.new(), {DEADLINE: "tomorrow", "a": 1}, clock() + timedelta(hours=1)))
    manager = SessionManager(store, expiry=Expiry.on_inactivity(timedelta(hours=1), at_most=at_most), clock=clock)
    with manager.session(record.id) as session:
        session["a"] = 2
    assert store.load(record.id).expiry_date == clock() + timedelta(hours=1)


def test_a_huge_at_most(store, clock):
    """An absolute limit beyond the calendar is as far away as the calendar goes."""
    manager = SessionManager(store, expiry=Expiry.on_inactivity(timedelta.max, at_most=timedelta.max), clock=clock)
    with manager.session() as session:
        session["a"] = 1
    assert store.load(session.id).expiry_date.year == 9999


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
def test_like_a_dict(data, commits):
    """However a session is changed and committed, the store then holds what a dict would."""
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
    """A commit changes the keys that differ from what was loaded, and leaves what others made of the rest."""
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
