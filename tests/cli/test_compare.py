"""`sled-sessions compare`, the comparison of sweep strategies on the command line."""

import json

QUICK = ("compare", "--sizes", "100,100", "--resolution", "1s", "--repeat", 1)


def test_table_and_plot(run, tmp_path):
    """The command prints a row for each strategy, and with `--plot` draws them."""
    result = run(*QUICK, "--plot", tmp_path / "sweeps.png")
    assert result.code == 0
    assert [line.split("  ")[0] for line in result.out.splitlines()[3:]] == ["index, 1 s", "full-scan"]
    assert (tmp_path / "sweeps.png").read_bytes().startswith(b"\x89PNG")


def test_json(run):
    """JSON output has an object for each row of the table."""
    result = run(*QUICK, "--json", "--expired", 0.1)
    rows = [json.loads(line) for line in result.out.splitlines()]
    assert [(row["strategy"], row["resolution"], row["sessions"], row["due"]) for row in rows] == [
        ("index", 1, 100, 10),
        ("full-scan", None, 100, 10),
    ]
    assert all(row["sweep_nothing"] > 0 for row in rows)


def test_usage_errors(run, tmp_path):
    """Options that cannot be measured or drawn are usage errors, reported before anything is measured."""
    for options, word in [
        (("--sizes", 1), "--sizes"),
        (("--expired", 0), "--expired"),
        (("--resolution", "soon"), "15m"),
        (("--resolution", "0s"), "longer than zero"),
        (("--resolution", "99999999999999d"), "too long"),
        (("--plot", tmp_path / "a.doc"), "png"),
        (("--plot", tmp_path / "nowhere" / "a.png"), "nowhere"),
    ]:
        result = run(*QUICK, *options)
        assert result.code == 2
        assert result.out == ""
        assert word in result.err
