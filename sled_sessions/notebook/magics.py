"""The magics of `%load_ext sled_sessions`."""

import asyncio
import functools
import statistics
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, line_cell_magic, line_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments

from sled_sessions.display import durations, text
from sled_sessions.display.masking import printable
from sled_sessions.display.table import Table
from sled_sessions.errors import SessionError
from sled_sessions.notebook.arguments import condition, moment, parse, session_id
from sled_sessions.notebook.opening import open_store
from sled_sessions.notebook.plots import plot_expiries
from sled_sessions.notebook.progress import progress_bar, watched
from sled_sessions.session import Session, SessionManager
from sled_sessions.sled import SledError
from sled_sessions.stores import shown
from sled_sessions.stores.memory import MemoryStore
from sled_sessions.stores.sled.indexed_tree import IndexReport
from sled_sessions.stores.sled.store import SledStore
from sled_sessions.stores.sweep import SweepReport, SweepStrategy

_STRATEGIES = [strategy.value for strategy in SweepStrategy]
_store = argument("store", nargs="?", default="store", help="The variable that holds the store; default: `store`.")


def _parsed(magic: Callable[..., Any]) -> Callable[..., Any]:
    """Call a magic with its parsed line, and turn expected errors into a line: a typing mistake needs no traceback.

    IPython does not expand the line, because it would evaluate what stands in braces and split what variables hold.
    """

    @no_var_expand
    @functools.wraps(magic)
    def wrapped(self: "SessionMagics", line: str, *cell: str) -> Any:
        try:
            given = parse(getattr(self, magic.__name__).parser, line, self.shell.user_ns)
            return magic(self, given, *cell)
        except (UsageError, SessionError, SledError, OSError, ValueError, ImportError) as error:
            raise UsageError(printable(" ".join(str(error).split())) or type(error).__name__) from None

    return wrapped


@magics_class
class SessionMagics(Magics):
    """Magics to open, inspect and maintain session stores, and to run a cell with a session."""

    shell: Any

    @line_magic
    @magic_arguments()
    @argument("path", help="The folder of the database.")
    @argument("--as", dest="name", default="store", help="The variable for the store; default: `store`.")
    @argument("--tree", default="session", help="The tree of the records; default: `session`.")
    @argument("--create", action="store_true", help="Create the database or the tree if it does not exist.")
    @argument("--full-scan", action="store_true", help="Do without an expiry index; drops an existing one.")
    @argument("--resolution", help="The step of the expiry index, such as 5min; default: the existing index's, or 1s.")
    @_parsed
    def sessions_open(self, given: Any) -> SledStore:
        """Open a database and assign its store to a variable.

        The cell can run again: a store that this magic opened on the folder is closed first, even if other code uses
        it, provided that it is in the same variable or in none. Close the store with `store.close()`; until then no
        other process can open the database.
        """
        return open_store(given, self.shell.user_ns)

    @line_cell_magic
    @magic_arguments()
    @_store
    @argument("--page", type=int, default=1, help="The page to show, counted from 1.")
    @argument("--size", type=int, default=20, help="Sessions per page; default: 20.")
    @argument("--live", action="store_true", help="Show only sessions that have not expired.")
    @argument("--expired", action="store_true", help="Show only expired sessions that no sweep has deleted yet.")
    @argument(
        "--where",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="Show only sessions whose data has this value; KEY may be a path such as user.id. Repeatable.",
    )
    @argument("--reveal", action="store_true", help="Show ids, secrets and long values in full.")
    @_parsed
    def sessions(self, given: Any, cell: str | None = None) -> Table:
        """Show the sessions of a store, page by page, in the order in which they are stored.

        As a cell magic it shows the sessions for which the cell's expression is true. The expression can use `record`,
        its `data`, and `live`:

            %%sessions store
            live and data.get("counter", 0) > 3
        """
        store = self._store(given.store)
        if given.page < 1 or given.size < 1:
            raise UsageError("--page and --size must be at least 1")
        if given.page * given.size >= sys.maxsize:
            raise UsageError("--page times --size is too large")
        if given.live and given.expired:
            raise UsageError("a session is never both live and expired: leave out --live or --expired")
        now = store.clock()
        matches = condition(given, cell, now, self.shell.user_ns)
        with progress_bar("searching the sessions") as progress:
            found = (record for record in watched(store.records(), progress) if matches(record))
            first = (given.page - 1) * given.size
            page = list(islice(found, first, first + given.size + 1))
        more = f"more: --page {given.page + 1}" if len(page) > given.size else ""
        caption = f"Sessions of {given.store}" + (f", page {given.page}" if more or given.page > 1 else "")
        return Table(caption, shown.COLUMNS, shown.rows(page[: given.size], now, reveal=given.reveal), more)

    @line_magic
    @magic_arguments()
    @_store
    @argument("--strategy", choices=_STRATEGIES, help="How to find expired sessions; default: the store's way.")
    @argument(
        "--now", help="Sweep as of 2030-01-31T12:00 (UTC), +2h or -7d. A later moment also deletes live sessions."
    )
    @argument("--limit", type=int, help="Delete at most this many sessions.")
    @argument("--budget", help="Stop after this time, such as 500ms or 2s.")
    @_parsed
    def sessions_sweep(self, given: Any) -> SweepReport:
        """Delete the expired sessions of a store."""
        store = self._store(given.store)
        strategy = None if given.strategy is None else SweepStrategy(given.strategy)
        if strategy is SweepStrategy.EXPIRY_INDEX:
            _require_index(given.store, store)
        with progress_bar("sweeping") as progress:
            return store.delete_expired(
                strategy,
                now=None if given.now is None else moment(given.now, store.clock()),
                limit=given.limit,
                budget=None if given.budget is None else durations.parse(given.budget),
                progress=progress,
            )

    @line_magic
    @magic_arguments()
    @_store
    @_parsed
    def sessions_verify(self, given: Any) -> IndexReport:
        """Compare the expiry index of a store with its records, without changing anything."""
        store = self._sled_store(given.store)
        _require_index(given.store, store)
        with progress_bar("comparing the index with the records") as progress:
            return store.verify_index(progress)

    @line_magic
    @magic_arguments()
    @_store
    @_parsed
    def sessions_rebuild(self, given: Any) -> IndexReport:
        """Rebuild the expiry index of a store from its records, as needed after a Rust program has written to it."""
        store = self._sled_store(given.store)
        with progress_bar("building the expiry index") as progress:
            return store.rebuild_index(progress)

    @line_magic
    @magic_arguments()
    @_store
    @argument("--from", dest="start", help="Leave out sessions that expire before: 2030-01-31T12:00 (UTC), +2h, -7d.")
    @argument("--to", dest="stop", help="Leave out sessions that expire at this moment or later.")
    @argument("--bins", type=int, default=48, help="The number of bars, from 1 to 1000; default: 48.")
    @_parsed
    def sessions_expiries(self, given: Any) -> Any:
        """Plot when the sessions of a store expire, from its expiry index if it has one."""
        store = self._store(given.store)
        start, stop = (None if at is None else moment(at, store.clock()) for at in (given.start, given.stop))
        return plot_expiries(store, start=start, stop=stop, bins=given.bins)

    @line_magic
    @magic_arguments()
    @_store
    @argument("--repeat", type=int, default=3, help="Sweeps per strategy; default: 3.")
    @_parsed
    def sessions_time(self, given: Any) -> Table:
        """Compare how long each strategy takes to sweep this store when no session is due.

        The sweeps run as of a moment before all expiries, so that they search as usual and delete nothing. To measure
        sweeps that delete, on databases made for it, see `sled_sessions.comparison.compare_sweeps`.
        """
        store = self._store(given.store)
        if given.repeat < 1:
            raise UsageError("--repeat must be at least 1")
        _require_index(given.store, store)
        before_all = datetime.min.replace(tzinfo=UTC)
        reports: dict[SweepStrategy, list[SweepReport]] = {strategy: [] for strategy in SweepStrategy}
        with progress_bar("sweeping") as progress:
            for _ in range(given.repeat):
                for strategy, past in reports.items():
                    past.append(store.delete_expired(strategy, now=before_all, progress=progress))
        rows = []
        for strategy, past in reports.items():
            times = [report.seconds for report in past]
            summary = map(text.elapsed, (statistics.median(times), min(times), max(times)))
            rows.append((strategy.value, past[-1].examined, *summary))
        columns = ("strategy", "examined", "median time", "fastest", "slowest")
        return Table(f"A sweep of {given.store} with nothing due", columns, rows)

    @cell_magic
    @magic_arguments("%session")
    @_store
    @argument("--id", help="An existing session's id, or a variable that holds it; default: a new session.")
    @_parsed
    def session(self, given: Any, cell: str) -> Session:
        """Run the cell with a session of the store in the variable `session`, and save it afterwards.

        If the cell raises an exception, the session is not saved.

            %%session store
            session["cart"] = ["apples"]

        In Jupyter, a cell that awaits must use `with SessionManager(store).session() as session:` instead.
        """
        store = self._store(given.store)
        if self._awaits_in_a_loop(cell):
            raise UsageError(
                "in Jupyter a cell that awaits cannot run under %%session; write in it instead: "
                "with SessionManager(store).session() as session:"
            )
        manager = SessionManager(store, clock=store.clock)
        session = manager.open(None if given.id is None else session_id(given.id, self.shell.user_ns))
        if given.id is not None and session.id is None:
            raise UsageError(f"{given.store} has no live session with this id; leave out --id to start a new session")
        session.load()
        self.shell.user_ns["session"] = session
        if not self.shell.run_cell(cell).success:
            raise UsageError("the cell raised an exception, so the session was not saved")
        manager.commit(session)
        return session

    def _store(self, name: str) -> SledStore | MemoryStore:
        store = self.shell.user_ns.get(name)
        if isinstance(store, SledStore | MemoryStore):
            return store
        if name in self.shell.user_ns:
            raise UsageError(f"{name} is of type {type(store).__name__}; a SledStore or a MemoryStore is needed")
        variable = name if name.isidentifier() else "store"
        raise UsageError(f"{name} is not defined; open a store: %sessions_open FOLDER --as {variable}")

    def _sled_store(self, name: str) -> SledStore:
        store = self._store(name)
        if isinstance(store, MemoryStore):
            raise UsageError(f"{name} is a MemoryStore; only a SledStore has an expiry index on disk")
        return store

    def _awaits_in_a_loop(self, cell: str) -> bool:
        """Whether the cell awaits while an event loop is already running, as Jupyter's is."""
        try:
            asyncio.get_running_loop()
            code = self.shell.transform_cell(cell)
        except (RuntimeError, SyntaxError):  # no loop is running; running the cell shows its syntax error
            return False
        return bool(self.shell.should_run_async(cell, transformed_cell=code))


def _require_index(name: str, store: SledStore | MemoryStore) -> None:
    if isinstance(store, SledStore) and store.resolution is None:
        raise UsageError(
            f"the expiry index of {name} is incomplete; %sessions_rebuild {name} rebuilds it"
            if store.strategy is SweepStrategy.EXPIRY_INDEX
            else f"{name} keeps no expiry index; %sessions_open without --full-scan builds one"
        )
