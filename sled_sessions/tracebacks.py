"""Tracebacks without secrets. Error reporters show the local variables of every frame, ids and records among them."""

from collections.abc import Callable
from contextlib import aclosing, suppress
from functools import wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import Any, ParamSpec, TypeVar, cast

_P = ParamSpec("_P")
_T = TypeVar("_T")

_PACKAGES = frozenset({"sled_sessions", "redis", "collections"})
"""Whose frames to clear. Those of the Redis client hold commands; `collections.abc` has methods of the session."""


def forget_locals(error: BaseException) -> None:
    """Clear the local variables in the tracebacks of an error, and of those it came from, except in the app's frames.

    Frames that are still running keep theirs.
    """
    errors: list[BaseException] = [error]
    for each in errors:
        origins = [each.__cause__, each.__context__]
        if isinstance(each, BaseExceptionGroup):
            origins += each.exceptions
        errors += [origin for origin in origins if origin is not None and all(origin is not known for known in errors)]
        place = each.__traceback__
        while place is not None:
            if place.tb_frame.f_globals.get("__name__", "").partition(".")[0] in _PACKAGES:
                with suppress(RuntimeError):  # it is still running
                    place.tb_frame.clear()
            place = place.tb_next


def guarded(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """A decorator for public functions: what they raise leaves without the local variables of this package's frames.

    It takes plain functions, generators, coroutines and asynchronous generators.
    """
    if isasyncgenfunction(function):

        @wraps(function)
        async def each_awaited(*args: Any, **kwargs: Any) -> Any:
            try:
                async with aclosing(function(*args, **kwargs)) as items:
                    async for item in items:
                        yield item
            except BaseException as error:
                del args, kwargs
                forget_locals(error)
                raise

        return cast("Callable[_P, _T]", each_awaited)
    if iscoroutinefunction(function):

        @wraps(function)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            try:
                return await function(*args, **kwargs)
            except BaseException as error:
                del args, kwargs
                forget_locals(error)
                raise

        return cast("Callable[_P, _T]", awaited)
    if isgeneratorfunction(function):

        @wraps(function)
        def each(*args: Any, **kwargs: Any) -> Any:
            try:
                yield from function(*args, **kwargs)
            except BaseException as error:
                del args, kwargs
                forget_locals(error)
                raise

        return cast("Callable[_P, _T]", each)

    @wraps(function)
    def called(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            del args, kwargs
            forget_locals(error)
            raise

    return called
