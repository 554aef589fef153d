"""What a session shows in a notebook."""

from typing import TYPE_CHECKING

from sled_sessions.display import html, text
from sled_sessions.errors import EncodeError

if TYPE_CHECKING:
    from sled_sessions.session.session import Session


def card(session: "Session") -> str:
    """Its HTML, which does not load the session."""
    if not session.is_loaded:
        return html.card("Session", {"state": "not loaded yet"})
    id = session.id
    if not session and (session.is_ending or (id is not None and session.is_modified)):  # flushed, or lost its last key
        id = id or next(reversed(session._flushed))
        return html.card("Session", {"id": text.masked_id(id), "state": "ends with the commit"})
    try:
        state = "new" if id is None else "changed" if session.is_modified else "as stored"
    except EncodeError as error:
        state = f"changed, and cannot be stored: {error}"
    facts = {
        "id": "none yet" if id is None else text.masked_id(id),
        "state": state,
        "expires, if committed now": text.moment(session.expiry_date),
    }
    return html.card("Session", facts, html.data(dict(session)))
