"""Sessions without a web server."""

import pytest

from sled_sessions import MemoryStore
from sled_sessions.session import SessionManager


@pytest.fixture
def store(clock) -> MemoryStore:
    return MemoryStore(clock=clock)


@pytest.fixture
def manager(store, clock) -> SessionManager:
    return SessionManager(store, clock=clock)
