"""Is a device there, and does it answer C-ECHO? In words that say what to look at when it does not (DEV-3, DEV-4)."""

from __future__ import annotations

import errno
import socket
import ssl
import time
from dataclasses import dataclass, replace

from adapters.dimse import requestor
from adapters.dimse.associate_request import MalformedAssociate
from adapters.dimse.errors import AssociationEnded, AssociationRejected, ConnectionFailed, DimseError, TlsFailed
from adapters.dimse.negotiation import VERIFICATION
from domain.device import DeviceAdded
from domain.errors import Refused
from domain.limits import Limits
from domain.rejection import harmless
from domain.transcoding import IMPLICIT

_HTTP = 80
_STEPS = 6
_TOLD_MAX = 240
"""Characters of a reason: for a person to read, but a hostile peer may have its words in it."""
_SILENT = ("in time", "too long")
_NO_WAY = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL)


@dataclass(frozen=True, slots=True)
class Verified:
    """What came of it: how long it took, who answered as far as it said so, and in words what happened."""

    answered: bool
    seconds: float
    said: str
    implementation_class_uid: str = ""
    implementation_version_name: str = ""
    is_timeout: bool = False

    @property
    def outcome(self) -> str:
        """In one word: ``ok``, ``refused`` or ``timeout``; all that somebody may know who is no administrator (B56)."""
        if self.answered:
            return "ok"
        return "timeout" if self.is_timeout else "refused"


def verify(
    device: DeviceAdded, *, calling_ae_title: str, limits: Limits, tls: ssl.SSLContext | None = None, address: str = ""
) -> Verified:
    """C-ECHO a DICOM device: connection, association, C-ECHO, release. Bounded by the limits; raises nothing.

    ``address`` is where to connect to where the host's name shall not be resolved again.
    """
    began = time.monotonic()
    limits = _patience(limits)
    try:
        association = requestor.associate(
            device.host,
            device.port,
            calling_ae_title=calling_ae_title,
            called_ae_title=device.ae_title,
            contexts=[(VERIFICATION, (IMPLICIT,))],
            limits=limits,
            tls=tls,
            address=address,
        )
    except (DimseError, UnicodeError) as error:
        said = _in_words(error, device, calling_ae_title, limits)
        return Verified(False, time.monotonic() - began, said, is_timeout=_is_timeout(error))
    peer = (
        harmless(association.parties.implementation_class_uid),
        harmless(association.parties.implementation_version_name),
    )
    try:
        status = requestor.echo(association)
        seconds = time.monotonic() - began
        association.release()
    except (DimseError, Refused) as error:
        association.wire.close()
        said = _in_words(error, device, calling_ae_title, limits)
        return Verified(False, time.monotonic() - began, said, *peer, is_timeout=_is_timeout(error))
    if status:
        return Verified(False, seconds, f"it answers C-ECHO with status {status:04X}", *peer)
    return Verified(True, seconds, "it answers C-ECHO", *peer)


def reach(host: str, limits: Limits, port: int = _HTTP) -> Verified:
    """Whether a machine is there at all: a connection that is refused is an answer too. Raises nothing."""
    began = time.monotonic()
    limits = _patience(limits)
    try:
        socket.create_connection((host, port), limits.connect_timeout_seconds).close()
    except ConnectionRefusedError:
        pass
    except (OSError, UnicodeError) as error:
        said = _no_connection(error, host, port, limits)
        return Verified(False, time.monotonic() - began, said, is_timeout=isinstance(error, TimeoutError))
    return Verified(True, time.monotonic() - began, "the machine answers")


def _patience(limits: Limits) -> Limits:
    """Limits under which all steps together end in time: name, connection, TLS, association, C-ECHO, release."""
    seconds = limits.device_call_timeout_seconds / _STEPS
    return replace(
        limits,
        connect_timeout_seconds=min(limits.connect_timeout_seconds, seconds),
        tls_handshake_timeout_seconds=min(limits.tls_handshake_timeout_seconds, seconds),
        dimse_timeout_seconds=min(limits.dimse_timeout_seconds, seconds),
        pdu_timeout_seconds=min(limits.pdu_timeout_seconds, seconds),
    )


def _is_timeout(error: Exception) -> bool:
    if isinstance(error, ConnectionFailed):
        return isinstance(error.__cause__, TimeoutError)
    return isinstance(error, AssociationEnded) and any(words in str(error) for words in _SILENT)


def _in_words(error: Exception, device: DeviceAdded, calling_ae_title: str, limits: Limits) -> str:
    match error:
        case TlsFailed():
            return _told(str(error))
        case ConnectionFailed(__cause__=OSError() as cause) | (UnicodeError() as cause):
            return _no_connection(cause, device.host, device.port, limits)
        case AssociationRejected(source=1, reason=3):
            return f"it rejects us: it does not know our AE title {calling_ae_title}, or not at our address"
        case AssociationRejected(source=1, reason=7):
            return f"it rejects us: its AE title is not {device.ae_title}"
        case AssociationRejected(source=3):
            return "it rejects us for now: it is too busy"
        case AssociationRejected():
            return f"it rejects us: {error}"
        case MalformedAssociate() | AssociationEnded():
            return f"something listens there, but does not answer as DICOM: {_told(str(error))}"
        case Refused():
            return "it takes the association, but does not know C-ECHO"
    return _told(str(error))


def _no_connection(cause: Exception, host: str, port: int, limits: Limits) -> str:
    if isinstance(cause, (socket.gaierror, UnicodeError)):
        return f"the name {host} has no address: is it spelled right, does the name server answer?"
    if isinstance(cause, ConnectionRefusedError):
        return f"the machine {host} is there, but nothing listens at port {port}"
    if isinstance(cause, TimeoutError):
        return f"no answer within {limits.connect_timeout_seconds:.2g} s: is it switched on, is a firewall between?"
    if isinstance(cause, OSError) and cause.errno in _NO_WAY:
        return f"there is no way to {host} from here"
    return _told(str(cause))


def _told(reason: str) -> str:
    return harmless(reason, _TOLD_MAX)
