"""What somebody else put into a session or a file is told, and does nothing else."""

import pytest
from operate.databases import fill


@pytest.mark.parametrize(
    "data", ['{"n":18446744073709551616}', f'{{"n":{"1" * 400}}}', '{"n":"\\ud800"}', "[" * 100_000]
)
def test_a_line_that_no_session_can_hold(run, tmp_path, data):
    """A number, text or depth that no session can hold is one line that says which line has it."""
    fill(tmp_path / "storage", 1)
    line = f'{{"id":"AAAAAAAAAAAAAAAAAAAAAA","expiry_date":"2099-01-01T00:00:00Z","data":{data}}}'
    (tmp_path / "in.jsonl").write_text(f"\n{line}\n")
    result = run("import", tmp_path / "storage", tmp_path / "in.jsonl")
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert result.err.startswith("sled-sessions: line 2: not a session as a line of JSON: ")
