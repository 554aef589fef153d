"""Help at run time, such as `?` in a notebook, says what the types' stub says."""

import ast
import inspect
import operator
from collections.abc import Iterator
from pathlib import Path

import pytest

from sled_sessions.sled import _native

STUB = Path(_native.__file__).with_name("_native.pyi")


def documented(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The names in the stub that have a docstring. Python itself gives one to each method with underscores."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("__"):
            if text := ast.get_docstring(node):
                yield prefix + node.name, text
            if isinstance(node, ast.ClassDef):
                yield from documented(node.body, f"{node.name}.")


DOCUMENTED = dict(documented(ast.parse(STUB.read_text("utf-8")).body))


@pytest.mark.parametrize("name", DOCUMENTED)
def test_docstrings(name: str) -> None:
    """A class, method or function of the engine has its docstring, and no more."""
    assert inspect.getdoc(operator.attrgetter(name)(_native)) == DOCUMENTED[name]


def test_every_public_name_is_documented() -> None:
    """Whatever the engine offers has a docstring."""
    offered = {name: getattr(_native, name) for name in _native.__all__}
    members = {f"{name}.{member}" for name, kind in offered.items() if isinstance(kind, type) for member in vars(kind)}
    assert {name for name in {*offered, *members} if not name.split(".")[-1].startswith("_")} <= DOCUMENTED.keys()
