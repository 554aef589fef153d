"""For an app's tests: a clock that they move, and clients that are logged in.

    from sled_sessions.testing import session_clock, session_store  # fixtures, in conftest.py

Nothing registers itself with pytest, and this module can be imported without it.
"""

from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime, timedelta
from email.message import Message
from http.cookiejar import CookieJar
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, cast, overload
from urllib.parse import urlsplit
from urllib.request import Request

from sled_sessions.records import Expiry, Id
from sled_sessions.records.codec import require_aware
from sled_sessions.session import Session
from sled_sessions.session.commit import commit
from sled_sessions.stores.adapter import as_async, run_inline
from sled_sessions.stores.clock import clock_of
from sled_sessions.stores.memory import MemoryStore
from sled_sessions.stores.protocol import AsyncSessionStore, SessionStore, check_store, is_async
from sled_sessions.stores.wrapped import max_bytes_of
from sled_sessions.web.cookies import SessionCookie
from sled_sessions.web.sealing import Keys, seal_of

if TYPE_CHECKING:
    from pytest import fixture  # noqa: PT013 - the one name that the fallback below defines, too
else:
    try:
        from pytest import fixture  # noqa: PT013 - the same
    except ImportError:

        def fixture(function):
            """Leave the function as it is."""
            return function


class MovableClock:
    """A clock that stands still until it is moved, for the `clock=` of a store.

    Args:
        start: An aware datetime; None is the current time.

    Attributes:
        now: The time that it shows, in UTC.

    Raises:
        EncodeError: `start` is not an aware datetime.
    """

    def __init__(self, start: datetime | None = None) -> None:
        self.now = datetime.now(UTC) if start is None else require_aware(start, "start").astimezone(UTC)

    def __call__(self) -> datetime:
        """The time that it shows."""
        return self.now

    def move(self, by: timedelta) -> None:
        """Let this much time pass."""
        self.now += by

    def __repr__(self) -> str:
        return f"MovableClock({self.now.isoformat()})"


@fixture
def session_clock() -> MovableClock:
    """The clock of `session_store`: the time at the start of the test, until the test moves it."""
    return MovableClock()


@fixture
def session_store(session_clock: MovableClock) -> MemoryStore:
    """An empty `MemoryStore` on `session_clock`, new for each test."""
    return MemoryStore(clock=session_clock)


class SealKeys(TypedDict, total=False):
    """The middleware's options of these names."""

    signed_key: Keys | None
    private_key: Keys | None


@overload
def sign_in(
    client: object,
    store: SessionStore,
    data: Mapping[str, Any],
    *,
    expiry: Expiry | None = None,
    name: str = "id",
    path: str = "/",
    **seal: Unpack[SealKeys],
) -> Id: ...


@overload
def sign_in(
    client: object,
    store: AsyncSessionStore,
    data: Mapping[str, Any],
    *,
    expiry: Expiry | None = None,
    name: str = "id",
    path: str = "/",
    **seal: Unpack[SealKeys],
) -> Awaitable[Id]: ...


def sign_in(
    client: object,
    store: SessionStore | AsyncSessionStore,
    data: Mapping[str, Any],
    *,
    expiry: Expiry | None = None,
    name: str = "id",
    path: str = "/",
    **seal: Unpack[SealKeys],
) -> Id | Awaitable[Id]:
    """Store a session and give its cookie to a test client, as if it had logged in. With an asyncio store, await it.

    The app's next cookie replaces this one. Signing in again changes to another session.

    Args:
        client: A test client of Starlette, FastAPI, Litestar, Flask or Quart, or an httpx client with a `base_url`. For
            an app with the default `secure=True`, let the `base_url` begin with `https:`, or the client will not send
            back the cookies that the app sets.
        store: The app's store.
        data: What the session holds, such as `{"user": 7}`.
        expiry: The session's own policy; None is that of a middleware without `expiry=`.
        name: The cookie's name, as in the middleware.
        path: The cookie's path, as in the middleware.
        seal: `signed_key` or `private_key`, as in the middleware.

    Returns:
        The session's id.

    Raises:
        TypeError: `store` is not a store, or `client` is of another kind.
        ValueError: `data` is empty, the client has no `base_url`, or a cookie of this name needs HTTPS.
        EncodeError: JSON cannot hold `data`.
    """
    check_store(store)
    signing_in = _sign_in(client, store, data, expiry, name, path, seal)
    return signing_in if is_async(store) else run_inline(signing_in, store)


async def _sign_in(
    client: object,
    store: SessionStore | AsyncSessionStore,
    data: Mapping[str, Any],
    expiry: Expiry | None,
    name: str,
    path: str,
    seal: SealKeys,
) -> Id:
    jar, address = _jar_of(client)
    is_secure = urlsplit(address).scheme == "https"
    if name.startswith("__") and not is_secure:
        raise ValueError(f"the cookie {name!r} needs HTTPS: give the client base_url='https://testserver'")
    cookie = SessionCookie(name=name, path=path, secure=is_secure, seal=seal_of(name, **seal))
    session = Session(lambda: None, clock=clock_of(store), max_bytes=max_bytes_of(store))
    session.update(data)
    if expiry is not None:
        session.expiry = expiry
    await commit(session, as_async(store))
    if (id := session.id) is None:
        raise ValueError("a session is not stored without data, or with an expiry that has passed")
    if jar is None:
        value = cookie.write(id, None).decode().partition(";")[0].partition("=")[2]
        cast("Any", client).set_cookie(name, value, domain=urlsplit(address).hostname, path=path)
    else:  # as if a response had set it: the jar then knows its host as it knows that of the app's own
        answer = Message()
        answer["Set-Cookie"] = cookie.write(id, None).decode()
        jar.extract_cookies(cast("Any", SimpleNamespace(info=lambda: answer)), Request(address))  # noqa: S310
    return id


def _jar_of(client: Any) -> tuple[CookieJar | None, str]:
    """A client's cookie jar, None for Flask's client, which has another kind, and the address of its requests."""
    if isinstance(jar := getattr(getattr(client, "cookies", None), "jar", None), CookieJar):  # httpx and Starlette
        address = str(client.base_url)
        if not urlsplit(address).hostname:
            raise ValueError("a client without base_url has no host for the cookie: base_url='https://testserver'")
        return jar, address
    app = getattr(client, "application", None) or getattr(client, "app", None)
    # Quart's and Flask's send every cookie, secure ones over HTTP, too.
    address = f"https://{getattr(app, 'config', {}).get('SERVER_NAME') or 'localhost'}"
    if isinstance(jar := getattr(client, "cookie_jar", None), CookieJar):
        return jar, address
    if app is not None and hasattr(client, "set_cookie"):
        return None, address
    raise TypeError(f"expected a test client or an httpx client, not {type(client).__name__}")
