"""Whether a session's cookie reaches the browser and comes back: paths, plain HTTP, and caches that are shared."""

import logging
import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote

from sled_sessions.web.cookies import SessionCookie

logger = logging.getLogger(__name__)

_UNENCODED = "/!$&'()*+,;=:@"  # what browsers leave as it is in a path
_PUBLIC = re.compile(rb"(?<![^\s,])public(?![^\s,])", re.IGNORECASE)


class Delivery:
    """What hinders the cookie of one middleware. Each kind of hindrance is logged once, with its cure."""

    def __init__(self, cookie: SessionCookie) -> None:
        self._path = cookie.path.encode()
        self._is_secure = cookie.secure
        self._logged: set[str] = set()

    def refuses(self, scope: Any, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether a session is not begun by this request and this response, because its cookie would be of no use."""
        if is_public(headers):
            self._log_once("a session was not begun, because its response has Cache-Control: public")
            return True
        return not self._comes_back(scope)

    def _comes_back(self, scope: Any) -> bool:
        """Whether a browser sends the cookie with another request for the same path (RFC 6265, section 5.1.4)."""
        path = self._path
        if path == b"/":
            return True
        requested = requested_path(scope)
        rest = requested[len(path) :]
        if requested.startswith(path) and (not rest or path.endswith(b"/") or rest.startswith(b"/")):
            return True
        self._log_once(
            "a session is not begun, because the request is outside the cookie's path, %r: no browser would bring the "
            "cookie back. Behind a proxy that strips a prefix, start the server with --root-path",
            path.decode(),
        )
        return False

    def check_plain(self, scope: Any) -> None:
        """Log if the browser will ignore the cookie of this response, which goes out over plain HTTP."""
        if self._is_secure and not _is_localhost(scope["headers"]):
            self._log_once(
                "browsers ignore the session's cookie over plain HTTP, except from localhost. Use HTTPS, or pass "
                "secure=False. Behind a proxy, let the server trust its headers, as with uvicorn's --proxy-headers"
            )

    def _log_once(self, text: str, *arguments: object) -> None:
        if text not in self._logged:
            self._logged.add(text)
            logger.warning(text, *arguments)


def requested_path(scope: Any) -> bytes:
    """The path of the URL as the browser knows it, percent-encoded.

    Servers and frameworks differ in whether the path of a mounted application contains its `root_path`.
    """
    path: bytes = scope.get("raw_path") or quote(scope["path"], safe=_UNENCODED).encode()
    path = path.partition(b"?")[0]
    root = quote(scope.get("root_path") or "", safe=_UNENCODED).encode().rstrip(b"/")
    return path if path == root or path.startswith(root + b"/") else root + path


def is_public(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether the app lets shared caches keep a response, and give it to other visitors."""
    return any(name.lower() == b"cache-control" and _PUBLIC.search(value) for name, value in headers)


def made_private(header: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    """A `Cache-Control` header with `private` in the place of `public`, for a response with a new session id."""
    logger.warning("a response with a new session id had Cache-Control: public; it is private now")
    return header[0], _PUBLIC.sub(b"private", header[1])


def _is_localhost(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    host = next((value for name, value in headers if name == b"host"), b"").decode("latin-1").lower()
    name = host[1 : host.find("]")] if host.startswith("[") else host.partition(":")[0]
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
