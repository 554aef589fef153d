"""What a session of 60 KB costs, whatever it holds."""

import gc
import time

import msgspec
import pytest

from benchmarks.shapes import SHAPES
from benchmarks.whole_session import sides

AT_MOST = 20


@pytest.mark.parametrize("name", SHAPES)
def test_sizes(name):
    """Each shape takes about 60 KB, below the stores' limit, and its two variants have the same size."""
    sizes = {len(msgspec.msgpack.encode(SHAPES[name](digit))) for digit in (0, 1)}
    assert len(sizes) == 1
    assert 55_000 < sizes.pop() < 65_000


@pytest.mark.parametrize("name", SHAPES)
def test_a_request_costs_a_few_times_its_bytes(name):
    """A request that reads and sets all of a session takes at most 20 times as long as decoding and encoding it.

    The processor's time is compared, the least of several turns, so that a busy machine does not matter.
    """
    with sides(SHAPES[name]) as both:
        least = {side: float("inf") for side in both}
        gc.collect()
        gc.disable()
        try:
            for turn in range(5):
                for side, each in both.items():
                    given = each.prepare(turn)
                    start = time.thread_time()
                    each.run(given)
                    least[side] = min(least[side], time.thread_time() - start)
        finally:
            gc.enable()
    assert least["ours"] <= AT_MOST * least["floor"]
