"""RedisStore when servers die, hang, move, or may only be read: BackendError, nothing half-written, and it goes on."""

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
    """The slot of a Cluster that a session lies in; each of three masters has a third of the 16,384."""
    return key_slot(f"session:{id}".encode())


def uses(store, record):
    """Every way to use a store."""
    yield lambda: store.load(record.id)
    yield lambda: store.save(record)
    yield lambda: store.create(record)
    yield lambda: store.delete(record.id)
    yield lambda: store.update(record.id, lambda now: now)
    yield store.count


async def soon(use):
    """What `use` returns once it raises no BackendError any more."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await use()
            except BackendError:
                await asyncio.sleep(0.05)


async def test_a_server_that_is_away(own_server):
    """While the server is dead every call raises BackendError; when it is back, the session is as it was."""
    async with RedisStore.from_url(own_server.url, timeout=SHORT) as store:
        record = await store.create(new_record(n=1))
        own_server.kill()
        async with asyncio.timeout(30):
            for use in uses(store, record):
                with pytest.raises(BackendError) as caught:
                    await use()
                assert str(record.id) not in str(caught.value)
        own_server.start()
        assert await store.load(record.id) == record
        assert (await store.update(record.id, increment)).data == {"n": 2}


async def test_a_server_that_was_never_there():
    """When nobody listens, the error says where nobody does, though it comes when the time for trying is up."""
    async with RedisStore.from_url("redis://127.0.0.1:1", timeout=SHORT) as store:
        with pytest.raises(BackendError, match=r"within 1 s: .*127\.0\.0\.1:1"):
            await store.load(new_record().id)


async def test_a_server_that_does_not_answer(own_server):
    """A server that hangs costs `timeout`; when it goes on, the store does, and a late write is whole or absent."""
    async with RedisStore.from_url(own_server.url, timeout=SHORT) as store:
        record = await store.create(new_record(n=1))
        own_server.pause()
        async with asyncio.timeout(30):
            with pytest.raises(BackendError, match="within 1 s"):
                await store.update(record.id, increment)
            with pytest.raises(BackendError, match="within 1 s"):
                await store.load(record.id)
        own_server.go_on()
        assert (await soon(lambda: store.load(record.id))).data in ({"n": 1}, {"n": 2})


@pytest.mark.parametrize("whose", ["ours", "the caller's"])
async def test_connections_that_the_server_has_closed(server, whose):
    """Connections that the server closed while they lay idle are replaced, whoever made the client; no call fails."""
    store = RedisStore.from_url(server.url) if whose == "ours" else RedisStore(redis.asyncio.Redis(port=server.port))
    async with store.client, store:
        record = await store.create(new_record(n=1))
        await asyncio.gather(*(store.load(record.id) for _ in range(5)))
        for use in uses(store, record):
            with server.client() as other:
                other.client_kill_filter(_type="normal", skipme=True)
            await asyncio.sleep(0.05)
            await use()


@asynccontextmanager
async def proxy_of(server):
    """A proxy that hands each command on, and cuts the line instead of handing back the answer while `cuts` is set.

    New connections go to `target`, and those that are open stay where they are.
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


async def test_a_lost_answer_is_not_asked_for_again(server):
    """An update whose answer was lost was made once, and the caller is told that nobody knows."""
    async with proxy_of(server) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        client = redis.asyncio.Redis(port=port, protocol=2)  # with the package's own policy, which is to repeat
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


async def test_a_replica(own_server):
    """A server that has become a read-only replica refuses writes with BackendError until it is master again."""
    master = Server()
    try:
        async with RedisStore.from_url(own_server.url, timeout=SHORT) as store:
            record = await store.create(new_record(n=1))
            with own_server.client() as admin:
                admin.replicaof("127.0.0.1", master.port)
                for use in list(uses(store, record))[1:5]:
                    with pytest.raises(BackendError):
                        await _until_refused(use)
                admin.replicaof("NO", "ONE")
            record = await store.create(new_record(n=1))
            assert (await store.update(record.id, increment)).data == {"n": 2}
    finally:
        master.close()


@pytest.mark.parametrize("error", [redis.TimeoutError, ConnectionResetError])
async def test_a_connection_that_cannot_be_closed_well(server, error):
    """What a lost server makes of the closing of the connections is no error of the program that closes its store."""

    async def fail():
        await close()
        raise error

    store = RedisStore.from_url(server.url)
    close, store.client.aclose = store.client.aclose, fail
    async with store:
        await store.create(new_record())


async def test_a_failover_behind_one_address(own_server):
    """When the master becomes a replica and its address leads to the new one, writes go there: old connections end."""
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
                assert (await soon(lambda: store.update(record.id, increment))).data == {"n": 2}
    finally:
        replica.close()


async def _until_refused(use):
    async with asyncio.timeout(30):
        while True:
            await use()
            await asyncio.sleep(0.02)


async def test_a_node_of_a_cluster_that_dies(own_cluster):
    """While one master is dead calls end in BackendError or well; when it is back, every session is there, right."""
    async with RedisStore.from_url(own_cluster.url, timeout=SHORT) as store:
        records = [new_record(n=0) for _ in range(200)]
        by_master = [[each.id for each in records if slot_of(each.id) // 5462 == master] for master in range(3)]
        written = {id: 0 for ids in by_master for id in ids[:4]}
        for record in records:
            if record.id in written:
                await store.create(record)
        unknown = dict.fromkeys(written, 0)

        async def round_():
            for id in written:
                try:
                    await store.update(id, increment)
                    written[id] += 1
                except BackendError:
                    unknown[id] += 1

        await round_()
        own_cluster.nodes[1].kill()
        await asyncio.wait_for(round_(), 90)
        assert sum(unknown.values()) > 0
        own_cluster.nodes[1].start()
        own_cluster.wait()
        await soon(lambda: asyncio.gather(*(store.load(id) for id in written)))
        await round_()
        for id, count in written.items():
            assert count <= (await store.load(id)).data["n"] <= count + unknown[id]


async def test_a_node_of_a_cluster_that_hangs(own_cluster):
    """While as many calls as may be under way wait for one master that hangs, another one's sessions are loaded."""
    async with RedisStore.from_url(own_cluster.url, concurrency=2) as store:
        records = [new_record(n=1) for _ in range(200)]
        stuck, other = (next(each for each in records if slot_of(each.id) // 5462 == master) for master in (1, 2))
        await store.create(other)
        with own_cluster.nodes[2].client() as admin:
            admin.config_set("cluster-require-full-coverage", "no")
        own_cluster.nodes[1].pause()
        waiting = [asyncio.create_task(store.load(stuck.id)) for _ in range(2)]
        await asyncio.sleep(0)  # so that they come first
        assert await store.load(other.id) == other
        assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)


async def test_a_slot_that_moves(own_cluster):
    """A session whose slot moves to another master is loaded and updated before, meanwhile and after."""
    source, target = own_cluster.nodes[0], own_cluster.nodes[2]
    async with RedisStore.from_url(own_cluster.url) as store, RedisStore.from_url(own_cluster.url) as knows_nothing:
        records = [new_record(n=0) for _ in range(100)]
        record = next(each for each in records if slot_of(each.id) < 5461)
        key = f"session:{record.id}"
        slot = slot_of(record.id)
        await store.create(record)
        await knows_nothing.count()
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
        for each in (store, knows_nothing):
            await each.load(record.id)
            await each.update(record.id, increment)
        assert (await store.load(record.id)).data == {"n": 4}
        assert await store.count() == 1


async def test_sentinel_fails_over(own_server, sentinel):
    """A store on Sentinel's master goes on with the promoted replica when the master dies, without a restart."""
    sentinels = Sentinel([("127.0.0.1", sentinel)])
    async with sentinels.sentinels[0], sentinels.master_for("main") as client:
        store = RedisStore(client, timeout=SHORT)
        record = await store.create(new_record(n=1))
        with own_server.client() as admin:
            admin.incr("after the session")  # WAIT counts the replicas that have its own connection's writes
            assert admin.wait(1, 20_000) == 1
        own_server.kill()
        assert await soon(lambda: store.load(record.id)) == record
        assert (await soon(lambda: store.update(record.id, increment))).data["n"] >= 2


async def test_updates_from_several_processes(served):
    """Of the updates that four processes make on one session none is lost."""
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
