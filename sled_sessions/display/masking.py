"""Mask secrets and escape control characters in session data before it is shown."""

import re
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
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


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
    r"""Text with control characters written as `\xNN`, so that a terminal does not act on them."""
    return _CONTROL.sub(lambda found: rf"\x{ord(found[0]):02x}", text)
