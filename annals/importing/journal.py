"""What an import has sent already, so that the next run of the same import goes on where the last one ended."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from annals.importing.walk import Found
from domain.errors import InvalidInput

_MARK = 16


class Journal:
    """A file of marks, one for each file that the server acknowledged. Closed by :meth:`close`."""

    def __init__(self, path: Path) -> None:
        """Open or make it; a mark that a killed run left half written is dropped. Raises :class:`InvalidInput`."""
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise InvalidInput([f"--journal {path}: {error.strerror}"]) from None
        written = b"".join(iter(lambda: os.read(self._descriptor, 1 << 20), b""))
        whole = len(written) // _MARK * _MARK
        self._sent = {written[at : at + _MARK] for at in range(0, whole, _MARK)}
        os.lseek(self._descriptor, whole, os.SEEK_SET)

    def has(self, file: Found) -> bool:
        """Whether this file was acknowledged, as it is now."""
        return _mark(file) in self._sent

    def add(self, file: Found) -> None:
        """Note that the server acknowledged this file."""
        mark = _mark(file)
        self._sent.add(mark)
        os.write(self._descriptor, mark)

    def forget(self) -> None:
        """The import is complete: there is nothing to go on with."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def default_path(home: Path, host: str, port: int, called_ae_title: str, root: bytes) -> Path:
    """Where the journal of an import from one folder to one server is kept."""
    named = b"\0".join((host.encode(), str(port).encode(), called_ae_title.encode(), root))
    return home / ".local" / "state" / "annals" / f"import-{hashlib.sha256(named).hexdigest()[:16]}"


def _mark(file: Found) -> bytes:
    named = b"%s\0%d\0%d" % (file.path, file.size, file.changed)
    return hashlib.blake2b(named, digest_size=_MARK).digest()
