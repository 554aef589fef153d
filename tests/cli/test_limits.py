"""Options and expiries as large as they can be."""

from datetime import UTC, datetime

import pytest
from operate.databases import fill

from sled_sessions import Id, Record, SledStore, SweepStrategy


@pytest.mark.parametrize("strategy", SweepStrategy)
def test_within_more_than_the_calendar_has(run, tmp_path, strategy):
    """--expiring-within may reach beyond the year 9999, and finds what expires until then."""
    fill(tmp_path / "storage", 2, expired=1, strategy=strategy)
    with SledStore.open(tmp_path / "storage", strategy=strategy) as store:
        store.save(Record(Id.new(), {}, datetime.max.replace(tzinfo=UTC)))
    for time in ("3000000d", "999999999d"):
        result = run("list", tmp_path / "storage", "--expiring-within", time, "--json")
        assert (result.code, len(result.out.splitlines())) == (0, 3), result.err


@pytest.mark.parametrize("option", ["--limit", "--page"])
def test_more_than_anybody_has(run, tmp_path, option):
    """A number that no list can have is wrong usage."""
    fill(tmp_path / "storage", 1)
    assert run("list", tmp_path / "storage", option, 10**9).code == (0 if option == "--limit" else 3)
    assert run("list", tmp_path / "storage", option, 10**30).code == 2
