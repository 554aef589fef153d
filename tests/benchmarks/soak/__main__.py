"""Run the soak from a clone: `python tests/benchmarks/soak`."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])  # the folder that contains the package `benchmarks`

from benchmarks.soak.command import main

if __name__ == "__main__":
    main()
