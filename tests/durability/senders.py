"""Modalities that never give up: what they were told is remembered, what they were not told is sent again.

One kind speaks DIMSE, the other STOW-RS.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import threading
from itertools import count

from adapters.dimse import requestor
from adapters.dimse.association import Association
from adapters.dimse.errors import AssociationEnded, AssociationRejected, ConnectionFailed
from domain.errors import Because
from domain.limits import Limits
from tests.archive.stow import RELATED, Answer, multipart, part10
from tests.durability.objects import SOP_CLASS, SYNTAX, Sent, sent, study_uid

_PAUSE_SECONDS = 0.05
_PACE_SECONDS = 0.01
"""Between two messages: whatever is acknowledged is looked for in the end, which takes longer than to send it."""

_INSTANCES_A_REQUEST = 3
_LIMITS = Limits(connect_timeout_seconds=3.0, dimse_timeout_seconds=20.0)


class Sender:
    """Sends the objects of one study after another over one association; on any end it asks for a new one."""

    def __init__(self, port: int, part: int, size: int, study: int = 1) -> None:
        self.acknowledged: list[Sent] = []
        self.refusals: list[int] = []
        self._port = port
        self._waiting: Sent | None = None
        self._part = part
        self._size = size
        self._study = study_uid(study, part)
        self._studies = count(study + 1)
        self._objects = count(1)
        self._ended = threading.Event()
        self._fault: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=f"sender {part}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """No further object; returns when the last one was answered or lost."""
        self._ended.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        if self._fault:
            raise self._fault

    @property
    def has_failed(self) -> bool:
        """Whether it ended by itself."""
        return self._fault is not None

    def next_study(self) -> None:
        """What is sent from now on belongs to another study."""
        self._study = study_uid(next(self._studies), self._part)

    def _run(self) -> None:
        descriptor = os.memfd_create("object")
        try:
            while not self._ended.is_set():
                with contextlib.suppress(
                    AssociationEnded, AssociationRejected, ConnectionFailed, http.client.HTTPException, OSError
                ):
                    self._connect_and_send(descriptor)
                self._ended.wait(_PAUSE_SECONDS)
        except Exception as error:  # noqa: BLE001 - raised by stop()
            self._fault = error
        finally:
            os.close(descriptor)

    def _connect_and_send(self, descriptor: int) -> None:
        association = requestor.associate(
            "127.0.0.1",
            self._port,
            calling_ae_title=f"SENDER{self._part}",
            called_ae_title="ANNALS",
            contexts=[(SOP_CLASS, [SYNTAX])],
            limits=_LIMITS,
        )
        try:
            while not self._ended.is_set():
                self._waiting = self._waiting or self._next()
                if self._send(association, descriptor, self._waiting):
                    self.acknowledged.append(self._waiting)
                    self._waiting = None
                self._ended.wait(_PACE_SECONDS)
            association.release()
        finally:
            association.abort()

    def _next(self) -> Sent:
        one = sent(self._study, next(self._objects))
        return Sent(one.study, one.instance, size=self._size)

    def _send(self, association: Association, descriptor: int, one: Sent) -> bool:
        data = one.data_set()
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, data, 0)
        status, _ = requestor.store(
            association,
            next(iter(association.contexts)),
            1,
            sop_class_uid=SOP_CLASS,
            sop_instance_uid=one.instance,
            fd=descriptor,
            offset=0,
            length=len(data),
        )
        if status:
            self.refusals.append(status)
            self._ended.wait(_PAUSE_SECONDS)
        return not status


class WebSender(Sender):
    """Stores a few objects a request over one connection; what an answer does not name is sent again."""

    def __init__(self, port: int, part: int, size: int, study: int = 1) -> None:
        super().__init__(port, part, size, study)
        self._unanswered: list[Sent] = []

    def _connect_and_send(self, descriptor: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            while not self._ended.is_set():
                while len(self._unanswered) < _INSTANCES_A_REQUEST:
                    self._unanswered.append(self._next())
                files = [part10(one.data_set(), one.instance) for one in self._unanswered]
                connection.request("POST", "/dicom-web/studies", multipart(files), {"Content-Type": RELATED})
                answer = connection.getresponse()
                self._hear(Answer(answer.status, answer.headers, answer.read()))
                self._ended.wait(_PACE_SECONDS)
        finally:
            connection.close()

    def _hear(self, answer: Answer) -> None:
        if answer.status in (200, 202):
            stored = set(answer.stored)
            self.acknowledged += [one for one in self._unanswered if one.instance in stored]
            self._unanswered = [one for one in self._unanswered if one.instance not in stored]
        if answer.status != 200:
            assert answer.status in (202, 503, 507), answer
            self.refusals.append(Because.OUT_OF_RESOURCES.value)
            self._ended.wait(_PAUSE_SECONDS)
