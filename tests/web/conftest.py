"""Every store through every framework. A store that is added to `store_factories` is tested here, too."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from clock import FakeClock
from store_factories import STORES
from web.apps import FRAMEWORKS, browser

from sled_sessions import AsyncStore, MemoryStore


@contextmanager
def _asynchronous(tmp_path, clock):
    yield AsyncStore(MemoryStore(clock=clock))


@contextmanager
def _asynchronous_in_thread(tmp_path, clock):
    yield AsyncStore(MemoryStore(clock=clock), in_thread=True)


ALL_STORES = {**STORES, "async": _asynchronous, "async-in-thread": _asynchronous_in_thread}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=ALL_STORES.values(), ids=ALL_STORES)
def any_store(request, tmp_path, clock) -> Iterator[object]:
    """Each kind of store in turn, empty."""
    with request.param(tmp_path, clock) as store:
        yield store


@pytest.fixture
def store(clock) -> MemoryStore:
    """The plain store, for what does not depend on it."""
    return MemoryStore(clock=clock)


@pytest.fixture(params=FRAMEWORKS.values(), ids=FRAMEWORKS)
def any_framework(request):
    """Each framework in turn: a function that makes an application of routes, a store and options."""
    return request.param


@pytest.fixture
def serve(any_framework, any_store, clock):
    """Makes a browser on an application that serves these routes with these options."""

    def make(**routes_and_options):
        routes, options = {}, {}
        for name, value in routes_and_options.items():
            if callable(value) or isinstance(value, tuple):
                routes[f"/{name}"] = value
            else:
                options[name] = value
        return browser(any_framework(routes, any_store, clock=clock, **options))

    return make
