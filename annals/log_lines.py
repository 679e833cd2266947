"""The server's log lines: one JSON object a line, in ASCII: controls, separators and broken text stay escaped in it."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON; a newline in a message stays escaped inside it."""

    def format(self, record: logging.LogRecord) -> str:
        """One line. Of an exception its type and its frames: a message may hold what was sent, or what is stored."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "part": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = "Traceback: " + "; after ".join(_told(record.exc_info[1]))
        return json.dumps(line, separators=(",", ":"))


def _told(error: BaseException | None) -> Iterator[str]:
    """An exception and those that led to it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        frames = (
            f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)
        )
        yield f"{type(error).__module__}.{type(error).__qualname__} at {' > '.join(frames)}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def start(level: str) -> None:
    """Send every log line of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
