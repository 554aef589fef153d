"""Sessions of 60 KB that differ in how many values they hold and how these are nested."""

from collections.abc import Callable
from typing import Any, TypeAlias

Shape: TypeAlias = Callable[[int], dict[str, Any]]
"""The data of a session of about 60 KB. The argument, a digit, changes the value of each key but not its size."""


def _nested(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


SHAPES: dict[str, Shape] = {
    "one long text": lambda digit: {"x": "y" * 60_000 + str(digit)},
    "short Cyrillic texts": lambda digit: {"x": ["привет"] * 4600 + [digit]},
    "integers": lambda digit: {"x": [n % 100 for n in range(60_000)] + [digit]},
    "large integers": lambda digit: {"x": [2**64 - 1] * 6600 + [digit]},
    "floats": lambda digit: {"x": [1.5] * 6600 + [digit]},
    "empty lists": lambda digit: {"x": [[] for _ in range(60_000)] + [digit]},
    "empty dicts": lambda digit: {"x": [{} for _ in range(60_000)] + [digit]},
    "lists, 5 deep": lambda digit: {"x": [_nested(5) for _ in range(10_000)] + [digit]},
    "lists, 500 deep": lambda digit: {"x": [_nested(500) for _ in range(119)] + [digit]},
    "one dict": lambda digit: {"x": {f"key {n}": n for n in range(5000)} | {"digit": digit}},
    "keys with a number": lambda digit: {f"key {n}": n % 10 * 10 + digit for n in range(6000)},
    "keys with a list": lambda digit: {f"key {n}": [digit] for n in range(5500)},
    "keys with a dict": lambda digit: {f"key {n}": {"n": digit} for n in range(4800)},
}
