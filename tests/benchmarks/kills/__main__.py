"""Kill and check from a clone: `python tests/benchmarks/kills`."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])  # the folder that contains the package `benchmarks`

from benchmarks.kills.command import main

if __name__ == "__main__":
    main()
