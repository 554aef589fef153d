"""Tab completion of the magics."""

import pytest

pytestmark = pytest.mark.filterwarnings("ignore:.*:PendingDeprecationWarning")  # IPython calls its own old interface


def complete(ipython, line):
    return ipython.complete(None, line)[1]


def test_completion(ipython, store, tmp_path):
    """The tab key offers magics, options and their choices, stores by name, and folders to open."""
    assert complete(ipython, "%sessions_sweep --str") == ["--strategy"]
    assert complete(ipython, "%sessions_sweep --strategy ") == ["index", "full-scan"]
    assert complete(ipython, "%sessions_verify st") == ["store"]
    assert complete(ipython, "%%sessions --wh") == ["--where"]
    assert f"{tmp_path}/storage/" in complete(ipython, f"%sessions_open {tmp_path}/st")
    assert "%sessions_sweep" in complete(ipython, "%sessions_s")


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("~/my", "~/my' sessions/'"),
        ("--create ~/", "~/'my sessions/'"),
        ("~/my' sessions/'", "old/"),
        ("~/my' sessions/'o", "old/"),
        ("'~/my", "~/my sessions/"),
        ('"~/my se', "sessions/"),
        ("~/[", "'x]/'"),
        ("~/", "~/plain/"),
    ],
)
def test_folders(ipython, run, tmp_path, monkeypatch, line, offered):
    """Completed folders parse back to the same path: below `~`, with spaces quoted, and never as glob patterns."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("my sessions/old", "[x]", "plain"):
        (tmp_path / name).mkdir(parents=True)
    assert offered in complete(ipython, f"%sessions_open {line}")


def test_stores(ipython, run, store):
    """Stores are offered by the user's variables, and not by those of IPython's outputs."""
    ipython.user_ns["_mine"] = store
    ipython.push({"_5": store, "_": store}, interactive=False)
    offered = complete(ipython, "%sessions_verify ")
    assert {"store", "_mine"} <= set(offered)
    assert not {"_", "_5"} & set(offered)
