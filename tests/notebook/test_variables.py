"""Variables in a magic's line."""

import pytest
from sessions import id_of

EVIL = "exec(bytes([114,97,110,46,97,112,112,101,110,100,40,49,41]).decode())"  # ran.append(1)


@pytest.fixture
def shell(ipython, store):
    """The shell, with text that would run if it were evaluated, and the list to which it would append."""
    names = {"ran": [], "evil": EVIL, "ticket": {"id": EVIL}, "sid": str(id_of(5)), "folder": store.tree.db.path}
    ipython.user_ns.update(names)
    yield ipython.user_ns
    for name in names:
        ipython.user_ns.pop(name, None)


@pytest.mark.parametrize(
    "line",
    [
        "%%session store --id {}\npass",
        "%%session {}\npass",
        "%%sessions --where n={}\nTrue",
        "%sessions --where {}",
        "%sessions --page {}",
        "%sessions {}",
        "%sessions_open {}",
        "%sessions_open {} --create --as x",
        "%sessions_open nowhere --resolution {}",
        "%sessions_sweep --now {} --limit 1",
        "%sessions_sweep --budget {}",
        "%sessions_verify {}",
        "%sessions_rebuild {}",
        "%sessions_expiries --from {}",
        "%sessions_time --repeat {}",
    ],
)
def test_nothing_is_evaluated(run, shell, tmp_path, monkeypatch, line):
    """No part of a magic's line is evaluated, neither what was typed nor what a variable holds."""
    monkeypatch.chdir(tmp_path)
    for word in ("evil", "$evil", "{evil}", "{ticket['id']}", "ran.append(1)", "{ran.append(1)}"):
        run(line.replace("{}", word))
        assert shell["ran"] == []


@pytest.mark.parametrize("name", ["sid", "$sid", "{sid}", "'$sid'"])
def test_id_in_a_variable(run, shell, name):
    """--id takes a variable that holds an id or its text, by its name."""
    for shell["sid"] in (str(id_of(5)), id_of(5)):
        assert run(f"%%session --id {name}\nn = session['number']")[0].success
        assert shell.pop("n") == 5
        assert run(f"%%session --id={name}\nn = session['number']")[0].success


def test_name_from_a_variable(run_failing, shell):
    """The text in a variable is not taken for the name of another one, and the message does not show it."""
    shell["name"] = "sid"
    assert EVIL not in run_failing("%%session --id evil\n1", "evil does not hold")
    run_failing("%%session --id $name\n1", "name does not hold a session id")
    run_failing("%%session --id $absent\n1", "absent")


def test_variable_as_an_argument(run, run_failing, shell):
    """The text of a variable is one word, and never an option."""
    shell["mine"], shell["value"], shell["size"] = "store", "5 --reveal", 3
    assert len(run("%sessions $mine --size $size")[0].result.rows) == 3
    assert run("%sessions --where number=$value")[0].result.rows == []
    shell["value"] = 5
    assert len(run("%sessions {mine} --where number={value}")[0].result.rows) == 1
    shell["value"] = "--reveal"
    run_failing("%sessions $value", "$value begins with a dash")
    assert run("%sessions --where name=$value")[0].result.rows == []
    run_failing("%sessions_open $folder --as second", "close it first")
