"""Progress bars for the functions of this package that take `progress=`."""

from collections.abc import Iterator
from contextlib import contextmanager

from sled_sessions.stores.sweep import Progress

DELAY = 0.5
"""Seconds before a bar appears; what is done by then needs none."""


@contextmanager
def progress_bar(what: str) -> Iterator[Progress]:
    """A bar, in a notebook or on a terminal, that appears after half a second.

        with progress_bar("indexing") as progress:
            store.rebuild_index(progress)

    Args:
        what: What is being done.

    Raises:
        ImportError: tqdm is not installed.
    """
    try:
        from tqdm.auto import tqdm
    except ImportError:
        msg = "progress bars need tqdm: pip install 'sled_sessions[notebook]'"
        raise ImportError(msg) from None
    with tqdm(desc=what, delay=DELAY, unit=" records", unit_scale=True) as bar:

        def progress(done: int, total: int | None) -> None:
            if total is not None:
                bar.total = total
            bar.update(done - bar.n)

        yield progress
