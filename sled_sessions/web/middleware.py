"""The ASGI middleware: a session for each request and each WebSocket.

When the session is loaded: on first use; on an asyncio store before the app runs, since dict access cannot await (an
error is raised on first use); for a WebSocket at the handshake. A record that cannot be decoded counts as no session.

What is done with it, and which cookie goes out:

| when | the session | saved | cookie |
|---|---|---|---|
| before the response starts | never used (without `always_save`) | no | none |
| | used and unchanged | no; with `always_save` its expiry moves | none; with `always_save` a new one |
| | changed, begun, or under a new id | yes | its id |
| | flushed or emptied | deleted | a removal, if one of ours came in |
| | used, and the request's id is unknown or malformed | no | a removal, if one of ours came in |
| | ended, or its id changed, by another request meanwhile | no, with a warning | none; after a `flush()` a removal |
| | its id was changed less than `rotation_grace` ago | no, with a warning | none; after a `flush()` a removal |
| | its id was changed in either way, and it calls `cycle_id()` | what was set here, as a new session | the new id |
| the response is a 5xx, or the app raised | changed | no: only a `flush()` is carried out | removal after a `flush()` |
| after the response started (streaming, background tasks) | changed | when the app returns | none: headers are sent |
| | begun, or under a new id | no, with a warning | none |
| a WebSocket is accepted | as before a response starts | the same | the same |
| a WebSocket is closed, or the app returns | changed | yes | none |

A response whose session was used gets `Vary: Cookie`, one with a cookie `Cache-Control: private` unless it says
otherwise. One that the app has marked `public` gets a cookie only for a changed id, and then becomes `private`; a new
session is not begun with it, nor with a request outside the cookie's path. `session/commit.py` says what a save does
to the store.

A login changes the id (`cycle_id()`) while other requests are under way with the old one. A cookie in their answers,
which may arrive after the login's, would undo it: they set none, and what they did to the session is dropped.
"""

import logging
import re
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from sled_sessions.errors import DecodeError
from sled_sessions.records import Expiry, Id, Record
from sled_sessions.records.expiry import policy_of
from sled_sessions.session import Outcome, Session
from sled_sessions.session.commit import commit
from sled_sessions.stores.adapter import as_async, run_inline
from sled_sessions.stores.clock import Clock, clock_of
from sled_sessions.stores.protocol import AsyncSessionStore, SessionStore, check_store, is_async, was_rotated
from sled_sessions.stores.wrapped import max_bytes_of
from sled_sessions.tracebacks import forget_locals, guarded
from sled_sessions.web.cookies import SameSite, SessionCookie
from sled_sessions.web.delivery import Delivery, is_public, made_private
from sled_sessions.web.litestar import is_replaced, take_over
from sled_sessions.web.options import check_grace, check_touch_after
from sled_sessions.web.sealing import Keys, seal_of

if TYPE_CHECKING:
    from asyncio import Future

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
# Each framework declares scopes and messages with types of its own, which no common type but Any fits.
App: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]

logger = logging.getLogger(__name__)

# The messages before which a session is saved; all but the last one carry headers.
_GATES = frozenset({"http.response.start", "websocket.http.response.start", "websocket.accept", "websocket.close"})
_ABSENT = object()
_PLAIN = frozenset({"http", "ws"})
_VARIES = re.compile(rb"(^|,)\s*(cookie|\*)\s*(,|$)", re.IGNORECASE)
_UNFINISHED = "a session could not be ended or saved after its request had failed"


class SessionMiddleware:
    """Puts the visitor's `Session` at `scope["session"]`, where Starlette, FastAPI and Litestar have `request.session`.

    Options and defaults are those of tower-sessions' `SessionManagerLayer`, but for `same_site`. The module's docstring
    says when a session is loaded and saved. When the store fails, the request fails.

    Args:
        app: The ASGI application to wrap.
        store: The store that holds the sessions. A blocking store is called on the event loop, since this package's
            take microseconds (if `durability` waits for a slow disk, pass `AsyncStore(store, in_thread=True)`).
        name: The cookie's name. `__Host-`, `__Secure-` and `__Http-` bring their conditions with them.
        http_only: Keep the cookie from JavaScript.
        same_site: When other sites' requests bring the cookie: "lax" for links and redirects, "strict" never, "none".
        secure: Send the cookie over HTTPS only; browsers make an exception for localhost.
        path: The cookie's path. A request outside it begins no session.
        domain: The cookie's domain; None keeps it to the host that set it.
        partitioned: One cookie jar for each top-level site (CHIPS); needs `secure`.
        expiry: The policy; None is `Expiry.on_session_end()`.
        always_save: Save each session that a request presents, so that its expiry moves.
        touch_after: With `always_save`, skip the write if only the expiry would move, and by less than this.
        signed_key: Sign the cookie: at least 64 bytes, or a list of such keys, of which the first signs.
        private_key: Encrypt the cookie: the same; needs the extra `private`.
        rotation_grace: How long after `cycle_id()` requests with the old id neither set nor remove the cookie, unless
            they change the id themselves or `flush()`; the old id opens nothing. Zero: their id counts as unknown.
        clock: Returns the current time as an aware datetime; None is the store's.

    Raises:
        ValueError: Browsers would refuse such a cookie, a key is too short, `touch_after` is too long or without
            `always_save`, or `rotation_grace` is negative or longer than a day.
        TypeError: `store` is not a session store, `expiry` not a policy, or `touch_after` or `rotation_grace` not a
            timedelta.
        ImportError: `private_key` without the package cryptography.
        EncodeError: `clock` does not return an aware datetime.
    """

    def __init__(
        self,
        app: App,
        store: SessionStore | AsyncSessionStore,
        *,
        name: str = "id",
        http_only: bool = True,
        same_site: SameSite = "lax",
        secure: bool = True,
        path: str = "/",
        domain: str | None = None,
        partitioned: bool = False,
        expiry: Expiry | None = None,
        always_save: bool = False,
        touch_after: timedelta | None = None,
        signed_key: Keys | None = None,
        private_key: Keys | None = None,
        rotation_grace: timedelta = timedelta(seconds=60),
        clock: Clock | None = None,
    ) -> None:
        check_store(store)
        self.expiry = policy_of(expiry)
        check_touch_after(touch_after, self.expiry, always_save=always_save)
        check_grace(rotation_grace)
        self.app = app
        self.store = store
        self.async_store = as_async(store)
        self.blocking_store = None if is_async(store) else store
        self.cookie = SessionCookie(
            name=name,
            http_only=http_only,
            same_site=same_site,
            secure=secure,
            path=path,
            domain=domain,
            partitioned=partitioned,
            seal=seal_of(name, signed_key, private_key),
        )
        self.delivery = Delivery(self.cookie)
        self.always_save = always_save
        self.touch_after = touch_after
        self.rotation_grace = rotation_grace or None
        self.clock = clock_of(store, clock)
        self.max_bytes = max_bytes_of(store)
        self._under_way: set[Future[Outcome]] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one ASGI connection."""
        kind = scope["type"]
        if kind not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(self, scope, send)
        del scope  # error reporters show local variables, and its headers hold the cookie
        if self.blocking_store is None:
            exchange.open(await exchange.load_ahead())
        else:
            exchange.open(partial(exchange.load, self.blocking_store))
        try:
            await self.app(exchange.scope, receive, exchange.send)
        except BaseException as error:
            forget_locals(error)
            # A failed request's changes are dropped. A WebSocket's messages have been answered one by one.
            try:
                await self._finish(exchange, only_end=kind == "http")
            except Exception:
                logger.exception(_UNFINISHED)
            raise
        else:
            if exchange.may_be_changed():
                await self._finish(exchange)
        finally:
            if exchange.outer is not _ABSENT:
                exchange.scope["session"] = exchange.outer

    async def _finish(self, exchange: "_Exchange", *, only_end: bool = False) -> None:
        """Commit what is left. On an asyncio store this is a task, which a cancelled request does not cut short."""
        if (left := exchange.finish(only_end=only_end)) is None:
            return
        if self.blocking_store is not None:
            await left  # never suspends
            return
        import asyncio  # here, since it is half of what importing this package costs

        task = asyncio.ensure_future(left)
        self._under_way.add(task)  # asyncio itself keeps only a weak reference
        task.add_done_callback(self._under_way.discard)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_log_failure)
            raise


class _Exchange:
    """One request and its response, or one WebSocket, with its session."""

    __slots__ = (
        "_failed",
        "_id",
        "_is_known",
        "_middleware",
        "_presented",
        "_send",
        "_session",
        "_was_rotated",
        "outer",
        "scope",
    )

    def __init__(self, middleware: SessionMiddleware, scope: Scope, send: Send) -> None:
        self._middleware = middleware
        self.scope = scope
        self.outer = scope.get("session", _ABSENT)  # set by a middleware around this one
        self._send = send
        self._presented = middleware.cookie.find(scope["headers"])
        self._id: Id | None = None  # the id in it
        self._is_known = False  # whether the store has a session under it
        self._was_rotated = False  # whether another request has changed it, so that it opens nothing
        self._failed = True  # until a response other than a 5xx starts, or the WebSocket is accepted

    def open(self, load: Callable[[], Record | None]) -> None:
        """Give the app a session."""
        middleware = self._middleware
        self._session = self.scope["session"] = Session(
            load, expiry=middleware.expiry, clock=middleware.clock, max_bytes=middleware.max_bytes
        )
        if self._presented is not None and middleware.cookie.is_malformed(self._presented):
            self._session.load()  # calls no store; a used session without a record has its cookie removed
        elif self.scope["type"] == "websocket":
            self._session.load()  # the handshake's cookie is good now; the connection may last for hours

    def load(self, store: SessionStore) -> Record | None:
        """Load the record from a blocking store."""
        id = self._id = self._middleware.cookie.read(self._presented)
        try:
            record = None if id is None else store.load(id)
        except DecodeError:
            _log_undecodable()
            return None
        if record is None:
            run_inline(self._ask_for_mark(), store)
        self._is_known = record is not None
        return record

    async def load_ahead(self) -> Callable[[], Record | None]:
        """Load the record from an asyncio store; returns a function that returns it, or raises what loading raised."""
        id = self._id = self._middleware.cookie.read(self._presented)
        record: Record | None = None
        failure: Exception | None = None
        try:
            record = None if id is None else await self._middleware.async_store.load(id)
            if record is None:
                await self._ask_for_mark()
            self._is_known = record is not None
        except DecodeError:
            _log_undecodable()
        except Exception as error:  # noqa: BLE001 - raised when the session is used, if it is
            failure = error

        def loaded() -> Record | None:
            if failure is not None:
                raise failure
            return record

        return loaded

    async def _ask_for_mark(self) -> None:
        """Find out whether the id, which has no session, was changed just now."""
        if self._id is not None and self._middleware.rotation_grace is not None:
            self._was_rotated = await was_rotated(self._middleware.async_store, self._id)

    def may_be_changed(self) -> bool:
        """Whether the app may have changed the session since the response started."""
        session = self._session
        return not session.is_untouched or self.scope.get("session") is not session

    def send(self, message: Message) -> Awaitable[None]:
        """Pass a message on; the first one of the response is sent after the commit, with the cookie."""
        if message["type"] not in _GATES:
            return self._send(message)
        session = self._session
        if session.is_loaded or self._middleware.always_save or self.scope.get("session") is not session:
            return self._commit_and_send(message)
        self._failed = message.get("status", 200) >= 500
        return self._send(message)

    async def _commit_and_send(self, message: Message) -> None:
        has_failed = message.get("status", 200) >= 500
        if message["type"] == "websocket.close":
            await self._commit_late(only_end=has_failed)
            self._failed = has_failed
            await self._send(message)
            return
        middleware = self._middleware
        try:
            if self.scope.get("session") is not self._session:
                self._take_over(has_failed)
            if always_save := middleware.always_save and self._presented is not None:
                self._session.load()  # finds out whether its id was changed
            is_refused = (
                not self._is_known
                and self._session.needs_new_id
                and middleware.delivery.refuses(self.scope, message.get("headers") or ())
            )
            outcome = await commit(
                self._session,
                middleware.async_store,
                always_save=always_save,
                touch_after=middleware.touch_after,
                only_end=has_failed or is_refused,
                was_rotated=self._was_rotated,
                rotation_grace=middleware.rotation_grace,
            )
            self._failed = has_failed
            await self._send(self._with_headers(message, outcome))  # the cookie gets no name: tracebacks show those
        except BaseException as error:
            del message  # another middleware's cookie may be in it
            forget_locals(error)
            raise

    def finish(self, *, only_end: bool) -> Coroutine[Any, Any, Outcome] | None:
        """The commit of what is left when the app has returned: after a failure only flushed sessions. None: nothing.

        Raises EncodeError if JSON cannot hold what was changed.
        """
        only_end = only_end or self._failed
        session = self._session
        if self.scope.get("session") is session and not (session.is_ending or (session.is_modified and not only_end)):
            return None
        return self._commit_late(only_end=only_end)

    @guarded
    async def _commit_late(self, *, only_end: bool) -> Outcome:
        """Save what was changed since the response started, whose cookie has been sent and cannot be changed."""
        if self.scope.get("session") is not self._session:
            self._take_over(only_end)
        if self._session.needs_new_id and not only_end:
            logger.warning("a session was begun, or its id cycled, after the response had started: not saved")
            only_end = True
        return await commit(self._session, self._middleware.async_store, only_end=only_end)

    def _take_over(self, has_failed: bool) -> None:
        """Make what the app has put in the session's place its data; after a failure drop it."""
        replacement = self.scope.get("session")
        if is_replaced(self._session, replacement):
            if not has_failed:
                take_over(self._session, replacement)
            self.scope["session"] = self._session

    def _with_headers(self, message: Message, outcome: Outcome) -> Message:
        """The message with the headers that follow from the commit before it."""
        session, cookie, presented = self._session, self._middleware.cookie, self._presented
        value: bytes | None = None
        is_new_id = False
        if outcome is Outcome.SAVED and (id := session.id) is not None:
            is_new_id = id is not self._id
            value = cookie.write(id, session.max_age, None if is_new_id else presented)
        elif outcome is Outcome.GONE and presented is not None and cookie.is_ours(presented):
            value = cookie.removal
        if value is None and not session.is_loaded:
            return message
        headers, varies, is_cached = [], False, False
        for name, content in message.get("headers") or ():
            header = (name, content)
            match name.lower():
                case b"vary":
                    varies = varies or _VARIES.search(content) is not None
                case b"cache-control":
                    is_cached = True
                    if value is not None and is_public([header]):
                        header, value = (made_private(header), value) if is_new_id else (header, None)
            headers.append(header)
        if not varies:
            headers.append((b"vary", b"Cookie"))
        if value is not None:
            if self.scope.get("scheme") in _PLAIN:
                self._middleware.delivery.check_plain(self.scope)
            headers.append((b"set-cookie", value))
            if not is_cached:
                headers.append((b"cache-control", b"private"))
        return {**message, "headers": headers}


def _log_failure(task: "Future[Outcome]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error(_UNFINISHED, exc_info=error)


def _log_undecodable() -> None:
    logger.warning("a session's record could not be decoded: its visitor gets a new session, and the record stays")
