"""Whole databases: back up, restore, export, import, copy, compact, migrate, salvage, inspect.

The functions behind the commands of `sled-sessions`, for programs and notebooks.

Long ones take a `progress`, called with the number of keys handled; a copy writes each key once and reads it back once.
They all raise `NoDatabase` if the source is not a database or lacks the tree, `TargetExists`, `OperationError` if the
target's folder is missing, not writable or inside the source, `ContentsDiffer` if what was read back differs from what
was written, and the engine's and the file system's `sled.SledError` and `OSError`.
"""

from sled_sessions.operate.backup import backup, check_backup, restore
from sled_sessions.operate.compact import CompactReport, compact
from sled_sessions.operate.contents import Contents, contents_of
from sled_sessions.operate.errors import ContentsDiffer, NoDatabase, OperationError, TargetExists
from sled_sessions.operate.files import appearing_file, partial_file
from sled_sessions.operate.folders import (
    Format,
    format_of,
    is_readable_by_others,
    kept_store,
    made_store,
    open_database,
    opened_store,
    refuse_tree_of_index,
    remove_partial_folders,
)
from sled_sessions.operate.inspect import (
    CheckReport,
    all_records,
    check_everything,
    find_id,
    find_session,
    matching,
)
from sled_sessions.operate.lines import checked_lines
from sled_sessions.operate.migrate import migrate
from sled_sessions.operate.places import is_url, place_at
from sled_sessions.operate.salvage import SalvageReport, salvage
from sled_sessions.operate.stats import Stats, TreeStats, stats
from sled_sessions.operate.transfer import (
    CopyReport,
    ImportReport,
    copy_sessions,
    export_lines,
    export_sessions,
    import_sessions,
)

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
    "appearing_file",
    "backup",
    "check_backup",
    "check_everything",
    "checked_lines",
    "compact",
    "contents_of",
    "copy_sessions",
    "export_lines",
    "export_sessions",
    "find_id",
    "find_session",
    "format_of",
    "import_sessions",
    "is_readable_by_others",
    "is_url",
    "kept_store",
    "made_store",
    "matching",
    "migrate",
    "open_database",
    "opened_store",
    "partial_file",
    "place_at",
    "refuse_tree_of_index",
    "remove_partial_folders",
    "restore",
    "salvage",
    "stats",
]
