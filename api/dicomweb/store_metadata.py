"""Metadata with bulk data as the parts of a store request (PS3.18 10.5.1.4): first what is said, then the bytes."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

import orjson

from api.dicomweb.media_types import MediaType, media_type
from api.dicomweb.model_types import JSON, XML
from api.dicomweb.native_xml_reader import read_native_xml
from api.dicomweb.store_answer import Outcome, failed
from api.dicomweb.store_parts import Finishers, StoreRequest, failed_part, stored
from domain.errors import Because, InvalidInput, Refused, TooLarge
from domain.identifiers import uid_fault
from domain.limits import Limits
from processes.ports import Composition, Incoming
from processes.receive import Receiver

METADATA = (JSON, XML)


class MetadataParts:
    """Metadata in one part (JSON) or in one a data set (XML), then bulk data by its Content-Location.

    The objects are made when the body has ended: whatever else is broken, bulk data is never fetched from elsewhere.
    """

    def __init__(
        self,
        receiver: Receiver,
        composition: Composition,
        finishers: Finishers,
        request: StoreRequest,
        limits: Limits,
    ) -> None:
        self._receiver = receiver
        self._composition = composition
        self._finishers = finishers
        self._request = request
        self._limits = limits
        self._metadata: bytearray | None = None
        self._metadata_size = 0
        self._metadata_type = ""
        self._data_sets: list[Mapping[str, Any]] = []
        self._failures: list[Outcome] = []
        self._fault: Exception | None = None

    def begin(self, fields: Mapping[str, str]) -> None:
        """Metadata or a bulk data item begins."""
        self._fault, self._metadata = None, None
        try:
            kind = media_type(fields["content-type"]) if "content-type" in fields else MediaType("")
            if kind.name in METADATA:
                self._metadata, self._metadata_type = bytearray(), kind.name
            else:
                location = fields.get("content-location") or fields.get("content-id", "")
                self._composition.begin_bulk(location, kind.name, kind.parameters.get("transfer-syntax", ""))
        except (Refused, InvalidInput) as error:
            self._fault = error

    def take(self, data: memoryview) -> None:
        """The next bytes of the part."""
        if self._fault is not None:
            return
        try:
            if self._metadata is None:
                self._composition.write(data)
                return
            self._metadata_size += len(data)
            if self._metadata_size > self._limits.store_metadata_max:
                raise TooLarge("the metadata is longer than store_metadata_max")
            self._metadata += data
        except Refused as error:
            self._fault, self._metadata = error, None

    def end(self) -> None:
        """The part is whole."""
        try:
            if self._fault is not None:
                raise self._fault
            if self._metadata is not None:
                self._data_sets += self._read(bytes(self._metadata))
            else:
                self._composition.end_bulk()
        except (Refused, InvalidInput) as error:
            self._failures.append(failed(error))
        self._metadata = None

    def outcomes(self) -> list[Outcome]:
        """What became of each data set, then of the parts that belong to none."""
        waiting: list[Future[Outcome]] = []
        for number, data_set in enumerate(self._data_sets, 1):
            waiting.append(self._finishers.start(lambda one=data_set, at=number: self._store(one, at)))  # type: ignore[misc]
        done = [one.result() for one in waiting]
        refused = Refused(Because.CANNOT_UNDERSTAND, "bulk data that no attribute names")
        unused = [failed(refused)] * (self._composition.unused() if self._data_sets else 0)
        return [*done, *self._failures, *unused]

    def close(self) -> None:
        """Throw the bulk data away, and the unfinished part."""
        self._metadata = None
        self._composition.close()

    def _read(self, document: bytes) -> list[Mapping[str, Any]]:
        if self._metadata_type == XML:
            return [read_native_xml(document, self._limits)]
        try:
            found = orjson.loads(document)
        except orjson.JSONDecodeError:
            raise Refused(Because.CANNOT_UNDERSTAND, "the metadata is no JSON") from None
        data_sets = found if isinstance(found, list) else [found]
        if not all(isinstance(one, dict) for one in data_sets):
            raise Refused(Because.CANNOT_UNDERSTAND, "the metadata is no list of data sets")
        return data_sets

    def _store(self, data_set: Mapping[str, Any], number: int) -> Outcome:
        incoming: Incoming | None = None
        try:
            composed = self._composition.compose(data_set)
            incoming = self._receiver.open(
                composed.sop_class_uid, composed.sop_instance_uid, composed.transfer_syntax_uid, ""
            )
            for piece in composed.data_set:
                incoming.write(piece)
            received = self._receiver.finish(
                incoming,
                by=self._request.by,
                cause=f"{self._request.id}/{number}",
                study_instance_uid=self._request.study_instance_uid,
            )
            return stored(received)
        except Exception as error:  # noqa: BLE001 - told as this data set's failure
            return failed_part(error, *_identity(data_set))
        finally:
            if incoming is not None:
                incoming.discard()


def _identity(data_set: Mapping[str, Any]) -> tuple[str, str]:
    """SOP Class and Instance UID as the metadata tells them, so that its failure is that of an instance (Table I.1-1).

    Both empty where one of them is none.
    """
    sop_class_uid, sop_instance_uid = (_uid(data_set.get(tag)) for tag in ("00080016", "00080018"))
    return (sop_class_uid, sop_instance_uid) if sop_class_uid and sop_instance_uid else ("", "")


def _uid(element: Any) -> str:
    values = element.get("Value") if isinstance(element, dict) else None
    uid = (
        values[0].rstrip("\0 ") if isinstance(values, list) and len(values) == 1 and isinstance(values[0], str) else ""
    )
    return "" if uid_fault(uid) else uid
