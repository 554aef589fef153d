"""README.md of the benchmarks: its commands are ones that the programs accept."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.command import command
from benchmarks.run import PARTS

README = Path(__file__).with_name("README.md").read_text("utf-8")
ROOT = Path(__file__).parents[2]

SNIPPETS = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
OPTIONS = [found for found in re.findall(r"`(--[^`]+)`", README) if "FILE" not in found and "DIR" not in found]


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_snippets(snippet):
    """Every command in a code block starts a program of this folder with options that it has."""
    python, program, *arguments = shlex.split(snippet, comments=True)
    assert python == ".venv/bin/python"
    if program == "tests/benchmarks":
        command.make_context("benchmarks", arguments)
    else:
        subprocess.run([sys.executable, program, *arguments, "--help"], cwd=ROOT, check=True, stdout=subprocess.PIPE)


@pytest.mark.parametrize("options", OPTIONS)
def test_options(options):
    """The options in the text belong to the benchmarks or to `calls.py`."""
    if options != "--time":
        command.make_context("benchmarks", shlex.split(options))


def test_the_quick_look():
    """The quick example runs as typed, from the root of a clone."""
    (quick,) = [snippet for snippet in SNIPPETS if "--parts" in snippet]
    arguments = shlex.split(quick)[1:]
    result = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "save, same index step" in result.stdout


def test_every_part_is_described():
    """The table of parts has a row for each part."""
    assert set(re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE)) == set(PARTS)
