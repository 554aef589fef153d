"""The README files, and the code blocks, headings and links in them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]

READMES = [
    ROOT / "README.md",
    *sorted((ROOT / ".readme").glob("*.md")),
    *sorted((ROOT / "sled_sessions").glob("*/README.md")),
    ROOT / "tests/benchmarks/README.md",
]

# A fenced block and the comments directly above it.
_BLOCK = re.compile(r"((?:^<!-- .* -->\n)*)^```(.*)\n((?:.*\n)*?)^```$", re.MULTILINE)
_NOT_RUN = re.compile(r"<!-- not run: (.+) -->")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced code block.

    Attributes:
        name: The README and the line, for the test's id.
        language: The word behind the fence; empty for output.
        code: The text.
        not_run: The reason given by a comment `<!-- not run: reason -->` above the block; None without one.
    """

    name: str
    language: str
    code: str
    not_run: str | None


def blocks() -> Iterator[Block]:
    """The code blocks of all READMEs."""
    for readme in READMES:
        text = readme.read_text("utf-8")
        for found in _BLOCK.finditer(text):
            comments, language, code = found.groups()
            line = text.count("\n", 0, found.start(2)) + 1
            reason = _NOT_RUN.search(comments)
            yield Block(f"{readme.relative_to(ROOT)}:{line}", language, code, reason and reason[1])


def links(readme: Path) -> list[str]:
    """Where its links and pictures lead."""
    return _LINK.findall(_without_code(readme))


def anchors(readme: Path) -> set[str]:
    """The names under which GitHub lets links reach the headings."""
    headings = _HEADING.findall(_without_code(readme))
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _without_code(readme: Path) -> str:
    return _BLOCK.sub("", readme.read_text("utf-8"))
