"""Open a database for `%sessions_open`, closing the store that the magic opened on the same folder before."""

import os
import re
from contextlib import nullcontext
from keyword import iskeyword
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from IPython.core.error import UsageError

from sled_sessions.display import durations
from sled_sessions.notebook.progress import progress_bar
from sled_sessions.operate import NoDatabase, format_of, is_url, kept_store, open_database, refuse_tree_of_index
from sled_sessions.stores.sled.index import step_of
from sled_sessions.stores.sled.store import RESOLUTION, SledStore
from sled_sessions.stores.sweep import SweepStrategy

_opened: WeakValueDictionary[Path, SledStore] = WeakValueDictionary()
"""The store that %sessions_open opened last in each folder. Module state, so that it survives %reload_ext."""

_OUTPUT = re.compile(r"_{1,3}|_\d+")


def open_store(given: Any, variables: dict[str, Any]) -> SledStore:
    """Open the store that the arguments of `%sessions_open` describe, and bind it to its name.

    All arguments are checked before a store is closed or a database created.
    """
    if not given.name.isidentifier() or iskeyword(given.name):
        raise UsageError(f"{given.name!r} is not a valid variable name")
    if not given.path:
        raise UsageError("the path is empty; use `.` for the folder that the notebook runs in")
    if is_url(given.path):
        raise UsageError("the path is a server's URL; use `RedisStore.from_url`")  # not shown: it may hold a password
    path = Path(os.path.expanduser(given.path))  # unlike Path.expanduser, accepts an unknown `~name`
    resolution = None if given.resolution is None else durations.parse(given.resolution)
    if resolution is not None:
        step_of(resolution)  # raises if an index cannot have it
    before = _store_to_close(path, given.name, variables)
    if given.create:
        refuse_tree_of_index(given.tree)
    try:
        format_of(path)
    except NoDatabase:
        if not given.create:
            raise UsageError(f"there is no sled database in {path}; to create one, add --create") from None
    else:
        with open_database(path) if before is None else nullcontext(before.tree.db) as db:
            if not given.create or os.fsencode(given.tree) in db.tree_names():
                kept = kept_store(db, given.tree)  # raises if the tree is missing, which SledStore.open would create
                resolution = resolution or kept.resolution
    if before is not None:
        before.close()
    with progress_bar("building the expiry index") as progress:
        store = SledStore.open(
            path,
            given.tree,
            strategy=SweepStrategy.FULL_SCAN if given.full_scan else SweepStrategy.EXPIRY_INDEX,
            resolution=resolution or RESOLUTION,
            progress=progress,
        )
    variables[given.name] = _opened[store.tree.db.path] = store
    return store


def named_by_user(variables: dict[str, Any]) -> dict[str, Any]:
    """A notebook's variables without those that hold outputs, such as `_` and `_5`."""
    # IPython's `user_ns_hidden` does not help: it also has what start-up files and `exec_lines` define.
    return {name: value for name, value in variables.copy().items() if not _OUTPUT.fullmatch(name)}


def _store_to_close(path: Path, name: str, variables: dict[str, Any]) -> SledStore | None:
    """The open store of an earlier %sessions_open that must be closed before `path` can be opened as `name`."""
    folder = path.resolve()
    before = _opened.get(folder)
    in_use = [
        (variable, value)
        for variable, value in named_by_user(variables).items()
        if isinstance(value, SledStore) and value.is_open and value.tree.db.path == folder
    ]
    if not in_use or any(variable == name and value is before for variable, value in in_use):
        return before if before is not None and before.is_open else None
    variable, value = in_use[0]
    close = f"{variable}.close()" if value is before else f"{variable}.tree.db.close()"
    raise UsageError(f"{path} is open as {variable}; use that, or close it first: {close}")
