"""What the tests of copies compressed with loss share: a transcoder for each mode, images with functional groups."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import EnhancedCTImageStorage, generate_uid

from tests.codecs.pictures import made

FRAMES = 3


def item(**values: object) -> Dataset:
    one = Dataset()
    for keyword, value in values.items():
        setattr(one, keyword, value)
    return one


def code(value: str, meaning: str) -> Dataset:
    return item(CodeValue=value, CodingSchemeDesignator="DCM", CodeMeaning=meaning)


def origin(description: str) -> Dataset:
    """An item of Derivation Image: an image that was made of another one."""
    source = item(
        ReferencedSOPClassUID=EnhancedCTImageStorage,
        ReferencedSOPInstanceUID=generate_uid(),
        PurposeOfReferenceCodeSequence=[code("121322", "Source image for image processing operation")],
    )
    return item(
        DerivationDescription=description,
        DerivationCodeSequence=[code("113085", "Spatial resampling")],
        SourceImageSequence=[source],
    )


def frame_type(kind: str) -> list[Dataset]:
    return [item(FrameType=[kind, "PRIMARY", "VOLUME", "NONE"], PixelPresentation="MONOCHROME")]


def enhanced(shared: Sequence[Dataset] | None, of_frames: Sequence[Dataset]) -> Dataset:
    """An Enhanced CT image with these functional groups; what ``dciodvfy`` misses in it is missing before and after."""
    image = made(frames=FRAMES)
    image.SOPClassUID = EnhancedCTImageStorage
    image.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    image.LossyImageCompression = "00"
    if shared is not None:
        image.SharedFunctionalGroupsSequence = Items(shared)
    image.PerFrameFunctionalGroupsSequence = Items(of_frames)
    return image


def errors_of_dciodvfy(path: Path) -> set[str]:
    said = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, errors="replace", check=False)
    return {line for line in said.stderr.split("\n") if line.startswith("Error")}
