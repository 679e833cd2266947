"""Stored objects in other transfer syntaxes, and single frames as samples: the work of the child processes."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

from adapters.codecs.conversions import SMALL_MAX, TOGETHER_MAX, Conversions
from adapters.codecs.image import Image
from adapters.codecs.memory_files import KEPT_MAX, MemoryFiles
from adapters.codecs.workers import Workers
from adapters.files.temporary import TemporaryFolder
from adapters.rendering.messages import message_of
from domain.limits import MIB, Limits
from domain.rendering import Rendering
from domain.transcoding import DEFLATED, EXPLICIT
from processes.pixel_ports import Conversion, DecodedFrame, Shown, Span, Stored, close

_ALONE_MAX = 8 * MIB
_ROOM = 8 * MIB
"""How large an object may become that is converted in memory."""

_MEMORY_FILES_MAX = 64
_LOST = "lost"
"""What stands in the answer of a child that has written an object, and in no other."""

_SHARE_BYTES = 16 * MIB
_SHARE_FRAMES_MAX = 1_000


class Transcoder:
    """The port :class:`processes.pixel_ports.Codecs`. Costs nothing until it is first used."""

    def __init__(
        self,
        limits: Limits,
        count: int = 0,
        folder: TemporaryFolder | None = None,
        *,
        lossy_as_instance: bool = False,
    ) -> None:
        """``folder`` is where temp files are made; by default the system's.

        With ``lossy_as_instance`` what is compressed with loss becomes an instance of its own (decision 21).
        """
        folder = folder or TemporaryFolder(limits)
        self._workers = Workers(limits, count)
        self._temporary = folder.file
        self._memory_files = MemoryFiles(min(TOGETHER_MAX * self._workers.count, _MEMORY_FILES_MAX))
        self._lossy_as_instance = lossy_as_instance
        self._lock = threading.Lock()
        self._threads: tuple[ThreadPoolExecutor, ThreadPoolExecutor] | None = None
        self._conversions = Conversions(
            self._workers.count, lambda work: self._executors()[0].submit(work), self.converted, self._together
        )

    @property
    def parallel(self) -> int:
        """How many objects are worth being converted at a time."""
        return self._workers.count

    def converted(self, stored: Stored, wanted: str) -> Stored:
        """The object in another syntax, as an unlinked file whose descriptor the caller closes or gives back.

        What is small is made in memory, since making a temp file takes as long as encoding a small frame.
        """
        if stored.length <= SMALL_MAX:
            made = self._in_memory(stored, wanted)
            if made is not None:
                return made
        with self._temporary() as out:
            answer = self._convert(stored, wanted, out)
            return _made(os.dup(out), wanted, answer)

    def begin(self, conversion: Conversion) -> Future[Stored]:
        """Convert an object when its turn comes, small ones some together in one child."""
        return self._conversions.begin(conversion)

    def start(self, prepare: Callable[[], Stored]) -> Future[Stored]:
        """Run ``prepare`` in a thread of this transcoder, which waits for its child there."""
        return self._executors()[0].submit(prepare)

    def encoded(self, stored: Stored, wanted: str, number: int) -> Stored:
        """One frame, counted from 1, in another syntax, as an unlinked temp file whose descriptor the caller closes."""
        with self._temporary() as lengths:
            return self._encode(stored, wanted, number - 1, 1, lengths)

    def frame(self, stored: Stored, number: int) -> DecodedFrame:
        """The samples of one frame, counted from 1; colours are RGB, palettes stay indices."""
        with self._temporary() as out:
            request = self._request("decode", stored) | {"frame": number - 1}
            image = self._ask(stored, request, [stored.descriptor, out])["image"]
            samples = os.pread(out, os.fstat(out).st_size, 0)
        return DecodedFrame(
            rows=image["rows"],
            columns=image["columns"],
            samples_per_pixel=image["samples"],
            bits_allocated=max(8, image["bits_allocated"]),
            bits_stored=image["bits_stored"],
            is_signed=image["is_signed"],
            photometric_interpretation=image["photometric"],
            frames=image["frames"],
            samples=samples,
        )

    def shown(self, stored: Stored, asked: Rendering, state: Stored | None = None) -> Shown:
        """The object as a person sees it, as an unlinked temp file whose descriptor the caller closes."""
        if state is not None and state.transfer_syntax_uid == DEFLATED:
            plain = self.converted(state, EXPLICIT)
            try:
                return self.shown(stored, asked, plain)
            finally:
                os.close(plain.descriptor)
        with self._temporary() as out:
            request = self._request("show", stored) | {"asked": message_of(asked)}
            descriptors = [stored.descriptor, out]
            if state is not None:
                request["state"] = self._request("", state)
                descriptors.insert(1, state.descriptor)
            answer = self._ask(stored, request, descriptors, "rendering_timeout_seconds")
            return Shown(answer["media_type"], os.dup(out), os.fstat(out).st_size, tuple(answer["notes"]))

    def unpacked(self, descriptor: int, span: Span, media_type: str, samples: int, out: int) -> Image:
        """What a PNG or GIF that lies in a file is; its native frames are appended to the file ``out``.

        ``samples`` 1: it must be gray. Raises Refused (A702) where it is damaged, too large or in colours.
        """
        request = {"do": "unpack", "offset": span.offset, "length": span.length}
        request |= {"media_type": media_type, "samples": samples}
        return Image(**self._workers.ask(request, [descriptor, out])["image"])

    def close(self) -> None:
        """End the children and the threads."""
        self._conversions.close()
        with self._lock:
            threads, self._threads = self._threads, None
        for executor in threads or ():
            executor.shutdown(wait=False, cancel_futures=True)
        self._workers.close()
        self._memory_files.close()

    def _in_memory(self, stored: Stored, wanted: str) -> Stored | None:
        """The object in a memory file; None where it has no room there."""
        out = self._memory_files.take()
        answer: dict[str, Any] = {}
        try:
            answer = self._ask(stored, self._small(stored, wanted), [stored.descriptor, out])
        finally:
            made = self._made_in_memory(out, wanted, answer)
        return made

    def _together(self, objects: Sequence[tuple[Stored, str]]) -> list[Stored | None]:
        """As :meth:`_in_memory`, some objects by one child; None also for one that fails. Raises as the child fails."""
        outs: list[int] = []
        answers: Sequence[dict[str, Any]] = [{}] * len(objects)
        try:
            requests = []
            for stored, wanted in objects:
                outs.append(self._memory_files.take())
                requests.append((self._small(stored, wanted), (stored.descriptor, outs[-1])))
            answers = self._workers.ask_together(requests)
        finally:
            made = [
                self._made_in_memory(out, wanted, answer)
                for out, (_, wanted), answer in zip(outs, objects, answers, strict=False)
            ]
        return made

    def _small(self, stored: Stored, wanted: str) -> dict[str, Any]:
        return self._request("convert", stored) | {"wanted": wanted, "alone_max": _ROOM, "room": _ROOM}

    def _made_in_memory(self, out: int, wanted: str, answer: dict[str, Any]) -> Stored | None:
        """The object in its memory file, which is closed where none was written."""
        if _LOST in answer:
            return _made(out, wanted, answer, self._memory_files.keep if answer["length"] <= KEPT_MAX else os.close)
        os.close(out)
        return None

    def _convert(self, stored: Stored, wanted: str, out: int) -> dict[str, Any]:
        """Write the object into a file; what is told of it."""
        request = self._request("convert", stored) | {"wanted": wanted}
        alone_max = 1 << 62 if stored.transfer_syntax_uid == DEFLATED else _ALONE_MAX
        answer = self._ask(stored, request | {"alone_max": alone_max}, [stored.descriptor, out])
        if "frames" in answer:
            return self._convert_shared(stored, wanted, answer["frames"], answer["frame_bytes"], out)
        return answer

    def _convert_shared(self, stored: Stored, wanted: str, frames: int, frame_bytes: int, out: int) -> dict[str, Any]:
        """Many frames: the children encode a share each into temp files, in parallel; then one writes the whole."""
        share = max(1, min(_SHARE_FRAMES_MAX, _SHARE_BYTES // frame_bytes))
        first = iter(range(0, frames, share))
        waiting: deque[Future[Stored]] = deque()
        with self._temporary() as spool, self._temporary() as lengths:

            def begin() -> None:
                for number in islice(first, 2 * self.parallel - len(waiting)):
                    count = min(share, frames - number)
                    waiting.append(self._executors()[1].submit(self._encode, stored, wanted, number, count, lengths))

            begin()
            try:
                while waiting:
                    part = waiting.popleft().result()
                    try:
                        _append(part, spool)
                    finally:
                        os.close(part.descriptor)
                    begin()
            finally:
                for other in waiting:
                    other.cancel()
                    other.add_done_callback(close)
            request = self._request("write", stored) | {"wanted": wanted}
            return self._ask(stored, request, [stored.descriptor, spool, lengths, out])

    def _encode(self, stored: Stored, wanted: str, first: int, count: int, lengths: int) -> Stored:
        """A share of the frames, one after the other in a temp file; their lengths go to their place in ``lengths``."""
        with self._temporary() as part:
            request = self._request("encode", stored) | {"wanted": wanted, "first": first, "count": count}
            self._ask(stored, request, [stored.descriptor, lengths, part])
            return Stored(os.dup(part), 0, os.fstat(part).st_size, wanted)

    def _ask(
        self, stored: Stored, request: dict[str, Any], descriptors: list[int], limit: str = "codec_timeout_seconds"
    ) -> dict[str, Any]:
        """Have a child perform a request; it cannot make the temp file that it inflates an object into."""
        if stored.transfer_syntax_uid != DEFLATED:
            return self._workers.ask(request, descriptors, limit)
        with self._temporary() as inflated:
            return self._workers.ask(request | {"inflated": True}, [inflated, *descriptors], limit)

    def _request(self, what: str, stored: Stored) -> dict[str, Any]:
        return {
            "do": what,
            "offset": stored.offset,
            "length": stored.length,
            "stored": stored.transfer_syntax_uid,
            "lossy_as_instance": self._lossy_as_instance,
        }

    def _executors(self) -> tuple[ThreadPoolExecutor, ThreadPoolExecutor]:
        with self._lock:
            if self._threads is None:
                # Objects wait for frames, frames only for children: two pools, so that none waits for itself.
                count = self._workers.count
                self._threads = (
                    ThreadPoolExecutor(count, "transcode"),
                    ThreadPoolExecutor(count, "frames"),
                )
            return self._threads


def _made(out: int, wanted: str, answer: dict[str, Any], reuse: Callable[[int], None] = os.close) -> Stored:
    return Stored(out, 0, answer["length"], wanted, answer[_LOST], answer["own_uid"], reuse)


def _append(part: Stored, spool: int) -> None:
    position = 0
    while position < part.length:
        position += os.sendfile(spool, part.descriptor, position, part.length - position)
