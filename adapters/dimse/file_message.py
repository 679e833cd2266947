"""Messages whose data set is a part of a file: read and sent in large pieces, headers and data in one buffer."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence

from adapters.dimse.errors import FileCut
from adapters.dimse.pdv import HEADER_BYTES, LAST, header
from domain.limits import KIB

_READ_AT_ONCE = KIB * KIB
# A CT image in one call; a peer that takes longer for so much than clients wait is too slow for any image.
_SENT_AT_ONCE = 576 * KIB
_PDUS_AT_ONCE = 256


class FilePdus:
    """Room for P-DATA PDUs of at most ``size`` bytes of data each; a file is read into it between their headers."""

    def __init__(self, size: int) -> None:
        count = min(_PDUS_AT_ONCE, max(1, _READ_AT_ONCE // size))
        self._size = size
        self._stride = HEADER_BYTES + size
        self._room = memoryview(bytearray(count * self._stride))
        self._headers: list[tuple[int, int, int]] = [(0, 0, 0)] * count
        starts = range(HEADER_BYTES, len(self._room), self._stride)
        self._values = [self._room[start : start + size] for start in starts]

    def read(self, context_id: int, fd: int, offset: int, left: int, padding: int = 0) -> tuple[memoryview, int]:
        """The PDUs with the next bytes of a data set of which ``left`` are left, and how many bytes they hold.

        With ``padding`` 1 a zero follows the last of one of odd length.
        The PDUs are valid until the next reading. Raises OSError, also where the file ends too early.
        """
        whole, rest = divmod(min(left, len(self._values) * self._size), self._size)
        values = self._values[:whole]
        if rest or not whole:
            values.append(self._values[whole][:rest])
        taken = whole * self._size + rest
        if os.preadv(fd, values, offset) != taken:
            raise OSError(errno.EIO, "the file ends too early")
        end = len(values) * HEADER_BYTES + taken
        padding *= taken == left
        self._room[end : end + padding] = bytes(padding)
        self._write_headers(context_id, len(values), len(values[-1]) + padding, LAST if taken == left else 0)
        return self._room[: end + padding], taken

    def _write_headers(self, context_id: int, count: int, last_length: int, last: int) -> None:
        """Most of them stand there from the reading before."""
        wanted = [(context_id, 0, self._size)] * (count - 1)
        wanted.append((context_id, last, last_length))
        if wanted == self._headers[: len(wanted)]:
            return
        for number, (has, one) in enumerate(zip(self._headers, wanted, strict=False)):
            if has != one:
                start = number * self._stride
                self._room[start : start + HEADER_BYTES] = header(*one)
                self._headers[number] = one


class FileMessage:
    """One such message, its beginning read already: what cannot be read at all is known before anything is sent.

    ``command`` are the PDUs of its command set, ``padding`` is 1 for a zero behind the data set. Raises OSError.
    Until it is sent, ``pdus`` serve no other message.
    """

    def __init__(
        self,
        pdus: FilePdus,
        context_id: int,
        command: Sequence[bytes | memoryview],
        fd: int,
        offset: int,
        length: int,
        padding: int = 0,
    ) -> None:
        self._pdus = pdus
        self._context_id = context_id
        self._fd = fd
        self._padding = padding
        self._command = command
        self._buffer, taken = pdus.read(context_id, fd, offset, length, padding)
        self._offset, self._left = offset + taken, length - taken

    def pieces(self) -> Iterator[Sequence[bytes | memoryview]]:
        """The buffers to send, piece by piece, none of which a slow peer takes long to take.

        Raises :class:`FileCut` when the file cannot be read to its end.
        """
        yield [*self._command, self._buffer[:_SENT_AT_ONCE]]
        yield from self._slices(_SENT_AT_ONCE)
        while self._left:
            try:
                self._buffer, taken = self._pdus.read(
                    self._context_id, self._fd, self._offset, self._left, self._padding
                )
            except OSError as error:
                raise FileCut("a file that is sent cannot be read to its end") from error
            self._offset += taken
            self._left -= taken
            yield from self._slices(0)

    def _slices(self, first: int) -> Iterator[Sequence[memoryview]]:
        for start in range(first, len(self._buffer), _SENT_AT_ONCE):
            yield [self._buffer[start : start + _SENT_AT_ONCE]]
