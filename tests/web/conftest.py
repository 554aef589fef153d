"""Every store and every framework. A store that is added to `store_factories` is tested here, too."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from store_factories import SERVED_STORES, STORES
from web.apps import FRAMEWORKS, browser

from sled_sessions import AsyncStore, MemoryStore


@contextmanager
def _asynchronous(tmp_path, clock):
    yield AsyncStore(MemoryStore(clock=clock))


@contextmanager
def _asynchronous_in_thread(tmp_path, clock):
    yield AsyncStore(MemoryStore(clock=clock), in_thread=True)


@contextmanager
def _served(factory, tmp_path, clock):
    with factory(tmp_path, clock) as store:
        yield store.awaited


LOCAL = {**STORES, "async": _asynchronous, "async-in-thread": _asynchronous_in_thread}
SERVED = {name: partial(_served, factory) for name, factory in SERVED_STORES.items()}

# Each local store through each framework; those behind a server, which are slower, through the bare protocol.
COMBINATIONS = {
    **{f"{name}-{store}": (framework, LOCAL[store]) for name, framework in FRAMEWORKS.items() for store in LOCAL},
    **{f"asgi-{store}": (FRAMEWORKS["asgi"], SERVED[store]) for store in SERVED},
}


@pytest.fixture(params=(LOCAL | SERVED).values(), ids=LOCAL | SERVED)
def any_store(request, tmp_path, clock) -> Iterator[object]:
    """Each kind of store in turn, empty."""
    with request.param(tmp_path, clock) as store:
        yield store


@pytest.fixture
def store(clock) -> MemoryStore:
    """The plain store, for what does not depend on it."""
    return MemoryStore(clock=clock)


@pytest.fixture(params=[lambda store: store, AsyncStore], ids=["sync", "async"])
def as_store(request):
    """The store as it is, and as an asyncio store."""
    return request.param


@pytest.fixture(params=COMBINATIONS.values(), ids=COMBINATIONS)
def serve(request, tmp_path, clock) -> Iterator[Callable]:
    """Makes a browser on an application that serves these routes with these options."""
    framework, make_store = request.param
    with make_store(tmp_path, clock) as store:

        def make(**routes_and_options):
            routes, options = {}, {}
            for name, value in routes_and_options.items():
                if callable(value) or isinstance(value, tuple):
                    routes[f"/{name}"] = value
                else:
                    options[name] = value
            return browser(framework(routes, store, clock=clock, **options))

        yield make
