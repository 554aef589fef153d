"""Quart: makes `quart.session` the session that `SessionMiddleware` puts into the ASGI scope.

    app = Quart(__name__)
    app.session_interface = QuartSessions()
    app.asgi_app = SessionMiddleware(app.asgi_app, store)

The middleware's expiry policy applies; Quart's `session.permanent` has no effect. A session holds JSON, so `Markup` in
a flashed message comes back as text, which a template escapes.
"""

from typing import TYPE_CHECKING, Any

from sled_sessions.session import Session

if TYPE_CHECKING:
    from quart.sessions import SecureCookieSessionInterface as _Base  # what Quart declares `session_interface` to be
else:
    _Base = object


class QuartSessions(_Base):
    """A session interface for Quart. The middleware loads and saves the session and sets the cookie."""

    def is_null_session(self, obj: object) -> bool:
        """False: Quart uses a null session if opening fails, but `open_session` raises instead."""
        return False

    async def open_session(self, app: Any, request: Any) -> Any:
        """The session of a request or a WebSocket.

        Raises:
            RuntimeError: No middleware around `app.asgi_app` has put a session into the request's scope.
        """
        session = request.scope.get("session")
        if not isinstance(session, Session):
            raise RuntimeError(  # noqa: TRY004 - the argument is valid, the set-up is not
                "wrap app.asgi_app in a SessionMiddleware: it puts the session into the scope. Quart's "
                "test_request_context and session_transaction bypass it; make requests with test_client instead"
            )
        return session

    async def save_session(self, app: Any, session: Any, response: Any) -> None:
        """Do nothing: the middleware saves the session."""
