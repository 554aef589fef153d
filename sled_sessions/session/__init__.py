"""Sessions: one visitor's data while a program uses it, and how it is written back."""

from sled_sessions.session.commit import Outcome
from sled_sessions.session.manager import SessionManager
from sled_sessions.session.session import Session

__all__ = ["Outcome", "Session", "SessionManager"]
