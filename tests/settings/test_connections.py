"""Connections to the database: the embedded one takes those of all processes, however many there are."""

from __future__ import annotations

from annals.compose import PROJECTIONS
from annals.connections import DICOMWEB, READER, of_dimse, together
from annals.settings import Settings, load


def _settings(dimse: int, dicomweb: int) -> Settings:
    return load(None, {"ANNALS_DIMSE__PROCESSES": str(dimse), "ANNALS_DICOMWEB__PROCESSES": str(dicomweb)})[0]


def test_each_process_has_its_own() -> None:
    few, many = _settings(1, 1), _settings(64, 32)
    assert together(many) - together(few) > 63 * of_dimse(few) + 31 * DICOMWEB
    assert 2 * len(PROJECTIONS) == READER
