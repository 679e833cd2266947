"""Settings: defaults < ``annals.toml`` < environment (``ANNALS_SECTION__KEY``). All faults are reported at once."""

from __future__ import annotations

import dataclasses
import ipaddress
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model

from annals.settings_sources import Sources, passed_over
from domain.admission import AdmissionChanged, Door
from domain.device import Right, ae_title_fault, rights_of
from domain.errors import InvalidInput
from domain.licence import vendor_key
from domain.limits import Limits


def _ae_title(value: str) -> str:
    if fault := ae_title_fault(value):
        raise ValueError(fault.removeprefix("AE title: "))
    return value


def _rights_at(door: Door) -> Callable[[tuple[str, ...]], tuple[str, ...]]:
    def check(value: tuple[str, ...]) -> tuple[str, ...]:
        rights = rights_of(value)
        if unknown := set(rights) - set(door.rights):
            raise ValueError(f"{', '.join(sorted(unknown))!a} is no right at this door: {', '.join(door.rights)}")
        return rights

    return check


def _networks(value: tuple[str, ...]) -> tuple[str, ...]:
    for one in value:
        ipaddress.ip_network(one)
    return value


def _list(value: object) -> object:
    """A comma list, as the environment gives it."""
    return [one.strip() for one in value.split(",") if one.strip()] if isinstance(value, str) else value


List = Annotated[tuple[str, ...], BeforeValidator(_list)]
AETitle = Annotated[str, AfterValidator(_ae_title)]
Port = Annotated[int, Field(ge=1, le=65535)]


def _viewer_build(folder: Path | None) -> Path | None:
    if folder and not (folder / "index.html").is_file():
        raise ValueError("holds no build of the viewer: see 'make ohif'")
    return folder


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DatabaseSettings(_Section):
    """``dsn``: an external PostgreSQL; without it one is embedded, ``run_as`` its account where Annals runs as root."""

    dsn: str = ""
    run_as: str = ""


class HttpSettings(_Section):
    """The HTTP listener: health and the licence, and later the console."""

    host: str = "0.0.0.0"  # noqa: S104 - a server that devices and administrators reach
    port: Port = 8000


class DicomwebSettings(_Section):
    """The DICOMweb listener. ``processes`` 0 means one process for two cores, at least two.

    ``public_url`` is the service as its clients reach it, where that is not what they ask; ``hosts`` are further names
    of this server (``*``: any), ``trusted_proxies`` networks whose X-Forwarded headers are believed, ``cors_origins``
    the web pages that may use the service (``*``: all). In the environment a list is separated by commas.
    ``accept_any``, ``accept_any_rights`` and ``trust_this_machine`` as for DIMSE. ``ohif`` is the folder of a
    ready build of that viewer ('make ohif'), served below ``/ohif``.
    """

    enabled: bool = True
    host: str = "0.0.0.0"  # noqa: S104 - a server that devices reach
    port: Port = 8010
    accept_any: bool = True
    accept_any_rights: Annotated[List, AfterValidator(_rights_at(Door.DICOMWEB))] = (Right.UPLOAD.value,)
    trust_this_machine: bool = True
    public_url: Annotated[str, Field(pattern=r"^(https?://[^\s/?#]+(/[^\s?#]*)?)?$")] = ""
    hosts: List = ()
    trusted_proxies: Annotated[List, AfterValidator(_networks)] = ()
    cors_origins: List = ()
    ohif: Annotated[Path | None, AfterValidator(_viewer_build)] = None
    processes: Annotated[int, Field(ge=0, le=64)] = 0


class DimseSettings(_Section):
    """The DIMSE listeners, each with its port. ``processes`` 0 means one receiver process a core, at least two.

    ``accept_any``, ``accept_any_rights`` and ``trust_this_machine`` hold until ``annals device accept-any`` changes
    them: are callers that are not registered admitted, what may they do, and may those on this machine do everything?
    ``check_called_ae_title``: must they call ``ae_title``? Unset: as long as only registered devices are admitted.
    """

    host: str = "0.0.0.0"  # noqa: S104 - a server that devices reach
    store: bool = True
    store_port: Port = 3000
    store_tls: bool = True
    store_tls_port: Port = 3100
    worklist: bool = True
    worklist_port: Port = 3001
    worklist_tls: bool = True
    worklist_tls_port: Port = 3101
    ae_title: AETitle = "ANNALS"
    accept_any: bool = True
    accept_any_rights: Annotated[List, AfterValidator(_rights_at(Door.DIMSE))] = (Right.UPLOAD.value,)
    trust_this_machine: bool = True
    check_called_ae_title: bool | None = None
    accept_unknown_sop_classes: bool = True
    processes: Annotated[int, Field(ge=0, le=64)] = 0


class TlsSettings(_Section):
    """TLS for DIMSE, both ways. ``profile`` names one of PS3.15 B.9 to B.13, in their order.

    ``require_client_certificate``: of every client, not only of devices that use TLS. ``check_host_name``: a server
    known by its root must show a certificate that names its host; one known by its own certificate need not.
    """

    profile: Literal["bcp195", "bcp195-nd", "bcp195-extended", "bcp195-rfc9325", "bcp195-rfc9325-modified"] = (
        "bcp195-rfc9325"
    )
    require_client_certificate: bool = False
    check_host_name: bool = True


class StorageSettings(_Section):
    """``path`` of the default storage; empty means ``storage`` in the data folder.

    ``temp_folder`` is for conversions, downloads and the bulk data of metadata; empty means the system's.
    """

    path: str = ""
    temp_folder: Annotated[str, Field(pattern="^(/.*)?$")] = ""
    overwrite_image: bool = False
    crop_accession_number: bool = False


class TranscodingSettings(_Section):
    """``lossy_as_derived``: what is compressed with loss becomes a derived image with a SOP Instance UID of its own."""

    lossy_as_derived: bool = False


class WorkerSettings(_Section):
    """Whether this node works in the background: derived data, scrub, and reports of storage commitment.

    Without it anywhere, derived data is made when it is asked for; nothing is scrubbed, and no N-EVENT-REPORT is sent.
    """

    enabled: bool = True


def _vendor_key(value: str) -> str:
    if value:
        vendor_key(value)
    return value


class LicenceSettings(_Section):
    """``vendor_key``: the Ed25519 public key of who licenses this installation, in PEM or the base64 inside it.

    Without one the archive is open and unlimited; with one it is a trial until a licence is installed (LIC-2).
    """

    vendor_key: Annotated[str, AfterValidator(_vendor_key)] = ""

    @property
    def public_key(self) -> bytes:
        """The key's 32 bytes; empty where none is named."""
        return vendor_key(self.vendor_key) if self.vendor_key else b""


class LogSettings(_Section):
    """The server's own log lines (JSON, one a line)."""

    level: Annotated[str, Field(pattern="^(DEBUG|INFO|WARNING|ERROR|CRITICAL)$")] = "INFO"


_LEAST = {"new_studies_a_minute_max": 0, "rsa_key_bits_min": 2048, "ec_key_bits_min": 224}
"""Where that is not 1. At 0 the quota is off; no TLS context loads a shorter key (OpenSSL's security level 2)."""


def _limit_type(name: str, default: object) -> object:
    match default:
        case None:
            return Annotated[int | None, Field(ge=0)]
        case int():
            return Annotated[int, Field(ge=_LEAST.get(name, 1))]
        case _:
            return Annotated[float, Field(gt=0)]


_LimitsSection: type[BaseModel] = create_model(
    "LimitsSection",
    __base__=_Section,
    **{  # type: ignore[call-overload]
        field.name: (_limit_type(field.name, field.default), field.default) for field in dataclasses.fields(Limits)
    },
)


class Settings(_Section):
    """Everything that is configured, read once at the composition root."""

    data: Path = Path("data")
    database: DatabaseSettings = DatabaseSettings()
    http: HttpSettings = HttpSettings()
    dicomweb: DicomwebSettings = DicomwebSettings()
    dimse: DimseSettings = DimseSettings()
    tls: TlsSettings = TlsSettings()
    storage: StorageSettings = StorageSettings()
    transcoding: TranscodingSettings = TranscodingSettings()
    worker: WorkerSettings = WorkerSettings()
    licence: LicenceSettings = LicenceSettings()
    log: LogSettings = LogSettings()
    limits: _LimitsSection = _LimitsSection()  # type: ignore[valid-type]

    @property
    def dimse_processes(self) -> int:
        """How many receiver processes share the DIMSE port."""
        return self.dimse.processes or max(2, os.cpu_count() or 1)

    @property
    def dimse_ports(self) -> dict[str, int]:
        """The ports on which DIMSE is listened to, by the names of their sockets."""
        mine = self.dimse
        ports = {
            "dimse": (mine.store, mine.store_port),
            "dimse-tls": (mine.store_tls, mine.store_tls_port),
            "worklist": (mine.worklist, mine.worklist_port),
            "worklist-tls": (mine.worklist_tls, mine.worklist_tls_port),
        }
        return {name: port for name, (enabled, port) in ports.items() if enabled}

    def admission(self, door: Door) -> AdmissionChanged:
        """What a door grants to callers that are not registered, until it is changed by command."""
        mine = self.dimse if door is Door.DIMSE else self.dicomweb
        return AdmissionChanged(door.value, mine.accept_any, mine.accept_any_rights, mine.trust_this_machine)

    @property
    def dicomweb_processes(self) -> int:
        """How many processes share the DICOMweb port."""
        return self.dicomweb.processes or max(2, (os.cpu_count() or 1) // 2)

    @property
    def storage_root(self) -> Path:
        """The folder of the default storage."""
        return Path(self.storage.path) if self.storage.path else self.data / "storage"

    def as_limits(self) -> Limits:
        """The limits as the domain's own type."""
        return Limits(**self.limits.model_dump())  # type: ignore[attr-defined]


def load(
    file: Path | None, environment: Mapping[str, str], *, data: Path | None = None
) -> tuple[Settings, tuple[str, ...]]:
    """Read the settings and the warnings about them. Raises :class:`InvalidInput` with all faults and their places."""
    given = Sources(file, environment)
    faults, values = given.faults, given.values
    if data is not None:
        values["data"] = data
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        for fault in error.errors():
            said = fault["msg"].removeprefix("Value error, ")
            if fault["type"] == "extra_forbidden":
                said = "is not a known setting" + given.meant(fault["loc"], _names())
            faults.append(f"{given.where(fault['loc'])}: {said}")
        raise InvalidInput(faults) from None
    if faults:
        raise InvalidInput(faults)
    return settings, (*given.warnings, *passed_over(environment, _names()))


def _names() -> dict[str, Collection[str]]:
    """The names of all settings: the keys of each section, none where a name is no section's."""
    kinds = {name: field.annotation for name, field in Settings.model_fields.items()}
    return {
        name: kind.model_fields if isinstance(kind, type) and issubclass(kind, _Section) else ()
        for name, kind in kinds.items()
    }
