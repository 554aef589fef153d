"""Counting what a sweep would delete: it may take long, and tells how far it is."""

import pytest
from operate.databases import fill

from sled_sessions import SledStore, SweepStrategy
from sled_sessions.operate import count_expired
from sled_sessions.stores.sweep import PROGRESS_STEP


@pytest.mark.parametrize("strategy", SweepStrategy)
def test_a_count_tells_how_far_it_is(tmp_path, strategy):
    """Counting the expired sessions tells its progress on the way, and not only at the end."""
    count = 2 * PROGRESS_STEP + 1
    fill(tmp_path / "storage", 0, expired=count)
    told = []
    with SledStore.open(tmp_path / "storage") as store:
        report = count_expired(store, strategy, progress=lambda *step: told.append(step))
    assert report.deleted == count
    assert told == [(PROGRESS_STEP, None), (2 * PROGRESS_STEP, None), (count, count)]
