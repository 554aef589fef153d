"""Checks of the middleware's options."""

from datetime import timedelta

from sled_sessions.records import Expiry


def check_touch_after(touch_after: timedelta | None, expiry: Expiry, *, always_save: bool) -> None:
    """Raise TypeError or ValueError if this `touch_after` makes no sense with the other options."""
    if touch_after is None:
        return
    if not isinstance(touch_after, timedelta):
        raise TypeError(f"touch_after must be a timedelta, not {type(touch_after).__name__}")
    if not always_save:
        raise ValueError("touch_after skips writes that always_save=True makes; give both")
    if expiry.deadline is None and touch_after >= (idle := expiry.lifetime):
        raise ValueError(f"touch_after must be shorter than {idle}, after which an unsaved session expires")


def check_grace(rotation_grace: timedelta) -> None:
    """Raise TypeError or ValueError for a wrong `rotation_grace`."""
    if not isinstance(rotation_grace, timedelta):
        raise TypeError(f"rotation_grace must be a timedelta, not {type(rotation_grace).__name__}")
    if not timedelta(0) <= rotation_grace <= timedelta(days=1):
        raise ValueError("rotation_grace must be from zero to a day: it is for requests that are still under way")
