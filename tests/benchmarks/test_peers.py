"""The peers: each stores sessions, deletes expired ones, and states what a power cut may lose."""

from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from benchmarks import peers
from benchmarks.peers.sled import SledPeer
from sled_sessions import Id

DATA = {"user_id": 4711, "cart": [{"item": 1001, "quantity": 2}], "locale": "en-GB"}


@pytest.fixture(params=["sled_sessions", *peers.NAMES])
def opened(request, tmp_path):
    """A function that opens a peer; every call opens the same folder."""
    kind = SledPeer if request.param == "sled_sessions" else peers.find(request.param)
    assert kind is not None, f"{peers.needs(request.param)} is in the extra `test`"
    return lambda: closing(kind(tmp_path))


def test_a_peer_stores_sessions(opened):
    """A peer saves, overwrites, updates and deletes sessions, and still has them when it is opened again."""
    soon = datetime.now(UTC) + timedelta(hours=1)
    ids = [Id.new() for _ in range(3)]
    with opened() as peer:
        peer.save([(id, DATA, soon) for id in ids], new=True)
        peer.save([(ids[0], {**DATA, "locale": "fr-FR"}, soon)], new=False)
        peer.update([(ids[0], {"visits": 2}, soon)])
        peer.delete([ids[1]])
        found = peer.load(ids)
    assert found[0] == {**DATA, "locale": "fr-FR", "visits": 2}
    assert not found[1]
    assert found[2] == DATA
    with opened() as again:
        assert again.load([ids[2]]) == [DATA]


def test_a_sweep_deletes_expired_sessions(opened):
    """A sweep deletes expired sessions and no others."""
    now = datetime.now(UTC)
    dead, live = Id.new(), Id.new()
    with opened() as peer:
        if not peer.has_sweep:
            pytest.skip("this peer has no sweep")
        peer.save([(dead, DATA, now - timedelta(seconds=10)), (live, DATA, now + timedelta(hours=1))], new=True)
        assert peer.sweep() in (1, None)
        assert peer.load([live]) == [DATA]
        assert not peer.load([dead])[0]
        peer.save([(live, DATA, now - timedelta(seconds=10))], new=False)
        assert peer.sweep() in (1, None)
        assert peer.sweep() in (0, None)


def test_peers_have_their_names():
    """The class of each peer has the peer's name and states what a power cut may lose."""
    for name in peers.NAMES:
        found = peers.find(name)
        assert found.name == name
        assert found.loses
