"""The ASGI middleware: a session for each request and each WebSocket, and what that means for the response."""

import enum
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from sled_sessions.errors import DecodeError, EncodeError
from sled_sessions.records import Expiry, Id, Record
from sled_sessions.records.expiry import policy_of
from sled_sessions.session.drive import drive, drive_async
from sled_sessions.session.session import Outcome, Session, Steps
from sled_sessions.stores.clock import Clock, clock_of
from sled_sessions.stores.protocol import AsyncSessionStore, SessionStore, check_store, is_async
from sled_sessions.web.cookies import SameSite, SessionCookie
from sled_sessions.web.sealing import Keys, Private, Seal, Signed

if TYPE_CHECKING:
    from asyncio import Future

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

logger = logging.getLogger(__name__)

# The messages before which a session is saved; all but the last one carry headers.
_GATES = frozenset({"http.response.start", "websocket.http.response.start", "websocket.accept", "websocket.close"})
_ABSENT = object()
_UNFINISHED = "a session could not be ended or saved after its request had failed"
_VARIES = re.compile(rb"(^|,)\s*(cookie|\*)\s*(,|$)", re.IGNORECASE)


class SessionMiddleware:
    """Puts the visitor's `Session` at `scope["session"]`, where Starlette, FastAPI and Litestar have `request.session`.

    The options and their defaults are those of tower-sessions' `SessionManagerLayer`. A changed session is saved
    before the first byte of the response leaves, unless the response is a 5xx; what a streaming body or a background
    task changes after that is saved when the app returns. When the store fails, the request fails.

    Args:
        app: The ASGI application to wrap.
        store: Where the sessions lie. A blocking store is called on the event loop, since the ones in this package
            take microseconds (with a `durability` that waits for a slow disk put an `AsyncStore(store, in_thread=True)`
            here); the session is then loaded on first use. An asyncio store is asked before the app runs,
            and when that fails, so does the first use. A record that cannot be read counts as no session.
        name: The cookie's name. `__Host-`, `__Secure-` and `__Http-` bring their conditions with them.
        http_only: Keep the cookie from JavaScript.
        same_site: "strict", "lax" or "none".
        secure: Send the cookie over HTTPS only; browsers make an exception for localhost.
        path: The cookie's path.
        domain: The cookie's domain; None keeps it to the host that set it.
        partitioned: One cookie jar for each top-level site (CHIPS); needs `secure`.
        expiry: The policy; None is `Expiry.on_session_end()`.
        always_save: Save each session that a request comes with, so that its expiry moves.
        touch_after: With `always_save`, spare the write when only the expiry would move, and by less than this.
        signed_key: Sign the cookie: at least 64 bytes, or a list of such keys, of which the first signs.
        private_key: Encrypt the cookie: the same; needs the extra `private`.
        clock: Returns the present moment as an aware datetime; None is the store's.

    Raises:
        ValueError: Browsers would refuse such a cookie, a key is too short, or `touch_after` is too long or without
            `always_save`.
        TypeError: `store` is no session store, `expiry` no policy, or `touch_after` no timedelta.
        ImportError: `private_key` without the package cryptography.
        EncodeError: `clock` returns no aware datetime.
    """

    def __init__(
        self,
        app: App,
        store: SessionStore | AsyncSessionStore,
        *,
        name: str = "id",
        http_only: bool = True,
        same_site: SameSite = "strict",
        secure: bool = True,
        path: str = "/",
        domain: str | None = None,
        partitioned: bool = False,
        expiry: Expiry | None = None,
        always_save: bool = False,
        touch_after: timedelta | None = None,
        signed_key: Keys | None = None,
        private_key: Keys | None = None,
        clock: Clock | None = None,
    ) -> None:
        check_store(store)
        self.expiry = policy_of(expiry)
        if touch_after is not None:
            policy = self.expiry
            if not isinstance(touch_after, timedelta):
                raise TypeError(f"touch_after must be a timedelta, not {type(touch_after).__name__}")
            if not always_save:
                raise ValueError("touch_after spares writes that always_save=True makes; give both")
            if policy.deadline is None and touch_after >= policy.lifetime:
                raise ValueError(
                    f"touch_after must be shorter than {policy.lifetime}, after which a session that is not saved "
                    "expires"
                )
        if signed_key is not None and private_key is not None:
            raise ValueError("give signed_key or private_key, not both: an encrypted cookie is authenticated as well")
        seal: Seal | None = None
        if signed_key is not None:
            seal = Signed(signed_key)
        if private_key is not None:
            seal = Private(private_key, name)
        self.app = app
        self.store: Any = store
        self.store_is_async = is_async(store)
        self.cookie = SessionCookie(
            name=name,
            http_only=http_only,
            same_site=same_site,
            secure=secure,
            path=path,
            domain=domain,
            partitioned=partitioned,
            seal=seal,
        )
        self.always_save = always_save
        self.touch_after = touch_after
        self.clock = clock_of(store, clock)
        self._under_way: set[Future[Outcome]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        kind = scope["type"]
        if kind not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        outer = scope.get("session", _ABSENT)  # of another middleware around this one
        exchange = _Exchange(self, scope, send)
        if self.store_is_async:
            await exchange.open_async()
        else:
            exchange.open()
        try:
            await self.app(scope, receive, exchange.send_async if self.store_is_async else exchange.send)
        except BaseException:
            # What a request that fails has changed is dropped. A WebSocket's messages were answered one by one.
            try:
                await self._finish(exchange, only_end=kind == "http")
            except Exception:
                logger.exception(_UNFINISHED)
            raise
        else:
            if exchange.is_unfinished:
                await self._finish(exchange)
        finally:
            if outer is not _ABSENT:
                scope["session"] = outer

    async def _finish(self, exchange: "_Exchange", *, only_end: bool = False) -> None:
        """Do what is left, on an asyncio store in a task of its own: a cancelled request may not wait any more."""
        steps = exchange.finish(only_end=only_end)
        if not self.store_is_async:
            drive(steps, self.store)
            return
        try:
            first = next(steps)
        except StopIteration:  # nothing is left, after nearly all requests
            return
        import asyncio  # only here: it would be half of what importing this package costs

        task = asyncio.ensure_future(drive_async(steps, self.store, first))
        self._under_way.add(task)  # asyncio itself does not keep it alive
        task.add_done_callback(self._under_way.discard)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_tell_of_failure)
            raise


class _Exchange:
    """One request and its response, or one WebSocket, with its session."""

    __slots__ = ("_failed", "_id", "_middleware", "_presented", "_scope", "_send", "_session")

    def __init__(self, middleware: SessionMiddleware, scope: Scope, send: Send) -> None:
        self._middleware = middleware
        self._scope = scope
        self._send = send
        self._presented = middleware.cookie.find(scope["headers"])
        self._id: Id | None = None  # that was read from it
        self._failed = True  # until there is a response, and it is no 5xx, or the WebSocket was accepted

    def open(self) -> None:
        """Give the app a session that is loaded when it is first used."""
        self._begin(self._load)

    async def open_async(self) -> None:
        """Give the app a session that is loaded: when it is used it cannot wait for an asyncio store."""
        id = self._id = self._middleware.cookie.read(self._presented)
        record: Record | None = None
        failure: Exception | None = None
        try:
            record = None if id is None else await self._middleware.store.load(id)
        except DecodeError:
            _tell_of_unreadable()
        except Exception as error:  # noqa: BLE001 - it is raised when the session is used, if it is
            failure = error

        def load() -> Record | None:
            if failure is not None:
                raise failure
            return record

        self._begin(load)

    def _load(self) -> Record | None:
        id = self._id = self._middleware.cookie.read(self._presented)
        try:
            record: Record | None = None if id is None else self._middleware.store.load(id)
        except DecodeError:
            _tell_of_unreadable()
            return None
        return record

    def _begin(self, load: Callable[[], Record | None]) -> None:
        middleware = self._middleware  # and no name for the cookie's value: loading may fail, and tracebacks show names
        self._session = self._scope["session"] = Session(load, expiry=middleware.expiry, clock=middleware.clock)
        if self._presented is not None and middleware.cookie.is_malformed(self._presented):
            self._session.load()  # without a store call; from now on it counts as read, and the cookie will be removed
        elif self._scope["type"] == "websocket":
            self._session.load()  # the handshake's cookie is only good now; the connection may last for hours

    @property
    def is_unfinished(self) -> bool:
        """Whether the app may have changed the session since the response began."""
        session = self._session
        return not session.is_untouched or self._scope.get("session") is not session

    def send(self, message: Message) -> Awaitable[None]:
        """Pass a message on; the first one of the response goes after the commit, with the cookie."""
        if message["type"] in _GATES:
            has_failed = message.get("status", 200) >= 500
            if self._is_concerned():
                outcome = drive(self._commit(message, has_failed), self._middleware.store)
                message = self._with_headers(message, outcome)
            self._failed = has_failed
        return self._send(message)

    async def send_async(self, message: Message) -> None:
        """The same on an asyncio store."""
        if message["type"] in _GATES:
            has_failed = message.get("status", 200) >= 500
            if self._is_concerned():
                outcome = await drive_async(self._commit(message, has_failed), self._middleware.store)
                message = self._with_headers(message, outcome)
            self._failed = has_failed
        await self._send(message)

    def _is_concerned(self) -> bool:
        """Whether the session has anything to do with the response."""
        session = self._session
        return session.is_loaded or self._middleware.always_save or self._scope.get("session") is not session

    def _commit(self, message: Message, has_failed: bool) -> Steps[Outcome]:
        """What must be done before this message."""
        if message["type"] == "websocket.close":
            return self._commit_late(only_end=has_failed)
        self._adopt(has_failed)
        return self._session.commit(
            always_save=self._middleware.always_save and self._presented is not None,
            touch_after=self._middleware.touch_after,
            only_end=has_failed,
        )

    def finish(self, *, only_end: bool = False) -> Steps[Outcome]:
        """Do what is left when the app has returned; after a failure delete what was flushed, and no more."""
        return self._commit_late(only_end=only_end or self._failed)

    def _commit_late(self, *, only_end: bool) -> Steps[Outcome]:
        """Save what was changed since the response began; its cookie has gone out and cannot be changed any more."""
        self._adopt(only_end)
        if self._session.needs_new_id and not only_end:
            logger.warning("a session was begun, or its id cycled, after the response had started: not saved")
            only_end = True
        return self._session.commit(only_end=only_end)

    def _adopt(self, has_failed: bool) -> None:
        """Take over what the app has put in the session's place, as Litestar's `set_session` and `clear_session` do.

        The session of another middleware, ours or Starlette's around a mounted app, is that one's business. Before
        Starlette 1.0 that is a plain dict, which cannot be told from what an app puts there.
        """
        session, replacement = self._session, self._scope.get("session")
        if replacement is session or hasattr(replacement, "mark_accessed"):
            return
        if not has_failed:
            data = Session(lambda: None)  # which refuses what a session cannot hold before the other one is emptied
            data.update(_plain_data(replacement))
            session.clear()
            session.update(data)
        self._scope["session"] = session

    def _with_headers(self, message: Message, outcome: Outcome) -> Message:
        """The message with the headers that come of the commit before it."""
        cookie = self._cookie(outcome)
        if (cookie is None and not self._session.is_loaded) or message["type"] == "websocket.close":
            return message
        headers = list(message.get("headers") or ())
        varies = is_cached = False
        for name, value in headers:
            match name.lower():
                case b"vary":
                    varies = varies or _VARIES.search(value) is not None
                case b"cache-control":
                    is_cached = True
        if not varies:
            headers.append((b"vary", b"Cookie"))
        if cookie is not None:
            headers.append((b"set-cookie", cookie))
            if not is_cached:
                headers.append((b"cache-control", b"private"))
        return {**message, "headers": headers}

    def _cookie(self, outcome: Outcome) -> bytes | None:
        session, cookie = self._session, self._middleware.cookie
        if outcome is Outcome.SAVED and (id := session.id) is not None:
            return cookie.write(id, session.max_age, self._presented if id is self._id else None)
        if outcome is Outcome.GONE and self._presented is not None and cookie.is_ours(self._presented):
            return cookie.removal
        return None


def _plain_data(replacement: object) -> Mapping[str, Any]:
    """What was put in a session's place, as a session's data; nothing for None and for Litestar's `Empty`.

    Raises:
        EncodeError: It is neither a mapping nor an object with fields.
    """
    if replacement is None or isinstance(replacement, type | enum.Enum):  # Litestar's has been either
        return {}
    if hasattr(replacement, "model_dump"):  # Pydantic's, which msgspec does not know
        replacement = replacement.model_dump(mode="json")
    try:
        data = replacement if isinstance(replacement, Mapping) else msgspec.to_builtins(replacement)
    except (TypeError, ValueError, RecursionError):
        data = replacement
    if not isinstance(data, Mapping):
        raise EncodeError(f"a session is a mapping, and {type(replacement).__name__} has been put in its place")
    return data


def _tell_of_failure(task: "Future[Outcome]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error(_UNFINISHED, exc_info=error)


def _tell_of_unreadable() -> None:
    logger.warning("a session's record cannot be read: its visitor has no session, and the record stays in the store")
