"""The results, as tables, JSON and a plot."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import attrs

from benchmarks.targets import TARGETS, Target
from sled_sessions.comparison.measuring import Spread
from sled_sessions.display import html, text
from sled_sessions.display.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Unit = Literal["s", "B", ""]
"""Seconds, bytes, or a plain number."""


@attrs.frozen
class Line:
    """One figure of the package, and the figure that it is compared with.

    Attributes:
        name: What was measured.
        sessions: The number of sessions in the database; 0 without a database.
        ours: The package's figure, for one operation.
        other: The other side's figure, if there is another side.
        ratio: Ours divided by the other, turn by turn.
        other_is: A description of the other side.
        unit: The unit of both figures.
        target: The limit for this line, if there is one.
    """

    name: str
    sessions: int
    ours: Spread
    other: Spread | None = None
    ratio: Spread | None = None
    other_is: str = ""
    unit: Unit = "s"
    target: Target | None = attrs.field()

    @target.default
    def _target(self) -> Target | None:
        target = TARGETS.get(self.name)
        return None if target is None or self.sessions < target.fewest else target

    @classmethod
    def compare(
        cls, name: str, sessions: int, ours: Sequence[float], other: Sequence[float], other_is: str, unit: Unit = "s"
    ) -> Self:
        """A line from two series that were measured in turns."""
        return cls(name, sessions, Spread.of(ours), Spread.of(other), ratios(ours, other), other_is, unit)

    @property
    def holds(self) -> bool | None:
        """Whether the median keeps to the target, with ratios rounded to hundredths as shown; None without a target."""
        if self.target is None:
            return None
        if self.target.of == "value":
            return self.ours.median <= self.target.at_most
        return None if self.ratio is None else round(self.ratio.median, 2) <= self.target.at_most


@attrs.frozen
class PeerLine:
    """One operation, measured on the store and its peers.

    Attributes:
        name: What was measured.
        sessions: The number of sessions in the database.
        peers: The figures for one operation, by the name of the peer.
        unit: The unit of the figures.
    """

    name: str
    sessions: int
    peers: Mapping[str, Spread]
    unit: Unit = "s"


@attrs.frozen(repr=False)
class Result:
    """The result of a benchmark run.

    Attributes:
        machine: The machine it ran on.
        started: When it began, in ISO 8601.
        repeat: The number of turns, as passed to `run`.
        lines: The package's figures beside those of the bare calls or of another package.
        peers: The store's operations beside those of its peers.
        notes: What was left out and why, and what else a reader must know.
    """

    machine: Mapping[str, str]
    started: str
    repeat: int
    lines: Sequence[Line] = ()
    peers: Sequence[PeerLine] = ()
    notes: Sequence[str] = ()

    def tables(self) -> list[Table]:
        """All figures: one table for each size, then one for each size with peers."""
        return [*self._floor_tables(), *self._peer_tables()]

    def to_json(self) -> str:
        """The whole result, with times in seconds and sizes in bytes."""
        whole: dict[str, Any] = attrs.asdict(self)
        for line, shown in zip(self.lines, whole["lines"], strict=True):
            shown["holds"] = line.holds
        return json.dumps(whole, indent=2, allow_nan=False)

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Plot each ratio with its quartiles and its target; returns the Axes."""
        from benchmarks.plots import plot_ratios

        return plot_ratios(self.lines, ax)

    def __repr__(self) -> str:
        return "\n\n".join([self._heading, *map(repr, self.tables()), *(f"Note: {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        texts = [html.Markup(f"<p>{html.cell(text)}</p>") for text in (self._heading, *self.notes)]
        tables = [html.table(each.columns, each.rows, caption=each.caption) for each in self.tables()]
        return html.page(texts[0], *tables, *texts[1:])

    @property
    def _heading(self) -> str:
        machine = ", ".join(f"{key}: {value}" for key, value in self.machine.items())
        return f"{machine}; {self.started}. The figures are medians; the middle half holds half of the ratios."

    def _floor_tables(self) -> list[Table]:
        columns = ("", "ours", "other", "ratio", "middle half", "target", "met", "the other is")
        return [
            Table(
                text.plural(sessions, "session") if sessions else "Without a database",
                columns,
                [_cells(line) for line in self.lines if line.sessions == sessions],
            )
            for sessions in dict.fromkeys(line.sessions for line in self.lines)
        ]

    def _peer_tables(self) -> list[Table]:
        tables = []
        for sessions in dict.fromkeys(line.sessions for line in self.peers):
            lines = [line for line in self.peers if line.sessions == sessions]
            names = dict.fromkeys(name for line in lines for name in line.peers)
            rows = [
                [
                    line.name,
                    *(_shown(line.peers[name].median, line.unit) if name in line.peers else None for name in names),
                ]
                for line in lines
            ]
            tables.append(Table(f"Other session stores, with {sessions:,} sessions", ["", *names], rows))
        return tables


def _cells(line: Line) -> list[str]:
    target, ratio = line.target, line.ratio
    limit = ""
    if target is not None:
        limit = f"{target.at_most:.3g}" if target.of == "ratio" else _shown(target.at_most, line.unit)
    return [
        line.name,
        _shown(line.ours.median, line.unit),
        "" if line.other is None else _shown(line.other.median, line.unit),
        "" if ratio is None else text.Figure(f"{ratio.median:.2f}"),
        "" if ratio is None or ratio.low == ratio.high else text.Figure(f"{ratio.low:.2f}-{ratio.high:.2f}"),
        text.Figure(limit),
        {None: "", True: "yes", False: "NO"}[line.holds],
        line.other_is,
    ]


def _shown(value: float, unit: Unit) -> text.Figure:
    if unit == "s":
        return text.elapsed(value)
    return text.size(round(value)) if unit == "B" else text.Figure(f"{value:g}")


def ratios(above: Sequence[float], below: Sequence[float]) -> Spread:
    """The spread of the quotients, taken turn by turn."""
    return Spread.of([a / b for a, b in zip(above, below, strict=True)])
