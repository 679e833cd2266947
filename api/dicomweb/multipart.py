"""``multipart/related`` bodies, read and written as streams (RFC 2046 5.1, RFC 2387): no part is ever held whole.

The reader is fed the body as it comes and gives what it found: the beginning of a part, its bytes where they lie, its
end. It holds at most a delimiter's length, or one part's headers.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from domain.errors import AnnalsError
from domain.limits import Limits

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]\Z")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*\Z", re.DOTALL)
_PADDING_MAX = 256


class MultipartFault(AnnalsError):
    """The body is not what its boundary promises. ``too_large`` tells a limit from bad syntax."""

    def __init__(self, text: str, *, too_large: bool = False) -> None:
        super().__init__(text)
        self.too_large = too_large


@dataclass(frozen=True, slots=True)
class PartBegins:
    """A part begins; its header fields by lower-case name."""

    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PartBytes:
    """Some bytes of the part, to be used before the reader is fed again."""

    data: memoryview


@dataclass(frozen=True, slots=True)
class PartEnds:
    """The part is whole."""


Found = PartBegins | PartBytes | PartEnds


class _At(Enum):
    PREAMBLE = 0
    FIELDS = 1
    PART = 2
    EPILOGUE = 3


class MultipartReader:
    """Reads one body. After a :class:`MultipartFault` it must not be fed again."""

    def __init__(self, boundary: str, limits: Limits) -> None:
        """Raises :class:`MultipartFault` where the boundary is none (RFC 2046 5.1.1)."""
        if not _BOUNDARY.match(boundary):
            raise MultipartFault("the Content-Type has no usable boundary")
        self._delimiter = b"\r\n--" + boundary.encode("ascii")
        self._limits = limits
        self._at = _At.PREAMBLE
        # The first delimiter may be the very beginning of the body: as if a line had ended before it.
        self._held = b"\r\n"
        self._data: bytes | bytearray = b""
        self._first = self._end = 0
        self._parts = 0
        self._preamble = 0

    @property
    def ended(self) -> bool:
        """Whether the close delimiter was seen."""
        return self._at is _At.EPILOGUE

    def feed(self, data: bytes | bytearray, length: int | None = None) -> Iterator[Found]:
        """What the next bytes of the body, the first ``length`` of ``data``, complete.

        The iterator must be used up before more is fed; the bytes of parts that it gives lie in ``data`` and are good
        until that changes.
        """
        self._data, self._first, self._end = data, 0, len(data) if length is None else length
        if self._held:
            self._data = self._held + data[: self._end]
            self._end = len(self._data)
        yield from self._complete()
        self._held = b"" if self.ended else bytes(memoryview(self._data)[self._first : self._end])
        self._data = b""

    def finish(self) -> None:
        """The body has ended. Raises :class:`MultipartFault` where it is cut."""
        if self._at is _At.PREAMBLE:
            raise MultipartFault("the body does not hold the boundary of its Content-Type")
        if self._at is not _At.EPILOGUE:
            raise MultipartFault("the body ends without its close delimiter")

    def _complete(self) -> Iterator[Found]:
        while self._at is not _At.EPILOGUE:
            if self._at is _At.FIELDS:
                if (begins := self._fields()) is None:
                    return
                yield begins
                continue
            in_part = self._at is _At.PART
            before, passed = self._up_to_delimiter()
            if not in_part:
                self._pass_preamble(len(before))
            elif before:
                yield PartBytes(before)
            if not passed:
                return
            if in_part:
                yield PartEnds()

    def _up_to_delimiter(self) -> tuple[memoryview, bool]:
        """The bytes up to the next delimiter, or all that cannot be the beginning of one; whether one was passed."""
        data, delimiter = self._data, self._delimiter
        start = self._first
        while (found := data.find(delimiter, start, self._end)) >= 0:
            line_end = self._line_end(found + len(delimiter))
            if line_end is None:
                return self._take(found), False
            if line_end:
                before = self._take(found)
                self._first = line_end
                return before, True
            start = found + 1
        candidate = data.find(b"\r", max(start, self._end - len(delimiter) + 1), self._end)
        return self._take(self._end if candidate < 0 else candidate), False

    def _line_end(self, at: int) -> int | None:
        """Where the delimiter line ends whose boundary ends at ``at``: None where more is needed, 0 where it is none.

        A longer line that only begins like the delimiter is of a nested multipart, or chance: it belongs to the part.
        """
        data = self._data
        if data[at : min(at + 2, self._end)] == b"--":
            self._at = _At.EPILOGUE
            return at + 2
        end = at
        while end < self._end and data[end] in b" \t":
            end += 1
        rest = bytes(data[end : min(end + 2, self._end)])
        if end - at > _PADDING_MAX:
            return 0
        if rest == b"\r\n":
            self._parts += 1
            if self._parts > self._limits.parts_max:
                raise MultipartFault("the body has more parts than parts_max", too_large=True)
            self._at = _At.FIELDS
            # The line's end stays, so that no header fields at all end as all others do: with two line ends.
            return end
        return None if rest in (b"", b"\r") or (end == at and rest == b"-") else 0

    def _fields(self) -> PartBegins | None:
        first, longest = self._first, self._limits.part_fields_size_max + 4
        end = self._data.find(b"\r\n\r\n", first, min(first + longest, self._end))
        if end < 0:
            if self._end - first >= longest:
                raise MultipartFault("the header fields of a part are longer than part_fields_size_max", too_large=True)
            return None
        fields = _read_fields(bytes(self._data[first + 2 : end]))
        self._first = end + 4
        self._at = _At.PART
        return PartBegins(fields)

    def _pass_preamble(self, length: int) -> None:
        self._preamble += length
        if self._preamble > self._limits.part_fields_size_max:
            raise MultipartFault("the body does not begin with its boundary")

    def _take(self, end: int) -> memoryview:
        taken = memoryview(self._data)[self._first : end]
        self._first = end
        return taken


def only_part(body: bytes, boundary: str, limits: Limits) -> tuple[Mapping[str, str], bytes]:
    """The header fields and the bytes of the one part of a body that is at hand. Raises :class:`MultipartFault`."""
    reader = MultipartReader(boundary, limits)
    found: list[tuple[Mapping[str, str], bytearray]] = []
    for one in reader.feed(body):
        if isinstance(one, PartBegins):
            found.append((one.fields, bytearray()))
        elif isinstance(one, PartBytes):
            found[-1][1].extend(one.data)
    reader.finish()
    if len(found) != 1:
        raise MultipartFault(f"the body has {len(found)} parts, where one is wanted")
    return found[0][0], bytes(found[0][1])


class MultipartWriter:
    """The framing of an answer: what goes before each part and behind the last. Lengths are known beforehand."""

    def __init__(self) -> None:
        # 128 random bits: that a part holds them behind a line end is as likely as a broken digest.
        self.boundary = f"annals-{secrets.token_hex(16)}"
        self._delimiter = f"\r\n--{self.boundary}".encode("ascii")
        self.end = self._delimiter + b"--\r\n"

    def content_type(self, part_type: str) -> str:
        """The Content-Type of the whole (RFC 2387 3.1)."""
        return f'multipart/related; type="{part_type}"; boundary={self.boundary}'

    def begin(self, fields: Mapping[str, str]) -> bytes:
        """What goes before a part's bytes."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return self._delimiter + b"\r\n" + lines.encode("latin_1") + b"\r\n"


def _read_fields(raw: bytes) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in re.sub(rb"\r\n[ \t]+", b" ", raw).split(b"\r\n"):
        if not line:
            continue
        field = _FIELD.match(line)
        if field is None or b"\n" in line or b"\r" in line or b"\0" in line:
            raise MultipartFault("a part has a header field that is none")
        name = field[1].decode("ascii").lower()
        if name in fields:
            raise MultipartFault("a part has a header field twice")
        fields[name] = field[2].decode("utf-8", "replace")
    return fields
