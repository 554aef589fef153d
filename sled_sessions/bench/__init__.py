"""The benchmark: what the package costs, beside the bare engine and beside what one would pick instead.

- `workload`, `database`: what is stored.
- `measuring`: how it is timed.
- `floors`: the bare calls that ours are compared with; `peers`: the other session stores.
- `store`, `web`, `process`, `comparison`: what is measured; `run` does all of it in order.
- `targets`, `result`, `plots`: what is made of it.
- `sweeps`: the comparison of sweep strategies, small enough for a notebook.
"""

from sled_sessions.bench.result import Line, PeerLine, Result
from sled_sessions.bench.run import run
from sled_sessions.bench.sweeps import SweepComparison, SweepCost, compare_sweeps

__all__ = ["Line", "PeerLine", "Result", "SweepComparison", "SweepCost", "compare_sweeps", "run"]
