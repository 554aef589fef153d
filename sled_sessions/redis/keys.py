"""The keys of sessions on a server. No I/O."""

import re

from sled_sessions.errors import DecodeError
from sled_sessions.records import Id
from sled_sessions.stores.protocol import key_of


class Keys:
    """The keys under one prefix: UTF-8, whatever the client's encoding. `pattern` matches them in a SCAN."""

    def __init__(self, prefix: str) -> None:
        if not isinstance(prefix, str):
            raise TypeError(f"prefix must be a str, not {type(prefix).__name__}")
        self._prefix = prefix.encode()
        self.pattern = re.sub(rb"([*?\[\]\\])", rb"\\\1", self._prefix) + b"*"

    def of(self, id: Id) -> bytes:
        """The session's key; raises TypeError if `id` is not an Id."""
        key_of(id)
        return self._prefix + str(id).encode()

    def id_of(self, key: bytes) -> Id | None:
        """The id in a key that `pattern` matches; None if the key is not a session's."""
        try:
            return Id.parse(key[len(self._prefix) :])
        except DecodeError:
            return None
