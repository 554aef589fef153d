"""Run the benchmarks from a clone: `python tests/benchmarks`."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the folder that contains the package `benchmarks`

from benchmarks.command import main

if __name__ == "__main__":
    main()
