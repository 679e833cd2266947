"""The garbage collector beside imports: what is imported stays for good, and is not looked at for garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def imports() -> Iterator[None]:
    """Around a process's imports: to look for garbage in modules takes a quarter of its start and of its end."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
