"""Starts an embedded database in a process of its own, which tests kill; ends it on a line of input."""

from __future__ import annotations

import sys
from pathlib import Path

from adapters.postgres.embedded import EmbeddedPostgres

if __name__ == "__main__":
    server = EmbeddedPostgres(Path(sys.argv[1]))
    server.start()
    print("started", flush=True)
    sys.stdin.readline()
    server.stop()
