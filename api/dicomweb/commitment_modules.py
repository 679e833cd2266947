"""The modules of storage commitment over the web: what a request names, and what it is answered (PS3.18 Annex J)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from api.dicomweb.model_types import XML
from api.dicomweb.native_xml_reader import read_native_xml
from domain.commitment import Commitment, Reference, places_of
from domain.errors import Because, Refused
from domain.limits import Limits

REFERENCED_SOPS, FAILED_SOPS = "00081199", "00081198"
REFERENCED_STUDIES, FAILED_STUDIES = "00081110", "0008119B"
_REFERENCED_SERIES, _BY_CLASS, _INSTANCES = "00081115", "00081112", "0008114A"
_SOP_CLASS, _SOP_INSTANCE, _FAILURE_REASON = "00081150", "00081155", "00081197"
_STUDY, _SERIES = "0020000D", "0020000E"


def _described(vr: str, items: Mapping[str, Any]) -> dict[str, Any]:
    values = {"type": "array", "minItems": 1, "items": items}
    return {"type": "object", "required": ["vr", "Value"], "properties": {"vr": {"enum": [vr]}, "Value": values}}


def _described_items(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return _described("SQ", {"type": "object", "required": list(attributes), "properties": attributes})


_UID = _described("UI", {"type": "string", "pattern": "^[0-9.]{1,64}$", "maxLength": 64})
_OF_CLASS = _described_items({_SOP_CLASS: _UID, _INSTANCES: _described_items({_SOP_INSTANCE: _UID})})
_OF_SERIES = _described_items({_SERIES: _UID, _BY_CLASS: _OF_CLASS})
REQUEST_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        REFERENCED_SOPS: _described_items({_SOP_CLASS: _UID, _SOP_INSTANCE: _UID}),
        REFERENCED_STUDIES: _described_items({_STUDY: _UID, _REFERENCED_SERIES: _OF_SERIES}),
    },
    "anyOf": [{"required": [REFERENCED_SOPS]}, {"required": [REFERENCED_STUDIES]}],
}
"""What a request may be in JSON, for the description of the service."""


def read_data_set(document: bytes, media_type: str, limits: Limits) -> Mapping[str, Any]:
    """The one data set of a request, in JSON or XML. Raises :class:`Refused` (C000)."""
    if media_type == XML:
        return read_native_xml(document, limits)
    try:
        found = orjson.loads(document)
    except orjson.JSONDecodeError:
        raise Refused(Because.CANNOT_UNDERSTAND, "the request is no JSON") from None
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    if not isinstance(found, dict):
        raise Refused(Because.CANNOT_UNDERSTAND, "the request is not one data set")
    return found


def references(data_set: Mapping[str, Any]) -> Iterator[Reference]:
    """Every instance that a request names (Table J.1-1). Raises :class:`Refused` (0115).

    A Transaction UID in it is not looked at: that of the URL holds (13.4.1.1). A study or series without instances is a
    fault, it never means all of them (correctness C5.5).
    """
    for one in _items(data_set, REFERENCED_SOPS):
        yield Reference(_uid(one, _SOP_CLASS), _uid(one, _SOP_INSTANCE))
    for study in _items(data_set, REFERENCED_STUDIES):
        for series in _some(study, _REFERENCED_SERIES):
            for kind in _some(series, _BY_CLASS):
                for one in _some(kind, _INSTANCES):
                    yield Reference(
                        _uid(kind, _SOP_CLASS), _uid(one, _SOP_INSTANCE), _uid(study, _STUDY), _uid(series, _SERIES)
                    )


def response_module(known: Commitment) -> dict[str, Any]:
    """What a decided request is answered with (Table J.2-1): each instance in the form in which it was asked for."""
    asked, failed = known.requested, known.failed or {}
    places = places_of(asked)
    flat: dict[str, list[dict[str, Any]]] = {REFERENCED_SOPS: [], FAILED_SOPS: []}
    trees: dict[str, _Tree] = {REFERENCED_STUDIES: {}, FAILED_STUDIES: {}}
    for uid, sop_class_uid in asked.references.items():
        item = {_SOP_INSTANCE: _one("UI", uid)}
        if reason := failed.get(uid):
            item[_FAILURE_REASON] = _one("US", reason)
        if uid in places:
            study, series = places[uid]
            tree = trees[FAILED_STUDIES if reason else REFERENCED_STUDIES]
            tree.setdefault(study, {}).setdefault(series, {}).setdefault(sop_class_uid, []).append(item)
        else:
            flat[FAILED_SOPS if reason else REFERENCED_SOPS].append({_SOP_CLASS: _one("UI", sop_class_uid), **item})
    sequences = {**flat, **{tag: _studies(tree) for tag, tree in trees.items()}}
    return {tag: _sequence(items) for tag, items in sorted(sequences.items()) if items}


_Tree = dict[str, dict[str, dict[str, list[dict[str, Any]]]]]
"""Items by study, series and SOP class."""


def _studies(tree: _Tree) -> list[dict[str, Any]]:
    return [
        {
            _REFERENCED_SERIES: _sequence(
                [
                    {
                        _BY_CLASS: _sequence(
                            [{_INSTANCES: _sequence(items), _SOP_CLASS: _one("UI", kind)} for kind, items in by.items()]
                        ),
                        _SERIES: _one("UI", uid),
                    }
                    for uid, by in series.items()
                ]
            ),
            _STUDY: _one("UI", study),
        }
        for study, series in tree.items()
    ]


def _one(vr: str, value: str | int) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]}


def _sequence(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"vr": "SQ", "Value": items}


def _items(data_set: Mapping[str, Any], tag: str) -> Sequence[Mapping[str, Any]]:
    items = _values(data_set, tag)
    if not all(isinstance(one, dict) for one in items):
        raise Refused(Because.INVALID_ARGUMENT, f"{_named(tag)} is no sequence")
    return items


def _some(data_set: Mapping[str, Any], tag: str) -> Sequence[Mapping[str, Any]]:
    if items := _items(data_set, tag):
        return items
    raise Refused(Because.INVALID_ARGUMENT, f"a referenced study lacks {_named(tag)}: name each of its instances")


def _uid(item: Mapping[str, Any], tag: str) -> str:
    values = _values(item, tag)
    if len(values) == 1 and isinstance(values[0], str) and values[0]:
        return values[0]
    raise Refused(Because.INVALID_ARGUMENT, f"an item lacks {_named(tag)}, or has it more than once")


def _values(data_set: Mapping[str, Any], tag: str) -> Sequence[Any]:
    element = data_set.get(tag, {})
    values = element.get("Value", []) if isinstance(element, dict) else None
    if not isinstance(values, list):
        raise Refused(Because.INVALID_ARGUMENT, f"{_named(tag)} is no element of the DICOM JSON Model")
    return values


def _named(tag: str) -> str:
    return f"({tag[:4]},{tag[4:]})"
