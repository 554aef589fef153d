"""Benchmarks of the package; README.md beside this file says how to run and read them.

- `command`: the command line. `run` measures everything in order; `result`, `targets` and `plots` present it.
- `workload`, `database`: what is stored.
- `calls`, `process`, `store`, `web`, `valkey`, `beside_peers`: what is measured.
- `floors`: the bare engine calls that the store is compared with. `peers`: the other session stores.
"""
