"""How large an image may be by its description, before a byte of it is decoded (B14, B15, D21)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adapters.codecs.image import Image, check_size
from adapters.codecs.unfit import Unfit
from domain.limits import Limits
from tests.edges import edges

IMAGE = Image(4, 3, 1, 16, 16, 15, False, "MONOCHROME2", 0, 5)


@edges
@pytest.mark.parametrize(
    ("limit", "value", "image"),
    [
        pytest.param("decoded_side_max", 4, IMAGE, id="rows"),
        pytest.param("decoded_side_max", 4, replace(IMAGE, rows=3, columns=4), id="columns"),
        pytest.param("decoded_frames_max", 5, IMAGE, id="frames"),
        pytest.param("decoded_frame_max", 24, IMAGE, id="bytes of a frame"),
        pytest.param("decoded_object_max", 120, IMAGE, id="bytes of all frames"),
        pytest.param("decoded_ratio_max", 100, replace(IMAGE, rows=8_000, columns=1_000), id="ratio"),
    ],
)
def test_D21_B14_B15_an_image_is_as_large_as_a_limit_and_no_larger(
    limit: str, value: int, image: Image, off: int
) -> None:
    limits = Limits(**{limit: value - off})
    encoded_bytes = image.decoded_bytes * image.frames // 100
    if off <= 0:
        check_size(image, encoded_bytes, limits)
        return
    with pytest.raises(Unfit):
        check_size(image, encoded_bytes, limits)
