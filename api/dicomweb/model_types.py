"""In which media type data sets are answered: the DICOM JSON Model, or the Native DICOM Model (PS3.18 8.7.3.2)."""

from __future__ import annotations

from fastapi import Request

from api.dicomweb.media_types import MULTIPART_RELATED, MediaType, accepted
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


def _served(wanted: MediaType) -> str:
    if wanted.covers(JSON):
        return JSON
    if wanted.name in (PLAIN_JSON, XML):
        return wanted.name
    return XML if wanted.covers(MULTIPART_RELATED) and wanted.part_type in ("", XML) else ""
