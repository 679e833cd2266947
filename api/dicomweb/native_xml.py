"""The Native DICOM Model (PS3.19 A.1), written from the DICOM JSON Model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from pydicom.datadict import keyword_for_tag

from domain.person_name import GROUPS

NAME_PARTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")


def native_xml(data_set: Mapping[str, Any]) -> bytes:
    """One data set as a document. Characters that XML 1.0 cannot hold are replaced."""
    return "".join(
        (
            '<?xml version="1.0" encoding="UTF-8"?><NativeDicomModel xml:space="preserve">',
            *_attributes(data_set),
            "</NativeDicomModel>",
        )
    ).encode()


def _attributes(data_set: Mapping[str, Any]) -> Iterator[str]:
    for tag, element in sorted(data_set.items()):
        keyword = keyword_for_tag(int(tag, 16))
        named = f" keyword={quoteattr(keyword)}" if keyword else ""
        if creator := _private_creator(data_set, tag):
            tag, named = f"{tag[:4]}00{tag[6:]}", f" privateCreator={quoteattr(_allowed(creator))}"
        yield f'<DicomAttribute tag="{tag}" vr="{element["vr"]}"{named}>'
        for number, value in enumerate(element.get("Value", ()), 1):
            yield from _value(element["vr"], number, value)
        if "InlineBinary" in element:
            yield f"<InlineBinary>{element['InlineBinary']}</InlineBinary>"
        if "BulkDataURI" in element:
            yield f"<BulkData uri={quoteattr(element['BulkDataURI'])}/>"
        yield "</DicomAttribute>"


def _private_creator(data_set: Mapping[str, Any], tag: str) -> str:
    """Whose a private attribute is, which is told in place of its block (PS3.19 Table A.1.5-2); empty for any other."""
    if int(tag[3], 16) % 2 == 0 or tag[4:6] == "00":
        return ""
    values = data_set.get(f"{tag[:4]}00{tag[4:6]}", {}).get("Value", ())
    return str(values[0]) if values and values[0] is not None else ""


def _value(vr: str, number: int, value: Any) -> Iterator[str]:
    if vr == "SQ":
        yield f'<Item number="{number}">'
        yield from _attributes(value or {})
        yield "</Item>"
    elif vr == "PN":
        yield f'<PersonName number="{number}">'
        for group in GROUPS:
            text = (value or {}).get(group)
            if not text:
                continue
            yield f"<{group}>"
            for part, component in zip(NAME_PARTS, text.split("^"), strict=False):
                if component:
                    yield f"<{part}>{_text(component)}</{part}>"
            yield f"</{group}>"
        yield "</PersonName>"
    else:
        yield f'<Value number="{number}">{"" if value is None else _text(str(value))}</Value>'


def _text(text: str) -> str:
    return escape(_allowed(text))


def _allowed(text: str) -> str:
    return "".join(c if c in "\t\n\r" or " " <= c < "\ufffe" or c > "\uffff" else "\ufffd" for c in text)
