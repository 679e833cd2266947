"""Reading what a storage keeps: opened by its path, its length checked, its bytes compared with their digest."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable

from adapters.files import disk
from adapters.files.attachment import Attachment
from adapters.files.publishing import digest_of
from adapters.files.storage import Storage
from domain.instance import Content

_PATH = re.compile(r"([0-9a-f]{2})/([0-9a-f])/\1\2[0-9a-f]{61}(-[0-9a-f]{8})?\.dcm\Z")
_NOT_THE_FILE = frozenset(
    (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.ETIMEDOUT)
)
"""Errors of the machine, or of the whole storage: nothing is known against the file that was to be opened."""


def open_content(storage: Storage, content: Content) -> int:
    """A descriptor at the first byte of the data set; the file's length is checked (D7).

    Raises A700 while the storage is not there, and OSError where this file cannot be read: missing
    (FileNotFoundError), of another length, or failing.
    """
    if not _PATH.match(content.path):
        raise OSError(errno.EINVAL, "not a path of a stored object", content.path)
    attachment = storage.opened()
    storage.failpoint("read.before_open")
    try:
        descriptor, length = storage.open_file(attachment.root, content.path)
    except OSError as error:
        if error.errno in _NOT_THE_FILE:
            raise storage.refusal(error.strerror or str(error)) from error
        raise
    try:
        wanted = content.header_size + content.size
        if length != wanted:
            raise OSError(errno.EIO, f"the file has {length} bytes instead of {wanted}", content.path)
        os.lseek(descriptor, content.header_size, os.SEEK_SET)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def fault_of(storage: Storage, content: Content, read: Callable[[int], None] = lambda _: None) -> str:
    """Read an object from the disk and compare it with its digest; what is wrong with its file, or nothing.

    ``read`` is told of the bytes as they are read. Raises A700 while the storage is not there.
    """
    try:
        descriptor = open_content(storage, content)
    except OSError as error:
        return f"the file cannot be opened: {error.strerror or error}"
    try:
        # What the page cache holds says nothing of the disk, and what is only checked is not to fill it.
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        digest = digest_of(descriptor, content.header_size, read)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    except OSError as error:
        if error.errno in _NOT_THE_FILE:
            raise storage.refusal(error.strerror or str(error)) from error
        return f"the file cannot be read: {error.strerror or error}"
    finally:
        os.close(descriptor)
    return "" if digest == content.digest else "the bytes are not those that were received"


def has_content(attachment: Attachment, content: Content) -> bool:
    """Whether the file of an object is there with its length."""
    try:
        size = disk.size_of(attachment.root, content.path) if _PATH.match(content.path) else -1
    except OSError:
        return False
    return size == content.header_size + content.size
