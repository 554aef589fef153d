"""The encoding of a record, as `rmp-serde` writes tower-sessions' `Record`: a MessagePack array of three elements.

1. the id: `bin 8` of its 16 big-endian bytes (serde's `i128`);
2. the data: a map from text to JSON values;
3. the expiry date: an array of nine integers, as the crate `time` serialises an `OffsetDateTime`: year, day of the
   year, hour, minute, second, nanosecond, and the offset from UTC in hours, minutes and seconds.

Rust rejects an array of four, so nothing can be added here. Python's `datetime` has microseconds: reading a record that
Rust wrote rounds its nanoseconds down, and writing it back loses them.
"""

from datetime import UTC, date, datetime, timedelta, timezone
from functools import lru_cache
from typing import Annotated, Any, TypeAlias

import msgspec

from sled_sessions.errors import DecodeError, EncodeError
from sled_sessions.records.json import MAX_DEPTH, SHALLOW, is_json, to_plain

Moment: TypeAlias = tuple[int, int, int, int, int, int, int, int, int]
"""An expiry date as the record encodes it: nine integers, the offset included."""

_Key = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
_Hours = Annotated[int, msgspec.Meta(ge=0, le=23)]
_Sixtieths = Annotated[int, msgspec.Meta(ge=0, le=59)]
_SignedSixtieths = Annotated[int, msgspec.Meta(ge=-59, le=59)]
_Moment = tuple[
    Annotated[int, msgspec.Meta(ge=-9999, le=9999)],  # Rust's range; Python's starts at 1
    Annotated[int, msgspec.Meta(ge=1, le=366)],
    _Hours,
    _Sixtieths,
    _Sixtieths,
    Annotated[int, msgspec.Meta(ge=0, le=999_999_999)],
    Annotated[int, msgspec.Meta(ge=-23, le=23)],
    _SignedSixtieths,
    _SignedSixtieths,
]

_EPOCH_DAY = date(1970, 1, 1).toordinal()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Whole(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    id: _Key
    data: dict[str, Any]
    expiry: _Moment


class _Shallow(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    id: _Key
    data: dict[str, SHALLOW]
    expiry: _Moment


class _Head(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    id: _Key
    data: msgspec.Raw  # not decoded: a sweep needs only the expiry
    expiry: _Moment


_encode = msgspec.msgpack.Encoder().encode
_decode_shallow = msgspec.msgpack.Decoder(_Shallow).decode
_decode_whole = msgspec.msgpack.Decoder(_Whole).decode
_decode_head = msgspec.msgpack.Decoder(_Head).decode


def encode(key: bytes, data: dict[str, Any], expiry_date: datetime, is_checked: bool = False) -> bytes:
    """Encode a record; `is_checked` if the caller has already checked that JSON can hold the data.

    Raises EncodeError if JSON cannot hold the data (the message names the path), or if `expiry_date` is naive.
    """
    moment = to_moment(expiry_date)
    if not isinstance(data, dict):
        raise EncodeError(f"data must be a dict, not {type(data).__name__}")
    try:
        value = _encode((key, data, moment))
        if is_checked or is_json(data, MAX_DEPTH):
            return value
    except (TypeError, ValueError, OverflowError, RecursionError):
        pass  # `to_plain` converts the value, or raises with the path to it
    return _encode((key, to_plain(data), moment))


def decode(value: bytes) -> tuple[bytes, dict[str, Any], datetime]:
    """The id's bytes, the data and the expiry date of a record.

    Raises:
        DecodeError: The bytes are not a valid record, or its data is not JSON, which no other program could read.
    """
    whole: _Shallow | _Whole
    try:
        whole = _decode_shallow(value)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        whole = _decode_deep(value)
    return whole.id, whole.data, to_datetime(whole.expiry)


def _decode_deep(value: bytes) -> _Whole:
    """Decode data that is nested more deeply than `SHALLOW`, or raise DecodeError with the reason."""
    try:
        whole = _decode_whole(value)
        if not is_json(whole.data, MAX_DEPTH):
            to_plain(whole.data)  # raises, with the path
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError, EncodeError) as error:
        raise _invalid(error) from None
    return whole


def decode_moment(value: bytes) -> Moment:
    """The expiry date of a record, without decoding its data; DecodeError if the bytes are not a valid record."""
    try:
        return _decode_head(value).expiry
    except (msgspec.DecodeError, RecursionError) as error:
        raise _invalid(error) from None


def decode_expiry(value: bytes) -> int:
    """As `decode_moment`, in microseconds since the Unix epoch, rounded down."""
    return moment_to_microseconds(decode_moment(value))


def to_moment(expiry_date: datetime) -> Moment:
    """The nine integers of an aware datetime.

    Raises EncodeError if it is naive, or if its offset has microseconds and its UTC year is not 1 to 9999.
    """
    if expiry_date.tzinfo is UTC:
        hours = minutes = seconds = 0
    else:
        offset = require_aware(expiry_date, "expiry_date").utcoffset() or timedelta(0)
        if offset.microseconds:  # Python allows them, a record does not
            try:
                return to_moment(expiry_date.astimezone(UTC))
            except OverflowError:
                raise EncodeError("expiry_date is outside the years 1 to 9999 in UTC") from None
        sign = -1 if offset < timedelta(0) else 1
        minutes, seconds = divmod(int(abs(offset).total_seconds()), 60)
        hours, minutes = divmod(minutes, 60)
        hours, minutes, seconds = sign * hours, sign * minutes, sign * seconds
    day = expiry_date.toordinal() - _day_before(expiry_date.year)
    time = expiry_date.hour, expiry_date.minute, expiry_date.second, expiry_date.microsecond * 1000
    return expiry_date.year, day, *time, hours, minutes, seconds


def to_datetime(moment: Moment) -> datetime:
    """The aware datetime of nine integers, rounded down to the microsecond; `datetime.min` for years before 1.

    Raises DecodeError if the year does not have that day.
    """
    year, ordinal, hour, minute, second, nanosecond, hours, minutes, seconds = moment
    if year < 1:  # valid in Rust but not in Python; the session has expired in any case
        return datetime.min.replace(tzinfo=UTC)
    month, day = _month_and_day(year, ordinal)
    zone = _zone(hours, minutes, seconds) if hours or minutes or seconds else UTC
    return datetime(year, month, day, hour, minute, second, nanosecond // 1000, zone)


def moment_to_microseconds(moment: Moment) -> int:
    """As `to_datetime`, in microseconds since the Unix epoch, also for years before those of Python's calendar."""
    year, ordinal, hour, minute, second, nanosecond, hours, minutes, seconds = moment
    since = _day(year, ordinal) * 86_400 + hour * 3600 + minute * 60 + second
    if hours or minutes or seconds:
        since -= hours * 3600 + minutes * 60 + seconds
    return since * 1_000_000 + nanosecond // 1000


def latest_moment(microseconds: int) -> Moment:
    """An upper bound that needs no arithmetic: a record whose nine integers compare greater expires later.

    The bound is a day late, because an offset can put local time up to a day ahead of UTC.
    """
    return to_moment(from_microseconds(microseconds + 86_400_000_000))


def to_microseconds(moment: datetime) -> int:
    """Microseconds since the Unix epoch of an aware datetime, exact unlike the float of `timestamp()`."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_microseconds(microseconds: int) -> datetime:
    """The UTC datetime of microseconds since the Unix epoch, clamped to the years 1 to 9999."""
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return (datetime.max if microseconds > 0 else datetime.min).replace(tzinfo=UTC)


def require_aware(moment: datetime, name: str) -> datetime:
    """Return `moment`; raise EncodeError, which calls it `name`, if it is not a datetime or has no time zone."""
    if not isinstance(moment, datetime):
        raise EncodeError(f"{name} must be a datetime, not {type(moment).__name__}")
    if moment.utcoffset() is None:
        raise EncodeError(f"{name} must be an aware datetime, such as datetime.now(UTC); this one has no time zone")
    return moment


@lru_cache(maxsize=512)
def _day_before(year: int) -> int:
    """The ordinal of the last day before `year`, counted as by `date.toordinal` but for any year."""
    past = year - 1
    return past * 365 + past // 4 - past // 100 + past // 400


@lru_cache(maxsize=1024)
def _day(year: int, ordinal: int) -> int:
    """The number of days from 1970-01-01 to a day of a year."""
    day = _day_before(year) + ordinal
    if day > _day_before(year + 1):
        raise _invalid(f"the year {year} has no day {ordinal}")
    return day - _EPOCH_DAY


@lru_cache(maxsize=1024)
def _month_and_day(year: int, ordinal: int) -> tuple[int, int]:
    day = date.fromordinal(_day(year, ordinal) + _EPOCH_DAY)
    return day.month, day.day


@lru_cache(maxsize=128)
def _zone(hours: int, minutes: int, seconds: int) -> timezone:
    return timezone(timedelta(hours=hours, minutes=minutes, seconds=seconds))


def _invalid(why: object) -> DecodeError:
    return DecodeError(f"the bytes are not a valid session record: {why}")
