"""A file that lies in a storage without a fact, on its way into the log as if it were received (F49)."""

from __future__ import annotations

import os
from collections.abc import Callable

from adapters.dicom.index import Indexer
from adapters.dicom.part10 import HEADER_MAX, read_file_header
from adapters.files import disk
from adapters.files.reading import fault_of, open_content
from adapters.files.storage import Storage
from domain.errors import Because, Refused
from domain.instance import Content
from domain.quarantine import InstanceQuarantined
from processes.ports import Header


class LyingObject:
    """Fills :class:`processes.ports.Incoming`: its bytes are there already, and stay where they are."""

    quarantined: InstanceQuarantined | None = None

    def __init__(self, storage: Storage, content: Content, indexer: Indexer) -> None:
        self._storage = storage
        self._content = content
        self._indexer = indexer

    def write(self, data: bytes | memoryview) -> None:  # noqa: ARG002 - the protocol's
        """Nothing can be added."""
        raise Refused(Because.CANNOT_UNDERSTAND, "the object is complete")

    def header(self) -> Header:
        """Check the bytes against the digest in the file's name, then the data set. Raises Refused."""
        if fault := fault_of(self._storage, self._content):
            raise Refused(Because.CANNOT_UNDERSTAND, fault)
        try:
            descriptor = open_content(self._storage, self._content)
            try:
                return self._read_header(descriptor)
            finally:
                os.close(descriptor)
        except (OSError, ValueError) as error:
            raise Refused(Because.CANNOT_UNDERSTAND, f"the file cannot be read: {error}") from error

    def keep(self) -> Content:
        """Make the file durable where it lies. Raises A700."""
        root, path = self._storage.opened().root, self._content.path
        folder, _, name = path.rpartition("/")
        try:
            parent = disk.open_folder(root, folder)
            try:
                disk.touch(parent, name)
                descriptor = disk.open_file(parent, name)
                try:
                    disk.sync(descriptor)
                finally:
                    os.close(descriptor)
                disk.sync(parent)
            finally:
                os.close(parent)
        except OSError as error:
            raise self._storage.failed(error, "write", self._storage.troubles.known) from error
        return self._content

    def take_back(self, is_needed: Callable[[], bool]) -> bool:  # noqa: ARG002 - the protocol's
        """It lay here before; whether it may go is for the reconciliation to say."""
        return False

    def discard(self) -> None:
        """Nothing is temporary."""

    def _read_header(self, descriptor: int) -> Header:
        meta = read_file_header(os.pread(descriptor, HEADER_MAX, 0))

        def read(offset: int, length: int) -> bytes:
            return os.pread(descriptor, length, meta.size + offset)

        return self._indexer.header(
            b"", read, self._content.size, meta.transfer_syntax_uid, meta.sop_class_uid, meta.sop_instance_uid
        )
