"""Helpers for the tests of a SledStore's index."""

import pytest

from sled_sessions import SledStore, SweepStrategy, sled

STRATEGIES = pytest.mark.parametrize("strategy", list(SweepStrategy), ids=lambda strategy: strategy.value)


def index_tree(store: SledStore) -> sled.Tree:
    """Return the tree of the index entries of this store."""
    return store.tree.db.open_tree(store.tree.name + b":expiry")
