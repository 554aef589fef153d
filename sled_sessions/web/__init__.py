"""Sessions in web applications: an ASGI middleware that works with or without a framework."""

from sled_sessions.web.middleware import SessionMiddleware

__all__ = ["SessionMiddleware"]
