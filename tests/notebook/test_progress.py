"""Progress bars, and what reports progress."""

import threading

import pytest
from sessions import save_numbered
from tqdm.std import tqdm

from sled_sessions import SledStore, SweepStrategy
from sled_sessions.notebook import progress as progress_module
from sled_sessions.notebook import progress_bar
from sled_sessions.notebook.progress import DELAY
from sled_sessions.operate import export_sessions
from sled_sessions.stores.sweep import PROGRESS_STEP


def test_bar_appears_late(capsys):
    """A bar appears for work that takes longer than half a second, and not for quicker work."""
    with progress_bar("quick") as progress:
        progress(10, None)
        progress(20, 20)
    assert capsys.readouterr().err == ""
    with progress_bar("slow") as progress:
        threading.Event().wait(DELAY * 1.2)
        progress(1024, None)
        progress(2048, 2048)
    printed = capsys.readouterr().err
    assert "slow" in printed
    assert "2.05k" in printed


@pytest.mark.parametrize(("delay", "made"), [(1000, 0), (0, 1)])
def test_bar_is_created_when_it_appears(monkeypatch, delay, made):
    """Quick work creates no bar, since each bar would keep widgets in the kernel."""
    bars = []
    monkeypatch.setattr("tqdm.auto.tqdm", lambda **options: bars.append(tqdm(**options)) or bars[-1])
    monkeypatch.setattr(progress_module, "DELAY", delay)
    with progress_bar("working") as progress:
        assert not bars
        progress(10, None)
        progress(0, 0)
        progress(20, 20)
    assert len(bars) == made
    assert all((bar.n, bar.total, bar.leave) == (20, 20, True) for bar in bars)


def test_interrupted_bar_disappears(monkeypatch, capsys):
    """After an interrupt a bar without a total is removed: Jupyter would show it green, like a finished one."""
    monkeypatch.setattr(progress_module, "DELAY", 0)

    def work():
        with progress_bar("working") as progress:
            progress(10, None)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert capsys.readouterr().err.endswith("\r")


def test_long_operations_report_progress(tmp_path):
    """Building, verifying and rebuilding the index, a full scan and an export all report progress."""
    reported = {}

    def watch(what):
        return lambda done, total: reported.setdefault(what, []).append(done)

    with SledStore.open(tmp_path / "storage", strategy=SweepStrategy.FULL_SCAN) as store:
        save_numbered(store, PROGRESS_STEP + 1)
        store.delete_expired(progress=watch("scan"))
        export_sessions(store.tree, tmp_path / "sessions.jsonl", progress=watch("export"))
    with SledStore.open(tmp_path / "storage", progress=watch("build")) as store:
        store.verify_index(watch("verify"))
        store.rebuild_index(watch("rebuild"))
    assert set(reported) == {"scan", "export", "build", "verify", "rebuild"}
    assert all(done == sorted(done) and done[0] >= PROGRESS_STEP for done in reported.values())
