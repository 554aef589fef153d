"""Updates of one session within this process: one at a time, each starting from what the last one wrote."""

import asyncio
import random

import attrs

_LONGEST_PAUSE = 0.064


@attrs.define(eq=False)
class Turn:
    """What the updates of one session share: the lock that one of them holds, and the value that the last one wrote."""

    lock: asyncio.Lock = attrs.field(factory=asyncio.Lock)
    value: bytes | None = None
    _pause: float = 0.001

    async def give_way(self, deadline: float) -> None:
        """Pause after another process came first, until the deadline at most.

        The pause is random, and longer each time, so that competing processes get out of step.
        """
        left = deadline - asyncio.get_running_loop().time()
        await asyncio.sleep(min(random.uniform(0, self._pause), left))  # noqa: S311 - not a secret
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
