"""`python -m sled_sessions`: the command `sled-sessions`."""

from sled_sessions.cli import main

main()
