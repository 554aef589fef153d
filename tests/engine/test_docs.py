"""The docstrings at run time, as `help()` and `?` show them, are those of the stub."""

import ast
import inspect
import operator
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sled_sessions.sled import _native

STUB = Path(_native.__file__).with_name("_native.pyi")


def documented(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The names and docstrings in the stub, without dunder methods, whose docstrings Python provides."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("__"):
            if text := ast.get_docstring(node):
                yield prefix + node.name, text
            if isinstance(node, ast.ClassDef):
                yield from documented(node.body, f"{node.name}.")


DOCUMENTED = dict(documented(ast.parse(STUB.read_text("utf-8")).body))


@pytest.mark.parametrize("name", DOCUMENTED)
def test_docstrings(name: str) -> None:
    """Each class, method and function has exactly the stub's docstring."""
    assert inspect.getdoc(operator.attrgetter(name)(_native)) == DOCUMENTED[name]


def test_every_public_name_is_documented() -> None:
    """Every public name of the engine has a docstring."""
    offered = {name: getattr(_native, name) for name in _native.__all__}
    members = {f"{name}.{member}" for name, kind in offered.items() if isinstance(kind, type) for member in vars(kind)}
    assert {name for name in {*offered, *members} if not name.split(".")[-1].startswith("_")} <= DOCUMENTED.keys()


def test_tests_named_in_the_readme_exist() -> None:
    """Every test that the engine's README names exists."""
    root = Path(__file__).parents[2]
    named = re.findall(r"`(tests/\w+/\w+\.py)::(\w+)`", (root / "sled_sessions/sled/README.md").read_text("utf-8"))
    missing = [name for file, name in named if f"def {name}(" not in (root / file).read_text("utf-8")]
    assert named
    assert missing == []
