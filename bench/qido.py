"""How long QIDO-RS takes in archives of different sizes: one connection, as a viewer holds it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from http.client import HTTPConnection
from time import perf_counter
from urllib.parse import urlencode

from bench.facts import Study
from bench.peers import Annals
from domain.fuzzy_name import is_alike, words

SERIES, IMAGES = 4, 250
"""Of the one large study that each archive has behind its many small ones (number = how many these are)."""

_WARM_UP = 20
_PAGE = "25"
_DEEP = 10_000
QUERIES: Mapping[str, Callable[[Study, int], tuple[str, dict[str, str]]]] = {
    "patient id": lambda study, _: ("/studies", {"PatientID": study.patient_id}),
    "accession number": lambda study, _: ("/studies", {"AccessionNumber": study.accession_number}),
    "name prefix": lambda study, _: ("/studies", {"PatientName": study.patient_name[:8] + "*", "limit": _PAGE}),
    "fuzzy name": lambda study, _: (
        "/studies",
        {"PatientName": _misspelt(study.patient_name), "fuzzymatching": "true", "limit": _PAGE},
    ),
    "date range and modality": lambda study, _: (
        "/studies",
        {"StudyDate": f"{study.study_date}-{study.study_date}", "ModalitiesInStudy": study.modality, "limit": _PAGE},
    ),
    "newest studies": lambda _, __: ("/studies", {"limit": _PAGE}),
    "newest studies, deep": lambda _, size: ("/studies", {"limit": _PAGE, "offset": str(min(_DEEP, size // 2))}),
    "series of a study": lambda _, size: (f"/studies/{Study(size).uid}/series", {}),
    "instances of a series": lambda _, size: (f"/studies/{Study(size).uid}/series/{Study(size).uid}.1/instances", {}),
}


def ask_all(peers: Mapping[int, Annals], times: int) -> dict[tuple[int, str], list[float]]:
    """Milliseconds of each query by size and kind, from the request to the last byte of the answer; all in turn."""
    chosen = random.Random(2)
    connections = {size: HTTPConnection("127.0.0.1", peer.dicomweb_port) for size, peer in peers.items()}
    taken: dict[tuple[int, str], list[float]] = {(size, name): [] for size in peers for name in QUERIES}
    for number in range(-_WARM_UP, times):
        for size, connection in connections.items():
            study = Study(chosen.randrange(size))
            for name, query in QUERIES.items():
                path, keys = query(study, size)
                began = perf_counter()
                connection.request("GET", f"/dicom-web{path}?{urlencode(keys)}")
                answer = connection.getresponse()
                body = answer.read()
                if number >= 0:
                    taken[size, name].append((perf_counter() - began) * 1000)
                if answer.status != 200 or not json.loads(body):
                    raise RuntimeError(f"{name}: {path} {keys} was answered with {answer.status}, {len(body)} bytes")
    for connection in connections.values():
        connection.close()
    return taken


def _misspelt(name: str) -> str:
    """Given name first, and a letter of the family name gone where that leaves one error by the rules."""
    family, given = name.split("^")
    shorter = (family[:at] + family[at + 1 :] for at in range(len(family)))
    meant = words(name)
    return next((f"{given} {one}" for one in shorter if is_alike(words(f"{given} {one}"), meant)), f"{given} {family}")
