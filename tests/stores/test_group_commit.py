"""Writers that wait at the same time share a flush."""

import queue
import threading
import time
from contextlib import suppress

import pytest

from sled_sessions.stores.sled.durability import GroupCommit


class GatedFlush:
    """A flush that ends, with or without an error, when the test says so."""

    def __init__(self):
        self.begun = queue.Queue()
        self._outcomes = queue.Queue()

    def __call__(self):
        self.begun.put(threading.current_thread().name)
        if (error := self._outcomes.get(timeout=30)) is not None:
            raise error

    def flusher(self):
        """Wait for a flush to begin, and return the name of the thread that runs it."""
        return self.begun.get(timeout=30)

    def end(self, error=None):
        """Let the flush that is running succeed, or fail with `error`."""
        self._outcomes.put(error)


@pytest.fixture
def flush():
    return GatedFlush()


@pytest.fixture
def arrive(flush):
    """Starts a thread that waits for the group's next flush; returns the thread once it is waiting."""

    def start(group, name):
        def wait():
            with suppress(OSError):
                group.wait()

        thread = threading.Thread(target=wait, name=name)
        thread.start()
        time.sleep(0.1)  # time to block in `wait`, which gives no signal when it does
        return thread

    return start


def test_writers_share_a_flush(flush, arrive):
    """All writers that arrive during a flush share the next one."""
    group = GroupCommit(flush)
    threads = [arrive(group, "first")]
    assert flush.flusher() == "first"
    threads += [arrive(group, f"writer {n}") for n in range(8)]
    for _ in range(2):
        flush.end()
    for thread in threads:
        thread.join(30)
    assert flush.flusher() == "writer 0"
    assert flush.begun.empty()


def test_a_retry_does_not_split_the_next_group(flush, arrive):
    """A writer that retries a failed flush does not split the group waiting for the next one."""
    group = GroupCommit(flush)
    threads = [arrive(group, name) for name in ("first", "failing", "retrying")]
    assert flush.flusher() == "first"
    flush.end()
    assert flush.flusher() == "failing"
    threads.append(arrive(group, "writer 0"))
    flush.end(OSError("disk full"))
    number = 0
    while flush.flusher() != "retrying":  # the lock decides which of the two that wait goes first
        number += 1
        threads.append(arrive(group, f"writer {number}"))  # so a writer still waits when "retrying" flushes
        flush.end()
    threads.append(arrive(group, "late"))
    flush.end()
    assert flush.flusher() == f"writer {number}"
    flush.end()
    for thread in threads:
        thread.join(5)
    assert flush.begun.empty()


def test_the_next_writer_retries_a_failed_flush():
    """A failed flush raises for the writer that ran it; the next writer runs another."""
    outcomes = [OSError("disk full"), None]

    def flush():
        if (outcome := outcomes.pop(0)) is not None:
            raise outcome

    group = GroupCommit(flush)
    with pytest.raises(OSError, match="disk full"):
        group.wait()
    group.wait()
    assert outcomes == []
