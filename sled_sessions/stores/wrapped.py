"""What a store, or the store that it wraps, tells about itself in attributes that the protocol leaves optional."""

from typing import Any


def attribute_of(store: object, name: str, default: Any = None) -> Any:
    """The attribute of the store, or else of the store that it wraps as `store`, and so on; else `default`."""
    while not hasattr(store, name) and hasattr(store, "store"):
        store = store.store
    return getattr(store, name, default)


def max_bytes_of(store: object) -> int | None:
    """The bytes of the largest record that the store takes, its `max_record_bytes`; None without a limit."""
    max_bytes: int | None = attribute_of(store, "max_record_bytes")
    return max_bytes
