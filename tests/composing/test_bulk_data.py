"""The temp file of a request's bulk data, and the objects that are still made of it when it goes."""

from __future__ import annotations

import tempfile
from typing import Any

import pytest

from adapters.composing.composition import Composition
from adapters.files.temporary import TemporaryFolder
from domain.limits import Limits

NOBODY: Any = None


def test_P4_an_object_that_outlasts_its_request_is_not_filled_from_a_file_opened_since() -> None:
    limits = Limits(temp_free_min=1)
    composition = Composition(limits, NOBODY, TemporaryFolder(limits))
    composition.begin_bulk("bulk", "application/octet-stream", "")
    composition.write(bytes(1000))
    composition.end_bulk()
    composed = composition.compose(
        {
            "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.7"]},
            "00080018": {"vr": "UI", "Value": ["1.2.3"]},
            "7FE00010": {"vr": "OW", "BulkDataURI": "bulk"},
        }
    )
    composition.close()
    with tempfile.TemporaryFile() as other:
        other.write(b"another patient's".ljust(1000))
        other.flush()
        with pytest.raises(OSError, match="Bad file descriptor"):
            b"".join(composed.data_set)
