from __future__ import annotations

from collections.abc import Iterator

import pytest

from adapters.codecs.transcoder import Transcoder
from domain.limits import Limits


@pytest.fixture(scope="module")
def transcoder() -> Iterator[Transcoder]:
    running = Transcoder(Limits(), 2)
    yield running
    running.close()
