"""How large an image may be by its description, before a byte of it is decoded (B14, B15, D21)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from adapters.codecs.image import Image, check_size
from adapters.codecs.object import StoredObject
from adapters.codecs.unfit import Unfit
from domain.limits import Limits
from tests.codecs.pictures import made, opened, saved
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


@edges
def test_D21_B14_the_header_of_an_image_has_so_many_bytes_and_no_more(tmp_path: Path, off: int) -> None:
    with opened(saved(made(), tmp_path / "a.dcm")) as stored:
        whole = (stored.descriptor, stored.offset, stored.length, stored.transfer_syntax_uid)
        end = StoredObject(*whole, Limits()).header[-1].end
        if off <= 0:
            assert StoredObject(*whole, Limits(header_size_max=end - off)).header[-1].end == end
            return
        with pytest.raises(Unfit, match="header_size_max"):
            StoredObject(*whole, Limits(header_size_max=end - off))
