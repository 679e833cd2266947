"""The parts of a store request, each on its way into the room behind C-STORE; one bad part harms no other."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from api.dicomweb.acceptable import DICOM
from api.dicomweb.media_types import media_type
from api.dicomweb.multipart import MultipartFault, MultipartReader, PartBegins, PartBytes
from api.dicomweb.store_answer import DATA_SET_DOES_NOT_MATCH_SOP_CLASS, Outcome, failed
from api.problems import HttpRefusal
from domain.errors import AnnalsError, InvalidInput
from domain.event import Actor
from domain.limits import Limits
from processes.ports import FileBeginnings
from processes.receive import Received, Receiver
from processes.receive_file import IncomingFile

_LOG = logging.getLogger("annals.http.store")


@dataclass(frozen=True, slots=True)
class StoreRequest:
    """Who stores, the study of the URL where it names one, and the id by which the facts name this request."""

    by: Actor
    id: str
    study_instance_uid: str = ""


class Parts(Protocol):
    """Takes the parts of one body, in their order, from one thread at a time. No fault of a part is raised."""

    def begin(self, fields: Mapping[str, str]) -> None:
        """A part begins; its header fields by lower-case name."""
        ...

    def take(self, data: memoryview) -> None:
        """The next bytes of the part; they are good only until it returns."""
        ...

    def end(self) -> None:
        """The part is whole."""
        ...

    def outcomes(self) -> list[Outcome]:
        """What became of each, in their order; waits for those that are being stored."""
        ...

    def close(self) -> None:
        """Throw away what is not stored by now; safe to call again."""
        ...


class Finishers:
    """Threads that finish received objects beside the receiving, many at a time: one commit then serves several."""

    def __init__(self, limits: Limits) -> None:
        self._places = threading.BoundedSemaphore(limits.parts_in_flight_max)
        self._threads = ThreadPoolExecutor(limits.store_threads_max, "store")

    def start(self, finish: Callable[[], Outcome]) -> Future[Outcome]:
        """Finish an object; waits for a place, so that nobody sends faster than is stored."""
        self._places.acquire()
        try:
            future = self._threads.submit(finish)
        except BaseException:
            # No thread can be had now; the place is still another's later.
            self._places.release()
            raise
        future.add_done_callback(lambda _: self._places.release())
        return future


class InstanceParts:
    """Parts that are Part 10 files (PS3.18 10.5.1.4)."""

    def __init__(
        self, receiver: Receiver, beginnings: FileBeginnings, finishers: Finishers, request: StoreRequest
    ) -> None:
        self._receiver = receiver
        self._beginnings = beginnings
        self._finishers = finishers
        self._request = request
        self._number = 0
        self._file: IncomingFile | None = None
        self._fault: Exception | None = None
        self._done: list[Outcome] = []
        self._waiting: deque[Future[Outcome]] = deque()

    def begin(self, fields: Mapping[str, str]) -> None:
        """A file begins; nothing is opened before it has told what it holds."""
        self._number += 1
        self._file = IncomingFile(self._receiver, self._beginnings)
        self._fault = _field_fault(fields)

    def take(self, data: memoryview) -> None:
        """The next bytes of the file; nothing, once it was refused."""
        if self._file is None or self._fault is not None:
            return
        try:
            self._file.write(data)
        except Exception as error:  # noqa: BLE001 - told as this part's failure
            self._fault = error
            self._file.discard()

    def end(self) -> None:
        """The file is whole: it is made durable beside the receiving of the next."""
        if self._file is None:
            return
        # A fault that is kept would keep its frames, with them this, and the folder that the object was written to.
        file, fault, self._file, self._fault = self._file, self._fault, None, None
        cause = f"{self._request.id}/{self._number}"
        if fault is not None:
            self._waiting.append(_known(_failed(fault, file)))
        else:
            self._waiting.append(self._finishers.start(lambda: self._finish(file, cause)))
        while self._waiting and self._waiting[0].done():
            self._done.append(self._waiting.popleft().result())

    def outcomes(self) -> list[Outcome]:
        """What became of each file."""
        while self._waiting:
            self._done.append(self._waiting.popleft().result())
        return self._done

    def close(self) -> None:
        """Throw the unfinished file away."""
        if self._file is not None:
            self._file.discard()
        self._file = self._fault = None

    def _finish(self, file: IncomingFile, cause: str) -> Outcome:
        try:
            incoming = file.whole()
            assert file.beginning is not None
            received = self._receiver.finish(
                incoming,
                by=self._request.by,
                cause=cause,
                study_instance_uid=self._request.study_instance_uid,
                warnings=file.beginning.warnings,
            )
        except Exception as error:  # noqa: BLE001 - told as this part's failure
            return _failed(error, file)
        finally:
            file.discard()
        return stored(received)


class StoreBody:
    """One body on its way: split into its parts, or one part as it is. Fed from one thread at a time."""

    def __init__(
        self, parts: Parts, reader: MultipartReader | None, fields: Mapping[str, str], length_max: int
    ) -> None:
        """Without ``reader`` the body is one part with these header fields."""
        self._parts = parts
        self._length = 0
        self._length_max = length_max
        self._reader = reader
        self._turn = threading.Lock()
        self._closed = False
        self._fault: MultipartFault | None = None
        if reader is None:
            parts.begin(fields)

    @property
    def ended(self) -> bool:
        """Whether what comes further is of no interest: after a fault, or behind the close delimiter."""
        return self._fault is not None or (self._reader is not None and self._reader.ended)

    def feed(self, data: bytes | bytearray, length: int) -> bool:
        """Take the next bytes of the body, the first ``length`` of ``data``; whether more is wanted."""
        with self._turn:
            if self._closed or self.ended:
                return False
            self._length += length
            if self._length > self._length_max:
                self._fault = MultipartFault("the body is longer than request_body_max", too_large=True)
                return False
            if self._reader is None:
                self._parts.take(memoryview(data)[:length])
                return True
            try:
                for found in self._reader.feed(data, length):
                    if isinstance(found, PartBytes):
                        self._parts.take(found.data)
                    elif isinstance(found, PartBegins):
                        self._parts.begin(found.fields)
                    else:
                        self._parts.end()
            except MultipartFault as fault:
                self._fault = fault
            return not self.ended

    def finish(self) -> list[Outcome]:
        """The body has ended: what became of its parts, and of itself where it is broken.

        Raises :class:`HttpRefusal` (400, 413) where it holds no part, or is broken and none of its parts was stored.
        """
        with self._turn:
            try:
                if self._fault:
                    raise self._fault
                if self._reader is None:
                    self._parts.end()
                else:
                    self._reader.finish()
            except MultipartFault as fault:
                self._fault = fault
            outcomes = self._parts.outcomes()
            self._parts.close()
        broken = self._fault and HttpRefusal(413 if self._fault.too_large else 400, str(self._fault))
        if broken is None and outcomes:
            return outcomes
        if broken is not None and any(not one.failure_reason for one in outcomes):
            return [*outcomes, failed(broken)]
        raise broken or HttpRefusal(400, "the body holds nothing to store")

    def close(self) -> None:
        """Throw away what is unfinished; feeding it further does nothing."""
        with self._turn:
            self._closed = True
            self._parts.close()


def _field_fault(fields: Mapping[str, str]) -> Exception | None:
    """Why a part cannot be a Part 10 file by its header fields. Without a type it is what the whole promises."""
    try:
        named = media_type(fields["content-type"]).name if "content-type" in fields else DICOM
    except InvalidInput as error:
        return HttpRefusal(415, str(error))
    if named != DICOM:
        return HttpRefusal(415, f"a part is not {DICOM}")
    for name in ("content-encoding", "content-transfer-encoding"):
        if fields.get(name, "binary").strip().lower() not in ("binary", "identity", "8bit"):
            return HttpRefusal(415, "encoded parts are not accepted")
    return None


def stored(received: Received) -> Outcome:
    """The outcome of an instance that is stored."""
    header = received.header
    return Outcome(
        header.sop_class_uid,
        header.sop_instance_uid,
        header.study_instance_uid,
        header.series_instance_uid,
        warning_reason=DATA_SET_DOES_NOT_MATCH_SOP_CLASS if header.pixel_fault else 0,
    )


def failed_part(error: Exception, sop_class_uid: str = "", sop_instance_uid: str = "") -> Outcome:
    """The outcome of a part that failed; what nobody foresaw is logged."""
    if not isinstance(error, AnnalsError):
        _LOG.error("a part could not be stored for a reason that nobody foresaw", exc_info=error)
    return failed(error, sop_class_uid, sop_instance_uid)


def _failed(error: Exception, file: IncomingFile) -> Outcome:
    told = file.beginning
    return failed_part(error, told.sop_class_uid, told.sop_instance_uid) if told else failed_part(error)


def _known(outcome: Outcome) -> Future[Outcome]:
    future: Future[Outcome] = Future()
    future.set_result(outcome)
    return future
