"""AsyncStore: a blocking store as an asyncio store."""

import asyncio
import threading

import anyio
import attrs
import pytest
from sessions import increment

from sled_sessions import AsyncCachingStore, AsyncSessionStore, AsyncStore, BackendError, MemoryStore
from sled_sessions.session import SessionManager
from sled_sessions.stores.adapter import BlockingStore, run_inline


@pytest.mark.parametrize("in_thread", [False, True])
def test_every_method(clock, new_record, in_thread):
    """Every method does what the blocking store does, inline and in a thread."""
    store = AsyncStore(MemoryStore(clock=clock), in_thread=in_thread)
    assert isinstance(store, AsyncSessionStore)

    async def use():
        record = await store.create(new_record(n=1))
        assert await store.load(record.id) == record
        await store.save(attrs.evolve(record, data={"n": 2}))
        updated = await store.update(record.id, increment)
        assert updated.data == {"n": 3}
        await store.save(new_record(-1))
        assert (await store.delete_expired(limit=5)).deleted == 1
        assert await store.delete(record.id)
        assert await store.load(record.id) is None

    asyncio.run(use())


@pytest.mark.parametrize("in_thread", [False, True])
def test_thread_of_calls(clock, new_record, in_thread):
    """Calls run on the event loop's thread by default, and on another thread with `in_thread`."""
    seen = []

    class Observed(MemoryStore):
        def save(self, record):
            seen.append(threading.current_thread())

    asyncio.run(AsyncStore(Observed(clock=clock), in_thread=in_thread).save(new_record()))
    assert (seen[0] is threading.main_thread()) is not in_thread


class Slow(MemoryStore):
    """A store whose saves block until the test lets them end."""

    def __init__(self, **options):
        super().__init__(**options)
        self.started, self.may_end = threading.Event(), threading.Event()

    def save(self, record):
        self.started.set()
        assert self.may_end.wait(20)
        super().save(record)


def test_cancelled_call_has_ended(clock, new_record):
    """A cancelled save, even one cancelled twice, has ended when it raises, so a delete afterwards is final."""
    slow, record = Slow(clock=clock), new_record()
    store = AsyncStore(slow, in_thread=True)

    async def use():
        saving = asyncio.create_task(store.save(record))
        assert await asyncio.to_thread(slow.started.wait, 20)
        for _ in range(2):
            saving.cancel()
            await asyncio.sleep(0.01)
            assert not saving.done()
        slow.may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await saving
        assert await store.delete(record.id)
        assert await store.load(record.id) is None

    asyncio.run(use())


def test_call_cancelled_by_anyio(clock, new_record):
    """The same holds when an anyio scope cancels repeatedly; the task continues after the scope."""
    slow, record = Slow(clock=clock), new_record()
    store = AsyncStore(slow, in_thread=True)

    async def use():
        async def cancel():
            assert await asyncio.to_thread(slow.started.wait, 20)
            scope.cancel()
            await asyncio.sleep(0.01)
            assert slow.count() == 0
            slow.may_end.set()

        cancelling = asyncio.create_task(cancel())
        with anyio.CancelScope() as scope:
            await store.save(record)
        assert scope.cancelled_caught
        assert slow.count() == 1
        await cancelling
        assert await store.delete(record.id)

    asyncio.run(use())


def test_error_of_a_cancelled_call_is_dropped(clock, new_record, caplog):
    """What a call raises after it was cancelled is neither raised nor logged."""

    class Failing(Slow):
        def save(self, record):
            super().save(record)
            raise BackendError("the disk is gone")

    slow = Failing(clock=clock)

    async def use():
        saving = asyncio.create_task(AsyncStore(slow, in_thread=True).save(new_record()))
        assert await asyncio.to_thread(slow.started.wait, 20)
        saving.cancel()
        slow.may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await saving

    asyncio.run(use())
    assert caplog.records == []


@pytest.mark.parametrize("wrap", [AsyncStore, lambda store: AsyncCachingStore(MemoryStore(), AsyncStore(store))])
def test_asyncio_store_is_refused(wrap):
    """An asyncio store where a blocking one is needed is refused at once, and the error says what to do."""
    store = wrap(MemoryStore())
    with pytest.raises(TypeError, match="directly"):
        AsyncStore(store)
    with pytest.raises(TypeError, match="await"):
        SessionManager(store)
    with pytest.raises(TypeError, match="SessionStore"):
        AsyncStore(None)


def test_run_inline_refuses_to_wait(clock, new_record):
    """Blocking code over a store that suspends gets an error that names the store, and no lock stays held."""
    store = BlockingStore(AsyncStore(MemoryStore(clock=clock), in_thread=True))
    lock = threading.Lock()

    async def waits():
        with lock:
            await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match=r"AsyncStore\(MemoryStore.* waits for an event loop"):
        run_inline(waits(), store)
    assert not lock.locked()
    with pytest.raises(RuntimeError, match="no running event loop"):
        store.save(new_record())
