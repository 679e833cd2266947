"""In which media type data sets are answered: the DICOM JSON Model, or the Native DICOM Model (PS3.18 8.7.3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import Request

from api.dicomweb.media_types import MULTIPART_RELATED, MediaType, accepted
from api.dicomweb.multipart import MultipartWriter
from api.dicomweb.native_xml import native_xml
from api.problems import HttpRefusal

JSON = "application/dicom+json"
PLAIN_JSON = "application/json"
XML = "application/dicom+xml"


def model_type(request: Request, what: str) -> tuple[str, bool]:
    """The most wanted media type that there is (Table 8.7.3-3), and whether it is wanted in parts of a multipart.

    JSON where all are equal. Raises 406.
    """
    for wanted in accepted(request.headers.getlist("accept"), request.query_params.getlist("accept")):
        if served := _served(wanted):
            return served, wanted.name == MULTIPART_RELATED
    raise HttpRefusal(406, f'{what} answered as {JSON} or {MULTIPART_RELATED}; type="{XML}"')


def model_document(data_set: Mapping[str, Any], media_type: str, *, in_parts: bool) -> tuple[bytes, str]:
    """One data set as the body of an answer in what :func:`model_type` gave, and the Content-Type of that."""
    if media_type != XML:
        return orjson.dumps(data_set), media_type
    if not in_parts:
        return native_xml(data_set), XML
    writer = MultipartWriter()
    return writer.begin({"Content-Type": XML}) + native_xml(data_set) + writer.end, writer.content_type(XML)


def _served(wanted: MediaType) -> str:
    if wanted.covers(JSON):
        return JSON
    if wanted.name in (PLAIN_JSON, XML):
        return wanted.name
    return XML if wanted.covers(MULTIPART_RELATED) and wanted.part_type in ("", XML) else ""
