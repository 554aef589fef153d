"""Comparison of the sweep strategies on this machine.

`compare_sweeps` (in `sweeps`) fills temporary databases with a `workload`, times each strategy in turns (`measuring`)
and returns a `SweepComparison` (`result`), which shows itself as a table and as a plot (`plots`).
"""

from sled_sessions.comparison.result import SweepComparison, SweepCost
from sled_sessions.comparison.sweeps import compare_sweeps

__all__ = ["SweepComparison", "SweepCost", "compare_sweeps"]
