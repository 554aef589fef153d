"""RedisStore when servers die, hang, move or become read-only: BackendError, no partial write, and recovery."""

import asyncio
import os
import sys
import textwrap
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
import redis.asyncio
from redis.asyncio.sentinel import Sentinel
from redis.crc import key_slot
from servers import Server
from sessions import increment, new_record

from sled_sessions import BackendError
from sled_sessions.redis import RedisStore

pytestmark = pytest.mark.anyio

SHORT = timedelta(seconds=1)


def slot_of(id):
    """The Cluster slot of a session; each of three masters has a third of the 16,384."""
    return key_slot(f"session:{id}".encode())


def calls(store, record):
    """Each kind of call on a store."""
    yield lambda: store.load(record.id)
    yield lambda: store.save(record)
    yield lambda: store.create(record)
    yield lambda: store.delete(record.id)
    yield lambda: store.update(record.id, lambda now: now)
    yield store.count


async def eventually(call):
    """Repeat a call until it raises no BackendError, and return its result."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await call()
            except BackendError:
                await asyncio.sleep(0.05)


async def test_server_down(own_server):
    """While the server is down every call raises BackendError; once it is back, the session is unchanged."""
    async with RedisStore.from_url(own_server.url, timeout=SHORT) as store:
        record = await store.create(new_record(n=1))
        own_server.kill()
        async with asyncio.timeout(30):
            for call in calls(store, record):
                with pytest.raises(BackendError) as caught:
                    await call()
                assert str(record.id) not in str(caught.value)
        own_server.start()
        assert await store.load(record.id) == record
        assert (await store.update(record.id, increment)).data == {"n": 2}


async def test_server_that_never_ran():
    """If nothing listens at the address, the error, raised when the timeout is over, names the address."""
    async with RedisStore.from_url("redis://127.0.0.1:1", timeout=SHORT) as store:
        with pytest.raises(BackendError, match=r"within 1 s: .*127\.0\.0\.1:1"):
            await store.load(new_record().id)


async def test_server_hangs(own_server):
    """Calls to a hung server fail after `timeout`; once it resumes, the store works and a late write is not partial."""
    async with RedisStore.from_url(own_server.url, timeout=SHORT) as store:
        record = await store.create(new_record(n=1))
        own_server.pause()
        async with asyncio.timeout(30):
            with pytest.raises(BackendError, match="within 1 s"):
                await store.update(record.id, increment)
            with pytest.raises(BackendError, match="within 1 s"):
                await store.load(record.id)
        own_server.resume()
        assert (await eventually(lambda: store.load(record.id))).data in ({"n": 1}, {"n": 2})


@pytest.mark.parametrize("owner", ["store", "caller"])
async def test_connections_closed_by_the_server(server, owner):
    """Idle connections that the server has closed are replaced, whoever created the client; no call fails."""
    store = RedisStore.from_url(server.url) if owner == "store" else RedisStore(redis.asyncio.Redis(port=server.port))
    async with store.client, store:
        record = await store.create(new_record(n=1))
        await asyncio.gather(*(store.load(record.id) for _ in range(5)))
        for call in calls(store, record):
            with server.client() as other:
                other.client_kill_filter(_type="normal", skipme=True)
            await asyncio.sleep(0.05)
            await call()


@asynccontextmanager
async def proxy_of(server):
    """A proxy that forwards commands; while `cuts` is set it closes the connection instead of returning the answer.

    New connections go to `target`; open ones stay with their server.
    """

    async def serve(reader, writer):
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", proxy.target.port)
        try:
            while command := await reader.read(65_536):
                upstream_writer.write(command)
                answer = await upstream_reader.read(65_536)
                if proxy.cuts:
                    break
                writer.write(answer)
        finally:
            writer.close()
            upstream_writer.close()

    proxy = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy.cuts, proxy.target = False, server
    async with proxy:
        yield proxy


async def test_update_with_a_lost_answer_is_not_repeated(server):
    """An update whose answer is lost takes effect once, and raises BackendError since its outcome is unknown."""
    async with proxy_of(server) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        client = redis.asyncio.Redis(port=port, protocol=2)  # with redis-py's own policy, which retries
        async with client, RedisStore(client, timeout=SHORT) as store, RedisStore.from_url(server.url) as other:
            record = await store.create(new_record(n=1))
            seen = await store.load(record.id)
            proxy.cuts = True
            with pytest.raises(BackendError):
                await store.update(record.id, increment, seen=seen)
            with pytest.raises(BackendError):
                await store.load(record.id)
            proxy.cuts = False
            assert (await other.load(record.id)).data == {"n": 2}
            assert (await store.update(record.id, increment)).data == {"n": 3}


async def test_server_becomes_a_replica(own_server):
    """Writes to a server that became a read-only replica raise BackendError until it is master again."""
    master = Server()
    try:
        async with RedisStore.from_url(own_server.url, timeout=SHORT) as store:
            record = await store.create(new_record(n=1))
            with own_server.client() as admin:
                admin.replicaof("127.0.0.1", master.port)
                for call in list(calls(store, record))[1:5]:
                    with pytest.raises(BackendError):
                        await _until_refused(call)
                admin.replicaof("NO", "ONE")
            record = await store.create(new_record(n=1))
            assert (await store.update(record.id, increment)).data == {"n": 2}
    finally:
        master.close()


@pytest.mark.parametrize("error", [redis.TimeoutError, ConnectionResetError])
async def test_error_while_closing_connections(server, error):
    """Closing the store suppresses errors from connections to a lost server."""

    async def fail():
        await close()
        raise error

    store = RedisStore.from_url(server.url)
    close, store.client.aclose = store.client.aclose, fail
    async with store:
        await store.create(new_record())


async def test_failover_behind_one_address(own_server):
    """If the master becomes a replica and its address leads to a new master, the store reconnects and writes there."""
    replica = Server("--replicaof", "127.0.0.1", str(own_server.port))
    try:
        async with proxy_of(own_server) as proxy:
            port = proxy.sockets[0].getsockname()[1]
            async with redis.asyncio.Redis(port=port, protocol=2) as client:
                store = RedisStore(client, timeout=SHORT)
                record = await store.create(new_record(n=1))
                with own_server.client() as old, replica.client() as new:
                    old.incr("after the session")
                    assert old.wait(1, 20_000) == 1
                    new.replicaof("NO", "ONE")
                    old.replicaof("127.0.0.1", replica.port)
                proxy.target = replica
                assert (await eventually(lambda: store.update(record.id, increment))).data == {"n": 2}
    finally:
        replica.close()


async def _until_refused(call):
    async with asyncio.timeout(30):
        while True:
            await call()
            await asyncio.sleep(0.02)


async def test_cluster_node_dies(own_cluster):
    """While one master is down calls succeed or raise BackendError; once it is back, every session is intact."""
    async with RedisStore.from_url(own_cluster.url, timeout=SHORT) as store:
        records = [new_record(n=0) for _ in range(200)]
        by_master = [[each.id for each in records if slot_of(each.id) // 5462 == master] for master in range(3)]
        written = {id: 0 for ids in by_master for id in ids[:4]}
        for record in records:
            if record.id in written:
                await store.create(record)
        unknown = dict.fromkeys(written, 0)

        async def update_all():
            for id in written:
                try:
                    await store.update(id, increment)
                    written[id] += 1
                except BackendError:
                    unknown[id] += 1

        await update_all()
        own_cluster.nodes[1].kill()
        await asyncio.wait_for(update_all(), 90)
        assert sum(unknown.values()) > 0
        own_cluster.nodes[1].start()
        own_cluster.wait()
        await eventually(lambda: asyncio.gather(*(store.load(id) for id in written)))
        await update_all()
        for id, count in written.items():
            assert count <= (await store.load(id)).data["n"] <= count + unknown[id]


async def test_cluster_node_hangs(own_cluster):
    """Calls waiting for a hung master, as many as `concurrency` allows, do not block calls to another master."""
    async with RedisStore.from_url(own_cluster.url, concurrency=2) as store:
        records = [new_record(n=1) for _ in range(200)]
        stuck, other = (next(each for each in records if slot_of(each.id) // 5462 == master) for master in (1, 2))
        await store.create(other)
        with own_cluster.nodes[2].client() as admin:
            admin.config_set("cluster-require-full-coverage", "no")
        own_cluster.nodes[1].pause()
        waiting = [asyncio.create_task(store.load(stuck.id)) for _ in range(2)]
        await asyncio.sleep(0)  # lets them start first
        assert await store.load(other.id) == other
        assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)


async def test_cluster_slot_moves(own_cluster):
    """A session can be loaded and updated before, while and after its slot moves to another master."""
    source, target = own_cluster.nodes[0], own_cluster.nodes[2]
    async with RedisStore.from_url(own_cluster.url) as store, RedisStore.from_url(own_cluster.url) as unaware:
        records = [new_record(n=0) for _ in range(100)]
        record = next(each for each in records if slot_of(each.id) < 5461)
        key = f"session:{record.id}"
        slot = slot_of(record.id)
        await store.create(record)
        await unaware.count()
        with source.client() as old, target.client() as new:
            old_id, new_id = (node.execute_command("CLUSTER MYID").decode() for node in (old, new))
            new.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", old_id)
            old.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", new_id)
            assert (await store.update(record.id, increment)).data == {"n": 1}
            old.migrate("127.0.0.1", target.port, key, 0, 5000)
            assert (await store.update(record.id, increment)).data == {"n": 2}
            assert (await store.load(record.id)).data == {"n": 2}
            for node in own_cluster.nodes:
                with node.client() as each:
                    each.execute_command("CLUSTER SETSLOT", slot, "NODE", new_id)
        for each in (store, unaware):
            await each.load(record.id)
            await each.update(record.id, increment)
        assert (await store.load(record.id)).data == {"n": 4}
        assert await store.count() == 1


async def test_sentinel_failover(own_server, sentinel):
    """When the master dies, a store on Sentinel's master continues with the promoted replica without a restart."""
    sentinels = Sentinel([("127.0.0.1", sentinel)])
    async with sentinels.sentinels[0], sentinels.master_for("main") as client:
        store = RedisStore(client, timeout=SHORT)
        record = await store.create(new_record(n=1))
        with own_server.client() as admin:
            admin.incr("after the session")  # WAIT covers only the writes of its own connection
            assert admin.wait(1, 20_000) == 1
        own_server.kill()
        assert await eventually(lambda: store.load(record.id)) == record
        assert (await eventually(lambda: store.update(record.id, increment))).data["n"] >= 2


async def test_no_update_of_four_processes_is_lost(served):
    """None of the updates that four processes make to one session is lost."""
    script = textwrap.dedent(
        """
        import asyncio, sys, attrs
        from sled_sessions import Id
        from sled_sessions.redis import RedisStore

        async def main():
            async with RedisStore.from_url(sys.argv[1]) as store:
                for _ in range(100):
                    await store.update(
                        Id.parse(sys.argv[2]), lambda now: attrs.evolve(now, data={"n": now.data["n"] + 1})
                    )

        asyncio.run(main())
        """
    )
    async with RedisStore.from_url(served.url) as store:
        record = await store.create(new_record(n=0))
        command = [sys.executable, "-W", "error", "-c", script, served.url, str(record.id)]
        workers = [await asyncio.create_subprocess_exec(*command, env=os.environ) for _ in range(4)]
        async with asyncio.timeout(100):
            assert [await worker.wait() for worker in workers] == [0] * 4
        assert (await store.load(record.id)).data == {"n": 400}
