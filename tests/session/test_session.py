"""Session as a dict."""

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
from pausing import finish
from stores.holding import held_up
from waiting import waits_for

from sled_sessions import EncodeError, Expiry, Id, Record, Session
from sled_sessions.records.reserved import RESERVED
from sled_sessions.session import session as module
from sled_sessions.session.commit import commit

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
    """Whichever operation comes first, it loads the session and sees the stored data."""
    assert use(session_with(a=1, b=[2])) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda s: s.update(c=3), {"a": 1, "b": [2], "c": 3}),
        (lambda s: s.__ior__({"c": 3}), {"a": 1, "b": [2], "c": 3}),
        (lambda s: s.__ior__([("c", 3)]), {"a": 1, "b": [2], "c": 3}),
        (lambda s: s.pop("a"), {"b": [2]}),
        (lambda s: s.__delitem__("a"), {"b": [2]}),
        (lambda s: s.popitem(), {"a": 1}),  # the last key, as in a dict, not the first as in MutableMapping
        (lambda s: s.clear(), {}),
        (lambda s: s["b"].append(3), {"a": 1, "b": [2, 3]}),
        (lambda s: next(iter(s.items())) and s.get("b").append(3), {"a": 1, "b": [2, 3]}),
        (lambda s: [v.append(3) for v in s.values() if v != 1], {"a": 1, "b": [2, 3]}),
        (lambda s: s.setdefault("c", {}).update(d=4), {"a": 1, "b": [2], "c": {"d": 4}}),
    ],
)
def test_each_change_marks_modified(change, expected):
    """Every way of changing a session sets `is_modified` and changes its content."""
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
def test_unchanged_session_is_not_modified(use):
    """Reading, setting an equal value and taking back a change leave the session unmodified."""
    session = session_with(a=1, b=[2])
    use(session)
    assert not session.is_modified


def test_key_order_does_not_matter():
    """A nested dict with the same keys in another order is unchanged, at any depth."""
    session = session_with(name={"first": "Ada", "last": "Lovelace", "ids": [{"a": 1, "b": 2}]})
    session["name"] = {"ids": [{"b": 2, "a": 1}], "last": "Lovelace", "first": "Ada"}
    assert not session.is_modified
    session["name"]["ids"][0]["a"] = True
    assert session.is_modified


def test_equal_value_of_a_subclass():
    """Setting a subclass instance equal to the stored value is no change, but True is not equal to 1."""

    class Text(str):
        pass

    session = session_with(text="a", number=1, truth=True)
    session["text"] = Text("a")
    session["number"] = IntEnum("Number", ["ONE"]).ONE
    assert not session.is_modified
    session["truth"] = 1
    assert session.is_modified


def test_is_a_mapping_and_a_dict():
    """A session is an instance of both MutableMapping and dict."""
    assert isinstance(session_with(), MutableMapping)
    assert isinstance(session_with(), dict)


def test_raw_dict_access():
    """C code that reads the dict directly fails on an unloaded session instead of seeing it empty."""
    session = session_with(a=1)
    with pytest.raises(TypeError, match="NotLoaded"):
        msgspec.json.encode(session)
    session.load()
    assert msgspec.json.encode(session) == b'{"a":1}'


def test_missing_keys():
    """A missing key raises KeyError, as in any dict."""
    session = session_with()
    for use in (lambda: session["a"], lambda: session.pop("a"), lambda: session.__delitem__("a")):
        with pytest.raises(KeyError, match="a"):
            use()
    with pytest.raises(KeyError, match="empty"):
        session.popitem()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("a", object(), r"session\['a'\]: JSON has no object"),
        ("a", [1, {"b": {1, 2}}], r"session\['a'\]\[1\]\['b'\]: JSON has no set"),
        ("a", float("nan"), r"session\['a'\]: JSON has no NaN"),
        ("a", 2**64, r"session\['a'\]: an integer beyond 64 bits"),
        ("a", "\ud800", r"session\['a'\]: text with a lone surrogate"),
        ("a", {1: 2}, r"session\['a'\]: a key is int"),
        (1, "b", "keys must be str"),
        ("\ud800", 1, "session: a key: text with a lone surrogate"),
        (RESERVED, 1, "is reserved"),
    ],
)
def test_values_outside_json_are_refused(key, value, message):
    """A value that JSON cannot represent is refused when set, with its place, and the session stays unchanged."""
    session = session_with(a=0)
    with pytest.raises(EncodeError, match=message):
        session[key] = value
    assert dict(session) == {"a": 0}
    assert not session.is_modified


def test_repr_reveals_no_content():
    """A repr contains neither the full id nor any value, and does not load the session."""
    record = Record(Id.new(), {"password": "hunter2"}, FAR)
    session = Session(lambda: record)
    assert repr(session) == "Session(not loaded)"
    session.load()
    assert str(record.id) not in repr(session)
    assert "hunter2" not in repr(session) + str(session) + f"{session}"
    assert "password" in repr(session)
    session["password"] = "hunter3"
    assert "hunter" not in repr(session.changes())


@pytest.mark.parametrize("use", [copy.copy, copy.deepcopy, pickle.dumps])
def test_no_copies(use):
    """Copying and pickling a session raise TypeError, which names the alternative."""
    with pytest.raises(TypeError, match=r"dict\(\.\.\.\)"):
        use(session_with())


def test_failed_load_is_repeated():
    """After a failed load the session is not loaded, and the next access tries again."""
    answers = iter([OSError(), Record(Id.new(), {"a": 1}, FAR)])

    def load():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    session = Session(load)
    with pytest.raises(OSError):  # noqa: PT011 - raised by the test itself
        session["a"]
    assert session["a"] == 1


def test_concurrent_load():
    """A load that ends second does not overwrite what another thread has loaded and changed."""
    loads = []

    def load():
        loads.append(None)
        if len(loads) == 1:
            session["a"] = 2  # as another thread may
        return Record(Id.new(), {"a": 1}, FAR)

    session = Session(load)
    assert session["a"] == 2


def test_one_thread_fills_a_session():
    """While one thread fills a session, other threads wait."""
    session = session_with(a=1)
    assert waits_for(module._filling, session.load)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_load_in_a_forked_child():
    """A session can be loaded in a child forked while another thread was filling a session."""
    session = session_with(a=1)

    def fill(wait):
        with module._filling:
            wait(None)

    with held_up(fill):
        assert in_fork(lambda: session["a"]) == "1"


def test_needs_new_id():
    """A new session needs an id once it has data, and a stored one after `cycle_id`."""
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


def test_only_end_drops_changes():
    """A commit with `only_end` drops every change, including a new id and a new policy."""
    session = session_with(a=1)
    session["a"] = 2
    session.cycle_id()
    session.expiry = Expiry.on_inactivity(timedelta(hours=1))
    finish(commit(session, None, only_end=True))  # calls no store
    assert session.is_untouched
    assert not session.is_modified
