"""What the client's errors mean, and the `BackendError` to raise. No I/O."""

from collections.abc import Iterable
from datetime import timedelta

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, ResponseError

from sled_sessions.errors import BackendError
from sled_sessions.records.record import TEXT_LENGTH


def is_wrong_type(answer: object) -> bool:
    """Whether the server found a list, a hash or the like, which another program stored under the key."""
    return isinstance(answer, ResponseError) and str(answer).startswith("WRONGTYPE")


def is_read_only(error: Exception) -> bool:
    """Whether the server is a replica and refuses writes."""
    # For a script, Redis before 7 puts the code in the middle of the message.
    return isinstance(error, ReadOnlyError) or "READONLY" in str(error)


_LACKS_TLS = (
    "; if its port has no TLS, the URL must begin with redis:// or valkey:// instead of rediss:// or valkeys://"
)


def backend_error(error: Exception, keys: Iterable[bytes], *, may_lack_tls: bool = False) -> BackendError:
    """The error for a command about these keys.

    With `may_lack_tls` it names the cure for a TLS address on a plain port.

    Some servers repeat the command, or its beginning, in their answer: an answer that shows an id, or the beginning of
    one, is neither quoted nor chained.
    """
    kind, text = type(error).__name__, str(error)
    # A run of six characters of an id cannot match by coincidence.
    if any(key[-TEXT_LENGTH:].decode()[:6] in text for key in keys):
        return BackendError(f"the server refused the command: {kind}")
    is_not_tls = may_lack_tls and ("WRONG_VERSION" in text or "record layer" in text)  # OpenSSL's words
    failure = BackendError(f"{kind}: {text}" + (_LACKS_TLS if is_not_tls else ""))
    failure.__cause__ = error
    return failure


def out_of_time(timeout: timedelta, lost: int, cause: BaseException | None, *, may_lack_tls: bool) -> BackendError:
    """The error for a call whose time is up, after another writer came first `lost` times.

    If the client was still trying to connect, the message quotes why it failed, from the chain of causes. With
    `may_lack_tls` it names the cure for a TLS address on a plain port: a server there takes the client's first bytes
    for the beginning of a command, and waits for its end.
    """
    seconds = f"{timeout.total_seconds():g} s"
    if lost:
        return BackendError(f"not done within {seconds}: other writers changed the session first ({lost:,} times)")
    while cause is not None and not isinstance(cause, RedisConnectionError):
        cause = cause.__cause__ or cause.__context__
    reason = f": {cause}" if cause else ""
    return BackendError(f"the server did not answer within {seconds}{reason}{_LACKS_TLS if may_lack_tls else ''}")
