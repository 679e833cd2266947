"""How long C-FIND and QIDO-RS take in an archive of a thousand, a hundred thousand and a million studies."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Identifier
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from adapters.dimse import requestor
from adapters.dimse.association import Association
from adapters.dimse.command import C_FIND_RQ, Command
from annals import compose, settings
from annals.compose import Archive
from bench import qido
from bench.facts import Study, append
from bench.peers import Annals
from bench.table import Row, Target, percentile
from domain.limits import Limits
from projections.catalogue import CATALOGUE
from projections.engine import Reader

_STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
_IMPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2"
_WARM_UP = 20
_PENDING = (0xFF00, 0xFF01)
_RETURNED = (
    "StudyInstanceUID",
    "PatientName",
    "PatientID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ModalitiesInStudy",
    "StudyDescription",
    "NumberOfStudyRelatedInstances",
)
_QUERIES: Mapping[str, Callable[[Study], dict[str, str]]] = {
    "patient id": lambda study: {"PatientID": study.patient_id},
    "accession number": lambda study: {"AccessionNumber": study.accession_number},
    "name prefix": lambda study: {"PatientName": study.patient_name[:8] + "*"},
    "date range and modality": lambda study: {
        "StudyDate": f"{study.study_date}-{study.study_date}",
        "ModalitiesInStudy": study.modality,
    },
}


def measure(folder: Path, quick: bool, report: Callable[[Sequence[Row]], None]) -> list[Row]:
    """One archive a size, all running, asked in turn; each p95 is compared with that of the smallest."""
    sizes = (1_000, 20_000) if quick else (1_000, 100_000, 1_000_000)
    # Made-up studies have no files to derive anything from.
    idle = {"ANNALS_WORKER__ENABLED": "false"}
    peers = {size: Annals(folder / f"of{size}", settings=idle) for size in sizes}
    for size, peer in peers.items():
        _fill(peer, size)
    with ExitStack() as stack:
        for peer in peers.values():
            stack.callback(peer.stop)
            peer.start()
        times = 100 if quick else 400
        rows = _rows("C-FIND by", _QUERIES, sizes, _ask_all(peers, times))
        report(rows)
        rows += _rows("QIDO-RS,", qido.QUERIES, sizes, qido.ask_all(peers, times))
    report(rows)
    return rows


def _rows(
    service: str, names: Iterable[str], sizes: Sequence[int], times: Mapping[tuple[int, str], Sequence[float]]
) -> list[Row]:
    rows: list[Row] = []
    for name in names:
        least = percentile(times[sizes[0], name], 0.95)
        for size in sizes:
            p50, p95 = (percentile(times[size, name], share) for share in (0.5, 0.95))
            what = f"{service} {name}, {size:,} studies"
            rows += [Row(f"{what}: p50", "ms", p50), Row(f"{what}: p95", "ms", p95, target=Target(50, True))]
        first = f"the same with {sizes[0]:,} studies"
        rows.append(Row(f"{what}: p95", "ms", p95, first, least, p95 / least, Target(1.5, True)))
    return rows


@contextmanager
def opened(data: Path) -> Iterator[Archive]:
    """The log and the read models of an archive that is not running."""
    loaded, _ = settings.load(None, os.environ, data=data)
    with compose.archive_for_command(loaded, connections=4, patient=True) as archive:
        yield archive


def catalogue_reader(archive: Archive) -> Reader:
    """The reader of the catalogue, made ready."""
    reader = Reader(CATALOGUE, archive.database, archive.log, archive.limits)
    reader.prepare()
    return reader


def _fill(peer: Annals, size: int) -> None:
    with opened(peer.data) as archive:
        began = time.monotonic()
        append(archive.log, map(Study, range(size)), series=1, images=1)
        append(archive.log, [Study(size)], series=qido.SERIES, images=qido.IMAGES)
        appended = time.monotonic()
        reader = catalogue_reader(archive)
        while reader.step():
            pass
        read = time.monotonic()
        print(
            f"{size:,} studies: appended in {appended - began:.0f} s, read in {read - appended:.0f} s",
            file=sys.stderr,
            flush=True,
        )
        with psycopg.connect(archive.dsn, autocommit=True) as connection:
            # What autovacuum has done by the time that an archive has grown so far day by day.
            for schema, table in connection.execute(
                "SELECT schemaname, tablename FROM pg_tables JOIN reading.projection ON schemaname = schema_name"
            ).fetchall():
                connection.execute(SQL("VACUUM ANALYZE {}.{}").format(Identifier(schema), Identifier(table)))


def _ask_all(peers: Mapping[int, Annals], times: int) -> dict[tuple[int, str], list[float]]:
    """Milliseconds of each query by size and kind, from the request to the last response; all in turn."""
    chosen = random.Random(1)
    associations = {size: _associated(peer) for size, peer in peers.items()}
    taken: dict[tuple[int, str], list[float]] = {(size, name): [] for size in peers for name in _QUERIES}
    for number in range(-_WARM_UP, times):
        for size, association in associations.items():
            study = Study(chosen.randrange(size))
            for name, keys in _QUERIES.items():
                began = time.perf_counter()
                found = _ask(association, keys(study))
                if number >= 0:
                    taken[size, name].append((time.perf_counter() - began) * 1000)
                if not found:
                    raise RuntimeError(f"a study was not found by {name}: {keys(study)}")
    for association in associations.values():
        association.release()
    return taken


def _associated(peer: Annals) -> Association:
    return requestor.associate(
        "127.0.0.1",
        peer.port,
        calling_ae_title="BENCH",
        called_ae_title=peer.ae_title,
        contexts=[(_STUDY_ROOT_FIND, (_IMPLICIT_LITTLE_ENDIAN,))],
        limits=Limits(),
    )


def _ask(association: Association, keys: Mapping[str, str]) -> int:
    """How many studies match."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    for keyword in _RETURNED:
        setattr(identifier, keyword, keys.get(keyword, ""))
    target = DicomBytesIO()
    target.is_implicit_VR = target.is_little_endian = True
    write_dataset(target, identifier)
    command = Command(C_FIND_RQ, message_id=1, affected_sop_class_uid=_STUDY_ROOT_FIND, priority=0)
    association.send(next(iter(association.contexts)), command, target.getvalue())
    found = 0
    while (status := association.response_to(1).status) in _PENDING:
        association.skip_data_set()
        found += 1
    if status:
        raise RuntimeError(f"C-FIND was answered with {status:04X}")
    return found
