"""TLS as a whole: DCMTK to it and from it, with right, wrong and missing certificates (NET-1, DEV-2, B65, C4.6)."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import build_context, evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelGet as StudyGet,
)
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelMove as StudyMove,
)
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from tests.archive import samples
from tests.archive.conftest import Archive, running_archive, until, until_everywhere
from tests.ports import free_port
from tests.tls.authority import Issued, authority, issue, rsa_key
from tests.tls.test_revocation import crl

CA = authority("Hospital CA", days=(-1, 90))
LONG = (-1, 90)
SCP, SCU = issue("pacs scp", CA, key=rsa_key(1), days=LONG), issue("pacs scu", CA, key=rsa_key(2), days=LONG)
DEVICE = issue("modality", key=rsa_key(3), days=LONG)
ISSUING = authority("Hospital issuing CA", signer=CA, key=rsa_key(8), days=LONG)
DEVICE_OF_CA = issue("six", CA, key=rsa_key(7), days=LONG)
PYTHON = (sys.executable, "-m", "annals")
STUDY = "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322"


@dataclass
class Site:
    """An archive that speaks TLS, with the files of its peers."""

    archive: Archive
    folder: Path
    tls_port: int
    worklist_port: int
    plain_worklist_port: int
    device_port: int

    def files(self, one: Issued) -> tuple[str, str]:
        """The certificate's and the key's path; one of the issuing CA's has that CA's behind it."""
        certificate, key = one.files(self.folder, one.certificate.fingerprint(SHA256()).hex()[:16])
        if one.certificate.issuer == ISSUING.certificate.subject:
            certificate.write_bytes(one.pem + ISSUING.pem)
        return str(certificate), str(key)

    def client(
        self, tool: str, *arguments: str, one: Issued | None = DEVICE, title: str = "MODALITY", port: int = 0
    ) -> subprocess.CompletedProcess[str]:
        """A DCMTK client over TLS."""
        shows = ["+tla"]
        if one:
            certificate, key = self.files(one)
            shows = ["+tls", key, certificate]
        trusted = self.files(CA)[0]
        return self.archive.dcmtk_to(tool, port or self.tls_port, *shows, "+cf", trusted, "-aet", title, *arguments)

    def echoes(self, **how: object) -> bool:
        return self.client("echoscu", **how).returncode == 0  # type: ignore[arg-type]

    def warnings(self) -> str:
        """What readiness says of the certificates."""
        return str(self.archive.health()[1]["parts"]["certificates"]["warnings"])

    def says(self, words: str) -> None:
        until(lambda: words in self.archive.log_lines(), 60, f"{words!r} is logged")


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    ports = free_port(), free_port(), free_port()
    settings = {
        "ANNALS_WORKER__ENABLED": "false",
        # Both IPv6 and IPv4, whose addresses then come mapped.
        "ANNALS_DIMSE__HOST": "::",
        "ANNALS_DIMSE__WORKLIST": "true",
        "ANNALS_DIMSE__WORKLIST_PORT": str(ports[2]),
        "ANNALS_DIMSE__STORE_TLS": "true",
        "ANNALS_DIMSE__STORE_TLS_PORT": str(ports[0]),
        "ANNALS_DIMSE__WORKLIST_TLS": "true",
        "ANNALS_DIMSE__WORKLIST_TLS_PORT": str(ports[1]),
        "ANNALS_LIMITS__CERTIFICATE_WATCH_SECONDS": "0.2",
    }
    with running_archive(settings) as archive:
        folder = archive.data.parent
        site = Site(archive, folder, *ports, free_port())
        # The demo set of the first start is what the first tests of a site see.
        shown = archive.annals("certificate", "list").stdout
        assert shown.count("DEMO: NOT SAFE") == 3
        site.says("demo certificates are used for ca, scp, scu: not safe")
        assert "demo certificates" in site.warnings()
        (folder / "demo.crt").write_text(archive.annals("certificate", "show", "ca").stdout)
        assert archive.dcmtk_to("echoscu", site.tls_port, "+tla", "+cf", str(folder / "demo.crt")).returncode == 0
        upload(site, ca=CA, scp=SCP, scu=SCU)
        archive.annals("device", "add", "MODALITY", "127.0.0.1", str(site.device_port))
        certificate, _ = site.files(DEVICE)
        refused = archive.annals("device", "tls", "MODALITY", "on", check=False)
        assert refused.returncode == 2
        assert "needs a certificate" in refused.stderr
        archive.annals("certificate", "upload", "--device", "MODALITY", certificate)
        archive.annals("device", "tls", "MODALITY", "on")
        until_everywhere(
            lambda: archive.dcmtk("echoscu", "-aet", "MODALITY").returncode != 0,
            60,
            "each process knows that it uses TLS",
        )
        yield site


def upload(site: Site, *, check: bool = True, **own: Issued) -> subprocess.CompletedProcess[str]:
    arguments: list[str] = []
    for role, one in own.items():
        certificate, key = site.files(one)
        arguments += [f"--{role}", certificate, *([] if role == "ca" else [f"--{role}-key", key])]
    return site.archive.annals("certificate", "upload", *arguments, check=check)


@contextmanager
def destination(site: Site, one: Issued, *, trusted: Issued = CA) -> Iterator[Path]:
    """DCMTK's storescp over TLS, as the registered device."""
    certificate, key = site.files(one)
    folder = site.folder / f"got{time.monotonic_ns()}"
    folder.mkdir()
    process = subprocess.Popen(
        [
            "storescp",
            "+tls",
            key,
            certificate,
            "+cf",
            site.files(trusted)[0],
            "-od",
            str(folder),
            str(site.device_port),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: listens(site.device_port), 60, "storescp listens")
        yield folder
    finally:
        process.terminate()
        process.wait(60)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def move(site: Site) -> str:
    """A C-MOVE that another asks for in clear: Debian's movescu speaks no TLS."""
    keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={STUDY}")
    return site.archive.dcmtk("movescu", "-v", "-S", "-aem", "MODALITY", *keys).stderr


@pytest.fixture(scope="module")
def stored(site: Site) -> str:
    """A study that was sent over TLS."""
    done = site.client("storescu", str(samples.SAMPLES / "CT_small.dcm"))
    assert done.returncode == 0, done.stderr
    return STUDY


def test_NET_1_DCMTK_stores_and_finds_over_TLS(site: Site, stored: str) -> None:
    keys = ("-S", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={stored}")
    found = site.client("findscu", *keys, "-k", "PatientName")
    assert "CompressedSamples^CT1" in found.stdout + found.stderr


@pytest.mark.parametrize("highest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_NET_1_a_C_GET_over_TLS_gives_back_what_was_stored(site: Site, stored: str, highest: ssl.TLSVersion) -> None:
    context = ssl.create_default_context(cafile=site.files(CA)[0])
    context.load_cert_chain(*site.files(DEVICE))
    context.maximum_version = highest
    got: list[Dataset] = []

    def keep(event: evt.Event) -> int:
        got.append(event.dataset)
        return 0

    ae = ApplicationEntity("MODALITY")
    ae.add_requested_context(StudyGet)
    ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid, role.scu_role, role.scp_role = CTImageStorage, False, True
    association = ae.associate(
        "127.0.0.1",
        site.tls_port,
        ae_title="ANNALS",
        tls_args=(context, "localhost"),
        ext_neg=[role],
        evt_handlers=[(evt.EVT_C_STORE, keep)],
    )
    assert association.is_established
    wanted = Dataset()
    wanted.QueryRetrieveLevel, wanted.StudyInstanceUID = "STUDY", stored
    statuses = [status.Status for status, _ in association.send_c_get(wanted, StudyGet)]
    association.release()
    assert statuses[-1] == 0
    assert got[0].PixelData == dcmread(samples.SAMPLES / "CT_small.dcm").PixelData


def test_NET_3_a_C_MOVE_goes_over_TLS_to_a_device_that_uses_it(site: Site, stored: str) -> None:
    with destination(site, DEVICE) as folder:
        move(site)
        assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize(
    "shown",
    [
        pytest.param(issue("impostor"), id="self-signed"),
        pytest.param(issue("sibling", CA), id="of-our-own-CA"),
        pytest.param(issue("modality", key=DEVICE.key, days=(-9, -1)), id="expired"),
    ],
)
def test_B65_NET_3_nothing_is_sent_to_a_server_that_is_not_the_device(site: Site, stored: str, shown: Issued) -> None:
    with destination(site, shown) as folder:
        move(site)
        assert not list(folder.iterdir())
    site.says("Move Destination 'MODALITY' cannot be reached: no TLS connection: certificate refused")


def test_DEV_3_a_device_that_uses_TLS_is_called_over_TLS_and_never_in_clear(site: Site) -> None:
    with destination(site, DEVICE):
        assert "it answers C-ECHO" in site.archive.annals("device", "echo", "MODALITY").stdout
    with destination(site, issue("modality", key=rsa_key(3), days=LONG)):
        done = site.archive.annals("device", "echo", "MODALITY", check=False)
    assert done.returncode == 1
    assert "no TLS connection: certificate refused" in done.stdout


def test_B65_NET_3_a_device_that_uses_TLS_is_never_sent_to_in_clear(site: Site, stored: str) -> None:
    folder = site.folder / "clear"
    folder.mkdir()
    process = subprocess.Popen(["storescp", "-od", str(folder), str(site.device_port)])
    try:
        until(lambda: listens(site.device_port), 60, "storescp listens")
        move(site)
        assert not list(folder.iterdir())
    finally:
        process.terminate()
        process.wait(60)


def test_SET_2_DEV_1_certificates_of_an_issuing_CA_are_trusted_by_their_root_both_ways(site: Site, stored: str) -> None:
    """Peers know the root alone; who shows a certificate shows the one between them with it."""
    scp, scu = issue("below scp", ISSUING, key=rsa_key(1)), issue("below scu", ISSUING, key=rsa_key(2))
    modality = issue("below modality", ISSUING, key=rsa_key(3))
    root, _ = site.files(CA)
    own, _ = site.files(DEVICE)
    try:
        upload(site, ca=CA, scp=scp, scu=scu)
        assert site.echoes()
        site.archive.annals("certificate", "upload", "--device", "MODALITY", root)
        assert site.echoes(one=modality)
        with destination(site, issue("below storescp", ISSUING, key=rsa_key(3))) as folder:
            assert "Final Move Response (Success)" in move(site)
        assert list(folder.iterdir())
    finally:
        site.archive.annals("certificate", "upload", "--device", "MODALITY", own)
        upload(site, ca=CA, scp=SCP, scu=SCU)
    assert not site.echoes(one=modality)
    assert site.echoes()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        pytest.param({"one": None}, "it uses TLS and shows none (1/1/3), calling AE title 'MODALITY'", id="missing"),
        pytest.param(
            {"one": issue("sibling", CA)}, "it uses TLS and shows a certificate that is not its own", id="of-our-CA"
        ),
        pytest.param(
            {"title": "SOMEONE"}, "it shows a certificate of 'MODALITY' (1/1/3), calling AE title 'SOMEONE'", id="other"
        ),
        pytest.param({"one": issue("modality")}, "certificate refused: self-signed certificate", id="self-signed"),
        pytest.param({"one": issue("x", CA, days=(-9, -1))}, "certificate has expired", id="expired"),
        pytest.param({"one": issue("x", authority())}, "unable to get local issuer certificate", id="another-CA"),
    ],
)
def test_B29_B65_a_device_without_its_own_certificate_is_refused(site: Site, how: dict[str, object], said: str) -> None:
    assert site.echoes()
    assert not site.echoes(**how)
    site.says(said)


def test_B65_a_device_that_uses_TLS_is_refused_in_clear(site: Site) -> None:
    assert site.archive.dcmtk_to("echoscu", site.archive.port, "-aet", "MODALITY").returncode != 0
    assert site.archive.dcmtk_to("echoscu", site.archive.port, "-aet", "SOMEONE").returncode == 0
    assert site.echoes(one=None, title="SOMEONE")


def test_NET_1_the_worklist_port_over_TLS_answers_an_echo_and_takes_no_images(site: Site) -> None:
    assert site.echoes(port=site.worklist_port)
    image = str(samples.SAMPLES / "CT_small.dcm")
    assert site.client("storescu", image, port=site.worklist_port).returncode != 0


def test_NET_1_the_plain_worklist_port_answers_an_echo_and_takes_no_images(site: Site) -> None:
    assert site.archive.dcmtk_to("echoscu", site.plain_worklist_port, "-aet", "SOMEONE").returncode == 0
    assert site.archive.dcmtk_to("echoscu", site.plain_worklist_port, "-aet", "MODALITY").returncode != 0
    image = str(samples.SAMPLES / "CT_small.dcm")
    assert site.archive.dcmtk_to("storescu", site.plain_worklist_port, "-aet", "SOMEONE", image).returncode != 0


def test_B29_another_archive_with_our_AE_title_may_use_TLS_and_this_one_stays_ready(site: Site) -> None:
    site.archive.annals("device", "add", "ANNALS", "192.0.2.7", "104")
    try:
        certificate, _ = site.files(issue("other archive", CA, days=LONG))
        site.archive.annals("certificate", "upload", "--device", "ANNALS", certificate)
        site.archive.annals("device", "tls", "ANNALS", "on")
        until_everywhere(site.archive.ready, 60, "each process is ready")
    finally:
        site.archive.annals("device", "remove", "ANNALS")


def test_readiness_asks_each_port_over_its_own_way(site: Site) -> None:
    parts = site.archive.health()[1]["parts"]
    for name in ("dimse", "dimse-tls", "worklist", "worklist-tls"):
        assert parts[name] == {"ok": True}


def test_D22_a_TLS_port_without_a_certificate_is_not_ready_and_the_reason_is_said(site: Site) -> None:
    def said() -> str:
        return str(site.archive.health())

    site.archive.annals("certificate", "remove", "scp")
    try:
        until(lambda: "'dimse-tls': {'ok': False" in said(), 60, "the port does not answer")
        until(lambda: "'dimse': {'ok': True" in said(), 60, "the other one does")
        assert not site.echoes()
    finally:
        upload(site, scp=SCP)
    until(site.archive.ready, 60, "it answers again")


@pytest.mark.parametrize("over_tls", [False, True], ids=["plain", "TLS"])
def test_NET_1_NET_4_IPv6_a_device_is_known_by_its_address_and_called_there(site: Site, over_tls: bool) -> None:
    got: list[Dataset] = []

    def keep(event: evt.Event) -> int:
        got.append(event.dataset)
        return 0

    title = f"SIX{over_tls}".upper()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*site.files(DEVICE_OF_CA))
    ae = ApplicationEntity(title)
    ae.supported_contexts = [build_context(Verification), build_context(CTImageStorage, ExplicitVRLittleEndian)]
    server = ae.start_server(
        ("::1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)], ssl_context=context if over_tls else None
    )
    try:
        site.archive.annals("device", "add", title, "::1", str(server.socket.getsockname()[1]))
        if over_tls:
            site.archive.annals("certificate", "upload", "--device", title, site.files(CA)[0])
            site.archive.annals("device", "tls", title, "on")
        done = site.archive.annals("device", "echo", title)
        assert "it answers C-ECHO" in done.stdout
        client = ApplicationEntity(title)
        client.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
        client.add_requested_context(StudyMove)
        own = ssl.create_default_context(cafile=site.files(CA)[0])
        own.load_cert_chain(*site.files(DEVICE_OF_CA))
        association = client.associate(
            "::1",
            site.tls_port if over_tls else site.archive.port,
            ae_title="ANNALS",
            tls_args=(own, "localhost") if over_tls else None,
        )
        assert association.is_established
        image = dcmread(samples.SAMPLES / "CT_small.dcm")
        assert association.send_c_store(image).Status == 0
        wanted = Dataset()
        wanted.QueryRetrieveLevel, wanted.StudyInstanceUID = "STUDY", STUDY
        statuses = [status.Status for status, _ in association.send_c_move(wanted, title, StudyMove)]
        association.release()
        assert statuses[-1] == 0
        assert got[0].PixelData == image.PixelData
    finally:
        server.shutdown()


@pytest.mark.parametrize("port", ["tls_port", "worklist_port"])
def test_B65_sslscan_finds_no_old_protocol_and_no_weak_suite(site: Site, port: str) -> None:
    command = ["sslscan", "--no-colour", "--no-heartbleed", f"127.0.0.1:{getattr(site, port)}"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    for old in ("SSLv2", "SSLv3", "TLSv1.0", "TLSv1.1"):
        assert f"{old} disabled" in " ".join(said.split()), said
    taken = [line.split() for line in said.splitlines() if line.startswith(("Accepted", "Preferred"))]
    assert {words[1] for words in taken} == {"TLSv1.2", "TLSv1.3"}
    suites = {words[4] for words in taken}
    assert suites
    assert all(("GCM" in suite and "ECDHE" in suite) or suite.startswith("TLS_") for suite in suites), suites


def test_SET_2_a_changed_certificate_holds_for_the_next_association_in_every_process(site: Site) -> None:
    renewed = issue("pacs renewed", CA, key=rsa_key(4))
    said = upload(site, scp=renewed).stdout
    assert "CN=pacs renewed" in said
    assert all("pacs renewed" in name for name in shown_names(site, 12))
    upload(site, scp=SCP)
    assert all("pacs scp" in name for name in shown_names(site, 12))


def test_SET_2_certificates_are_changed_under_load_and_no_association_fails(site: Site) -> None:
    """One association is open all the time, others come and go; each stores an image."""
    renewed = issue("pacs renewed", CA, key=rsa_key(4), days=LONG)
    image = dcmread(samples.SAMPLES / "CT_small.dcm")
    context = ssl.create_default_context(cafile=site.files(CA)[0])
    context.load_cert_chain(*site.files(DEVICE))
    seen: list[tuple[float, float, str]] = []
    faults: list[str] = []
    ended = threading.Event()

    def associate() -> Association:
        ae = ApplicationEntity("MODALITY")
        ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
        return ae.associate("127.0.0.1", site.tls_port, ae_title="ANNALS", tls_args=(context, "localhost"))

    def come_and_go() -> None:
        while not ended.is_set():
            began = time.monotonic()
            association = associate()
            if not association.is_established:
                faults.append("no association")
                continue
            seen.append((began, time.monotonic(), shown_name(association)))
            if association.send_c_store(image).get("Status") != 0:
                faults.append("not stored")
            association.release()

    under_way = associate()
    first = shown_name(under_way)
    others = [threading.Thread(target=come_and_go) for _ in range(2)]
    changes = [(0.0, 0.0, "pacs scp")]
    for other in others:
        other.start()
    try:
        for one, name in ((renewed, "pacs renewed"), (SCP, "pacs scp")):
            began = time.monotonic()
            upload(site, scp=one)
            changes.append((began, time.monotonic(), name))
            until(lambda: bool(faults) or sum(at > changes[-1][1] for at, _, _ in seen) >= 10, 60, "others have come")
            assert under_way.send_c_store(image).Status == 0
    finally:
        ended.set()
        for other in others:
            other.join()
        under_way.release()
    assert (first, faults) == ("pacs scp", [])
    assert_held([(began, done, {name}) for began, done, name in seen], changes)


def test_SET_2_a_changed_SCU_certificate_is_shown_by_the_next_association_under_load(site: Site, stored: str) -> None:
    """Two ask for C-MOVE after C-MOVE, each over an association that stays; each sub-operation has a new one."""
    renewed = issue("pacs scu renewed", CA, key=rsa_key(4), days=LONG)
    shown: dict[str, list[str]] = {"ONE": [], "OTHER": []}
    seen: list[tuple[float, float, set[str]]] = []
    faults: list[str] = []
    ended = threading.Event()
    wanted = Dataset()
    wanted.QueryRetrieveLevel, wanted.StudyInstanceUID = "STUDY", stored

    def keep(event: evt.Event) -> int:
        shown[event.request.MoveOriginatorApplicationEntityTitle].append(shown_name(event.assoc))
        return 0

    def ask(title: str) -> None:
        ae = ApplicationEntity(title)
        ae.add_requested_context(StudyMove)
        association = ae.associate("127.0.0.1", site.archive.port, ae_title="ANNALS")
        while association.is_established and not ended.is_set():
            began, known = time.monotonic(), len(shown[title])
            *_, (status, _) = association.send_c_move(wanted, "MODALITY", StudyMove)
            if status.get("Status") != 0:
                faults.append(f"not sent: {status}")
            seen.append((began, time.monotonic(), set(shown[title][known:])))
        if not association.is_established:
            faults.append("no association")
        association.release()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=site.files(CA)[0])
    context.load_cert_chain(*site.files(DEVICE))
    context.verify_mode = ssl.CERT_REQUIRED
    ae = ApplicationEntity("MODALITY")
    ae.add_supported_context(CTImageStorage, ExplicitVRLittleEndian)
    address = ("127.0.0.1", site.device_port)
    server = ae.start_server(address, block=False, evt_handlers=[(evt.EVT_C_STORE, keep)], ssl_context=context)
    askers = [threading.Thread(target=ask, args=(title,)) for title in shown]
    for asker in askers:
        asker.start()
    changes = [(0.0, 0.0, "pacs scu")]
    try:
        for one, name in ((renewed, "pacs scu renewed"), (SCU, "pacs scu")):
            began = time.monotonic()
            upload(site, scu=one)
            changes.append((began, time.monotonic(), name))
            until(lambda: bool(faults) or sum(at > changes[-1][1] for at, _, _ in seen) >= 10, 60, "more was sent")
    finally:
        ended.set()
        for asker in askers:
            asker.join()
        server.shutdown()
    assert not faults
    assert_held(seen, changes)


def test_SET_2_a_changed_CA_admits_and_refuses_the_next_association_under_load(site: Site) -> None:
    """The peer of the old authority stays connected; afterwards only the peer of the new one gets in."""
    other = authority("Merged Hospitals CA", days=LONG)
    peers = {"old": issue("visitor", CA, key=rsa_key(8), days=LONG)}
    peers["new"] = issue("visitor", other, key=rsa_key(8), days=LONG)
    own = {role: issue(f"pacs {role} merged", other, key=rsa_key(4), days=LONG) for role in ("scp", "scu")}
    image = dcmread(samples.SAMPLES / "CT_small.dcm")
    seen: dict[str, list[tuple[float, float, set[str]]]] = {"old": [], "new": []}
    ended = threading.Event()

    # Before the threads: the files are written anew each time that they are asked for.
    contexts = {whose: ssl.create_default_context(cafile=site.files(CA)[0]) for whose in peers}
    for whose, context in contexts.items():
        context.load_verify_locations(site.files(other)[0])
        context.load_cert_chain(*site.files(peers[whose]))

    def associate(whose: str) -> Association:
        ae = ApplicationEntity("VISITOR")
        ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
        return ae.associate("127.0.0.1", site.tls_port, ae_title="ANNALS", tls_args=(contexts[whose], "localhost"))

    def come_and_go(whose: str) -> None:
        while not ended.is_set():
            began = time.monotonic()
            association = associate(whose)
            got = association.is_established and association.send_c_store(image).get("Status") == 0
            seen[whose].append((began, time.monotonic(), {"in" if got else "out"}))
            if got:
                association.release()

    def both_have_come(since: float) -> bool:
        return all(sum(at > since for at, _, _ in one) >= 5 for one in seen.values())

    under_way = associate("old")
    changes = [(0.0, 0.0, "CA")]
    others = [threading.Thread(target=come_and_go, args=(whose,)) for whose in peers]
    for one in others:
        one.start()
    try:
        for name, new in (("other", {"ca": other, **own}), ("CA", {"ca": CA, "scp": SCP, "scu": SCU})):
            until(lambda: both_have_come(changes[-1][1]), 60, "both have come")
            began = time.monotonic()
            upload(site, **new)
            changes.append((began, time.monotonic(), name))
            assert under_way.send_c_store(image).Status == 0
        until(lambda: both_have_come(changes[-1][1]), 60, "both have come again")
    finally:
        ended.set()
        for one in others:
            one.join()
        under_way.release()
    for whose, admitting in (("old", "CA"), ("new", "other")):
        assert_held(seen[whose], [(*at, "in" if name == admitting else "out") for *at, name in changes])


def assert_held(seen: list[tuple[float, float, set[str]]], changes: list[tuple[float, float, str]]) -> None:
    """What was seen from one time to another is what held when it began, or came while it went on."""
    for began, done, what in seen:
        held = [name for _, since, name in changes if since <= began][-1]
        assert what <= {held, *(name for at, since, name in changes if since > began and at < done)}


def shown_name(association: Association) -> str:
    """The common name in the certificate that the server showed."""
    assert association.is_established
    shown = association.dul.socket.socket.getpeercert()  # type: ignore[union-attr]
    return str(dict(pair for name in shown["subject"] for pair in name)["commonName"])


def shown_names(site: Site, times: int) -> set[str]:
    """Whose certificate the server shows, asked more often than it has processes."""
    said = set()
    for _ in range(times):
        done = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{site.tls_port}", "-nameopt", "RFC2253"],
            input="",
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        said |= {
            line.removeprefix("subject=").strip() for line in done.stdout.splitlines() if line.startswith("subject=")
        }
    return said


def test_B57_a_refused_upload_says_every_fault_and_the_old_set_stays(site: Site) -> None:
    before = site.archive.annals("certificate", "list").stdout
    refused = upload(site, check=False, ca=SCP, scp=issue("x", authority(), days=(-9, -1)))
    assert refused.returncode == 2
    for fault in ("ca: it is no CA certificate", "scp: it has expired", "scp: it is not signed by the CA", "scu: "):
        assert fault in refused.stderr
    assert site.archive.annals("certificate", "list").stdout == before
    assert site.echoes()


def test_B57_a_pair_that_no_peer_would_take_is_refused_and_the_old_one_stays(site: Site) -> None:
    odd = issue("odd curve", CA, key=ec.generate_private_key(ec.SECP256K1()), days=LONG)
    refused = upload(site, check=False, scp=odd)
    assert refused.returncode == 2
    assert (
        "scp: peers that trust the CA 'CN=Hospital CA' do not take it: its key is of no kind that TLS has"
        in refused.stderr
    )
    assert site.echoes()


def test_B57_what_came_into_use_before_a_refusal_is_told(site: Site) -> None:
    certificate, key = site.files(issue("renewed scp", CA, key=rsa_key(1), days=LONG))
    expired, _ = site.files(issue("late", days=(-9, -1)))
    own = ("certificate", "upload", "--scp", certificate, "--scp-key", key)
    try:
        refused = site.archive.annals(*own, "--device", "MODALITY", expired, check=False)
        assert (refused.returncode, "it has expired" in refused.stderr) == (2, True)
        assert "CertificateInstalled: role=scp certificate=CN=renewed scp" in refused.stdout
    finally:
        upload(site, scp=SCP)
    assert site.echoes()


def test_D22_no_private_key_stands_in_the_log_or_is_printed(site: Site) -> None:
    printed = [
        site.archive.annals("events").stdout,
        site.archive.annals("certificate", "show", "scp").stdout,
        site.archive.log_lines(),
    ]
    assert "-----BEGIN CERTIFICATE-----" in printed[1]
    for text in printed:
        assert "PRIVATE" not in text


def test_CLI_2_an_import_goes_over_TLS(site: Site) -> None:
    certificate, key = site.files(DEVICE)
    tls = ("--tls-ca", site.files(CA)[0], "--tls-certificate", certificate, "--tls-key", key)

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        image = str(samples.SAMPLES / "MR_small.dcm")
        return subprocess.run(
            [
                *(*PYTHON, "import", "127.0.0.1", str(site.tls_port), image, "ANNALS", "--calling", "MODALITY"),
                *("--again", "--reports", str(site.folder), "--journal", str(site.folder / "journal"), *options),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    done = run(*tls)
    assert done.returncode == 0, done.stderr
    assert "sent: 1" in done.stdout
    refused = run("--tls-ca", site.files(authority())[0])
    assert refused.returncode == 3
    assert "certificate refused" in refused.stdout + refused.stderr
    assert run("--tls-key", key).returncode == 2


def test_SET_2_a_certificate_that_ends_soon_is_told_in_the_log_and_by_readiness(site: Site) -> None:
    ending = issue("ending", key=rsa_key(6), days=(-1, 5))
    until(lambda: site.warnings() == "[]", 60, "the test's own certificates are good for long enough")
    site.archive.annals("device", "add", "ENDING", "127.0.0.1", "104")
    site.archive.annals("certificate", "upload", "--device", "ENDING", site.files(ending)[0])
    site.says("the certificate of 'ENDING' expires on")
    until(lambda: "'ENDING' expires on" in site.warnings(), 60, "readiness says so")
    assert site.archive.ready()
    assert "expires on" in site.archive.annals("certificate", "list").stdout
    site.archive.annals("certificate", "remove", "--device", "ENDING")
    site.archive.annals("device", "remove", "ENDING")
    until(lambda: site.warnings() == "[]", 60, "it is good again")


def test_DEV_2_removing_a_device_removes_its_certificate(site: Site) -> None:
    own = issue("gone", key=rsa_key(5))
    annals: Callable[..., subprocess.CompletedProcess[str]] = site.archive.annals
    annals("device", "add", "GONE", "127.0.0.1", "104")
    annals("certificate", "upload", "--device", "GONE", site.files(own)[0])
    annals("device", "tls", "GONE", "on")
    assert annals("certificate", "remove", "--device", "GONE", check=False).returncode == 2
    assert site.echoes(one=own, title="GONE")
    annals("device", "remove", "GONE")
    assert "GONE" not in annals("certificate", "list").stdout
    assert not site.echoes(one=own, title="GONE")


def test_B65_SET_2_who_is_on_the_revocation_list_is_refused_from_the_next_association_on(site: Site) -> None:
    annals = site.archive.annals
    one = issue("visitor", CA, key=rsa_key(8), days=LONG)
    assert site.echoes(one=one, title="VISITOR")
    path = site.folder / "hospital.crl"
    path.write_bytes(crl(one, by=CA).public_bytes(Encoding.PEM))
    annals("certificate", "upload", "--crl", str(path))
    for _ in range(4):
        assert not site.echoes(one=one, title="VISITOR")
        assert site.echoes()
    site.says("TLS: certificate refused: certificate revoked")
    assert "crl     CN=Hospital CA: 1 revoked" in annals("certificate", "list").stdout
    until(lambda: "certificate revoked" in annals("device", "rejections").stdout, 60, "it is listed")
    annals("certificate", "remove", "--crl", "CN=Hospital CA")
    assert site.echoes(one=one, title="VISITOR")
    path.write_bytes(crl(one, by=authority()).public_bytes(Encoding.PEM))
    assert annals("certificate", "upload", "--crl", str(path), check=False).returncode == 2
