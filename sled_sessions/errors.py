"""The errors of all layers above the engine."""


class SessionError(Exception):
    """Base of this package's errors. The engine below has its own, `sled.SledError`."""


class EncodeError(SessionError, ValueError):
    """The session cannot be written as a record. Nothing was written."""


class RecordTooLarge(EncodeError):
    """The encoded record is larger than the store's `max_record_bytes`. Nothing was written."""


class DecodeError(SessionError, ValueError):
    """The bytes are not a valid record, or the text is not a session id."""


class BackendError(SessionError):
    """The store's backend failed; `__cause__` holds the backend's own error."""
