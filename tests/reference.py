"""The Rust crate's records and responses, in `data/`."""

import json
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"


def read_jsonl(name: str) -> list[dict[str, Any]]:
    """The rows of a reference file."""
    return [json.loads(line) for line in (DATA / name).read_text("utf-8").splitlines()]
