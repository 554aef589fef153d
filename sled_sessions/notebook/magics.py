"""The magics: a line for each thing that people do with a store at the keyboard."""

import asyncio
import contextlib
import functools
import os
import re
import shlex
import statistics
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from keyword import iskeyword
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, line_cell_magic, line_magic, magics_class
from IPython.core.magic_arguments import argument, magic_arguments

from sled_sessions import sled
from sled_sessions.display import durations, text
from sled_sessions.display.masking import printable
from sled_sessions.display.table import Table
from sled_sessions.errors import SessionError
from sled_sessions.notebook.arguments import moment
from sled_sessions.notebook.plots import plot_expiries
from sled_sessions.notebook.progress import progress_bar
from sled_sessions.operate import (
    NoDatabase,
    format_of,
    is_url,
    kept_store,
    matching,
    open_database,
    refuse_tree_of_index,
)
from sled_sessions.records import Id, Record
from sled_sessions.session import Session, SessionManager
from sled_sessions.stores import shown
from sled_sessions.stores.memory import MemoryStore
from sled_sessions.stores.sled.index import step_of
from sled_sessions.stores.sled.indexed_tree import IndexReport
from sled_sessions.stores.sled.store import RESOLUTION, SledStore
from sled_sessions.stores.sweep import PROGRESS_STEP, SweepReport, SweepStrategy

_Method = TypeVar("_Method", bound=Callable[..., Any])

_opened: WeakValueDictionary[Path, SledStore] = WeakValueDictionary()
"""By its folder, the store that %sessions_open has opened last; outside of the class, so that %reload_ext keeps it."""

_OUTPUT = re.compile(r"_{1,3}|_\d+")

_STRATEGIES = {strategy.value: strategy for strategy in SweepStrategy}

# Before every session that there can be: a sweep at this moment looks as any sweep does, and deletes nothing.
_NOTHING_IS_DUE = datetime.min.replace(tzinfo=UTC)

_NOW = (
    "Sweep as if it were this moment: 2030-01-31T12:00 (UTC), +2h, -7d. "
    "A later one deletes sessions that are still live."
)

_store = argument("store", nargs="?", default="store", help="The name of the store; `store` if left out.")


def _in_one_line(magic: _Method) -> _Method:
    """Say what went wrong in one line, which a terminal can show: a mistake at the keyboard needs no traceback."""

    @functools.wraps(magic)
    def wrapped(*arguments: Any) -> Any:
        try:
            return magic(*arguments)
        except (UsageError, SessionError, sled.SledError, OSError, ValueError, ImportError) as error:
            raise UsageError(printable(" ".join(str(error).split())) or type(error).__name__) from None

    return wrapped  # type: ignore[return-value]


@magics_class
class SessionMagics(Magics):
    """The magics of `%load_ext sled_sessions`."""

    @line_magic
    @magic_arguments()
    @argument("path", help="The folder of the database.")
    @argument("--as", dest="name", default="store", help="The name to give the store; `store` if left out.")
    @argument("--tree", default="session", help="The tree of the records; `session` if left out.")
    @argument("--create", action="store_true", help="Make the database, or the tree, if there is none.")
    @argument("--full-scan", action="store_true", help="Keep no expiry index, and drop one that is there.")
    @argument(
        "--resolution", help="The step of the expiry index, such as 5min; that of a whole one, or 1s, if left out."
    )
    @_in_one_line
    def sessions_open(self, line: str) -> SledStore:
        """Open a database, and give its store a name.

        A store that this magic opened on the same folder is closed first, whatever else uses it, if it has that name,
        so that a cell can run again, or no name any more. Close it with `store.close()`; until then no other process
        can open the database.
        """
        given = _parse(self.sessions_open, line)
        if not given.name.isidentifier() or iskeyword(given.name):
            raise UsageError(f"{given.name!r} cannot be the name of a variable")
        path = Path(os.path.expanduser(given.path))  # which leaves an unknown `~name` to the message below
        if not given.path:
            raise UsageError("the path is empty; `.` is the folder that the notebook runs in")
        if is_url(given.path):
            raise UsageError("the path is a server's URL; `RedisStore.from_url` takes it")  # not shown: its password
        resolution = None if given.resolution is None else durations.parse(given.resolution)
        if resolution is not None:
            step_of(resolution)  # which refuses what no index can have, before anything is made or closed
        before = self._to_close(path, given.name)
        if given.create:
            refuse_tree_of_index(given.tree)
        try:
            format_of(path)
        except NoDatabase:
            if not given.create:
                raise UsageError(f"there is no sled database in {path}; to make one, add --create") from None
        else:
            with open_database(path) if before is None else contextlib.nullcontext(before.tree.db) as db:
                if not given.create or os.fsencode(given.tree) in db.tree_names():
                    kept = kept_store(db, given.tree)  # which refuses a tree that is not there: below it would be made
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
        self._variables[given.name] = _opened[store.tree.db.path] = store
        return store

    @line_cell_magic
    @magic_arguments()
    @_store
    @argument("--page", type=int, default=1, help="Which page to show, from 1.")
    @argument("--size", type=int, default=20, help="Sessions on a page; 20 if left out.")
    @argument("--live", action="store_true", help="Only sessions that have not expired.")
    @argument("--expired", action="store_true", help="Only sessions that have expired and wait for a sweep.")
    @argument(
        "--where",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="Only sessions whose data has this value; KEY may be a path such as user.id. May be repeated.",
    )
    @argument("--reveal", action="store_true", help="Show whole ids, secrets and long values.")
    @_in_one_line
    def sessions(self, line: str, cell: str | None = None) -> Table:
        """Show the sessions of a store, page by page, in the order in which they are stored.

        As a cell magic it shows those for which the expression in the cell is true. It sees `record`, its `data`, and
        `live`:

            %%sessions store
            live and data.get("counter", 0) > 3
        """
        given = _parse(self.sessions, line)
        store = self._store(given.store)
        if given.page < 1 or given.size < 1:
            raise UsageError("--page and --size count from 1")
        if given.page * given.size >= sys.maxsize:
            raise UsageError("--page and --size lead beyond any session that there can be")
        if given.live and given.expired:
            raise UsageError("what has expired is not live: leave out --live or --expired")
        now = store.clock()
        condition = self._condition(given, cell, now)
        with progress_bar("looking through the sessions") as progress:
            found = (record for record in _counted(store.records(), progress) if condition(record))
            first = (given.page - 1) * given.size
            page = list(islice(found, first, first + given.size + 1))
        is_last = len(page) <= given.size
        return Table(
            f"Sessions of {given.store}"
            if is_last and given.page == 1
            else f"Sessions of {given.store}, page {given.page}",
            shown.COLUMNS,
            shown.rows(page[: given.size], now, reveal=given.reveal),
            "" if is_last else f"more: --page {given.page + 1}",
        )

    @line_magic
    @magic_arguments()
    @_store
    @argument(
        "--strategy", choices=list(_STRATEGIES), help="How to find expired sessions; the store's own way if left out."
    )
    @argument("--now", help=_NOW)
    @argument("--limit", type=int, help="How many to delete at most.")
    @argument("--budget", help="Stop after this time, such as 500ms or 2s.")
    @_in_one_line
    def sessions_sweep(self, line: str) -> SweepReport:
        """Delete the sessions that have expired."""
        given = _parse(self.sessions_sweep, line)
        store = self._store(given.store)
        strategy = _STRATEGIES.get(given.strategy)
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
    @_in_one_line
    def sessions_verify(self, line: str) -> IndexReport:
        """Compare the expiry index with the records; nothing is changed."""
        given = _parse(self.sessions_verify, line)
        store = self._sled_store(given.store)
        _require_index(given.store, store)
        with progress_bar("comparing the index with the records") as progress:
            return store.verify_index(progress)

    @line_magic
    @magic_arguments()
    @_store
    @_in_one_line
    def sessions_rebuild(self, line: str) -> IndexReport:
        """Build the expiry index anew from the records, as after a Rust program wrote to the database."""
        store = self._sled_store(_parse(self.sessions_rebuild, line).store)
        with progress_bar("building the expiry index") as progress:
            return store.rebuild_index(progress)

    @line_magic
    @magic_arguments()
    @_store
    @argument("--from", dest="start", help="Leave out what expires before: 2030-01-31T12:00 (UTC), +2h, -7d.")
    @argument("--to", dest="stop", help="Leave out what expires from then on.")
    @argument("--bins", type=int, default=48, help="How many bars, from 1 to 1000.")
    @_in_one_line
    def sessions_expiries(self, line: str) -> Any:
        """Plot how many sessions expire when, from the index if there is one."""
        given = _parse(self.sessions_expiries, line)
        store = self._store(given.store)
        start, stop = (None if at is None else moment(at, store.clock()) for at in (given.start, given.stop))
        return plot_expiries(store, start=start, stop=stop, bins=given.bins)

    @line_magic
    @magic_arguments()
    @_store
    @argument("--repeat", type=int, default=3, help="How often each is run; 3 if left out.")
    @_in_one_line
    def sessions_time(self, line: str) -> Table:
        """Time a sweep that finds nothing due with each strategy, side by side, on this store.

        The sweeps run at a moment before all sessions, so they look as any sweep does and delete nothing. For sweeps
        that delete, on databases made for it, see `sled_sessions.comparison.compare_sweeps`.
        """
        given = _parse(self.sessions_time, line)
        store = self._store(given.store)
        if given.repeat < 1:
            raise UsageError("--repeat counts from 1")
        _require_index(given.store, store)
        reports: dict[SweepStrategy, list[SweepReport]] = {strategy: [] for strategy in SweepStrategy}
        with progress_bar("sweeping") as progress:
            for _ in range(given.repeat):
                for strategy, past in reports.items():
                    past.append(store.delete_expired(strategy, now=_NOTHING_IS_DUE, progress=progress))
        return Table(
            f"A sweep of {given.store} with nothing due",
            ("strategy", "examined", "median time", "fastest", "slowest"),
            [
                (
                    strategy.value,
                    past[-1].examined,
                    *map(text.elapsed, (statistics.median(times), min(times), max(times))),
                )
                for strategy, past in reports.items()
                if (times := [report.seconds for report in past])
            ],
        )

    @cell_magic
    @magic_arguments("%session")
    @_store
    @argument("--id", help="The session to open: its text, or an expression that gives an Id. A new one if left out.")
    @_in_one_line
    def session(self, line: str, cell: str) -> Session:
        """Run the cell with a session of the store at hand, named `session`, and save it afterwards.

        When the cell raises, nothing is saved.

            %%session store
            session["cart"] = ["apples"]

        In Jupyter a cell that awaits writes `with SessionManager(store).session() as session:` instead.
        """
        given = _parse(self.session, line)
        store = self._store(given.store)
        if self._awaits_in_a_loop(cell):
            raise UsageError(
                "Jupyter runs no cell that awaits inside another one; write in the cell, instead of %%session: "
                "with SessionManager(store).session() as session:"
            )
        manager = SessionManager(store, clock=store.clock)
        session = manager.open(None if given.id is None else self._id(given.id))
        if given.id is not None and session.id is None:
            raise UsageError(f"{given.store} has no live session of this id; without --id the cell begins a new one")
        session.load()
        self._variables["session"] = session
        if not self._shell.run_cell(cell).success:
            raise UsageError("the cell raised, so the session was not saved")
        manager.commit(session)
        return session

    # -- how ----------------------------------------------------------------------------------------------------------

    @property
    def _shell(self) -> Any:
        return self.shell

    @property
    def _variables(self) -> dict[str, Any]:
        variables: dict[str, Any] = self._shell.user_ns
        return variables

    def _to_close(self, path: Path, name: str) -> SledStore | None:
        """The store that has to be closed before one on this folder can be opened under this name, if there is one."""
        folder = path.resolve()
        before = _opened.get(folder)
        using = [
            (known_as, value)
            for known_as, value in named_by_user(self._shell).items()
            if isinstance(value, SledStore) and value.tree.db.path == folder and _is_open(value.tree.db)
        ]
        if not using or any(known_as == name and value is before for known_as, value in using):
            return before if before is not None and _is_open(before.tree.db) else None
        known_as, value = using[0]
        close = f"{known_as}.close()" if value is before else f"{known_as}.tree.db.close()"
        raise UsageError(f"{path} is open as {known_as}; use that, or close it first: {close}")

    def _store(self, name: str) -> SledStore | MemoryStore:
        store = self._variables.get(name)
        if isinstance(store, SledStore | MemoryStore):
            return store
        if name in self._variables:
            msg = f"{name} is of type {type(store).__name__}; a SledStore or a MemoryStore is needed"
        else:
            known_as = name if name.isidentifier() else "store"
            msg = f"{name} is not defined; open a store: %sessions_open FOLDER --as {known_as}"
        raise UsageError(msg)

    def _sled_store(self, name: str) -> SledStore:
        store = self._store(name)
        if isinstance(store, SledStore):
            return store
        raise UsageError(
            f"{name} is a {type(store).__name__}, whose index cannot be looked at; this is for a SledStore"
        )

    def _awaits_in_a_loop(self, cell: str) -> bool:
        """Whether the cell awaits, and a loop runs already, as Jupyter's does."""
        try:
            asyncio.get_running_loop()
            code = self._shell.transform_cell(cell)
        except (RuntimeError, SyntaxError):  # no loop runs; the cell is no Python, which running it shows
            return False
        return bool(self._shell.should_run_async(cell, transformed_cell=code))

    def _id(self, written: str) -> Id:
        with contextlib.suppress(SessionError):
            return Id.parse(written)
        try:
            id = eval(written, self._variables)  # noqa: S307 - the person at the keyboard may run code here
        except Exception as error:  # noqa: BLE001 - whatever the expression raised is shown
            raise UsageError(f"--id: {written} gave {type(error).__name__}: {error}") from None
        if isinstance(id, Id):
            return id
        raise UsageError(f"--id: {written} is no session id")

    def _condition(self, given: Any, cell: str | None, now: datetime) -> Callable[[Record], bool]:
        """What a session must be like to be shown."""
        try:
            wanted = [matching(each) for each in given.where]
        except ValueError as error:
            raise UsageError(f"--where: {error}") from None
        try:
            expression = None if cell is None else compile(cell.strip(), "<the cell>", "eval")
        except SyntaxError as error:
            raise UsageError(f"the cell must be one expression: {error.msg}") from None
        names = dict(self._variables)

        def holds(record: Record) -> bool:
            live = record.expiry_date > now
            if (given.live and not live) or (given.expired and live):
                return False
            if not all(matches(record) for matches in wanted):
                return False
            if expression is None:
                return True
            try:
                names.update(record=record, data=record.data, live=live)
                return bool(eval(expression, names))  # noqa: S307 - as in any cell
            except Exception as error:  # noqa: BLE001 - whatever the expression raised is shown
                raise UsageError(f"the expression gave {type(error).__name__} on {record.id!r}: {error}") from None

        return holds


def named_by_user(shell: Any) -> dict[str, Any]:
    """The variables of a notebook but for those that IPython makes, such as `_` and `_5` for what cells gave."""
    # Not by `user_ns_hidden`, where IPython also puts what a start-up file or `exec_lines` has defined.
    return {name: value for name, value in shell.user_ns.copy().items() if not _OUTPUT.fullmatch(name)}


def _is_open(db: sled.Db) -> bool:
    try:
        db.tree_names()
    except sled.ClosedError:
        return False
    return True


def _require_index(name: str, store: SledStore | MemoryStore) -> None:
    if isinstance(store, SledStore) and store.resolution is None:
        raise UsageError(
            f"the expiry index of {name} is not whole; %sessions_rebuild {name} builds it"
            if store.strategy is SweepStrategy.EXPIRY_INDEX
            else f"{name} keeps no expiry index; %sessions_open without --full-scan builds one"
        )


def _parse(magic: Any, line: str) -> Any:
    """What was written on a magic's line, read as a shell would read it.

    What follows an option that takes a value is the value, also if it begins with a dash, as ids and `-7d` do.
    """
    parser = magic.parser
    options = {name: action.nargs != 0 for action in parser._actions for name in action.option_strings}
    words: list[str] = []
    for word in shlex.split(line):
        if words and options.get(words[-1]) and word not in options:
            words[-1] += f"={word}"
        else:
            words.append(word)
    try:
        return parser.parse_args(words)
    except UsageError as error:
        raise UsageError(f"{error}; %{parser.prog}? shows the options") from None


def _counted(records: Iterator[Record], progress: Callable[[int, int | None], object]) -> Iterator[Record]:
    """The records, with progress told now and then."""
    for number, record in enumerate(records):
        if number % PROGRESS_STEP == 0:
            progress(number, None)
        yield record
