"""The HTTP stack is never older than what its known holes were closed in (reliability section 3, ASGI stack)."""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
DECLARED = {one.name: one for one in map(Requirement, PROJECT["dependencies"])}


@pytest.mark.parametrize(
    ("name", "first_good", "last_bad"),
    [
        pytest.param("starlette", "1.0.1", "1.0.0", id="CVE-2026-48710-CVE-2025-62727-CVE-2025-54121-CVE-2024-47874"),
        pytest.param("h11", "0.16.0", "0.15.0", id="CVE-2025-43859"),
    ],
)
def test_B43_B44_B49_no_version_with_a_known_hole_can_be_installed(name: str, first_good: str, last_bad: str) -> None:
    assert Version(version(name)) >= Version(first_good)
    assert last_bad not in DECLARED[name].specifier


def test_B47_forms_are_not_parsed_at_all() -> None:
    """CVE-2024-53981, CVE-2024-47874: python-multipart is no dependency; bodies are read by our own reader."""
    assert "python-multipart" not in DECLARED
    with pytest.raises(PackageNotFoundError):
        version("python-multipart")
