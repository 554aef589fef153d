"""Mask secrets and escape what terminals and browsers obey or hide in session data before it is shown."""

import re
import unicodedata
from typing import Any

MASK = "•••"

_DEEPEST = 512  # levels of nesting shown; session data has at most this many
_SECRET = re.compile(
    r"pass(word|wd|phrase|code)|secret|token|[cx]srf|credential|cookie|nonce|signature|verifier|bearer"
    r"|(api|private|access).?key|oauth.?state|(otp|recovery|backup).?codes?($|[_.-])"
    r"|(?<!pos)(?<!as)sess(ion)?.?ids?($|[_.-])"  # but not possession_id or assess_id
    r"|(^|[_.-])(auth|authorization|jwt|key|[th]?otp|pin|pw|pwd|session|sid)($|[_.-])",
    re.IGNORECASE,
)


def is_secret(key: str) -> bool:
    """Whether a key's name, such as `password`, `csrf_token` or `api_key`, suggests that its value is secret."""
    return _SECRET.search(key) is not None


def masked(value: Any, _within: tuple[int, ...] = ()) -> Any:
    """A copy of JSON data with `MASK` for the values of secret keys, at any depth; None and bools stay visible.

    A container that holds itself, or is nested too deeply for a session, becomes an ellipsis.
    """
    if not isinstance(value, dict | list | tuple):
        return value
    if id(value) in _within or len(_within) == _DEEPEST:
        return "…"
    _within += (id(value),)
    if isinstance(value, dict):
        shown_dict = {}
        for key, each in dict(value).items():  # not a comprehension: those use a stack frame per level
            is_hidden = is_secret(str(key)) and each is not None and not isinstance(each, bool)
            shown_dict[key] = MASK if is_hidden else masked(each, _within)
        return shown_dict
    shown_list = []
    for each in value:
        shown_list.append(masked(each, _within))  # noqa: PERF401 - as above
    return shown_list


def printable(text: str) -> str:
    r"""Text with every character that is not seen written as an escape, such as `\x1b` and `\u202e`.

    These are control and format characters, separators of lines and paragraphs, surrogates, and code points that are
    private or unassigned: a terminal or browser obeys them, reorders the text around them, or shows nothing. Spaces
    of any width stay. So an emoji that is joined from several ones appears in its parts.
    """
    return text if text.isprintable() else "".join(each if _is_seen(each) else _escape(each) for each in text)


def printable_json(text: bytes) -> bytes:
    """The same JSON with these characters escaped in JSON's way."""
    shown = text.decode()
    if shown.isprintable():
        return text
    return "".join(each if _is_seen(each) else _json_escape(each) for each in shown).encode()


def _is_seen(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"


def _escape(character: str) -> str:
    code = ord(character)
    return rf"\x{code:02x}" if code < 0x100 else rf"\u{code:04x}" if code < 0x10000 else rf"\U{code:08x}"


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be")  # beyond U+FFFF, JSON writes two escapes
    return "".join(rf"\u{units[place : place + 2].hex()}" for place in range(0, len(units), 2))
