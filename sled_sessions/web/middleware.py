"""The ASGI middleware: a session for each request and each WebSocket, and what that means for the response."""

import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from datetime import timedelta
from typing import Any, TypeAlias

from sled_sessions.records import Expiry, Record
from sled_sessions.session.drive import drive, drive_async
from sled_sessions.session.session import Outcome, Session
from sled_sessions.stores.clock import Clock, utc_now
from sled_sessions.stores.protocol import AsyncSessionStore, SessionStore
from sled_sessions.web.cookies import SameSite, SessionCookie
from sled_sessions.web.sealing import Keys, Plain, Private, Signed

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

logger = logging.getLogger(__name__)

_STARTS = frozenset({"http.response.start", "websocket.http.response.start", "websocket.accept"})


class SessionMiddleware:
    """Puts the visitor's `Session` at `scope["session"]`, where Starlette, FastAPI and Litestar have `request.session`.

    The options and their defaults are those of tower-sessions' `SessionManagerLayer`. A changed session is saved
    before the first byte of the response leaves, unless the response is a 5xx; what a streaming body or a background
    task changes after that is saved when the app returns. When the store fails, the request fails.

    Args:
        app: The ASGI application to wrap.
        store: Where the sessions lie. A blocking store is called on the event loop, since the ones in this package
            take microseconds; the session is then loaded on first use. An asyncio store is asked before the app runs.
        name: The cookie's name. `__Host-` and `__Secure-` bring their conditions with them.
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
        clock: Returns the present moment as an aware datetime.

    Raises:
        ValueError: Browsers would refuse such a cookie, or a key is too short.
        TypeError: `store` is no session store.
        ImportError: `private_key` without the package cryptography.
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
        clock: Clock = utc_now,
    ) -> None:
        if not isinstance(store, SessionStore):
            msg = f"store must be a SessionStore or an AsyncSessionStore, not {type(store).__name__}"
            raise TypeError(msg)
        if signed_key is not None and private_key is not None:
            msg = "give signed_key or private_key, not both: an encrypted cookie is authenticated as well"
            raise ValueError(msg)
        seal = (
            Signed(signed_key)
            if signed_key is not None
            else Private(private_key, name)
            if private_key is not None
            else Plain()
        )
        self.app = app
        self.store: Any = store
        self.store_is_async = inspect.iscoroutinefunction(store.load)
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
        self.expiry = expiry
        self.always_save = always_save
        self.touch_after = touch_after
        self.clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        kind = scope["type"]
        if kind not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(self, scope, send)
        if self.store_is_async:
            await exchange.load_async()
        elif kind == "websocket":
            exchange.session.load()  # the handshake's cookie is as old as the connection, which may last for hours
        try:
            await self.app(scope, receive, exchange.send)
        except BaseException:
            # What a request that fails has changed is dropped. A WebSocket's messages were answered one by one.
            await exchange.finish(only_end=kind == "http")
            raise
        await exchange.finish()


class _Exchange:
    """One request and its response, or one WebSocket, with its session."""

    __slots__ = ("_failed", "_middleware", "_presented", "_record", "_scope", "_send", "_started", "session")

    def __init__(self, middleware: SessionMiddleware, scope: Scope, send: Send) -> None:
        self._middleware = middleware
        self._scope = scope
        self._send = send
        self._started = False
        self._failed = False
        self._record: Record | None = None  # what an asyncio store has answered
        self._presented = middleware.cookie.read(scope["headers"])
        self.session = scope["session"] = Session(self._load, expiry=middleware.expiry, clock=middleware.clock)

    def _load(self) -> Record | None:
        if self._middleware.store_is_async or self._presented.id is None:
            return self._record
        record: Record | None = self._middleware.store.load(self._presented.id)
        return record

    async def load_async(self) -> None:
        """Ask an asyncio store for the record, since the session cannot wait for it later."""
        if self._presented.id is not None:
            self._record = await self._middleware.store.load(self._presented.id)

    async def send(self, message: Message) -> None:
        """Pass a message on; the first one of the response goes after the commit, with the cookie."""
        kind = message["type"]
        if kind in _STARTS:
            self._failed = message.get("status", 200) >= 500
            outcome = await self._commit(only_end=self._failed)
            self._started = True
            message = self._with_headers(message, outcome)
        elif kind == "websocket.close":
            await self.finish()
        await self._send(message)

    async def finish(self, *, only_end: bool = False) -> None:
        """Save what was changed since the response began; its cookie has gone out and cannot be changed any more."""
        self._adopt()
        if not self.session.is_loaded:
            return
        if self.session.needs_new_id and not (only_end or self._failed):
            logger.warning("a session was begun, or its id cycled, after the response had started: not saved")
            only_end = True
        await self._commit(only_end=only_end or self._failed)

    async def _commit(self, *, only_end: bool) -> Outcome:
        self._adopt()
        middleware = self._middleware
        steps = self.session.commit(
            always_save=middleware.always_save and self._presented.id is not None and not self._started,
            touch_after=middleware.touch_after,
            only_end=only_end,
        )
        if middleware.store_is_async:
            return await drive_async(steps, middleware.store)
        return drive(steps, middleware.store)

    def _adopt(self) -> None:
        """Take over what the app has put in the session's place (Litestar's `set_session` and `clear_session` do)."""
        replacement = self._scope.get("session")
        if replacement is not self.session:
            self.session.clear()
            if isinstance(replacement, Mapping):
                self.session.update(replacement)
            self._scope["session"] = self.session

    def _with_headers(self, message: Message, outcome: Outcome) -> Message:
        cookie = self._cookie(outcome)
        if cookie is None and not self.session.is_loaded:
            return message
        headers: list[tuple[bytes, bytes]] = list(message.get("headers") or ())
        if not _has(headers, b"vary", (b"cookie", b"*")):
            headers.append((b"vary", b"Cookie"))
        if cookie is not None:
            headers.append((b"set-cookie", cookie))
            if not _has(headers, b"cache-control"):
                headers.append((b"cache-control", b"private"))
        return {**message, "headers": headers}

    def _cookie(self, outcome: Outcome) -> bytes | None:
        session, cookie = self.session, self._middleware.cookie
        if outcome is Outcome.SAVED and session.id is not None:
            return cookie.write(session.id, None if session.expiry.ends_with_browser else session.expiry_age)
        # A cookie that stands for no session is removed, and so is one that cannot even be read.
        is_dead = outcome is Outcome.GONE or (self._presented.id is None and not session.is_loaded)
        return cookie.removal if is_dead and self._presented.is_ours else None


def _has(headers: Iterable[tuple[bytes, bytes]], name: bytes, members: tuple[bytes, ...] = ()) -> bool:
    """Whether there is a header of this name; with `members`, one that lists any of these."""
    for header, value in headers:
        if header.lower() == name and (
            not members or any(member.strip().lower() in members for member in value.split(b","))
        ):
            return True
    return False
