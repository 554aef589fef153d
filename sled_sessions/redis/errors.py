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


def backend_error(error: Exception, keys: Iterable[bytes]) -> BackendError:
    """The error for a command about these keys.

    Some servers repeat the command, or its beginning, in their answer: an answer that shows an id, or the beginning of
    one, is neither quoted nor chained.
    """
    kind, text = type(error).__name__, str(error)
    # A run of six characters of an id cannot match by coincidence.
    if any(key[-TEXT_LENGTH:].decode()[:6] in text for key in keys):
        return BackendError(f"the server refused the command: {kind}")
    failure = BackendError(f"{kind}: {text}")
    failure.__cause__ = error
    return failure


def out_of_time(timeout: timedelta, lost: int, cause: BaseException | None = None) -> BackendError:
    """The error for a call whose time is up, after another writer came first `lost` times.

    If the client was still trying to connect, the message quotes why it failed, from the chain of causes.
    """
    seconds = f"{timeout.total_seconds():g} s"
    if lost:
        return BackendError(f"not done within {seconds}: other writers changed the session first ({lost:,} times)")
    while cause is not None and not isinstance(cause, RedisConnectionError):
        cause = cause.__cause__ or cause.__context__
    return BackendError(f"the server did not answer within {seconds}" + (f": {cause}" if cause else ""))
