"""The store on sled: records in one tree, their expiry index in a second one."""

from sled_sessions.stores.sled.store import SledStore

__all__ = ["SledStore"]
