"""What was measured, as values that show themselves as tables, as JSON and as a plot."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import attrs

from sled_sessions.bench.measuring import Spread, ratios
from sled_sessions.bench.targets import TARGETS, Target
from sled_sessions.display import html, text
from sled_sessions.display.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Unit = Literal["s", "B"]


@attrs.frozen
class Line:
    """One figure, and what it is compared with.

    Attributes:
        name: What was measured.
        sessions: In a database of how many; 0: without one.
        ours: The package's figure, for one operation.
        other: The figure of what it is compared with, if there is anything.
        ratio: Ours by the other, turn by turn.
        other_is: What the other is.
        unit: Seconds or bytes.
        target: What is asked for.
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
        """The line of two series that were measured in turns."""
        return cls(name, sessions, Spread.of(ours), Spread.of(other), ratios(ours, other), other_is, unit)

    @property
    def holds(self) -> bool | None:
        """Whether the median, a ratio to the hundredth that is shown, keeps to the target; None without one."""
        if self.target is None:
            return None
        if self.target.of == "value":
            return self.ours.median <= self.target.at_most
        return None if self.ratio is None else round(self.ratio.median, 2) <= self.target.at_most


@attrs.frozen
class PeerLine:
    """One operation of the store and of its peers.

    Attributes:
        name: What was measured.
        sessions: In a database of how many.
        peers: The figures for one operation, by peer.
        unit: Seconds or bytes.
    """

    name: str
    sessions: int
    peers: Mapping[str, Spread]
    unit: Unit = "s"


@attrs.frozen(repr=False)
class Result:
    """A run of the benchmark.

    Attributes:
        machine: What it ran on.
        started: When it began, in ISO 8601.
        repeat: Turns that were asked for.
        lines: The store's operations beside their floors.
        peers: The store's operations beside those of its peers.
        notes: What was left out, and why.
    """

    machine: Mapping[str, str]
    started: str
    repeat: int
    lines: Sequence[Line] = ()
    peers: Sequence[PeerLine] = ()
    notes: Sequence[str] = ()

    def tables(self) -> list[Table]:
        """All of it."""
        return [*self._floor_tables(), *self._peer_tables()]

    def to_json(self) -> str:
        """All of it, times in seconds and sizes in bytes."""
        whole: dict[str, Any] = attrs.asdict(self)
        for line, shown in zip(self.lines, whole["lines"], strict=True):
            shown["holds"] = line.holds
        return json.dumps(whole, indent=2, allow_nan=False)

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw each ratio with its quartiles and its target; returns the Axes."""
        from sled_sessions.bench.plots import plot_ratios

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
        return f"{machine}; {self.started}. The figures are medians; half of the turns' ratios lie in the middle half."

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
            tables.append(Table(f"What else keeps sessions, with {sessions:,} of them", ["", *names], rows))
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
    return text.elapsed(value) if unit == "s" else text.size(round(value))
