"""In which form instances are answered: multipart, one file or a ZIP, and in which transfer syntaxes (PS3.18 8.7.8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from fastapi import Request

from api.dicomweb.media_types import MULTIPART_RELATED, MediaType, accepted
from api.problems import HttpRefusal
from domain.transcoding import WEB_ANY, WEB_DEFAULT

DICOM = "application/dicom"
ZIP = "application/zip"


class Form(Enum):
    """How the objects are put together."""

    MULTIPART = "multipart"
    SINGLE = "single"
    ZIP = "zip"


@dataclass(frozen=True, slots=True)
class Acceptable:
    """The form, and the transfer syntaxes that were asked for in it with their weights; empty: none was named."""

    form: Form
    syntaxes: Sequence[tuple[str, float]]


def acceptable(request: Request, *, one_instance: bool) -> Acceptable:
    """What the asker wants most of what there is (Table 10.4.4-1). Raises 406; InvalidInput where Accept is no such.

    A single part is only for a resource that is one (10.4.4); a ZIP only for one that is several.
    """
    wanted = accepted(request.headers.getlist("accept"), request.query_params.getlist("accept"))
    forms = [(_form(one, one_instance=one_instance), one) for one in wanted]
    chosen = next((form for form, _ in forms if form), None)
    if chosen is None:
        raise HttpRefusal(
            406,
            f'instances are answered as {MULTIPART_RELATED}; type="{DICOM}", {DICOM if one_instance else ZIP}; their '
            "bulk data is below them, at /bulkdata and /pixeldata",
        )
    # A ZIP is for keeping: its files are as they were stored unless another syntax is asked for.
    unnamed = WEB_ANY if chosen is Form.ZIP else WEB_DEFAULT
    return Acceptable(
        chosen, [(one.parameters.get("transfer-syntax") or unnamed, one.q) for form, one in forms if form is chosen]
    )


def _form(wanted: MediaType, *, one_instance: bool) -> Form | None:
    if wanted.covers(MULTIPART_RELATED) and wanted.part_type in ("", DICOM):
        return Form.MULTIPART
    if one_instance:
        return Form.SINGLE if wanted.covers(DICOM) else None
    return Form.ZIP if wanted.covers(ZIP) else None
