"""What an import has sent already, so that the next run of the same import goes on where the last one ended."""

from __future__ import annotations

import fcntl
import hashlib
import os
from pathlib import Path

from annals.importing.walk import Found
from domain.errors import InvalidInput

_MARK = 16


class Journal:
    """A file of marks, one for each object that the server acknowledged. Closed by :meth:`close`.

    A mark is of a file as it was and of its SOP Instance UID: the next disc in the drive has the same file names.
    """

    def __init__(self, path: Path, *, anew: bool = False) -> None:
        """Open or make it; ``anew`` forgets what is in it. A mark that a killed run left half written is dropped.

        Raises :class:`InvalidInput`, also while another import writes it.
        """
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise InvalidInput([f"--journal {path}: {error.strerror}"]) from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            raise InvalidInput([f"--journal {path}: another import of this folder to this server is running"]) from None
        if anew:
            os.ftruncate(self._descriptor, 0)
        written = b"".join(iter(lambda: os.read(self._descriptor, 1 << 20), b""))
        whole = len(written) // _MARK * _MARK
        self._sent = {written[at : at + _MARK] for at in range(0, whole, _MARK)}
        os.lseek(self._descriptor, whole, os.SEEK_SET)

    def has(self, file: Found, sop_instance_uid: str) -> bool:
        """Whether this object was acknowledged, its file being as it is now."""
        return _mark(file, sop_instance_uid) in self._sent

    def add(self, file: Found, sop_instance_uid: str) -> None:
        """Note that the server acknowledged this object. Raises OSError."""
        mark = _mark(file, sop_instance_uid)
        self._sent.add(mark)
        os.write(self._descriptor, mark)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def default_path(home: Path, host: str, port: int, called_ae_title: str, root: bytes) -> Path:
    """Where the journal of an import from one folder to one server is kept."""
    named = b"\0".join((host.encode(), str(port).encode(), called_ae_title.encode(), root))
    return home / ".local" / "state" / "annals" / f"import-{hashlib.sha256(named).hexdigest()[:16]}"


def _mark(file: Found, sop_instance_uid: str) -> bytes:
    named = b"%s\0%d\0%d\0%s" % (file.path, file.size, file.changed, sop_instance_uid.encode())
    return hashlib.blake2b(named, digest_size=_MARK).digest()
