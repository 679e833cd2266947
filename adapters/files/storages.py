"""The storages as the processes see them: where a new object goes, and how a kept one is read."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator, Sequence
from types import TracebackType

from adapters.dicom.index import Indexer
from adapters.files.failpoints import off
from adapters.files.incoming import IncomingObject
from adapters.files.storage import Storage
from adapters.files.writing import Buffers
from domain.errors import Because, Refused
from domain.instance import Content
from domain.limits import Limits
from processes.ports import Failpoints


class StoredFiles:
    """Fills :class:`processes.ports.Files` with one or more storages, tried in their order."""

    def __init__(
        self, storages: Sequence[Storage], limits: Limits, indexer: Indexer, failpoint: Failpoints = off
    ) -> None:
        self._storages = tuple(storages)
        self._by_name = {storage.name: storage for storage in storages}
        self._limits = limits
        self._indexer = indexer
        self._failpoint = failpoint
        self._buffers = Buffers()

    def check_space(self) -> None:
        """Raise A700 when no storage can take an object; looks at the disk about once a second (NET-8)."""
        self._usable()

    def receive(
        self, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, source_ae_title: str
    ) -> IncomingObject:
        """Open a temp file in the first storage that can take an object. Raises A700."""
        return IncomingObject(
            self._usable(),
            (sop_class_uid.rstrip("\0 "), sop_instance_uid.rstrip("\0 ")),
            transfer_syntax_uid.rstrip("\0 "),
            source_ae_title.strip(" "),
            self._indexer,
            self._limits,
            self._failpoint,
            self._buffers,
        )

    def open(self, content: Content) -> int:
        """A descriptor at the first byte of the data set, its length checked; the caller closes it.

        Raises A700 while the storage is not there (nothing is wrong with the object), and OSError where this file is
        missing, cut or cannot be read.
        """
        storage = self._by_name.get(content.storage)
        if storage is None:
            raise Refused(Because.OUT_OF_RESOURCES, f"storage {content.storage!a} is not configured")
        return storage.open_content(content)

    def read(self, content: Content) -> ObjectReader:
        """The kept object for reading ranges. Raises as :meth:`open` does."""
        return ObjectReader(self.open(content), content)

    def sweep(self) -> int:
        """Remove what dead processes left half received; returns how many files went. Storages away are passed over."""
        removed = 0
        for storage in self._storages:
            try:
                removed += storage.sweep()
            except Refused:
                continue
        return removed

    def close(self) -> None:
        """Give the temp folders up."""
        for storage in self._storages:
            storage.close()

    def _usable(self) -> Storage:
        refusal = Refused(Because.OUT_OF_RESOURCES, "no storage is configured")
        for storage in self._storages:
            try:
                storage.check()
            except Refused as error:
                refusal = error
            else:
                return storage
        raise refusal


class ObjectReader:
    """Ranges of one kept data set; offsets count from its first byte. Use as a context."""

    def __init__(self, descriptor: int, content: Content) -> None:
        """Takes the descriptor over."""
        self.content = content
        self._descriptor = descriptor

    def read(self, offset: int, length: int) -> bytes:
        """The bytes of a range, fewer only at the end of the data set. Raises OSError (F14)."""
        wanted = max(0, min(length, self.content.size - offset))
        pieces: list[bytes] = []
        while wanted:
            piece = os.pread(self._descriptor, wanted, self.content.header_size + offset)
            if not piece:
                raise OSError(errno.EIO, "the file became shorter while it was read")
            pieces.append(piece)
            offset += len(piece)
            wanted -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def pieces(self, size: int = 1024 * 1024) -> Iterator[bytes]:
        """The whole data set in pieces of ``size`` bytes."""
        for offset in range(0, self.content.size, size):
            yield self.read(offset, size)

    def is_whole(self) -> bool:
        """Whether the bytes still have the digest of the fact (D7)."""
        hashed = hashlib.sha256()
        for piece in self.pieces():
            hashed.update(piece)
        return hashed.hexdigest() == self.content.digest

    def close(self) -> None:
        """Close the file; may be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> ObjectReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
