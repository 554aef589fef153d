"""Django's session backends for databases and files, outside a Django project."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import django
from django.conf import settings
from django.core.management import call_command
from django.db import connection

from benchmarks.peers.base import Peer, Session
from sled_sessions import Id

if not settings.configured:
    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "OPTIONS": {"init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL"},
            }
        },
        INSTALLED_APPS=["django.contrib.sessions"],
        SECRET_KEY="0" * 50,
        USE_TZ=True,
    )
    django.setup()

from django.contrib.sessions.backends import db, file


class _DjangoPeer(Peer):
    most = 10_000
    has_opening = False
    _backend: ClassVar[Any]

    def save(self, sessions: Iterable[Session], *, new: bool) -> None:
        for id, data, expiry in sessions:
            session = self._backend(bytes(id).hex())
            session._session_cache = dict(data)  # avoids a load before the save
            session.set_expiry(expiry)
            session.save(must_create=new)

    def load(self, ids: Iterable[Id]) -> list[dict[str, Any] | None]:
        found = (self._backend(bytes(id).hex()).load() for id in ids)
        return [{key: value for key, value in data.items() if key != "_session_expiry"} or None for data in found]

    def delete(self, ids: Iterable[Id]) -> None:
        for id in ids:
            self._backend().delete(bytes(id).hex())

    def sweep(self) -> int | None:
        self._backend.clear_expired()
        return None


class DjangoDatabasePeer(_DjangoPeer):
    """`django.contrib.sessions.backends.db` on SQLite."""

    name = "django-db"
    loses = "the last commits (WAL, synchronous=NORMAL)"
    _backend = db.SessionStore

    def __init__(self, folder: Path) -> None:
        connection.close()
        connection.settings_dict["NAME"] = str(folder / "sessions.sqlite")
        call_command("migrate", verbosity=0)

    def close(self) -> None:
        connection.close()


class DjangoFilePeer(_DjangoPeer):
    """`django.contrib.sessions.backends.file`."""

    name = "django-file"
    loses = "writes that the kernel still buffers"
    _backend = file.SessionStore

    def __init__(self, folder: Path) -> None:
        settings.SESSION_FILE_PATH = str(folder)
        if hasattr(file.SessionStore, "_storage_path"):  # the class caches the folder
            del file.SessionStore._storage_path

    def close(self) -> None:
        pass  # every call opens and closes its file
