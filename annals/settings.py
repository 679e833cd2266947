"""Settings: defaults < ``annals.toml`` < environment (``ANNALS_SECTION__KEY``). All faults are reported at once."""

from __future__ import annotations

import dataclasses
import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, create_model

from domain.device import ae_title_fault
from domain.errors import InvalidInput
from domain.limits import Limits

PREFIX = "ANNALS_"
_LOADER_SAYS = {"extra_forbidden": "is not a known setting"}


def _ae_title(value: str) -> str:
    if fault := ae_title_fault(value):
        raise ValueError(fault.removeprefix("AE title: "))
    return value


AETitle = Annotated[str, AfterValidator(_ae_title)]
Port = Annotated[int, Field(ge=1, le=65535)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DatabaseSettings(_Section):
    """``dsn`` names an external PostgreSQL; empty means the embedded one in the data folder."""

    dsn: str = ""
    run_as: str = ""


class HttpSettings(_Section):
    """The HTTP listener for health, and later the console."""

    host: str = "0.0.0.0"  # noqa: S104 - a server that devices and administrators reach
    port: Port = 8000


class DimseSettings(_Section):
    """The DIMSE listener. ``processes`` 0 means one receiver process a core, at least two."""

    host: str = "0.0.0.0"  # noqa: S104 - a server that devices reach
    store_port: Port = 3000
    ae_title: AETitle = "ANNALS"
    accept_any: bool = True
    check_called_ae_title: bool = False
    accept_unknown_sop_classes: bool = True
    processes: Annotated[int, Field(ge=0, le=64)] = 0


class StorageSettings(_Section):
    """``path`` of the default storage; empty means ``storage`` in the data folder."""

    path: str = ""
    overwrite_image: bool = False
    crop_accession_number: bool = False


class LogSettings(_Section):
    """The server's own log lines (JSON, one a line)."""

    level: Annotated[str, Field(pattern="^(DEBUG|INFO|WARNING|ERROR|CRITICAL)$")] = "INFO"


_LimitsSection: type[BaseModel] = create_model(
    "LimitsSection",
    __base__=_Section,
    **{  # type: ignore[call-overload]
        field.name: (
            Annotated[int, Field(ge=1)] if isinstance(field.default, int) else Annotated[float, Field(gt=0)],
            field.default,
        )
        for field in dataclasses.fields(Limits)
    },
)


class Settings(_Section):
    """Everything that is configured, read once at the composition root."""

    data: Path = Path("data")
    database: DatabaseSettings = DatabaseSettings()
    http: HttpSettings = HttpSettings()
    dimse: DimseSettings = DimseSettings()
    storage: StorageSettings = StorageSettings()
    log: LogSettings = LogSettings()
    limits: _LimitsSection = _LimitsSection()  # type: ignore[valid-type]

    @property
    def dimse_processes(self) -> int:
        """How many receiver processes share the DIMSE port."""
        return self.dimse.processes or max(2, os.cpu_count() or 1)

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
    """Read the settings and the warnings about them. Raises :class:`InvalidInput` with every fault and its key."""
    faults: list[str] = []
    warnings: list[str] = []
    values = _read_file(file, faults, warnings) if file else {}
    sources: dict[str, str] = {}
    for name, text in sorted(environment.items()):
        if not name.startswith(PREFIX) or "__" not in name:
            continue
        section, _, key = name.removeprefix(PREFIX).lower().partition("__")
        sources[f"{section}.{key}"] = name
        group = values.setdefault(section, {})
        if isinstance(group, dict):
            group[key] = text
    if data is not None:
        values["data"] = data
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        for fault in error.errors():
            key = ".".join(str(part) for part in fault["loc"])
            said = _LOADER_SAYS.get(fault["type"], fault["msg"].removeprefix("Value error, "))
            where = sources.get(key) or (f"{key} in {file}" if file else key)
            faults.append(f"{where}: {said}")
        raise InvalidInput(faults) from None
    if faults:
        raise InvalidInput(faults)
    return settings, tuple(warnings)


def _read_file(file: Path, faults: list[str], warnings: list[str]) -> dict[str, Any]:
    try:
        text = file.read_text("utf-8")
        mode = file.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput([f"--cfg {file}: cannot be read: {error}"]) from None
    if mode & stat.S_IROTH and "dsn" in text:
        warnings.append(f"{file} is readable by everyone and names a database: chmod 600 it")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        faults.append(f"--cfg {file}: {error}")
        return {}
