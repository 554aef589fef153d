"""The session cookie (RFC 6265bis): checks its options, reads it from a request, writes it for a response."""

import re
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Literal

import attrs

from sled_sessions.errors import DecodeError
from sled_sessions.records import Id
from sled_sessions.records.record import TEXT_LENGTH
from sled_sessions.web.sealing import Seal

SameSite = Literal["strict", "lax", "none"]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PATH = re.compile(r"[\x20-\x3a\x3c-\x7e]+")
_DOMAIN = re.compile(r"\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


@attrs.frozen
class SessionCookie:
    """The cookie that carries the session id, with tower-sessions' options, and its defaults but for `same_site`.

    Raises:
        ValueError: Browsers would refuse a cookie with these options, so no session would survive its first request.
    """

    name: str = attrs.field(default="id", validator=attrs.validators.instance_of(str))
    http_only: bool = True
    same_site: SameSite = "lax"
    secure: bool = True
    path: str = attrs.field(default="/", validator=attrs.validators.instance_of(str))
    domain: str | None = None
    partitioned: bool = False
    seal: Seal | None = attrs.field(default=None, repr=False)

    _before: bytes = attrs.field(init=False, repr=False)
    _after: bytes = attrs.field(init=False, repr=False)
    _values: Callable[[bytes], list[bytes]] = attrs.field(init=False, repr=False)
    removal: bytes = attrs.field(init=False, repr=False)
    """The Set-Cookie value that makes the browser delete the cookie."""

    def __attrs_post_init__(self) -> None:
        if (problem := self._problem()) is not None:
            raise ValueError(problem)
        # In the order of Rust's `cookie` crate.
        attributes = "".join(
            (
                "; HttpOnly" if self.http_only else "",
                f"; SameSite={self.same_site.capitalize()}",
                "; Partitioned" if self.partitioned else "",
                "; Secure" if self.secure else "",
                f"; Path={self.path}",
                f"; Domain={self.domain}" if self.domain is not None else "",
            )
        )
        set_attribute = object.__setattr__
        set_attribute(self, "_before", f"{self.name}=".encode())
        set_attribute(self, "_after", attributes.encode())
        set_attribute(self, "_values", re.compile(rb"(?:^|;)\s*%b\s*=([^;]*)" % re.escape(self.name.encode())).findall)
        removal = f"{self.name}={attributes}; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"
        set_attribute(self, "removal", removal.encode())

    def find(self, headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
        """The value of the last cookie with this name in a request, unchanged: quotes are kept."""
        found = None
        for header, value in headers:
            if header == b"cookie" and (values := self._values(value)):
                found = values[-1].strip()
        return found

    def read(self, value: bytes | None) -> Id | None:
        """The id in a cookie's value, or None. The id is not trustworthy until the store has found it."""
        if value is None:
            return None
        opened = value if self.seal is None else self.seal.open(value.decode("latin-1"))
        try:
            return None if opened is None else Id.parse(opened)
        except DecodeError:
            return None

    def is_ours(self, value: bytes) -> bool:
        """Whether one of the keys sealed this value. Always true without keys, when there is no way to tell."""
        return self.seal is None or self.seal.open(value.decode("latin-1")) is not None

    def is_malformed(self, value: bytes) -> bool:
        """Whether the length alone rules out that this value holds an id: a check cheap enough for each request."""
        return self.seal is None and len(value) != TEXT_LENGTH

    def write(self, id: Id, max_age: timedelta | None, presented: bytes | None = None) -> bytes:
        """The Set-Cookie value for a session, which the browser keeps for `max_age`, or for None until it closes.

        `max_age` is rounded up to seconds, so that no browser drops the cookie of a live session. If the request
        `presented` a value that this id was read from, it is reused unless sealed: faster than formatting the id.
        """
        if self.seal is not None:
            value = self.seal.seal(str(id)).encode()
        else:
            value = str(id).encode() if presented is None else presented
        age = b""
        if max_age is not None:
            age = b"; Max-Age=%d" % (max_age.days * 86_400 + max_age.seconds + (max_age.microseconds > 0))
        return self._before + value + self._after + age

    def _problem(self) -> str | None:
        prefix = self.name.lower()
        if not _TOKEN.fullmatch(self.name):
            return "name must be a valid cookie name: ASCII letters, digits and !#$%&'*+-.^_`|~"
        if self.same_site not in ("strict", "lax", "none"):
            return "same_site must be 'strict', 'lax' or 'none'"
        if self.domain is not None and not _DOMAIN.fullmatch(self.domain):
            return "domain must be a host name such as 'example.org', without scheme, port, path or asterisk"
        if not _PATH.fullmatch(self.path):
            return "path must be printable ASCII text without a semicolon"
        if not self.path.startswith("/"):
            return "path must begin with '/': browsers ignore any other and use a default"
        if not self.secure:
            if self.same_site == "none":
                return "browsers refuse same_site='none' without secure=True"
            if self.partitioned:
                return "browsers refuse partitioned=True without secure=True"
            if prefix.startswith(("__secure-", "__host-", "__http-")):
                return f"browsers refuse a cookie named {self.name!r} without secure=True"
        if prefix.startswith(("__http-", "__host-http-")) and not self.http_only:
            return f"browsers refuse a cookie named {self.name!r} without http_only=True"
        if prefix.startswith("__host-") and (self.path != "/" or self.domain is not None):
            return f"browsers refuse a cookie named {self.name!r} with a domain or with a path that is not '/'"
        return None
