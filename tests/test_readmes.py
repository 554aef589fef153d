"""The READMEs: every snippet runs as it stands, and every link leads somewhere.

Each block runs in a folder of its own with a database `storage`. A block that must not run here (it installs something,
or takes minutes) says so in a comment above it: `<!-- not run: reason -->`. Blocks without a language are output.
"""

import re
import shlex
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote

import httpx2
import pytest
from readmes import READMES, ROOT, Block, anchors, blocks, links
from servers import shared_server
from web.server import serving

from sled_sessions import Id, Record, SledStore

REDIS_URL = "redis://localhost:6379"
SHELL_SYNTAX = {"|", ">", ">>", "<", "&", "&&", "||", ";"}

BLOCKS = [block for block in blocks() if block.not_run is None]


def in_language(name: str) -> Any:
    found = [block for block in BLOCKS if block.language == name]
    return pytest.mark.parametrize("block", found, ids=[block.name for block in found])


@pytest.fixture(scope="module")
def database(tmp_path_factory) -> Path:
    """Sessions as the READMEs have them: one of user 7, some expired, one unreadable, and secrets in all others."""
    folder = tmp_path_factory.mktemp("readmes") / "storage"
    now = datetime.now(UTC)
    with SledStore.open(folder) as store:
        for number in range(20):
            data = {"user": {"id": number}, "csrf_token": "b2c7e1f09a6d4f3e"}
            store.save(Record(Id.new(), data, now + timedelta(minutes=number * 10 - 25)))
        known = Id.parse("zFq4" + str(Id.new())[4:])
        store.save(Record(known, {"user": {"id": 7}, "csrf_token": "b2c7e1f09a6d4f3e"}, now + timedelta(minutes=30)))
        store.tree.insert(Id.new().key, b"not a valid record")
    return folder


@pytest.fixture
def scratch(tmp_path, monkeypatch, database) -> Path:
    """The working folder: a new one, with the database."""
    shutil.copytree(database, tmp_path / "storage")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def runnable(block: Block) -> str:
    """The block's code, with the address of a server that runs here."""
    return block.code.replace(REDIS_URL, shared_server().url) if REDIS_URL in block.code else block.code


@in_language("python")
def test_python(block, scratch, monkeypatch):
    """A Python snippet runs, with its tests; one that makes an `app` is served, and counts a visitor's requests."""
    code = runnable(block)
    if "\ndef test_" in code:
        run_tests_of(code, scratch)
        return
    if code.startswith("%"):
        run_in_ipython(code)
        return
    snippet = ModuleType("snippet")
    monkeypatch.setitem(sys.modules, "snippet", snippet)  # frameworks look up the types in a module's annotations
    exec(compile(code, block.name, "exec"), vars(snippet))
    if hasattr(snippet, "app"):
        counts, headers = [], {}
        starts = 1 if "while_serving" in code else 2  # Quart makes that generator with the app, so it runs once
        for _ in range(starts):
            with serving(snippet.app) as address, httpx2.Client(base_url=f"http://{address}") as client:
                for _ in range(2):
                    answer = client.get("/", headers=headers)
                    counts.append(number_in(answer.text))
                    # The client itself would send the cookie over HTTPS only.
                    headers = {"cookie": answer.headers["set-cookie"].partition(";")[0]}
        assert counts == [1, 2, 3, 4][: 2 * starts]


@pytest.mark.slow
@pytest.mark.timeout(330)
def test_types(tmp_path):
    """Every Python snippet passes `mypy --strict` as it stands, so that it does in an app that is checked."""
    files = []
    for number, block in enumerate(blocks()):
        if block.language == "python" and not block.code.startswith("%"):
            files.append(tmp_path / f"snippet_{number}.py")
            files[-1].write_text(f"{block.code}\n# from {block.name}\n")
    assert len(files) > 10
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", tmp_path / "cache", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@in_language("sh")
def test_shell(block, scratch, run):
    """Commands run. `sled-sessions` may end with code 3, which means that it found nothing, or something wrong."""
    for line in runnable(block).replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        if words[0] == "sled-sessions" and not SHELL_SYNTAX & {*words}:
            result = run(*words[1:])
            assert result.code in (0, 3), f"{line}: {result.err}"
        else:
            environment_bin = Path(sys.executable).parent
            subprocess.run(["bash", "-euo", "pipefail", "-c", f"PATH={environment_bin}:$PATH; {line}"], check=True)


def test_languages():
    """Every block names a language that is run here, or none: a misspelled one would silently not run."""
    assert {block.language for block in blocks()} <= {"python", "sh", ""}


@pytest.mark.parametrize("readme", READMES, ids=lambda readme: str(readme.relative_to(ROOT)))
def test_links(readme):
    """Every link to a file leads to one, and every link to a section to its heading."""
    broken = []
    for link in links(readme):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, section = unquote(link).partition("#")
        target = readme if not path else readme.parent / path
        if not target.exists() or (section and section not in anchors(target)):
            broken.append(link)
    assert not broken


def test_named_tests_exist():
    """Every test that a README names in a link exists in the file that the link leads to."""
    named = [
        (name, readme.parent / file)
        for readme in READMES
        for name, file in re.findall(r"\[`(test_\w+)`\]\((\S+\.py)\)", readme.read_text("utf-8"))
    ]
    assert len(named) > 50
    assert [(name, file) for name, file in named if f"def {name}(" not in file.read_text("utf-8")] == []


def test_long_description_stands_alone():
    """The package's long description is read outside the repository, so none of its links is relative."""
    assert all(link.startswith("https://") for link in links(ROOT / ".readme/pypi.md"))


def number_in(text: str) -> int:
    """The only number in this text."""
    (number,) = re.findall(r"\d+", text)
    return int(number)


def run_in_ipython(code: str) -> None:
    """Run a cell with magics in a new IPython shell."""
    program = (
        "import sys; from IPython.testing.globalipapp import start_ipython; "
        "start_ipython().run_cell(sys.stdin.read()).raise_error()"
    )
    done = subprocess.run([sys.executable, "-c", program], input=code, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def run_tests_of(code: str, folder: Path) -> None:
    """Run a snippet's tests as its reader would, without this project's configuration of pytest."""
    (folder / "test_snippet.py").write_text(code)
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-W", "error", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{code.count('def test_')} passed" in done.stdout


def test_commands_work_in_a_clone():
    """What the READMEs install from the clone is editable: Python would otherwise import the sources beside it."""
    installed = [line for path in READMES for line in path.read_text().splitlines() if "pip install" in line]
    from_here = [line for line in installed if "'.[" in line]
    assert from_here
    assert [line for line in from_here if "pip install -e '.[" not in line] == []
