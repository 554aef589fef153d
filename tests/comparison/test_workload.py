"""The sessions that the comparison and the benchmarks store."""

from sled_sessions.comparison.workload import Workload


def test_records_have_250_bytes():
    """Every version of a record is as long as the documentation says."""
    workload = Workload(300)
    assert {len(workload.record(number, version).encode()) for number in (0, 299) for version in (0, 7)} == {250}
