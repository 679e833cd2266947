"""The Native DICOM Model (PS3.19 A.1) read into the DICOM JSON Model: without DTD, within limits (D27)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.parsers import expat

from api.dicomweb.native_xml import NAME_PARTS
from domain.errors import Because, Refused
from domain.limits import Limits
from domain.person_name import GROUPS

_ROOT = "NativeDicomModel"
_INTEGERS = frozenset(("IS", "SL", "SS", "SV", "UL", "US", "UV"))
_NUMBERS = _INTEGERS | {"DS", "FD", "FL"}
_LEVELS_A_SEQUENCE = 2


class _Fault(Exception):
    """Raised out of the parser's callbacks."""


def read_native_xml(document: bytes, limits: Limits) -> dict[str, Any]:
    """One data set. Raises :class:`Refused` (C000) where the document is none."""
    reading = _Reading(limits)
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = reading.doctype
    parser.StartElementHandler = reading.start
    parser.EndElementHandler = reading.end
    parser.CharacterDataHandler = reading.text
    parser.buffer_text = True
    try:
        parser.Parse(document, True)
    except (_Fault, expat.ExpatError, ValueError) as error:
        said = str(error) if isinstance(error, _Fault) else "is not well formed"
        raise Refused(Because.CANNOT_UNDERSTAND, f"the data set in XML {said}") from None
    return reading.data_set


class _Reading:
    """The open elements, and for each what gathers in it."""

    def __init__(self, limits: Limits) -> None:
        self.data_set: dict[str, Any] = {}
        self._items_max = limits.sequence_depth_max
        self._depth_max = 8 + _LEVELS_A_SEQUENCE * self._items_max
        self._names: list[str] = []
        self._sets: list[dict[str, Any]] = []
        self._private: list[list[tuple[str, str, dict[str, Any]]]] = []
        self._elements: list[dict[str, Any]] = []
        self._person: dict[str, dict[str, str]] = {}
        self._text: list[str] = []

    def doctype(self, *_: Any) -> None:
        raise _Fault("has a document type declaration")

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        name = name.rpartition(":")[2]
        if not self._names and name != _ROOT:
            raise _Fault(f"is no {_ROOT}")
        # Items in one another are counted as in DICOM's own form; the rest bounds what is no item.
        if len(self._names) >= self._depth_max or (name == "Item" and len(self._sets) > self._items_max):
            raise _Fault("is nested deeper than sequence_depth_max")
        inside = self._names[-1] if self._names else ""
        self._names.append(name)
        self._text.clear()
        if name == _ROOT:
            self._open(self.data_set)
        elif name == "DicomAttribute":
            if inside not in (_ROOT, "Item"):
                raise _Fault("has an attribute where none may be")
            self._attribute(attributes)
        elif not self._elements:
            raise _Fault("has values outside of attributes")
        elif name == "Item":
            item: dict[str, Any] = {}
            self._elements[-1].setdefault("Value", []).append(item)
            self._open(item)
        elif name == "PersonName":
            self._person = {}
        elif name in GROUPS:
            self._person[name] = {}
        elif name == "BulkData":
            self._elements[-1]["BulkDataURI"] = attributes.get("uri") or attributes.get("uuid", "")

    def text(self, text: str) -> None:
        self._text.append(text)

    def end(self, name: str) -> None:
        name = name.rpartition(":")[2]
        self._names.pop()
        text = "".join(self._text)
        self._text.clear()
        if name == "DicomAttribute":
            self._elements.pop()
        elif name in ("Item", _ROOT):
            _place(self._sets.pop(), self._private.pop())
        elif name == "Value":
            element = self._elements[-1]
            element.setdefault("Value", []).append(_value(element["vr"], text))
        elif name == "InlineBinary":
            self._elements[-1]["InlineBinary"] = text
        elif name in NAME_PARTS and self._person:
            self._person[list(self._person)[-1]][name] = text
        elif name == "PersonName":
            groups = {group: _components(parts) for group, parts in self._person.items()}
            self._elements[-1].setdefault("Value", []).append(groups)

    def _open(self, data_set: dict[str, Any]) -> None:
        self._sets.append(data_set)
        self._private.append([])

    def _attribute(self, attributes: Mapping[str, str]) -> None:
        tag, vr = attributes.get("tag", "").upper(), attributes.get("vr", "")
        creator = attributes.get("privateCreator", "")
        element: dict[str, Any] = {"vr": vr}
        if creator and tag[4:6] == "00":
            self._private[-1].append((tag, creator, element))
        elif tag in self._sets[-1]:
            raise _Fault("has an attribute twice")
        else:
            self._sets[-1][tag] = element
        self._elements.append(element)


def _place(data_set: dict[str, Any], private: Sequence[tuple[str, str, dict[str, Any]]]) -> None:
    """Give private attributes their blocks, which the model does not tell (PS3.19 A.1.6, PS3.5 7.8.1)."""
    blocks: dict[tuple[str, str], str] = {}
    for tag, element in data_set.items():
        if len(tag) == 8 and tag[4:6] == "00" and tag[6:] >= "10" and element.get("Value"):
            blocks.setdefault((tag[:4], str(element["Value"][0])), tag[6:])
    for tag, creator, element in private:
        group = tag[:4]
        if (group, creator) not in blocks:
            free = next((f"{n:02X}" for n in range(0x10, 0x100) if f"{group}00{n:02X}" not in data_set), None)
            if free is None:
                raise _Fault("has more private creators than a group can have")
            blocks[group, creator] = free
            data_set[f"{group}00{free}"] = {"vr": "LO", "Value": [creator]}
        placed = f"{group}{blocks[group, creator]}{tag[6:]}"
        if placed in data_set:
            raise _Fault("has an attribute twice")
        data_set[placed] = element


def _components(parts: Mapping[str, str]) -> str:
    return "^".join(parts.get(name, "") for name in NAME_PARTS).rstrip("^")


def _value(vr: str, text: str) -> Any:
    """A value as it stands in JSON; an empty one is null."""
    if vr in _NUMBERS:
        text = text.strip()
        if vr == "DS" or not text:
            # As it is written: a decimal string has up to 16 characters, which a float would change.
            return text or None
        return int(text) if vr in _INTEGERS else float(text)
    return text or None
