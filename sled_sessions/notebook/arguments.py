"""Read what people type after a magic: options, moments, session ids and conditions."""

import re
import shlex
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from IPython.core.error import UsageError

from sled_sessions.display import durations
from sled_sessions.errors import SessionError
from sled_sessions.operate import matching
from sled_sessions.records import Id, Record
from sled_sessions.session import Session

_VARIABLE = re.compile(r"\$([^\W\d]\w*)|\{([^\W\d]\w*)\}")


def parse(parser: Any, line: str, variables: dict[str, Any]) -> Any:
    """Split a magic's line as a shell would, and parse it with the magic's parser.

    `$name` and `{name}` stand for the text of a variable. It stays within its word and is never an option: what a
    variable holds may come from anywhere. Nothing is evaluated. `--id` looks a variable up itself.

    The word after an option that takes a value is always its value, so that ids and `-7d` may begin with a dash.
    """
    takes_value = {name: action.nargs != 0 for action in parser._actions for name in action.option_strings}
    words: list[str] = []
    for word in shlex.split(line):
        is_value = bool(words) and takes_value.get(words[-1], False) and word not in takes_value
        option = words[-1] if is_value else word.partition("=")[0]
        text = word if option == "--id" else _VARIABLE.sub(partial(_text_of, variables), word)
        if is_value:
            words[-1] += f"={text}"
        elif text.startswith("-") and not word.startswith("-"):
            raise UsageError(f"the text in {word} begins with a dash, like an option")
        else:
            words.append(text)
    try:
        return parser.parse_args(words)
    except UsageError as error:
        raise UsageError(f"{error}; %{parser.prog}? shows the options") from None


def moment(text: str, now: datetime) -> datetime:
    """Parse `2030-01-31`, `2030-01-31T12:00:00Z`, or a distance from now: `+2h`, `-7d`. The default zone is UTC."""
    if text[:1] in ("+", "-"):
        distance = durations.parse(text[1:])
        try:
            return now + distance if text[0] == "+" else now - distance
        except OverflowError:
            raise ValueError(f"{text} is outside the calendar, which has the years 1 to 9999") from None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a moment; write 2030-01-31T12:00 (UTC), +2h or -7d") from None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def session_id(text: str, variables: dict[str, Any]) -> Id:
    """Parse a session id, or look up the variable of this name: an Id, its text, or a session or record with one."""
    with suppress(SessionError):
        return Id.parse(text)
    found = _VARIABLE.fullmatch(text)
    name = text if found is None else found[1] or found[2]
    if not name.isidentifier():
        raise UsageError(f"--id: {text} is neither a session id nor the name of a variable that holds one")
    if name not in variables:
        raise UsageError(f"--id: {name} is not a session id, and no variable of this name is defined")
    value = variables[name]
    if isinstance(value, Session | Record):
        value = value.id
    if isinstance(value, str):
        with suppress(SessionError):
            return Id.parse(value)
    if not isinstance(value, Id):
        raise UsageError(f"--id: the variable {name} does not hold a session id")
    return value


def condition(given: Any, cell: str | None, now: datetime, variables: dict[str, Any]) -> Callable[[Record], bool]:
    """A function that tells whether a record matches `--live`, `--expired`, `--where` and the cell's expression."""
    try:
        conditions = [matching(each) for each in given.where]
    except ValueError as error:
        raise UsageError(f"--where: {error}") from None
    try:
        expression = None if cell is None else compile(cell.strip(), "<the cell>", "eval")
    except SyntaxError as error:
        raise UsageError(f"the cell must be a single expression: {error.msg}") from None
    names = dict(variables)

    def matches(record: Record) -> bool:
        live = record.expiry_date > now
        if (given.live and not live) or (given.expired and live):
            return False
        if not all(holds(record) for holds in conditions):
            return False
        if expression is None:
            return True
        try:
            names.update(record=record, data=record.data, live=live)
            return bool(eval(expression, names))  # noqa: S307 - as any cell
        except Exception as error:  # noqa: BLE001 - any error of the expression is shown
            raise UsageError(f"the expression raised {type(error).__name__} on {record.id!r}: {error}") from None

    return matches


def _text_of(variables: dict[str, Any], found: re.Match[str]) -> str:
    """The text of the variable that was found in a word; what was typed if there is none."""
    name = found[1] or found[2]
    return str(variables[name]) if name in variables else found[0]
