"""What an error reporter shows of the local variables in a traceback."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sled_sessions import Id

ID = Id(bytes(range(0xA0, 0xB0)))
SECRET = "4111-1111-1111-1111"

_TESTS = str(Path(__file__).parent)


def raised(call: Callable[[], object]) -> Exception:
    """What the call raises."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - it does not matter how the call fails
        return error
    pytest.fail("did not raise")


def leaks(error: BaseException, *more: str) -> list[str]:
    """The local variables that show `ID`, as text or bytes, `SECRET` or more, in an error and all that it came from.

    Variables of the tests' own frames are left out, as an app's would be.
    """
    secrets = (str(ID), repr(ID.key)[2:-1], ID.key.hex(), str(int(ID)), SECRET, *more)
    found, errors = [], [error]
    for each in errors:
        origin = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
        errors += [other for other in (origin, *getattr(each, "exceptions", ())) if other not in (None, *errors)]
        found += [f"the message of {type(each).__name__}" for secret in secrets if secret in repr(each)]
        place = each.__traceback__
        while place is not None:
            frame = place.tb_frame
            if not frame.f_code.co_filename.startswith(_TESTS):
                found += [
                    f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}: {name}"
                    for name, value in frame.f_locals.items()
                    if any(secret in _repr(value) for secret in secrets)
                ]
            place = place.tb_next
    return found


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 - an object that was not finished
        return f"<{type(error).__name__}>"
