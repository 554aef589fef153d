"""Other session stores behind one small interface; a peer whose package is not installed is left out."""

import importlib
import importlib.util

from benchmarks.peers.base import Peer

_CLASSES = {
    "sqlite3": ("sqlite", "SqlitePeer", "sqlite3"),
    "lmdb": ("lmdb", "LmdbPeer", "lmdb"),
    "diskcache": ("diskcache", "DiskcachePeer", "diskcache"),
    "django-db": ("django", "DjangoDatabasePeer", "django"),
    "django-file": ("django", "DjangoFilePeer", "django"),
    "cachelib": ("cachelib", "CachelibPeer", "cachelib"),
    "litestar-file": ("litestar", "LitestarPeer", "litestar"),
}

NAMES = tuple(_CLASSES)
"""The names of all peers."""


def find(name: str) -> type[Peer] | None:
    """The peer of this name; None if its package is not installed."""
    module, class_name, package = _CLASSES[name]
    if importlib.util.find_spec(package) is None:
        return None
    found: type[Peer] = getattr(importlib.import_module(f"{__name__}.{module}"), class_name)
    return found


def needs(name: str) -> str:
    """The package that a peer needs."""
    return _CLASSES[name][2]
