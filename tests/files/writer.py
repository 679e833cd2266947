"""Stores objects in a process of its own, which tests kill or starve: one line a stored or refused object."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from adapters.dicom.index import Indexer
from adapters.files.failpoints import failpoints
from adapters.files.storage import Storage
from adapters.files.storages import StoredFiles
from domain.errors import Refused
from domain.limits import Limits
from tests.dicom.encoding import CT_CLASS, EXPLICIT, INSTANCE, element, minimal

PIECE = 64 * 1024


def data_set(number: int, size: int) -> bytes:
    """The object of a number: ``size`` bytes of pixels that no other number has."""
    return minimal() + element(0x7FE00010, "OW", number.to_bytes(4, "little") * (size // 4))


def main(root: Path, numbers: range, size: int) -> None:
    limits = Limits(storage_free_min=1)
    failpoint = failpoints(os.environ)
    storage = Storage.open(root, "default", limits, failpoint)
    files = StoredFiles([storage], limits, Indexer(limits), failpoint)
    print("open", flush=True)
    for number in numbers:
        try:
            incoming = files.receive(CT_CLASS, INSTANCE, EXPLICIT, "WRITER")
            data = data_set(number, size)
            for offset in range(0, len(data), PIECE):
                incoming.write(data[offset : offset + PIECE])
            incoming.header()
            content = incoming.keep()
            incoming.discard()
            print("stored", number, content.path, flush=True)
        except Refused as refusal:
            print("refused", number, f"{refusal.because.value:04X}", str(refusal), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), range(int(sys.argv[2]), int(sys.argv[3])), int(sys.argv[4]))
