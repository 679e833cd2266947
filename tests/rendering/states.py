"""Presentation states for tests, each of one image, with no more than what is asked for (PS3.3 A.33.1)."""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import GrayscaleSoftcopyPresentationStateStorage, generate_uid


def of(**values: Any) -> Dataset:
    """A data set, or an item, of these attributes."""
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def reference(image: Dataset, *frames: int) -> Dataset:
    """A reference to an image, or to frames of it."""
    item = of(ReferencedSOPClassUID=image.SOPClassUID, ReferencedSOPInstanceUID=image.SOPInstanceUID)
    if frames:
        item.ReferencedFrameNumber = list(frames)
    return item


def state_of(image: Dataset, *others: Dataset, frames: tuple[int, ...] = (), **values: Any) -> Dataset:
    """A grayscale softcopy presentation state of an image, and of others of its series."""
    state = of(
        SpecificCharacterSet="ISO_IR 192",
        SOPClassUID=GrayscaleSoftcopyPresentationStateStorage,
        SOPInstanceUID=generate_uid(),
        StudyInstanceUID=image.StudyInstanceUID,
        SeriesInstanceUID=generate_uid(),
        PatientID=image.PatientID,
        PatientName=image.PatientName,
        Modality="PR",
        InstanceNumber=1,
        ContentLabel="STATE",
        PresentationLUTShape="IDENTITY",
        ReferencedSeriesSequence=Items(
            [
                of(
                    SeriesInstanceUID=image.SeriesInstanceUID,
                    ReferencedImageSequence=Items([reference(image, *frames), *(reference(other) for other in others)]),
                )
            ]
        ),
        DisplayedAreaSelectionSequence=Items([area(image.Rows, image.Columns)]),
    )
    for keyword, value in values.items():
        setattr(state, keyword, value)
    return state


def area(rows: int, columns: int, **values: Any) -> Dataset:
    """A displayed area: from the first pixel to the last unless ``values`` say otherwise."""
    return of(
        **{
            "DisplayedAreaTopLeftHandCorner": [1, 1],
            "DisplayedAreaBottomRightHandCorner": [columns, rows],
            "PresentationSizeMode": "SCALE TO FIT",
            "PresentationPixelAspectRatio": [1, 1],
            **values,
        }
    )


def graphic(kind: str, *points: tuple[float, float], filled: str = "N", units: str = "PIXEL") -> Dataset:
    """A graphic object through points of column and row."""
    return of(
        GraphicAnnotationUnits=units,
        GraphicDimensions=2,
        NumberOfGraphicPoints=len(points),
        GraphicData=[float(one) for point in points for one in point],
        GraphicType=kind,
        GraphicFilled=filled,
    )


def annotation(layer: str, *graphics: Dataset, **values: Any) -> Dataset:
    """Graphics in a layer."""
    return of(GraphicLayer=layer, GraphicObjectSequence=Items(graphics), **values)


def layer(name: str, order: int, level: int) -> Dataset:
    """A layer drawn in a gray level of 8 bits."""
    return of(GraphicLayer=name, GraphicLayerOrder=order, GraphicLayerRecommendedDisplayGrayscaleValue=level << 8)
