"""Events about sessions."""

import logging

import pytest
from pausing import Pausing

from sled_sessions.session.commit import commit


def test_deleted_event_before_clean_up(manager, store, caplog):
    """A commit cancelled while it deletes an unused record has already reported the end of the session."""
    with manager.session() as session:
        session["mine"] = session["theirs"] = 1
    session.cycle_id()
    del session["mine"]
    with manager.session(session.id) as other:
        del other["theirs"]
    caplog.clear()
    steps = commit(session, Pausing(store))
    with caplog.at_level(logging.INFO, "sled_sessions.events"):
        while steps.send(None) != "delete":
            pass
    assert [record.event for record in caplog.records] == ["deleted"]


def test_events(manager, caplog):
    """Creating, rotating and ending a session are three events, linked by their hashes."""
    caplog.set_level(logging.INFO, "sled_sessions.events")
    session = manager.open()
    session["n"] = 1
    manager.commit(session)
    session.cycle_id()
    manager.commit(session)
    session["n"] = 2
    manager.commit(session)
    manager.end(session)
    assert [record.event for record in caplog.records] == ["created", "rotated", "deleted"]
    created, rotated, deleted = caplog.records
    assert created.session == rotated.was != rotated.session == deleted.session


ENDS = pytest.mark.parametrize("acts", [["flush"], ["clear"], ["cycle_id", "clear"]], ids=" ".join)


@ENDS
def test_emptied_session_is_reported_as_deleted(manager, caplog, acts):
    """A session without data left is reported as deleted, like one that is flushed."""
    caplog.set_level(logging.INFO, "sled_sessions.events")
    with manager.session() as session:
        session["n"] = 1
    with manager.session(session.id) as session:
        for act in acts:
            getattr(session, act)()
    assert [record.event for record in caplog.records] == ["created", "deleted"]


@ENDS
def test_session_deleted_elsewhere_is_not_reported(manager, store, caplog, acts):
    """Ending a session that another request has already deleted reports nothing."""
    with manager.session() as session:
        session["n"] = 1
    caplog.set_level(logging.INFO, "sled_sessions.events")
    caplog.clear()
    with manager.session(session.id) as session:
        for act in acts:
            getattr(session, act)()
        for record in list(store.records()):
            store.delete(record.id)
    assert caplog.records == []
