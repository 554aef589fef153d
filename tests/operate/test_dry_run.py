"""Progress of a dry run, which may take long."""

import pytest
from operate.databases import fill

from sled_sessions import SledStore, SweepStrategy
from sled_sessions.stores.sweep import PROGRESS_STEP


@pytest.mark.parametrize("strategy", SweepStrategy)
def test_dry_run_reports_progress(tmp_path, strategy):
    """A dry run reports progress on the way, not only at the end."""
    count = 2 * PROGRESS_STEP + 1
    fill(tmp_path / "storage", 0, expired=count)
    told = []
    with SledStore.open(tmp_path / "storage") as store:
        report = store.delete_expired(strategy, dry_run=True, progress=lambda *step: told.append(step))
    assert report.deleted == count
    assert told == [(PROGRESS_STEP, None), (2 * PROGRESS_STEP, None), (count, count)]
