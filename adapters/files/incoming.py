"""One object on its way in: hashed while it is written, kept under its digest (design rule 3, reliability D1)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable

from adapters.dicom.index import Indexer
from adapters.dicom.part10 import file_header
from adapters.files import disk
from adapters.files.publishing import Finished
from adapters.files.storage import Storage
from adapters.files.upkeep import Upkeep
from adapters.files.writing import Buffers, NewFile
from domain.errors import Because, Refused, TooLarge
from domain.instance import Content
from domain.limits import Limits
from domain.quarantine import InstanceQuarantined
from processes.ports import Failpoints, Header

HEAD_MAX = 64 * 1024
"""Bytes of a data set that stay in memory for the scan; the rest is read back from the temp file where needed."""


class IncomingObject:
    """Fills :class:`processes.ports.Incoming`. Refuses with A700 when the storage fails or the object is too large.

    After a refusal nothing is left on disk but what ``quarantined`` names, and every further call raises it again.
    """

    def __init__(
        self,
        storage: Storage,
        identity: tuple[str, str],
        transfer_syntax_uid: str,
        source_ae_title: str,
        indexer: Indexer,
        limits: Limits,
        failpoint: Failpoints,
        buffers: Buffers,
    ) -> None:
        """``identity`` is SOP Class UID and SOP Instance UID as the request names them."""
        self._storage = storage
        self._identity = identity
        self._transfer_syntax_uid = transfer_syntax_uid
        self._indexer = indexer
        self._size_max = limits.object_size_max
        self._failpoint = failpoint
        self._file_header = file_header(*identity, transfer_syntax_uid, source_ae_title)
        self._hash = hashlib.sha256()
        self._size = 0
        self._head = bytearray()
        self._header: Header | None = None
        self._content: Content | None = None
        self._refused: tuple[Because, str] | None = None
        self.quarantined: InstanceQuarantined | None = None
        self._temp = storage.create_temp()
        self._file = NewFile(self._temp.descriptor, buffers)
        self._file.append(self._file_header)

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes of the data set. Raises A700."""
        self._go_on()
        length = len(data)
        if not length:
            return
        if self._size + length > self._size_max:
            raise self._refuse(TooLarge("the object is larger than object_size_max"))
        try:
            self._file.append(data)
            self._failpoint("store.after_write")
        except OSError as error:
            raise self._refuse(self._storage.failed(error, "write", self._temp.known)) from error
        self._hash.update(data)
        if self._size < HEAD_MAX:
            self._head += data[: HEAD_MAX - self._size]
        self._size += length

    def header(self) -> Header:
        """Check the whole data set and read its header. Raises Refused: C000, A900, or A700 where it cannot be read."""
        self._go_on()
        if self._header is None:
            try:
                self._file.finish()
                self._header = self._indexer.header(
                    bytes(self._head), self._read, self._size, self._transfer_syntax_uid, *self._identity
                )
            except Refused as refusal:
                if refusal.because is Because.IDENTIFIER_DOES_NOT_MATCH:
                    self._keep_aside(refusal)
                raise self._refuse(refusal) from None
            except OSError as error:
                raise self._refuse(self._storage.failed(error, "temp file", self._temp.known)) from error
        return self._header

    def keep(self) -> Content:
        """Make the object durable under its digest: file, then name. Raises A700 and leaves nothing then."""
        self._go_on()
        if self._content is None:
            try:
                self._file.finish()
                self._file.close()
                self._failpoint("store.before_sync")
                disk.sync(self._temp.descriptor)
                self._failpoint("store.after_sync")
                self._temp.modified = os.fstat(self._temp.descriptor).st_mtime_ns
                descriptor, self._temp.descriptor = self._temp.descriptor, -1
                os.close(descriptor)
                finished = Finished(
                    self._hash.hexdigest(), self._size, len(self._file_header), self._transfer_syntax_uid
                )
                self._content = self._storage.keep(self._temp, finished)
            except OSError as error:
                raise self._refuse(self._storage.failed(error, "write", self._temp.known)) from error
        return self._content

    def take_back(self, is_needed: Callable[[], bool]) -> bool:
        """Remove what is kept, unless it is needed or used by others since; whether it is gone.

        Raises A700 and OSError.
        """
        if self._content is None:
            return False
        return Upkeep(self._storage).remove_as_left(self._content.path, self._temp.modified, is_needed)

    def discard(self) -> None:
        """Remove the temp file, if there still is one."""
        self._file.close()
        self._storage.remove_temp(self._temp)
        if self._content is None and self._refused is None:
            self._refused = (Because.OUT_OF_RESOURCES, "the object was discarded")

    def __del__(self) -> None:
        """A forgotten object leaves no temp file."""
        if hasattr(self, "_file"):
            self._file.close()
        if hasattr(self, "_temp"):
            self._storage.remove_temp(self._temp)

    def _keep_aside(self, refusal: Refused) -> None:
        self._file.close()
        if path := self._storage.quarantine(self._temp, len(self._file_header) + self._size):
            sop_class_uid, sop_instance_uid = self._identity
            self.quarantined = InstanceQuarantined(
                sop_instance_uid,
                sop_class_uid,
                str(refusal),
                self._storage.name,
                path,
                self._hash.hexdigest(),
                self._size,
            )

    def _read(self, offset: int, length: int) -> bytes:
        return self._file.read(len(self._file_header) + offset, length)

    def _go_on(self) -> None:
        """Raise what was refused before; an exception kept would keep its frames, and so this object."""
        if self._refused is not None:
            raise Refused(*self._refused)

    def _refuse(self, refusal: Refused) -> Refused:
        self._refused = (refusal.because, str(refusal))
        self._file.close()
        self._storage.remove_temp(self._temp)
        return refusal
