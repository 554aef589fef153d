"""Whole databases: save, restore, move, copy, compact, migrate, salvage, look and check.

What `sled-sessions` does on the command line, as plain functions for programs and notebooks. Those that take long take
a `progress`, and say what they tell it.
"""

from sled_sessions.operate.backup import backup, check_backup, restore
from sled_sessions.operate.compact import CompactReport, compact
from sled_sessions.operate.contents import Contents, contents_of
from sled_sessions.operate.copying import CopyReport, copy_sessions, place_at
from sled_sessions.operate.errors import ContentsDiffer, NoDatabase, OperationError, TargetExists
from sled_sessions.operate.folders import Format, format_of, kept_store, open_database, opened_store
from sled_sessions.operate.inspect import (
    CheckReport,
    all_records,
    check_everything,
    count_expired,
    find_id,
    find_session,
    matching,
)
from sled_sessions.operate.migrate import migrate
from sled_sessions.operate.salvage import SalvageReport, salvage
from sled_sessions.operate.stats import Stats, TreeStats, stats
from sled_sessions.operate.transfer import ImportReport, checked_lines, export_lines, export_sessions, import_sessions

__all__ = [
    "CheckReport",
    "CompactReport",
    "Contents",
    "ContentsDiffer",
    "CopyReport",
    "Format",
    "ImportReport",
    "NoDatabase",
    "OperationError",
    "SalvageReport",
    "Stats",
    "TargetExists",
    "TreeStats",
    "all_records",
    "backup",
    "check_backup",
    "check_everything",
    "checked_lines",
    "compact",
    "contents_of",
    "copy_sessions",
    "count_expired",
    "export_lines",
    "export_sessions",
    "find_id",
    "find_session",
    "format_of",
    "import_sessions",
    "kept_store",
    "matching",
    "migrate",
    "open_database",
    "opened_store",
    "place_at",
    "restore",
    "salvage",
    "stats",
]
