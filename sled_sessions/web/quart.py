"""Quart: makes `quart.session` the session that `SessionMiddleware` put into the ASGI scope.

    app = Quart(__name__)
    app.session_interface = QuartSessions()
    app.asgi_app = SessionMiddleware(app.asgi_app, store)

The expiry policy is the middleware's: setting Quart's `session.permanent` changes nothing.
"""

from typing import Any

from sled_sessions.session import Session


class QuartSessions:
    """What Quart calls a session interface; loading, saving and cookies are left to the middleware."""

    def is_null_session(self, obj: object) -> bool:
        """Whether this stands for a session that could not be opened: there are none."""
        return False

    async def open_session(self, app: Any, request: Any) -> Session:
        """The session of a request or a WebSocket.

        Raises:
            RuntimeError: The request did not come through the middleware.
        """
        session = request.scope.get("session")
        if not isinstance(session, Session):
            raise RuntimeError(  # noqa: TRY004 - the caller's argument is right, the set-up is not
                "no SessionMiddleware around app.asgi_app has put a session into the scope; nor has one for Quart's "
                "test_request_context and session_transaction: use test_client with requests instead"
            )
        return session

    async def save_session(self, app: Any, session: Any, response: Any) -> None:
        """Leave it to the middleware."""
