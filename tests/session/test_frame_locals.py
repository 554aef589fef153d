"""An error from a session shows no id and no data to a reporter that records local variables."""

from datetime import timedelta
from typing import Literal

import pytest
from frame_locals import ID, SECRET, leaks, raised

from sled_sessions import Record
from sled_sessions.session import SessionManager


def fail(*arguments):
    raise ZeroDivisionError


def commit(manager, session):
    session["nested"].append({SECRET})
    manager.commit(session)


def fail_in_the_store(manager, session):
    session["card"] = SECRET + SECRET
    session._clock = fail
    manager.commit(session)


def cycle(manager, session):
    session.cycle_id()
    fail_in_the_store(manager, session)


def begin(manager, session):
    new = manager.open()
    new["card"] = SECRET
    new._clock = fail
    manager.commit(new)


FAILURES = {
    "commit": commit,
    "clock at a commit": fail_in_the_store,
    "clock at a new id": cycle,
    "clock at a new session": begin,
    "set": lambda manager, session: session.__setitem__("card", {"card": SECRET, "set": {SECRET}}),
    "set text": lambda manager, session: session.__setitem__("card", f"{SECRET}\ud800"),
    "set with a wrong key": lambda manager, session: session.__setitem__(1, SECRET),
    "reserved key": lambda manager, session: session.__setitem__("_sled_sessions", SECRET),
    "get_as": lambda manager, session: session.get_as("other", int),
    "get_as an enum": lambda manager, session: session.get_as("card", Literal["other"]),
    "set_as": lambda manager, session: session.set_as("card", {"card": SECRET, "other": object()}),
    "set_as text": lambda manager, session: session.set_as("card", [f"{SECRET}\ud800"]),
    "is_modified": lambda manager, session: (session["nested"].append({SECRET}), session.is_modified),
    "open by text": lambda manager, session: manager.open(str(ID)).load(),
}


@pytest.mark.parametrize("failing", FAILURES.values(), ids=FAILURES)
def test_calls_that_fail(store, clock, failing):
    """Whichever call fails, no local variable shows the id, the stored data or the value that was set."""
    data = {"card": SECRET, "nested": [SECRET], "other": [SECRET]}
    store.save(Record(ID, data, clock() + timedelta(hours=1)))
    manager = SessionManager(store, clock=clock)
    session = manager.open(ID)
    session.load()
    assert leaks(raised(lambda: failing(manager, session))) == []
