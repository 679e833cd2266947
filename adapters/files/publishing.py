"""The last step of a file: its temp name becomes the name of its digest, unless a whole file has that already (D1)."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass

from adapters.dicom.part10 import HEADER_MAX, read_file_header
from adapters.files import disk

_LOG = logging.getLogger("annals.files")
_READ_AT_ONCE = 1024 * 1024
_ATTEMPTS_MAX = 10


@dataclass(frozen=True, slots=True)
class Finished:
    """What a temp file holds: a Part 10 header and a data set of this digest and size."""

    digest: str
    size: int
    header_size: int
    transfer_syntax_uid: str


@dataclass(frozen=True, slots=True)
class _Existing:
    header_size: int
    transfer_syntax_uid: str
    whole: bool


@dataclass(frozen=True, slots=True)
class Published:
    """A file under its final name.

    ``touched``, in nanoseconds since 1970, is when a whole file that was there was taken into use in place of the temp
    file; 0 where that one is used.
    """

    name: str
    header_size: int
    touched: int = 0


def publish(rename: disk.Renamer, from_folder: int, temp: str, folder: int, finished: Finished) -> Published:
    """Rename a temp file into its folder, unless a whole file of the same content and syntax is there.

    Raises OSError.
    """
    other = hashlib.sha256(finished.transfer_syntax_uid.encode()).hexdigest()[:8]
    names = [f"{finished.digest}.dcm", f"{finished.digest}-{other}.dcm"]
    for _ in range(_ATTEMPTS_MAX):
        name = names[0]
        if rename(from_folder, temp, folder, name):
            return Published(name, finished.header_size)
        existing = _inspect(folder, name, finished)
        if existing and existing.transfer_syntax_uid != finished.transfer_syntax_uid:
            if len(names) == 1:
                break
            del names[0]
            continue
        if existing and existing.whole:
            try:
                # Who sets aside old files that no fact knows leaves this one (:class:`adapters.files.upkeep.Upkeep`).
                touched = disk.touch(folder, name)
            except FileNotFoundError:
                continue
            return Published(name, existing.header_size, touched)
        _LOG.warning("replaced a damaged file of the digest %s", finished.digest)
        disk.replace(from_folder, temp, folder, name)
        return Published(name, finished.header_size)
    raise OSError(errno.EEXIST, "the object's names are taken by files of other transfer syntaxes")


def digest_of(descriptor: int, offset: int, read: Callable[[int], None] = lambda _: None) -> str:
    """The SHA-256 of an open file from an offset to its end; ``read`` is told of the bytes. Raises OSError."""
    hashed = hashlib.sha256()
    while piece := os.pread(descriptor, _READ_AT_ONCE, offset):
        hashed.update(piece)
        offset += len(piece)
        read(len(piece))
    return hashed.hexdigest()


def _inspect(folder: int, name: str, finished: Finished) -> _Existing | None:
    """What is under a name: None where it has no header that can be read, ``whole`` where its bytes are the same."""
    try:
        descriptor = disk.open_file(folder, name)
    except OSError:
        return None
    try:
        meta = read_file_header(os.pread(descriptor, HEADER_MAX, 0))
        is_whole = (
            os.fstat(descriptor).st_size == meta.size + finished.size
            and digest_of(descriptor, meta.size) == finished.digest
        )
        if is_whole:
            # Who put it there may have left it to the page cache.
            disk.sync(descriptor)
    except (OSError, ValueError):
        return None
    finally:
        os.close(descriptor)
    return _Existing(meta.size, meta.transfer_syntax_uid, is_whole)
