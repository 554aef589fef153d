"""The package itself: what it exports, and what importing it loads."""

import subprocess
import sys

import pytest

import sled_sessions

LOADED = "import sys; print(*(name for name in sys.modules if name.partition('.')[0] in {'sled_sessions', *%r}))"
DEPENDENCIES = ("attrs", "attr", "msgspec", "sortedcontainers", "asyncio", "logging")


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_engine_stands_alone():
    """Importing the engine loads the package's `__init__` and nothing of the layers above, nor what those depend on."""
    loaded = run(f"import sled_sessions.sled; {LOADED % (DEPENDENCIES,)}").split()
    assert "sled_sessions.sled" in loaded
    assert [name for name in loaded if not name.startswith("sled_sessions.sled")] == ["sled_sessions"]


def test_names_load_their_own_layer():
    """A name loads the layers that it needs and none above them."""
    loaded = run(f"from sled_sessions import Id; {LOADED % (DEPENDENCIES,)}").split()
    assert "sled_sessions.records" in loaded
    assert not {"sled_sessions.stores", "sled_sessions.session", "sled_sessions.web"} & {*loaded}


@pytest.mark.parametrize("name", sled_sessions.__all__)
def test_exported_names(name):
    """Each name in `__all__` can be imported, and `dir` lists it."""
    assert getattr(sled_sessions, name) is not None
    assert name in dir(sled_sessions)


def test_all_matches_what_is_imported_lazily():
    """The list for type checkers and the one for the interpreter name the same things."""
    assert sorted({*sled_sessions._MODULE_OF, "sled"}) == sorted(sled_sessions.__all__)


def test_star_import():
    """`from sled_sessions import *` binds what `__all__` lists."""
    names = run("from sled_sessions import *; print(*globals())").split()
    assert {*sled_sessions.__all__} <= {*names}


def test_modules_are_attributes():
    """After `import sled_sessions` its modules can be reached without importing each."""
    code = "import sled_sessions; print(sled_sessions.sled.open.__name__, sled_sessions.redis.RedisStore.__name__)"
    assert run(code).split() == ["open", "RedisStore"]


@pytest.mark.parametrize("name", ["SledStores", "_secret", "__wrapped__"])
def test_unknown_names(name):
    """A name that the package does not have raises AttributeError, so `hasattr` and introspection work."""
    with pytest.raises(AttributeError, match=name):
        getattr(sled_sessions, name)


def test_missing_dependency():
    """A module whose extra is not installed says which package is missing: that is not an AttributeError."""
    code = "import sys; sys.modules['redis.asyncio'] = None; import sled_sessions; sled_sessions.redis"
    failed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ImportError: RedisStore needs the package redis" in failed.stderr


def test_help_shows_the_names():
    """`help(sled_sessions)` documents the exported classes."""
    text = run("import pydoc, sled_sessions; print(pydoc.plain(pydoc.render_doc(sled_sessions)))")
    assert "class SledStore(" in text
    assert "class SessionMiddleware(" in text
