"""DCMTK and pynetdicom as peers, in both roles and with every size of PDU (C4.1)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pynetdicom import AE, evt

from adapters.dimse import requestor
from tests.dicom.encoding import CT_CLASS, INSTANCE, element, minimal, uid
from tests.dimse.conftest import LIMITS, Door
from tests.dimse.raw_peer import CT_IMAGE, EXPLICIT, IMPLICIT, VERIFICATION

PDU_SIZES = (0, 4096, 16_384, 131_072)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "image.dcm"
    meta = b"".join(
        element(tag, "UI", uid(value))
        for tag, value in ((0x00020002, CT_CLASS), (0x00020003, INSTANCE), (0x00020010, EXPLICIT))
    )
    group = element(0x00020000, "UL", len(meta).to_bytes(4, "little"))
    path.write_bytes(bytes(128) + b"DICM" + group + meta + minimal() + element(0x7FE00010, "OW", bytes(300_000)))
    assert dcmread(path).SOPInstanceUID == INSTANCE
    return path


def dcmtk(tool: str, door: Door, *arguments: str) -> None:
    said = subprocess.run(
        [tool, "-v", "-aec", "ANNALS", *arguments[:-1], "127.0.0.1", str(door.port), *arguments[-1:]],
        env={**os.environ, "TCP_NODELAY": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert said.returncode == 0, said.stderr


@pytest.mark.parametrize("size", [4096, 131_072])
def test_DCMTK_echoes_and_stores_with_any_PDU(door: Door, image: Path, size: int) -> None:
    subprocess.run(["echoscu", "-pdu", str(size), "127.0.0.1", str(door.port)], timeout=60, check=True)
    dcmtk("storescu", door, "-pdu", str(size), "--max-send-pdu", str(size), str(image))


@pytest.mark.parametrize("size", PDU_SIZES)
def test_pynetdicom_echoes_and_stores_with_any_PDU(door: Door, image: Path, size: int) -> None:
    ae = AE("PYNET")
    ae.maximum_pdu_size = size
    ae.add_requested_context(VERIFICATION, IMPLICIT)
    ae.add_requested_context(CT_IMAGE, EXPLICIT)
    association = ae.associate("127.0.0.1", door.port, ae_title="ANNALS", max_pdu=size)
    assert association.is_established
    assert association.send_c_echo().Status == 0
    assert association.send_c_store(image).Status == 0
    association.release()
    assert association.is_released


@pytest.fixture(params=PDU_SIZES)
def scp(request: pytest.FixtureRequest) -> Iterator[tuple[int, list[bytes]]]:
    """pynetdicom as an SCP that takes PDUs of a size, and what it has stored."""
    stored: list[bytes] = []

    def keep(event: evt.Event) -> int:
        assert event.request.DataSet is not None
        stored.append(event.request.DataSet.getvalue())
        return 0

    ae = AE("PYNET")
    ae.maximum_pdu_size = request.param
    ae.add_supported_context(VERIFICATION, IMPLICIT)
    ae.add_supported_context(CT_IMAGE, EXPLICIT)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)])
    assert server is not None
    yield server.socket.getsockname()[1], stored
    server.shutdown()


def test_pynetdicom_is_echoed_and_stored_to_with_any_PDU(scp: tuple[int, list[bytes]]) -> None:
    port, stored = scp
    association = requestor.associate(
        "127.0.0.1",
        port,
        calling_ae_title="ANNALS",
        called_ae_title="PYNET",
        contexts=[(VERIFICATION, (IMPLICIT,)), (CT_IMAGE, (EXPLICIT,))],
        limits=LIMITS,
    )
    assert requestor.echo(association) == 0
    data_set = minimal() + element(0x7FE00010, "OW", bytes(range(256)) * 1200)
    fd = os.memfd_create("data-set")
    os.write(fd, b"head" + data_set)
    status, _ = requestor.store(
        association,
        3,
        7,
        sop_class_uid=CT_IMAGE,
        sop_instance_uid=INSTANCE,
        fd=fd,
        offset=4,
        length=len(data_set),
    )
    os.close(fd)
    association.release()
    assert status == 0
    assert stored == [data_set]
