"""What a device may look like, and what adding, changing and forgetting one means (DEV-1, DEV-4)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from domain import device
from domain.device import ALL_RIGHTS, WADO_RIGHTS, Clients, DeviceAdded, DeviceChanged, DeviceRemoved, Right
from domain.errors import InvalidInput
from domain.event import stream_id
from tests.edges import edges

CT = DeviceAdded("CT1", "192.0.2.7", 104)
WEB = DeviceAdded("", "viewer.example.org", 0, rights=WADO_RIGHTS, kind="WADO")
FINGERPRINT = "0f" * 32


@pytest.mark.parametrize("wanted", [CT, WEB, replace(CT, host="2001:db8::1"), replace(CT, rights=())])
def test_DEV_1_DEV_4_a_device_becomes_known_once(wanted: DeviceAdded) -> None:
    assert device.add(None, wanted) == [wanted]
    assert device.add(wanted, wanted) == []


@pytest.mark.parametrize(
    "changed",
    [
        replace(CT, host="192.0.2.8"),
        replace(CT, port=105),
        replace(CT, description="the scanner"),
        replace(CT, rights=(Right.UPLOAD.value,)),
        replace(CT, preferred_transfer_syntax="1.2.840.10008.1.2.4.90"),
        replace(CT, use_tls=True, certificate=FINGERPRINT),
    ],
)
def test_DEV_1_each_part_of_a_device_can_change(changed: DeviceAdded) -> None:
    (fact,) = device.add(CT, changed)
    assert type(fact) is DeviceChanged
    assert device.fold([CT, fact]) == fact
    assert device.add(device.fold([CT, fact]), changed) == []


def test_DEV_1_a_device_is_forgotten_once_and_may_come_back() -> None:
    (fact,) = device.remove(CT)
    assert fact == DeviceRemoved("CT1", "192.0.2.7", "DICOM")
    assert device.fold([CT, fact]) is None
    assert device.remove(None) == []
    assert device.add(device.fold([CT, fact]), CT) == [CT]


@pytest.mark.parametrize(
    ("wanted", "faults"),
    [
        (replace(CT, ae_title=""), ["AE title: is empty"]),
        (replace(CT, ae_title="A" * 17), ["AE title: longer"]),
        (replace(CT, ae_title="A\\B"), ["AE title: has a backslash"]),
        (replace(CT, ae_title="A\n"), ["AE title: has a backslash, a control"]),
        (replace(CT, ae_title="CTÄ"), ["AE title: has"]),
        (replace(CT, ae_title=" CT"), ["AE title: begins"]),
        (replace(CT, host=""), ["host: neither"]),
        (replace(CT, host="ct_1"), ["host: neither"]),
        (replace(CT, host="a" * 64), ["host: neither"]),
        (replace(CT, host=".".join(["a" * 63] * 4) + ".b"), ["host: neither"]),
        (replace(CT, host="192.0.2.256"), ["host: looks like an IP"]),
        (replace(CT, host="fe80::1%eth0"), ["host: has a zone"]),
        (replace(CT, host="fe80::1%\x1b[2J" + "a" * 300), ["host: its zone", "host: has a zone"]),
        (replace(WEB, host="fe80::1%2"), ["host: has a zone"]),
        (replace(CT, port=0), ["port"]),
        (replace(CT, port=65_536), ["port"]),
        (replace(CT, description="d" * 129), ["description: longer"]),
        (replace(CT, description="a\x1b[2J"), ["description: has a control"]),
        (replace(CT, rights=("DELETE",)), ["rights: 'DELETE' is no right"]),
        (replace(CT, preferred_transfer_syntax="1.2.3"), ["preferred transfer syntax"]),
        (replace(CT, certificate="no"), ["certificate"]),
        (replace(CT, kind="FTP"), ["kind"]),
        (replace(WEB, rights=ALL_RIGHTS), ["rights: a WADO device"]),
        (replace(WEB, port=80), ["WADO device: has neither AE"]),
        (replace(WEB, use_tls=True), ["WADO device: has neither preferred"]),
    ],
)
def test_DEV_1_DEV_4_what_breaks_a_rule_is_refused(wanted: DeviceAdded, faults: list[str]) -> None:
    for known in (None, CT):
        with pytest.raises(InvalidInput) as caught:
            device.add(known, wanted)
        assert len(caught.value.faults) == len(faults)
        assert all(said.startswith(fault) for said, fault in zip(caught.value.faults, faults, strict=True))


def test_DEV_1_a_device_that_has_an_address_with_a_zone_can_be_changed_and_forgotten() -> None:
    """It was registered before that was refused: its certificate can be withdrawn all the same."""
    zoned = replace(CT, host="fe80::1%eth0", certificate=FINGERPRINT)
    assert device.add(zoned, replace(zoned, certificate=""))
    assert device.add(zoned, replace(zoned, host="fe80::1"))
    assert device.remove(zoned)
    with pytest.raises(InvalidInput, match="host: has a zone"):
        device.add(zoned, replace(zoned, host="fe80::1%eth1"))


def test_DEV_1_all_faults_are_told_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        device.add(None, DeviceAdded("", "?", 0, "d" * 200, ("X",), "1.2", use_tls=True))
    assert len(caught.value.faults) == 7


def test_DEV_2_TLS_without_a_certificate_is_refused() -> None:
    with pytest.raises(InvalidInput, match="use TLS: needs a certificate"):
        device.add(None, replace(CT, use_tls=True))
    assert device.add(None, replace(CT, use_tls=True, certificate=FINGERPRINT))


def test_DEV_4_no_AE_title_is_the_key_of_a_WADO_device_and_hosts_are_told_apart_by_what_they_name() -> None:
    assert device.ae_title_fault(device.key_of(WEB))
    assert device.key("WADO", "", "Viewer.Example.org.") == device.key_of(WEB)
    assert device.key("DICOM", "ct1", "h") != device.key("DICOM", "CT1", "h"), "AE titles are case sensitive"
    assert device.key("DICOM", "CT1", "h") == device.key("DICOM", "CT1", "i")


def test_DEV_1_a_name_that_is_no_text_is_a_fault_and_names_no_other_stream() -> None:
    odd = "CT\udcff"
    assert stream_id(device.KIND, odd) not in {stream_id(device.KIND, name) for name in ("CT", "CT?", "CT\udcfe")}
    for wanted in (replace(CT, ae_title=odd), replace(CT, host=odd), replace(CT, description=odd)):
        with pytest.raises(InvalidInput):
            device.add(None, wanted)


def test_DEV_1_rights_stand_in_their_order_each_once() -> None:
    assert device.rights_of(["find", "UPLOAD", "FIND"]) == ("UPLOAD", "FIND")
    assert device.rights_of(["x", "download"]) == ("DOWNLOAD", "X")


@edges
def test_D21_DEV_6_so_many_devices_are_registered_and_no_more(off: int) -> None:
    wanted, clients = DeviceAdded("CT", "192.0.2.7", 104), Clients(used=9 + off, allowed=10)
    if off <= 0:
        assert device.add(None, wanted, clients) == [wanted]
    else:
        with pytest.raises(InvalidInput, match="10 of 10 used"):
            device.add(None, wanted, clients)
