"""Sessions: what one visitor's data is while a program uses it. Sans I/O: whoever drives a session calls the store."""

from sled_sessions.session.manager import SessionManager
from sled_sessions.session.session import Outcome, Session

__all__ = ["Outcome", "Session", "SessionManager"]
