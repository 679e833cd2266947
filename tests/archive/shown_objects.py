"""Objects that are shown each in their own way, in one archive for all tests of rendering."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    UID,
    BlendingSoftcopyPresentationStateStorage,
    EncapsulatedCDAStorage,
    EncapsulatedPDFStorage,
    RTPlanStorage,
)

from tests.archive.conftest import Archive, until
from tests.archive.samples import read, send
from tests.codecs.pictures import made, saved
from tests.rendering.states import annotation, graphic, layer, of, state_of

ROOT = "1.2.826.0.1.3680043.8.498.41"
_SR = "1.2.840.10008.5.1.4.1.1.88.33"
PDF = b"%PDF-1.4\n%%EOF\n"
_EVIL = "<img src=x onerror=alert(1)>&</p><script>alert(2)</script>"
JPEG, PNG, GIF = "image/jpeg", "image/png", "image/gif"


def _named(made_one: Dataset, number: str) -> Dataset:
    """The object as number study.series.instance."""
    study, series, instance = number.split(".")
    made_one.StudyInstanceUID, made_one.SeriesInstanceUID = f"{ROOT}.{study}", f"{ROOT}.{study}.{series}"
    made_one.SOPInstanceUID, made_one.InstanceNumber, made_one.SeriesNumber = f"{ROOT}.{number}", instance, series
    return made_one


def _gray(number: str, level: int, **description: Any) -> Dataset:
    """A picture of one gray level, which names it."""
    image = _named(made(8, 8, rows=20, columns=30, **description), number)
    image.PixelData = bytes([level]) * len(image.PixelData)
    return image


def _ramp(number: str) -> Dataset:
    """256 columns, whose stored values are theirs times 16, below a rescale of -1024 and a window of 1024."""
    image = _named(made(16, 12, rows=4, columns=256), number)
    image.PixelData = np.tile(np.arange(256, dtype="<u2") * 16, (4, 1)).tobytes()
    image.RescaleSlope, image.RescaleIntercept = "1", "-1024"
    image.WindowCenter, image.WindowWidth = ["40", "400"], ["1024", "2000"]
    image.ImageComments = _EVIL
    return image


def _without_pixels(number: str, sop_class: str, modality: str) -> Dataset:
    made_one = _named(Dataset(), number)
    made_one.SOPClassUID, made_one.Modality = UID(sop_class), modality
    made_one.SpecificCharacterSet = "ISO_IR 192"
    made_one.PatientName, made_one.PatientID = f"Иванова^{_EVIL[:40]}", "P1"
    return made_one


def _code(value: str, meaning: str) -> Items:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "99A", meaning
    return Items([item])


def _content(kind: str, name: str, **values: Any) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType = "CONTAINS", kind
    item.ConceptNameCodeSequence = _code("1", name)
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def _report(number: str) -> Dataset:
    report = _without_pixels(number, _SR, "SR")
    report.ConceptNameCodeSequence = _code("2", "Chest CT Report")
    report.CompletionFlag, report.VerificationFlag = "COMPLETE", "UNVERIFIED"
    report.ValueType, report.ContinuityOfContent = "CONTAINER", "SEPARATE"
    measured = Dataset()
    measured.NumericValue, measured.MeasurementUnitsCodeSequence = "12.5", _code("mm", "millimeter")
    findings = _content("CONTAINER", "Findings")
    findings.ContentSequence = Items(
        [
            _content("TEXT", "Finding", TextValue=f"Nodule.\n{_EVIL}"),
            _content("NUM", "Diameter", MeasuredValueSequence=Items([measured])),
            _content("PNAME", "Observer", PersonName="Doe^Jane"),
        ]
    )
    report.ContentSequence = Items([findings])
    return report


def _document(number: str, sop_class: str, mime: str, data: bytes) -> Dataset:
    document = _without_pixels(number, sop_class, "DOC")
    document.MIMETypeOfEncapsulatedDocument = mime
    document.EncapsulatedDocument = data + b"\0" * (len(data) % 2)
    document.EncapsulatedDocumentLength = len(data)
    return document


def _broken(number: str) -> Dataset:
    """A JPEG 2000 whose size marker lies (B14)."""
    image = _named(made(), number)
    huge = b"\xff\x4f\xff\x51\x00\x29\x00\x00" + b"\x00\x00\xff\xff" * 2 + bytes(8)
    image.PixelData = encapsulate([huge + b"\x00\x00\x00\x01" * 2 + bytes(8) + b"\x00\x01\x0b\x01\x01"])
    image["PixelData"].is_undefined_length = True
    return image


def _short_palette(number: str) -> Dataset:
    image = _named(made(8, 8, photometric="PALETTE COLOR"), number)
    image.GreenPaletteColorLookupTableData = bytes(100)
    return image


def _presented() -> Iterator[Dataset]:
    """Three images, a state of two of them and one that is not here, and a state of a class that is not applied."""
    images = [_named(made(16, 12, rows=40, columns=60, seed=number), f"5.1.{number}") for number in (1, 2, 3)]
    missing = of(SOPClassUID=images[0].SOPClassUID, SOPInstanceUID=f"{ROOT}.5.1.9")
    box = graphic("POLYLINE", (5, 5), (25, 5), (25, 20), (5, 20), (5, 5))
    round_one = graphic("CIRCLE", (40, 20), (40, 30))
    state = state_of(
        images[0],
        missing,
        images[1],
        ImageRotation=90,
        ImageHorizontalFlip="N",
        SoftcopyVOILUTSequence=Items([of(WindowCenter="300", WindowWidth="500")]),
        GraphicLayerSequence=Items([layer("MARKS", 1, 222)]),
        GraphicAnnotationSequence=Items([annotation("MARKS", box, round_one)]),
    )
    blending = state_of(images[0], SOPClassUID=BlendingSoftcopyPresentationStateStorage)
    yield from (*images, _named(state, "5.2.1"), _named(blending, "5.2.2"))


def population(folder: Path) -> Iterator[Path]:
    frames = _gray("1.2.1", 0, frames=3)
    frames.PixelData = bytes([10]) * 600 + bytes([120]) * 600 + bytes([250]) * 600
    colour = _named(made(8, 8, samples=3, photometric="RGB", rows=40, columns=60), "1.3.1")
    objects = [
        _ramp("1.1.1"),
        frames,
        colour,
        *(_gray(f"2.1.{number}", 40 * number) for number in range(1, 6)),
        _gray("2.2.1", 7),
        _report("3.1.1"),
        _document("3.2.1", EncapsulatedPDFStorage, "application/pdf", PDF),
        _document("3.2.2", EncapsulatedCDAStorage, "text/XML", b"<?xml version='1.0'?><ClinicalDocument/>"),
        _document("3.2.3", EncapsulatedPDFStorage, "text/html", b"<script>alert(1)</script>"),
        _document("3.2.4", EncapsulatedPDFStorage, "application/pdf", b"<script>alert(1)</script>"),
        _without_pixels("3.3.1", RTPlanStorage, "RTPLAN"),
        _short_palette("4.1.2"),
        _gray("4.1.3", 99),
        *_presented(),
    ]
    for image in objects:
        yield saved(image, folder / f"{image.SOPInstanceUID}.dcm")
    yield saved(_broken("4.1.1"), folder / f"{ROOT}.4.1.1.dcm", "1.2.840.10008.1.2.4.90")


def store(archive: Archive, folder: Path) -> None:
    """Send them all."""
    for file in population(folder):
        sample = read(file)
        assert sample
        assert send(archive.port, sample)[0] == 0


def path_of(number: str) -> str:
    """The path of a study, series or instance."""
    parts = number.split(".")
    names = ("studies", "series", "instances")
    return "/dicom-web" + "".join(
        f"/{name}/{ROOT}.{'.'.join(parts[: at + 1])}" for at, name in enumerate(names[: len(parts)])
    )


def get(archive: Archive, path: str, accept: str = "*/*", **headers: str) -> tuple[int, Any, bytes]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{archive.dicomweb_port}{path}",
        headers={"Accept": accept} | {name.replace("_", "-"): value for name, value in headers.items()},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.headers, refused.read()


@contextmanager
def without_download(archive: Archive) -> Iterator[None]:
    """This machine may search, and not retrieve."""
    path = f"{path_of('1.1.1')}/rendered"
    archive.annals("device", "wado", "add", "127.0.0.1", "--rights", "FIND")
    try:
        until(lambda: get(archive, path)[0] == 403, 60, "the right is known to be missing")
        yield
    finally:
        archive.annals("device", "wado", "remove", "127.0.0.1")
        until(lambda: get(archive, path)[0] == 200, 60, "the device is known to be removed")
