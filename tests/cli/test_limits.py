"""Options, expiries and data at the limits of their ranges."""

import html
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from operate.databases import fill

from sled_sessions import Id, Record, SledStore, SweepStrategy
from sled_sessions.records.json import MAX_DEPTH


@pytest.mark.parametrize("strategy", SweepStrategy)
def test_expiring_within_beyond_the_calendar(run, tmp_path, strategy):
    """--expiring-within may reach beyond the year 9999, and finds everything that expires before."""
    fill(tmp_path / "storage", 2, expired=1, strategy=strategy)
    with SledStore.open(tmp_path / "storage", strategy=strategy) as store:
        store.save(Record(Id.new(), {}, datetime.max.replace(tzinfo=UTC)))
    for time in ("3000000d", "999999999d"):
        result = run("list", tmp_path / "storage", "--expiring-within", time, "--json")
        assert (result.code, len(result.out.splitlines())) == (0, 3), result.err


def test_expiring_within_with_a_huge_index_step(run, tmp_path):
    """--expiring-within works when the index step reaches back before the year 1."""
    fill(tmp_path / "storage", 2, expired=1, resolution=timedelta(days=366 * 3000))
    for time, code, count in (("1h", 3, 0), ("300000d", 0, 2)):
        result = run("list", tmp_path / "storage", "--expiring-within", time, "--json")
        assert (result.code, len(result.out.splitlines())) == (code, count), result.err


@pytest.mark.parametrize(
    ("expiry", "shown"),
    [
        (datetime(2099, 1, 1, 12, tzinfo=timezone(timedelta(seconds=30))), "2099-01-01T11:59:30Z"),
        (datetime(2099, 1, 1, 12, tzinfo=timezone(timedelta(hours=-5))), "2099-01-01T17:00:00Z"),
        (datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-5))), "9999-12-31T23:00:00-05:00"),
        (datetime(1, 1, 1, 1, tzinfo=timezone(timedelta(hours=5, seconds=7))), "0001-01-01T01:00:00+05:00:07"),
    ],
)
def test_expiry_as_json(run, tmp_path, expiry, shown):
    """JSON has the exact expiry in UTC, or in its own offset if UTC has no such year."""
    with SledStore.open(tmp_path / "storage") as store:
        store.save(Record(id := Id.new(), {}, expiry))
    for arguments in (("list", tmp_path / "storage"), ("show", tmp_path / "storage", id)):
        assert json.loads(run(*arguments, "--json").out)["expiry_date"] == shown


def test_deepest_data(run, tmp_path):
    """Data nested as deeply as a store accepts is shown by every view, with the secret at the bottom masked."""
    data = {"csrf_token": "hidden"}
    for level in range(1, MAX_DEPTH):
        data = {"x": data} if isinstance(data, list) or level == MAX_DEPTH - 1 else [data]
    record = Record(Id.new(), data, datetime(2099, 1, 1, tzinfo=UTC))
    with SledStore.open(tmp_path / "storage") as store:
        store.save(record)
        shown = [store._repr_html_(), record._repr_html_()]
    for arguments in (("list",), ("list", "--json"), ("show", record.id), ("show", record.id, "--json")):
        command, *options = arguments
        result = run(command, tmp_path / "storage", *options)
        assert result.code == 0, result.err
        shown.append(result.out)
    assert all('[{"x": [{' in html.unescape(text).replace('":[', '": [') for text in shown)
    assert not any("hidden" in text for text in shown)


@pytest.mark.parametrize("option", ["--limit", "--page"])
def test_largest_numbers(run, tmp_path, option):
    """--limit and --page accept a billion; a number beyond the range is wrong usage."""
    fill(tmp_path / "storage", 1)
    assert run("list", tmp_path / "storage", option, 10**9).code == (0 if option == "--limit" else 3)
    assert run("list", tmp_path / "storage", option, 10**30).code == 2
