"""A progress bar for all functions with a `progress=` parameter."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from sled_sessions.stores.sweep import PROGRESS_STEP, Progress

T = TypeVar("T")

DELAY = 0.5  # seconds before the bar appears; quicker work needs none


@contextmanager
def progress_bar(what: str) -> Iterator[Progress]:
    """A progress bar, labelled `what`, in a notebook or on a terminal, that appears after half a second.

        with progress_bar("indexing") as progress:
            store.rebuild_index(progress)

    Raises:
        ImportError: tqdm is not installed.
    """
    try:
        from tqdm.auto import tqdm
    except ImportError:
        raise ImportError("progress bars need tqdm: pip install 'sled_sessions[notebook]'") from None
    begun, bar = time.monotonic(), None

    def progress(done: int, total: int | None) -> None:
        nonlocal bar
        if bar is None:
            if time.monotonic() - begun < DELAY:
                return
            # Created late because in Jupyter each bar, shown or not, keeps eleven widgets as long as the kernel runs.
            bar = tqdm(desc=what, initial=done, total=total or None, unit=" records", unit_scale=True)
        bar.total = total or None
        bar.update(done - bar.n)

    try:
        yield progress
    except BaseException:
        if bar is not None:
            bar.leave = False  # a bar without a total would look finished
        raise
    finally:
        if bar is not None:
            bar.close()


def watched(items: Iterator[T], progress: Progress) -> Iterator[T]:
    """The items, reporting progress after every `PROGRESS_STEP` of them."""
    for number, item in enumerate(items, 1):
        if number % PROGRESS_STEP == 0:
            progress(number, None)
        yield item
