"""How every limit is shown (reliability D21): one below it and itself are accepted, one above it is refused."""

from __future__ import annotations

import pytest

edges = pytest.mark.parametrize("off", [-1, 0, 1], ids=["limit-1", "limit", "limit+1"])
"""``off`` is how far what is tried lies above the limit."""
