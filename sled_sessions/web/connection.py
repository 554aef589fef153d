"""`session_of`: the session of a connection, with its type, where `request.session` is only a dict to type checkers."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from sled_sessions.errors import SessionError
from sled_sessions.session import Session
from sled_sessions.tracebacks import guarded

if TYPE_CHECKING:

    class _HasScope(Protocol):
        @property
        def scope(self) -> Mapping[str, Any]: ...

    HTTPConnection = _HasScope | Mapping[str, Any]
else:
    # FastAPI reads the annotation below, and calls a dependency with the connection only for Starlette's class.
    try:
        from starlette.requests import HTTPConnection
    except ImportError:
        HTTPConnection = object


@guarded
def session_of(connection: HTTPConnection) -> Session:
    """The session that `SessionMiddleware` has put into a connection's scope; O(1), and does not load it.

        session: Annotated[Session, Depends(session_of)]  # FastAPI, which calls it in a thread, like any def
        session = session_of(request)

    Args:
        connection: A request or a WebSocket of Starlette, FastAPI, Litestar or Quart, or an ASGI scope.

    Raises:
        SessionError: There is no session of this package in the scope.
        TypeError: `connection` is none of these.
    """
    scope = getattr(connection, "scope", connection)
    if not isinstance(scope, Mapping):
        raise TypeError(f"expected a request, a WebSocket or an ASGI scope, not {type(connection).__name__}")
    session = scope.get("session")
    if isinstance(session, Session):
        return session
    if session is None:
        raise SessionError("the scope has no session: wrap the app in sled_sessions.SessionMiddleware")
    kind = f"{type(session).__module__}.{type(session).__qualname__}"
    raise SessionError(f"scope['session'] is a {kind}: another session middleware, or the app, has put it there")
