"""Many threads use a few sessions for half a minute."""

import random
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import attrs
import pytest
from bridge import blocking
from servers import shared_cluster, shared_server

from sled_sessions import Id, Record, SessionStore, SledStore, SweepStrategy, sled
from sled_sessions.redis import RedisStore

SECONDS = 30
THREADS = 8
HOUR = timedelta(hours=1)


class Worker(threading.Thread):
    """Does everything to the ids that all workers share, and knows the exact outcome for the ids only it uses."""

    def __init__(self, store: SessionStore, shared: list[Id], until: float, seed: int) -> None:
        super().__init__()
        self.store, self.shared, self.until = store, shared, until
        self.random = random.Random(seed)
        self.mine: dict[Id, Record | None] = {Id.new(): None for _ in range(3)}
        self.increments = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            while time.monotonic() < self.until and self.failure is None:
                self.random.choice((self.on_shared, self.on_mine, self.on_mine, self.count, self.sweep))()
        except BaseException as error:  # noqa: BLE001 - the main thread raises it again
            self.failure = error

    def soon(self) -> datetime:
        """Return an expiry that passes during the test or has just passed."""
        return datetime.now(UTC) + timedelta(microseconds=self.random.randint(-500, 3000))

    def on_shared(self) -> None:
        id = self.random.choice(self.shared[1:])
        record = Record(id, {"n": self.random.random()}, self.random.choice((self.soon(), datetime.now(UTC) + HOUR)))
        match self.random.randrange(5):
            case 0:
                created = self.store.create(record)
                if created.id != id:
                    self.store.delete(created.id)
            case 1:
                self.store.save(record)
            case 2:
                self.store.update(id, lambda now: attrs.evolve(now, expiry_date=record.expiry_date))
            case 3:
                self.store.delete(id)
            case 4:
                found = self.store.load(id)
                assert found is None or found.id == id

    def on_mine(self) -> None:
        """Save a session that is about to expire while the others sweep, then prolong or delete it."""
        id = self.random.choice(list(self.mine))
        self.store.save(Record(id, {}, self.soon()))
        time.sleep(self.random.random() / 500)
        if self.random.random() < 0.5:
            kept = Record(id, {"n": self.random.random()}, datetime.now(UTC) + HOUR)
            self.store.save(kept)
            assert self.store.load(id) == kept
            time.sleep(self.random.random() / 500)
            assert self.store.load(id) == kept, "a live session was deleted"
            self.mine[id] = kept
        else:
            self.store.delete(id)
            time.sleep(self.random.random() / 500)
            assert self.store.load(id) is None, "a deleted session came back"
            self.mine[id] = None

    def count(self) -> None:
        """Count up in the first shared session, which only updates change."""
        updated = self.store.update(
            self.shared[0],
            lambda now: attrs.evolve(now, data={"n": now.data["n"] + 1}, expiry_date=datetime.now(UTC) + HOUR),
        )
        assert updated is not None
        self.increments += 1

    def sweep(self) -> None:
        strategy = self.random.choice([*SweepStrategy, SweepStrategy.EXPIRY_INDEX])
        self.store.delete_expired(strategy, limit=self.random.choice((None, 1, 5)))


def work(stores: Sequence[SessionStore], seconds: float) -> list[Worker]:
    """Run the workers, check the outcome for each session, and return the workers."""
    shared = [Id.new() for _ in range(6)]
    stores[0].save(Record(shared[0], {"n": 0}, datetime.now(UTC) + HOUR))
    until = time.monotonic() + seconds
    workers = [Worker(stores[n % len(stores)], shared, until, seed=n) for n in range(THREADS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for worker in workers:
        if worker.failure is not None:
            raise worker.failure
        for id, kept in worker.mine.items():
            assert stores[0].load(id) == kept
    assert stores[0].load(shared[0]).data["n"] == sum(worker.increments for worker in workers) > 0
    return workers


@pytest.mark.slow
def test_threads_lose_and_leak_nothing(tmp_path):
    """Threads that create, save, update, delete and sweep the same ids lose no live session and leak none."""
    with sled.open(tmp_path / "storage") as db:
        stores = [SledStore(db.open_tree("session"), resolution=timedelta(milliseconds=1)) for _ in range(2)]
        work(stores, SECONDS)
        store = stores[0]
        report = store.verify_index()
        assert report
        assert report.records == report.entries
        time.sleep(0.01)
        store.delete_expired()
        assert all(record.expiry_date > datetime.now(UTC) for record in store.records())
        assert store.delete_expired(SweepStrategy.FULL_SCAN).deleted == 0
        assert store.verify_index()


@pytest.mark.slow
@pytest.mark.parametrize("served", [shared_server, shared_cluster], ids=["one server", "cluster"])
def test_threads_on_servers(served):
    """Threads that use servers through two clients lose no live session, and expired ones vanish by themselves."""
    server = served()
    server.flush()
    with (
        blocking(lambda: RedisStore.from_url(server.url)) as one,
        blocking(lambda: RedisStore.from_url(server.url)) as other,
    ):
        workers = work([one, other], SECONDS / 3)
        kept = sum(record is not None for worker in workers for record in worker.mine.values())
        time.sleep(0.01)
        assert all(record.expiry_date > datetime.now(UTC) for record in one.records())
        assert kept < one.count() <= kept + 6
