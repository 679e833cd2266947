"""What the tests of the import share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.importing.command_runs import Importing


@pytest.fixture
def importing(tmp_path: Path) -> Importing:
    return Importing(tmp_path)
