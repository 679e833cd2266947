"""Deflated objects are converted for peers that take no deflated ones, within the limit (B12, D21)."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import pytest

from adapters.dicom.native_syntaxes import converted
from domain.errors import Because, Refused
from domain.limits import Limits
from tests.dicom.encoding import DEFLATED, EXPLICIT, element, minimal
from tests.edges import edges


@edges
@pytest.mark.parametrize("pixels", [b"x" * 200, bytes(range(256)) * 10], ids=["alike", "different"])
def test_D21_B12_an_object_inflates_to_so_many_bytes_and_no_more(tmp_path: Path, pixels: bytes, off: int) -> None:
    plain = minimal() + element(0x7FE00010, "OW", pixels)
    squeezed = zlib.compress(plain, 9, wbits=-zlib.MAX_WBITS)
    (tmp_path / "object").write_bytes(squeezed)
    descriptor = os.open(tmp_path / "object", os.O_RDONLY)
    limits = Limits(inflated_size_max=len(plain) - off)
    try:
        if off <= 0:
            descriptor, offset, length = converted(descriptor, 0, len(squeezed), DEFLATED, EXPLICIT, limits)
            assert os.pread(descriptor, length, offset) == plain
            return
        with pytest.raises(Refused, match="inflates past") as refused:
            converted(descriptor, 0, len(squeezed), DEFLATED, EXPLICIT, limits)
        assert refused.value.because is Because.CANNOT_PERFORM_SUB_OPERATIONS
    finally:
        os.close(descriptor)
