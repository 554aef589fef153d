"""What a store, or the store that it wraps, tells about itself in attributes that the protocol leaves optional."""

import sys
from typing import Any


def attribute_of(store: object, name: str) -> Any:
    """The attribute of the store, or else of the store that it wraps as `store`, and so on; None if none has it."""
    while not hasattr(store, name) and hasattr(store, "store"):
        store = store.store
    return getattr(store, name, None)


def max_bytes_of(store: object) -> int:
    """The bytes of the largest record that a store takes, its `max_record_bytes`; a huge number without a limit."""
    return attribute_of(store, "max_record_bytes") or sys.maxsize
