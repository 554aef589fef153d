"""What the store is compared with: each keeps sessions, drops expired ones, and says what it may lose."""

from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from sled_sessions import Id
from sled_sessions.bench import peers
from sled_sessions.bench.peers.sled import SledPeer

DATA = {"user_id": 4711, "cart": [{"item": 1001, "quantity": 2}], "locale": "en-GB"}


@pytest.fixture(params=["sled_sessions", *peers.NAMES])
def opened(request, tmp_path):
    """Opens a peer on one folder, each time anew."""
    kind = SledPeer if request.param == "sled_sessions" else peers.find(request.param)
    assert kind is not None, f"{peers.needs(request.param)} belongs to the extra bench"
    return lambda: closing(kind(tmp_path))


def test_it_keeps_sessions(opened):
    """Saved, loaded, overwritten, deleted; and there again in another process's eyes."""
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


def test_a_sweep(opened):
    """A sweep deletes what has expired and nothing else."""
    now = datetime.now(UTC)
    dead, live = Id.new(), Id.new()
    with opened() as peer:
        if not peer.has_sweep:
            pytest.skip("it has no sweep")
        peer.save([(dead, DATA, now - timedelta(seconds=10)), (live, DATA, now + timedelta(hours=1))], new=True)
        assert peer.sweep() in (1, None)
        assert peer.load([live]) == [DATA]
        assert not peer.load([dead])[0]
        peer.save([(live, DATA, now - timedelta(seconds=10))], new=False)
        assert peer.sweep() in (1, None)  # and nothing is left
        assert peer.sweep() in (0, None)


def test_names():
    """Every name has a class of that name, which says what a power cut may cost."""
    for name in peers.NAMES:
        found = peers.find(name)
        assert found.name == name
        assert found.loses
