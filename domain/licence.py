"""The stream of what this installation is allowed: its product code, and the licence that its vendor has signed (LIC).

A licence is enforced only where the installation names its vendor's key; without one it is open and unlimited.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, timedelta
from itertools import islice
from typing import Any, ClassVar

from domain.errors import InvalidInput
from domain.event import Event
from domain.limits import Limits

KIND = "licence"
INSTALLATION = "installation"
"""The key of the one stream."""

FORMAT = "annals-licence-1"
SIGNATURE_LENGTH = 64
"""An Ed25519 signature in bytes (RFC 8032 5.1.6)."""

CODE_CHARACTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Those of a product code: none that is taken for another when it is read out."""

_CODE_LENGTH, _CODE_GROUP = 25, 5
_CODE = re.compile(rf"[{CODE_CHARACTERS}]{{5}}(-[{CODE_CHARACTERS}]{{5}}){{4}}\Z")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_SECOND = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z\Z")
_CLIENTS_MAX = 1_000_000
_CLOCKS_DIFFER = timedelta(days=1)
_PUBLIC_KEY = bytes.fromhex("302a300506032b6570032100")
"""How the SubjectPublicKeyInfo of an Ed25519 key begins (RFC 8410 4); the key's 32 bytes follow."""

_PEM_LINE = re.compile(r"-----(BEGIN|END) PUBLIC KEY-----")


@dataclass(frozen=True, slots=True)
class InstallationNamed(Event):
    """This installation got its product code, by which its vendor makes a licence for it. Once and for ever."""

    NAME: ClassVar[str] = "InstallationNamed"
    product_code: str


@dataclass(frozen=True, slots=True)
class LicenceInstalled(Event):
    """A licence came into use.

    ``end_of_support`` is an ISO 8601 date, ``issued_at`` a time in UTC. ``document`` is the whole signed file, so that
    every process can see for itself that the vendor has said this.
    """

    NAME: ClassVar[str] = "LicenceInstalled"
    product_code: str
    clients_max: int
    end_of_support: str
    issued_at: str
    document: str


FACTS = (InstallationNamed, LicenceInstalled)


@dataclass(frozen=True, slots=True)
class Licence:
    """What a licence says, checked: every field has its form. Times and dates are ISO 8601, in UTC."""

    product_code: str
    clients_max: int
    end_of_support: str
    issued_at: str


@dataclass(frozen=True, slots=True)
class Signed:
    """A licence file that was read: nothing of it is believed before ``signature`` is found to be of ``message``."""

    licence: Licence
    message: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Installation:
    """What is known of this installation."""

    product_code: str = ""
    installed: LicenceInstalled | None = None


@dataclass(frozen=True, slots=True)
class Allowed:
    """How many devices there may be, DICOM and WADO together, and how many studies; None for any number."""

    clients_max: int | None = None
    studies_max: int | None = None


OPEN = Allowed()
"""An installation that names no vendor key."""

TRIAL = Allowed(clients_max=2, studies_max=100)
"""One that names a vendor key and has no licence (LIC-1). What exists stays usable, also where it is more."""


def allowed(licence: Licence | None) -> Allowed:
    """What an installation that names a vendor key is allowed. The end of support takes nothing away."""
    return Allowed(clients_max=licence.clients_max) if licence else TRIAL


def may_begin_study(what: Allowed, studies: int) -> bool:
    """Whether a new study may be stored beside so many."""
    return what.studies_max is None or studies < what.studies_max


def least(*maxima: int | None) -> int | None:
    """The least of several maxima, None for none."""
    return min((one for one in maxima if one is not None), default=None)


def fold(events: Iterable[Event]) -> Installation:
    """The installation as it is now."""
    known = Installation()
    for event in events:
        match event:
            case InstallationNamed(product_code=code):
                known = replace(known, product_code=code)
            case LicenceInstalled():
                known = replace(known, installed=event)
    return known


def name(known: Installation, product_code: str) -> list[Event]:
    """Give the installation its product code, unless it has one."""
    return [] if known.product_code else [InstallationNamed(product_code)]


def install(known: Installation, licence: Licence, document: str, now: datetime) -> list[Event]:
    """Bring a licence that is well signed into use. Raises :class:`InvalidInput` with every fault."""
    if known.installed and _said(known.installed) == licence:
        return []
    faults = []
    if licence.product_code != known.product_code:
        faults.append(f"licence: is for another product code than {known.product_code}: ask for one for this")
    if known.installed and licence.issued_at <= known.installed.issued_at:
        faults.append(f"licence: is not newer than the one in use, issued at {known.installed.issued_at}")
    if datetime.fromisoformat(licence.issued_at) > now + _CLOCKS_DIFFER:
        faults.append("licence: is issued in the future: look at this machine's clock")
    if faults:
        raise InvalidInput(faults)
    return [LicenceInstalled(**asdict(licence), document=document)]


def is_supported(licence: Licence, today: date) -> bool:
    """Whether its support lasts: versions of that time may be installed."""
    return today.isoformat() <= licence.end_of_support


def product_code(numbers: Iterable[int]) -> str:
    """A product code of at least 25 random numbers, each from 0 to 31."""
    characters = [CODE_CHARACTERS[number] for number in islice(numbers, _CODE_LENGTH)]
    groups = (characters[at : at + _CODE_GROUP] for at in range(0, len(characters), _CODE_GROUP))
    return "-".join("".join(group) for group in groups)


def vendor_key(text: str) -> bytes:
    """The 32 bytes of an Ed25519 public key in PEM, or of the base64 inside it. Raises ValueError."""
    try:
        encoded = base64.b64decode("".join(_PEM_LINE.sub("", text).split()), validate=True)
    except ValueError:
        encoded = b""
    if len(encoded) != len(_PUBLIC_KEY) + 32 or not encoded.startswith(_PUBLIC_KEY):
        raise ValueError("is no Ed25519 public key as 'openssl pkey -pubout' writes it")
    return encoded[len(_PUBLIC_KEY) :]


def read(document: bytes, limits: Limits) -> Signed:
    """A licence file: ``{"licence": {...}, "signature": "<base64>"}``. Raises :class:`InvalidInput` with every fault.

    What is signed are :func:`canonical` bytes, whatever white space and order the file has.
    """
    if len(document) > limits.licence_file_max:
        raise InvalidInput([f"licence: the file has more than {limits.licence_file_max} bytes"])
    try:
        said = json.loads(document.decode("utf-8"), object_pairs_hook=_each_once, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise InvalidInput(
            ["licence: the file is not the JSON document that the vendor made: give it as it came"]
        ) from None
    _check_names(said, ("licence", "signature"), "the file")
    terms = said["licence"]
    _check_names(terms, ("format", *_FIELDS), "'licence'")
    signature = _signature(said["signature"])
    faults = [f"licence: {field} {fault}" for field, check in _FIELDS.items() if (fault := check(terms[field]))]
    if terms["format"] != FORMAT:
        faults.append(f"licence: format is not {FORMAT!a}: a newer program may read it")
    if len(signature) != SIGNATURE_LENGTH:
        faults.append("licence: signature is no Ed25519 signature in base64")
    if faults:
        raise InvalidInput(faults)
    licence = Licence(**{field: terms[field] for field in _FIELDS})
    return Signed(licence, canonical(licence), signature)


def canonical(licence: Licence) -> bytes:
    """What the vendor signs: the fields and the format as JSON, sorted by name, without white space, in ASCII."""
    said = {"format": FORMAT, **asdict(licence)}
    return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")


def _said(installed: LicenceInstalled) -> Licence:
    return Licence(installed.product_code, installed.clients_max, installed.end_of_support, installed.issued_at)


def _check_names(said: Any, names: Sequence[str], what: str) -> None:
    if not isinstance(said, dict) or sorted(said) != sorted(names):
        raise InvalidInput([f"licence: {what} must hold {', '.join(names)}, and nothing else"])


def _each_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    held = dict(pairs)
    if len(held) != len(pairs):
        raise ValueError("a name stands twice")
    return held


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def _signature(said: Any) -> bytes:
    try:
        return base64.b64decode(said, validate=True) if isinstance(said, str) else b""
    except ValueError:
        return b""


def _code_fault(said: Any) -> str:
    return "" if isinstance(said, str) and _CODE.match(said) else "is no product code"


def _clients_fault(said: Any) -> str:
    fits = type(said) is int and 1 <= said <= _CLIENTS_MAX
    return "" if fits else f"is no whole number from 1 to {_CLIENTS_MAX}"


def _day_fault(said: Any) -> str:
    return "" if isinstance(said, str) and _DAY.match(said) and _is_time(said) else "is no date like 2030-12-31"


def _second_fault(said: Any) -> str:
    is_one = isinstance(said, str) and _SECOND.match(said) and _is_time(said)
    return "" if is_one else "is no time in UTC like 2029-01-31T12:00:00Z"


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


_FIELDS = {
    "product_code": _code_fault,
    "clients_max": _clients_fault,
    "end_of_support": _day_fault,
    "issued_at": _second_fault,
}
