"""Skips what cannot be tried here, and says why; ``ANNALS_SOAK=1`` asks for the long form."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.durability import disks


@pytest.fixture(scope="session")
def images() -> Iterator[Path]:
    """A folder for disk images; the tests that ask for it are skipped where no power can be cut."""
    if reason := disks.why_not():
        pytest.skip(reason)
    with disks.folder_for_disks() as folder:
        yield folder


@pytest.fixture
def seeded(request: pytest.FixtureRequest) -> random.Random:
    """Chance with a printed seed; ``ANNALS_SEED`` plays a failed run again."""
    seed = int(os.environ.get("ANNALS_SEED") or random.SystemRandom().randrange(2**32))
    print(f"ANNALS_SEED={seed}")
    request.node.add_report_section("setup", "seed", f"ANNALS_SEED={seed}")
    return random.Random(seed)


@pytest.fixture
def soak() -> bool:
    """Whether the long form is asked for."""
    return os.environ.get("ANNALS_SOAK") == "1"
