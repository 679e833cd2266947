"""The storages as the processes see them: where a new object goes, and how a kept one is read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from adapters.dicom.index import Indexer
from adapters.dicom.part10 import file_header
from adapters.files.attachment import Attachment
from adapters.files.failpoints import off
from adapters.files.incoming import IncomingObject
from adapters.files.reading import fault_of, has_content, open_content
from adapters.files.storage import Storage
from adapters.files.troubles import Notice
from adapters.files.writing import Buffers
from domain.errors import Because, Refused, ToldTogether
from domain.instance import Content
from domain.limits import Limits
from domain.storage import Storage as StorageState
from processes.ports import Failpoints

T = TypeVar("T")


class StoredFiles:
    """Fills :class:`processes.ports.Files` with one or more storages, tried in their order."""

    def __init__(
        self, storages: Sequence[Storage], limits: Limits, indexer: Indexer, failpoint: Failpoints = off
    ) -> None:
        self._writable = tuple(storages)
        self._by_name = {storage.name: storage for storage in storages}
        self._limits = limits
        self._indexer = indexer
        self._failpoint = failpoint
        self._buffers = Buffers()

    def use(self, known: Iterable[StorageState]) -> None:
        """Work with these storages from now on, the enabled ones written in this order (STO-1).

        What is being received goes on where it began, unless that folder is not used any more; a storage that stays
        is not opened again.
        """
        by_name: dict[str, Storage] = {}
        writable: list[Storage] = []
        for one in known:
            if one.removed:
                continue
            storage = self._by_name.get(one.name)
            if storage is None or (str(storage.root), str(storage.storage_id)) != (one.path, one.storage_id):
                storage = Storage.known(one, self._limits, self._failpoint)
            storage.is_leaving = one.leaving
            storage.troubles.agree(one.troubles, one.trouble_versions)
            by_name[one.name] = storage
            if one.enabled:
                writable.append(storage)
        for storage in self._by_name.values():
            if by_name.get(storage.name) is not storage:
                storage.retire()
        self._by_name, self._writable = by_name, tuple(writable)

    def look(self) -> None:
        """See after the storages, so that a trouble or its end is noticed also while nothing is received.

        Of a disabled one only whether it is there: it is neither written nor asked for its space (STO-1).
        """
        for storage in self._by_name.values():
            with contextlib.suppress(Refused):
                if storage in self._writable:
                    storage.check()
                else:
                    storage.opened()

    def tell(self, record: Callable[[Notice], bool]) -> None:
        """Have recorded what has failed or recovered: see :meth:`adapters.files.troubles.Troubles.tell`."""
        for storage in self._by_name.values():
            storage.troubles.tell(record)

    def check_space(self, size: int = 0, *, is_one: bool = True) -> None:
        """Raise A700 when no storage can take an object; looks at the disk about once a second (NET-8).

        Several objects may go into several storages: a ``size`` that is not of one is compared with all their space.
        """
        self._first(lambda storage: storage.check(size if is_one else 0))
        if not is_one and sum(self._spaces().values()) < size:
            raise Refused(Because.OUT_OF_RESOURCES, f"the storages have too little free space for {size} bytes")

    def receive(
        self, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, source_ae_title: str
    ) -> IncomingObject:
        """Open a temp file in the first storage that can take an object. Raises A700."""
        identity = (sop_class_uid.rstrip("\0 "), sop_instance_uid.rstrip("\0 "))

        def begin(storage: Storage) -> IncomingObject:
            return IncomingObject(
                storage,
                identity,
                transfer_syntax_uid.rstrip("\0 "),
                source_ae_title.strip(" "),
                self._indexer,
                self._limits,
                self._failpoint,
                self._buffers,
            )

        return self._first(begin)

    def open(self, content: Content) -> int:
        """A descriptor at the first byte of the data set, its length checked; the caller closes it.

        Raises A700 while the storage is not there (nothing is wrong with the object), and OSError where this file is
        missing, cut or cannot be read.
        """
        return open_content(self._named(content), content)

    def is_whole(self, content: Content) -> bool:
        """Whether an object can be read from the disk and has the bytes of its digest."""
        try:
            return not self.fault_of(content)
        except Refused:
            return False

    def fault_of(self, content: Content) -> str:
        """What is wrong with the bytes of an object on the disk, or nothing. Raises A700 while they are away."""
        return fault_of(self._named(content), content)

    def _named(self, content: Content) -> Storage:
        storage = self._by_name.get(content.storage)
        if storage is None:
            raise Refused(Because.OUT_OF_RESOURCES, f"storage {content.storage!a} is not in use")
        return storage

    def are_there(self, contents: Iterable[Content]) -> Iterator[bool]:
        """Of each whether its file is there and of the right length. No trouble is noted where it is not."""
        attached: dict[str, Attachment | None] = {}
        for content in contents:
            if content.storage not in attached:
                attached[content.storage] = self._attached(content.storage)
            attachment = attached[content.storage]
            yield attachment is not None and has_content(attachment, content)

    def _attached(self, storage: str) -> Attachment | None:
        with contextlib.suppress(OSError):
            return self._by_name[storage].attach() if storage in self._by_name else None
        return None

    def file_header(self, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
        """A Part 10 header for a data set that comes without its own (PS3.10 7.1)."""
        return file_header(sop_class_uid, sop_instance_uid, transfer_syntax_uid, "")

    def sweep(self) -> int:
        """Remove what dead processes left half received; how many files went. Only what can be written is swept."""
        removed = 0
        for storage in self._writable:
            try:
                removed += storage.sweep()
            except Refused:
                continue
        return removed

    def close(self) -> None:
        """Give the temp folders up."""
        for storage in self._by_name.values():
            storage.close()

    def _spaces(self) -> dict[int, int]:
        """The bytes that each partition takes before it is full: two storages on one have the same (STO-1)."""
        spaces: dict[int, int] = {}
        for storage in self._writable:
            with contextlib.suppress(Refused):
                partition, space = storage.space()
                spaces[partition] = space
        return spaces

    def _first(self, use: Callable[[Storage], T]) -> T:
        """What comes of the first storage that does not refuse its use. Raises A700."""
        said, is_told = "no storage is enabled", False
        for storage in sorted(self._writable, key=lambda storage: storage.is_doubtful):
            try:
                return use(storage)
            except Refused as error:
                # The refusal itself, kept beyond this, would hold its frames, and with them a folder that is given up.
                said, is_told = str(error), isinstance(error, ToldTogether)
        raise ToldTogether(said) if is_told else Refused(Because.OUT_OF_RESOURCES, said)
