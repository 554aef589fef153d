"""The index of a SledStore in a tree that the caller names."""

import pytest

from sled_sessions import (
    SledStore,
    SweepStrategy,
    sled,
)


@pytest.fixture
def store(tree, clock):
    return SledStore(tree, clock=clock)


def test_a_name_that_is_used_again(db, clock, new_record):
    """A tree that held an index, was dropped and holds something else now is neither used nor emptied."""
    tree = db.open_tree("session")
    SledStore(tree, index=db.open_tree("elsewhere"), clock=clock).save(new_record())
    db.drop_tree("elsewhere")
    db.open_tree("elsewhere").insert(b"monday", b"1")
    with pytest.raises(ValueError, match="tree of its own"):
        SledStore(tree, index=db.open_tree("elsewhere"), clock=clock)
    SledStore(tree, strategy=SweepStrategy.FULL_SCAN, clock=clock)
    assert dict(db.open_tree("elsewhere")) == {b"monday": b"1"}


def test_an_index_in_another_indexs_tree(db, clock, new_record):
    """The sibling's name may have been given to another index, which is then left alone."""
    other = SledStore(db.open_tree("other"), index=db.open_tree("session:expiry"), clock=clock)
    other.save(new_record())
    with pytest.raises(ValueError, match="tree of its own"):
        SledStore(db.open_tree("session"), clock=clock)
    SledStore(db.open_tree("session"), strategy=SweepStrategy.FULL_SCAN, clock=clock)
    assert other.verify_index().entries == 1


@pytest.mark.parametrize("place", ["elsewhere", "__sled__default"])
def test_full_scan_drops_an_index_wherever_it_is(db, clock, new_record, place):
    """An index in a tree that the caller named is emptied by a FULL_SCAN store; the tree can still be used."""
    tree, index = db.open_tree("session"), db.open_tree(place)
    SledStore(tree, index=index, clock=clock).save(new_record())
    SledStore(tree, strategy=SweepStrategy.FULL_SCAN, clock=clock)
    assert len(index) == 0
    assert b"session:meta" not in db.tree_names()
    assert SledStore(tree, index=index, clock=clock).verify_index().entries == 1


def test_an_index_tree_of_ones_own(db, clock, new_record):
    """The index can lie in a tree that the caller names."""
    store = SledStore(db.open_tree("session"), index=db.open_tree("elsewhere"), clock=clock)
    store.save(new_record(-1))
    assert len(db.open_tree("elsewhere")) == 1
    again = SledStore(store.tree, index=db.open_tree("elsewhere"), clock=clock)
    assert again.verify_index().entries == 1
    assert store.delete_expired().deleted == 1


def test_an_index_in_another_tree_is_another_index(db, clock, new_record):
    """A store that finds the index of its records in another tree than its own builds its own."""
    tree = db.open_tree("session")
    for place in (None, db.open_tree("elsewhere"), None, db.open_tree("else")):
        store = SledStore(tree, index=place, clock=clock)
        assert store.verify_index()
        store.save(new_record(60))
    assert store.verify_index().entries == 4


@pytest.mark.parametrize("place", ["session", "session:meta", "users", "another:expiry", "another's"])
def test_an_index_empties_no_tree_that_is_in_use(db, clock, new_record, place):
    """An index cannot lie where the records, their marker, another index or anything else lies; all of that stays."""
    store = SledStore(db.open_tree("session"), clock=clock)
    store.save(new_record())
    for name, index in (("another", None), ("a third", db.open_tree("another's"))):
        SledStore(db.open_tree(name), index=index, clock=clock).save(new_record())
    db.open_tree("users").insert(b"ada", b"1815")
    before = [(name, list(pairs)) for _, name, pairs in db.export()]
    with pytest.raises(ValueError, match="tree of its own"):
        SledStore(store.tree, index=db.open_tree(place), clock=clock)
    assert [(name, list(pairs)) for _, name, pairs in db.export()] == before
    assert store.verify_index()


@pytest.mark.parametrize("place", ["session", "session:meta"])
def test_an_index_is_not_put_among_its_records(db, tree, place):
    """Nor with its marker, also before there are any."""
    with pytest.raises(ValueError, match="tree of its own"):
        SledStore(tree, index=db.open_tree(place))


def test_an_index_tree_has_a_name(db, tree):
    """The marker names the tree of the entries, so that it has to have a name."""
    with pytest.raises(ValueError, match="a tree with a name"):
        SledStore(tree, index=db.open_tree(""))


def test_an_index_lies_beside_its_records(tree, tmp_path):
    """What is no tree, or one of another database, is refused as an index: a crash would take them apart."""
    with pytest.raises(TypeError, match=r"sled\.Tree"):
        SledStore(tree, index="elsewhere")
    with sled.open(tmp_path / "other") as other, pytest.raises(ValueError, match="same database"):
        SledStore(tree, index=other.open_tree("elsewhere"))


@pytest.mark.parametrize(
    "contents",
    [{b"k" * 24: b"value"}, {b"short": b""}, {b"a" * 24: b"", b"monday": b"1"}, {b"monday": b"1", b"z" * 24: b""}],
    ids=["values", "other keys", "others last", "others first"],
)
def test_an_index_empties_no_tree_that_holds_something_else(db, tree, contents):
    """A tree whose first or last pair is no entry is no index's, and stays as it is."""
    other = db.open_tree("elsewhere")
    for key, value in contents.items():
        other.insert(key, value)
    with pytest.raises(ValueError, match="tree of its own"):
        SledStore(tree, index=other)
    assert dict(other) == contents
