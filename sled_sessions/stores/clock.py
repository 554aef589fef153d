"""The clock of a store: Python's, so that a test can move it."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

Clock = Callable[[], datetime]
"""Returns the present moment as an aware datetime."""

utc_now: Clock = partial(datetime.now, UTC)
