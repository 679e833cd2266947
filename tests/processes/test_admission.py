"""Who is let in, and what a peer may do at each moment (NET-4, DEV-5, B29, B30, B32), without a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from adapters.dimse.command import C_ECHO_RQ, C_FIND_RQ, C_GET_RQ, C_MOVE_RQ, C_STORE_RQ
from adapters.dimse.presentation import MODALITY_WORKLIST_FIND, STUDY_ROOT_FIND, rights_needed
from domain import device
from domain.address import normal_host
from domain.admission import AdmissionChanged, Door
from domain.device import ALL_RIGHTS, WADO_RIGHTS, DeviceAdded, Kind, Right
from domain.errors import Because, Refused, Unavailable
from domain.transcoding import JPEG_2000_LOSSLESS, RLE
from processes.admission import Admission, TurnedAway, WebAdmission


@dataclass
class Book:
    """Devices by AE title, those of them that are not known yet, and the addresses of names."""

    devices: dict[str, DeviceAdded]
    names: Mapping[str, frozenset[str]] = field(default_factory=dict)
    is_read: bool = True
    admissions: dict[Door, AdmissionChanged] = field(default_factory=dict)
    coming: dict[str, DeviceAdded] = field(default_factory=dict)
    looks: int = 0

    def titled(self, ae_title: str) -> DeviceAdded | None:
        if not self.is_read:
            raise Unavailable("not yet")
        return self.devices.get(ae_title)

    def wado_at(self, address: str, *, wait: bool = False) -> Sequence[DeviceAdded]:
        if not self.is_read:
            raise Unavailable("not yet")
        return [one for one in self.devices.values() if one.kind == Kind.WADO and self.is_at(one, address)]

    def admission(self, door: Door) -> AdmissionChanged | None:
        return self.admissions.get(door)

    def look_again(self) -> None:
        self.looks += 1
        self.devices |= self.coming

    def registered(self, ae_title: str) -> DeviceAdded | None:
        return self.coming.get(ae_title) or self.titled(ae_title)

    def is_at(self, device: DeviceAdded, address: str, *, wait: bool = False) -> bool:
        host, address = normal_host(device.host), normal_host(address)
        return address in self.names.get(host, frozenset({host}))


def book(*devices: DeviceAdded, is_read: bool = True) -> Book:
    return Book(
        {device.key_of(one): one for one in devices},
        {"ct.example.org": frozenset({"192.0.2.7", "2001:db8::7"})},
        is_read,
    )


CLOSED = AdmissionChanged("DIMSE", accept_any=False)
OPEN = AdmissionChanged("DIMSE", accept_any=True)
OPEN_TO_ALL = replace(OPEN, rights=ALL_RIGHTS)
ELSEWHERE = "198.51.100.1"


def closed(*devices: DeviceAdded) -> Admission:
    return Admission(book(*devices), "ANNALS", CLOSED)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7", "::ffff:192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:DB8:0::7", "2001:db8::7"),
        ("CT.example.org.", "192.0.2.7"),
        ("ct.example.org", "2001:db8::7"),
    ],
)
def test_NET_4_an_address_is_the_device_s_however_it_is_spelled(host: str, address: str) -> None:
    admission = closed(DeviceAdded("CT", host, 104))
    assert admission.turned_away("CT", "ANNALS", address) is None
    admission.check("CT", address, (Right.UPLOAD,))


@pytest.mark.parametrize(
    ("calling", "address", "expected"),
    [
        ("MR", "192.0.2.7", TurnedAway.CALLING_AE_TITLE),
        ("ct", "192.0.2.7", TurnedAway.CALLING_AE_TITLE),
        ("CT", "192.0.2.8", TurnedAway.ADDRESS),
        ("CT", "2001:db8::8", TurnedAway.ADDRESS),
        ("ANNALS", "192.0.2.7", TurnedAway.CALLING_AE_TITLE),
    ],
)
def test_B29_who_is_unknown_or_elsewhere_is_turned_away(calling: str, address: str, expected: TurnedAway) -> None:
    assert closed(DeviceAdded("CT", "192.0.2.7", 104)).turned_away(calling, "ANNALS", address) is expected


def test_B29_a_name_that_no_longer_resolves_lets_nobody_in() -> None:
    admission = closed(DeviceAdded("CT", "gone.example.org", 104))
    assert admission.turned_away("CT", "ANNALS", "192.0.2.7") is TurnedAway.ADDRESS
    with pytest.raises(Refused, match="at its address"):
        admission.check("CT", "192.0.2.7", (Right.FIND,))


def test_B29_the_called_AE_title_is_compared_where_that_is_asked_for() -> None:
    strict = Admission(book(), "ANNALS", OPEN, check_called_ae_title=True)
    assert strict.turned_away("CT", "annals", "192.0.2.7") is TurnedAway.CALLED_AE_TITLE
    assert strict.turned_away("CT", "ANNALS", "192.0.2.7") is None
    lenient = replace(closed(DeviceAdded("CT", "192.0.2.7", 104)), check_called_ae_title=False)
    assert lenient.turned_away("CT", "annals", "192.0.2.7") is None


def test_B29_unless_it_is_said_the_called_AE_title_is_compared_as_long_as_not_anyone_is_admitted() -> None:
    devices = book(DeviceAdded("CT", "192.0.2.7", 104))
    admission = Admission(devices, "ANNALS", CLOSED)
    assert admission.turned_away("CT", "OTHER", "192.0.2.7") is TurnedAway.CALLED_AE_TITLE
    devices.admissions[Door.DIMSE] = OPEN
    assert admission.turned_away("CT", "OTHER", "192.0.2.7") is None


def test_NET_4_until_the_devices_are_known_a_peer_is_asked_to_come_again_and_nothing_is_allowed() -> None:
    admission = Admission(book(is_read=False), "ANNALS", CLOSED)
    assert admission.turned_away("CT", "ANNALS", "192.0.2.7") is TurnedAway.NOT_NOW
    with pytest.raises(Unavailable):
        admission.check("CT", "192.0.2.7", (Right.UPLOAD,))


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "192.0.2.1"])
def test_the_readiness_check_gets_an_association_and_no_right(address: str) -> None:
    admission = Admission(book(), "ANNALS", CLOSED, own_addresses=frozenset({"192.0.2.1"}))
    assert admission.turned_away("ANNALS", "ANNALS", address) is None
    with pytest.raises(Refused) as caught:
        admission.check("ANNALS", address, (Right.FIND,))
    assert caught.value.because is Because.NOT_AUTHORISED


def test_B29_the_readiness_check_is_not_the_device_elsewhere_that_has_our_AE_title() -> None:
    other = DeviceAdded("ANNALS", "192.0.2.7", 104, use_tls=True, certificate="0" * 64)
    admission = closed(other)
    assert admission.claimed("ANNALS", "127.0.0.1") is None
    assert admission.claimed("ANNALS", "192.0.2.7") is other
    assert closed(replace(other, host="127.0.0.1")).claimed("ANNALS", "127.0.0.1") is not None
    with pytest.raises(Refused):
        admission.check("ANNALS", "127.0.0.1", (Right.FIND,))


def test_NET_4_accept_any_lets_everybody_in_and_a_registered_title_keeps_to_its_rights() -> None:
    known = book(DeviceAdded("CT", "192.0.2.7", 104, rights=("UPLOAD",)))
    admission = Admission(known, "ANNALS", OPEN_TO_ALL)
    for calling, address in (("CT", "192.0.2.7"), ("CT", ELSEWHERE), ("MR", ELSEWHERE)):
        assert admission.turned_away(calling, "ANNALS", address) is None
        admission.check(calling, address, (Right.UPLOAD,))
    admission.check("MR", ELSEWHERE, (Right.DOWNLOAD,))
    for address in ("192.0.2.7", ELSEWHERE, "127.0.0.1"):
        with pytest.raises(Refused, match="no right DOWNLOAD"):
            admission.check("CT", address, (Right.DOWNLOAD,))


@pytest.mark.parametrize("needed", [Right.FIND, Right.DOWNLOAD, Right.MWL])
def test_NET_4_D22_who_is_not_registered_may_send_and_not_read_until_that_is_granted(needed: Right) -> None:
    admission = Admission(book(DeviceAdded("WS", "192.0.2.7", 104)), "ANNALS", OPEN)
    admission.check("MR", ELSEWHERE, (Right.UPLOAD,))
    for calling in ("MR", "WS"):
        with pytest.raises(Refused, match=f"not a registered device: no right {needed.value}") as caught:
            admission.check(calling, ELSEWHERE, (needed,))
        assert caught.value.because is Because.NOT_AUTHORISED, "a registered AE title elsewhere is no registered device"
    admission.check("WS", "192.0.2.7", (needed,))
    granting = Admission(admission.devices, "ANNALS", replace(OPEN, rights=(needed.value,)))
    granting.check("MR", ELSEWHERE, (needed,))
    with pytest.raises(Refused):
        granting.check("MR", ELSEWHERE, (Right.UPLOAD,))


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.9", "::1", "::ffff:127.0.0.1"])
def test_NET_4_who_tries_an_archive_out_on_its_own_machine_may_do_everything_unless_it_is_not_trusted(
    address: str,
) -> None:
    Admission(book(), "ANNALS", OPEN).check("FINDSCU", address, tuple(Right))
    for strict in (replace(OPEN, trusts_this_machine=False), CLOSED):
        with pytest.raises(Refused):
            Admission(book(), "ANNALS", strict).check("FINDSCU", address, (Right.FIND,))


def test_NET_4_what_was_set_by_command_holds_and_not_the_settings() -> None:
    known = book()
    admission = Admission(known, "ANNALS", OPEN_TO_ALL)
    admission.check("MR", ELSEWHERE, (Right.FIND,))
    known.admissions[Door.DIMSE] = CLOSED
    assert admission.turned_away("MR", "ANNALS", ELSEWHERE) is TurnedAway.CALLING_AE_TITLE
    with pytest.raises(Refused):
        admission.check("MR", ELSEWHERE, (Right.FIND,))


def test_DEV_1_before_it_refuses_a_door_looks_whether_a_device_has_come_and_does_not_look_for_those_it_knows() -> None:
    known = book(DeviceAdded("CT", "192.0.2.7", 104))
    known.coming = {"MR": DeviceAdded("MR", ELSEWHERE, 104), "WADO\\" + ELSEWHERE: WEB}
    for _ in range(3):
        closed_to_others = Admission(known, "ANNALS", CLOSED)
        assert closed_to_others.turned_away("CT", "ANNALS", "192.0.2.7") is None
        closed_to_others.check("CT", "192.0.2.7", tuple(Right))
    assert not known.looks
    Admission(known, "ANNALS", OPEN).check("MR", ELSEWHERE, (Right.FIND,))
    assert known.looks == 1


WEB = DeviceAdded("", ELSEWHERE, 0, rights=("FIND",), kind="WADO")
WEB_OPEN = AdmissionChanged("DICOMweb", accept_any=True)


def asks(admission: WebAdmission, address: str, right: Right, *, is_forwarded: bool = False) -> str:
    """Whose rights were used, or why there were none."""
    try:
        return admission.check(address, right, is_forwarded=is_forwarded)
    except Refused as refused:
        return f"refused: {refused}"


def test_DEV_4_DEV_5_a_WADO_device_has_its_rights_and_no_others() -> None:
    for initially in (WEB_OPEN, replace(WEB_OPEN, accept_any=False), replace(WEB_OPEN, rights=WADO_RIGHTS)):
        admission = WebAdmission(book(WEB), initially)
        assert asks(admission, ELSEWHERE, Right.FIND) == ELSEWHERE
        assert asks(admission, ELSEWHERE, Right.UPLOAD) == "refused: this WADO device has no right UPLOAD"


def test_NET_4_D22_an_address_that_is_not_registered_may_send_and_not_read_until_that_is_granted() -> None:
    admission = WebAdmission(book(WEB), WEB_OPEN)
    assert asks(admission, "192.0.2.7", Right.UPLOAD) == ""
    assert asks(admission, "192.0.2.7", Right.FIND) == "refused: not a registered WADO device: no right FIND"
    assert asks(admission, "127.0.0.1", Right.FIND) == ""
    assert "no right FIND" in asks(admission, "127.0.0.1", Right.FIND, is_forwarded=True), "a proxy is not its client"
    shut = WebAdmission(book(WEB), replace(WEB_OPEN, accept_any=False))
    for address in ("192.0.2.7", "127.0.0.1"):
        assert asks(shut, address, Right.UPLOAD) == "refused: this address is not that of a registered WADO device"


def test_D22_until_the_devices_are_known_no_address_is_admitted() -> None:
    with pytest.raises(Unavailable):
        WebAdmission(book(is_read=False), WEB_OPEN).check("192.0.2.7", Right.UPLOAD, is_forwarded=False)


@pytest.mark.parametrize(
    ("operation", "abstract_syntax", "needed"),
    [
        (C_STORE_RQ, "1.2.840.10008.5.1.4.1.1.2", {"UPLOAD"}),
        (C_FIND_RQ, STUDY_ROOT_FIND, {"FIND"}),
        (C_FIND_RQ, MODALITY_WORKLIST_FIND, {"MWL", "FIND"}),
        (C_MOVE_RQ, "1.2.840.10008.5.1.4.1.2.2.2", {"DOWNLOAD"}),
        (C_GET_RQ, "1.2.840.10008.5.1.4.1.2.2.3", {"DOWNLOAD"}),
        (C_ECHO_RQ, "1.2.840.10008.1.1", set()),
    ],
)
def test_B30_D23_DEV_5_each_operation_takes_its_rights_and_no_others(
    operation: int, abstract_syntax: str, needed: set[str]
) -> None:
    asked = rights_needed(operation, abstract_syntax)
    assert set(asked) == needed
    enough = DeviceAdded("CT", "192.0.2.7", 104, rights=tuple(needed))
    closed(enough).check("CT", "192.0.2.7", asked)
    for right in needed:
        rights = tuple(one for one in ALL_RIGHTS if one != right)
        with pytest.raises(Refused, match=f"no right {right}") as caught:
            closed(DeviceAdded("CT", "192.0.2.7", 104, rights=rights)).check("CT", "192.0.2.7", asked)
        assert caught.value.because is Because.NOT_AUTHORISED


def test_D23_an_operation_without_declared_rights_is_not_served() -> None:
    with pytest.raises(KeyError):
        rights_needed(0x0140, "1.2.840.10008.3.1.2.3.3")


def test_B32_only_a_registered_device_that_may_receive_is_a_destination() -> None:
    devices = (
        DeviceAdded("WS", "192.0.2.9", 104, rights=("DOWNLOAD",)),
        DeviceAdded("CT", "192.0.2.7", 104, rights=("UPLOAD",)),
        DeviceAdded("ANNALS", "192.0.2.1", 104),
    )
    for admission in (closed(*devices), Admission(book(*devices), "ANNALS", OPEN)):
        assert admission.destination("WS") == devices[0]
        assert admission.destination("MR") is None
        for title in ("CT", "ANNALS"):
            with pytest.raises(Refused) as caught:
                admission.destination(title)
            assert caught.value.because is Because.MOVE_DESTINATION_UNKNOWN


def test_TS_2_the_preferred_syntax_is_that_of_the_device_as_it_was_just_added_or_changed() -> None:
    known = book(DeviceAdded("WS", "192.0.2.7", 104, preferred_transfer_syntax=RLE))
    known.coming = {
        "WS": DeviceAdded("WS", "192.0.2.7", 104, preferred_transfer_syntax=JPEG_2000_LOSSLESS),
        "NEW": DeviceAdded("NEW", "192.0.2.8", 104, preferred_transfer_syntax=RLE),
    }
    admission = Admission(known, "ANNALS", OPEN)
    assert [admission.preferred_syntax(title) for title in ("WS", "NEW", "OTHER")] == [JPEG_2000_LOSSLESS, RLE, ""]
    known.is_read = False
    assert admission.preferred_syntax("OTHER") == ""
