"""Every store and every framework, including any store added to `store_factories`."""

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

# Local stores with each framework; stores on a server, which are slower, with bare ASGI.
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
    """A plain store, for tests that do not depend on the kind of store."""
    return MemoryStore(clock=clock)


@pytest.fixture(params=[lambda store: store, AsyncStore], ids=["sync", "async"])
def as_store(request):
    """A function that returns the store unchanged, or as an asyncio store."""
    return request.param


@pytest.fixture(params=COMBINATIONS.values(), ids=COMBINATIONS)
def serve(request, tmp_path, clock) -> Iterator[Callable]:
    """A function that returns a browser on an application with these routes and options, and a clock in this zone."""
    framework, make_store = request.param
    with make_store(tmp_path, clock) as store:

        def make(*, zone=None, **routes_and_options):
            routes, options = {}, {}
            for name, value in routes_and_options.items():
                if callable(value) or isinstance(value, tuple):
                    routes[f"/{name}"] = value
                else:
                    options[name] = value
            local = clock if zone is None else lambda: clock().astimezone(zone)
            return browser(framework(routes, store, clock=local, **options))

        yield make
