"""Sessions in web applications: an ASGI middleware that needs no framework."""

from sled_sessions.web.middleware import SessionMiddleware

__all__ = ["SessionMiddleware"]
