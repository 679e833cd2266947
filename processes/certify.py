"""Bringing certificates into use and out of it: files read, all faults told at once, keys kept before their facts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from domain import certificate, revocation
from domain.certificate import KIND, SERVER, Certificate, IsSignedBy, Presented, Role, ServerSet
from domain.errors import InvalidInput
from domain.event import Actor, Event
from domain.limits import Limits
from domain.revocation import RevocationListInstalled
from processes.ports import Log, PrivateKeys

Files = Mapping[Role, tuple[bytes, bytes | None]]
"""For each role a certificate file and, but for the CA, a file with its private key."""

Present = Callable[[bytes, bytes | None, Limits], tuple[Presented, str]]

TrialFault = Callable[[Role, Certificate, str, Certificate], str]
"""Why a peer that trusts the last one alone would not take a certificate with its private key, or nothing."""

ReadList = Callable[[bytes, Iterable[Certificate], Limits], RevocationListInstalled]


@dataclass(frozen=True, slots=True)
class Certifier:
    """Changes which certificates are in use.

    ``present`` and ``read_list`` read files; see :mod:`adapters.tls.reading`, :mod:`adapters.tls.revocation` and
    :mod:`adapters.tls.trial`.
    """

    log: Log
    keys: PrivateKeys
    present: Present
    read_list: ReadList
    is_signed_by: IsSignedBy
    trial_fault: TrialFault
    clock: Callable[[], datetime]
    limits: Limits

    def install(self, files: Files, by: Actor, *, demo: bool = False) -> list[Event]:
        """Bring certificates of the server's own set into use, together. Raises InvalidInput with every fault."""
        now = self.clock()
        uploaded: dict[Role, Presented] = {}
        keys: dict[str, str] = {}
        faults: list[str] = []
        for role, (encoded, private_key) in files.items():
            try:
                uploaded[role], key = self.present(encoded, private_key, self.limits)
            except InvalidInput as error:
                faults += [f"{role.value}: {fault}" for fault in error.faults]
                continue
            if key:
                keys[uploaded[role].private_key] = key
        if faults:
            readable = uploaded.items()
            raise InvalidInput(
                [
                    *faults,
                    *(one for role, read in readable for one in certificate.faults_of(role, read, now, self.limits)),
                ]
            )

        def verb(installed: ServerSet) -> list[Event]:
            facts = certificate.install(installed, uploaded, self.is_signed_by, now, self.limits, demo)
            ca = certificate.fold([*installed.values(), *facts]).get(Role.CA)
            if ca:
                self._try_out(uploaded, keys, ca.certificate)
            return facts

        before = self._key_names()
        # A fact whose key is not there would close the TLS ports: the key is durable first.
        for name, key in keys.items():
            self.keys.keep(name, key)
        try:
            return self.log.change(KIND, SERVER, verb, fold=certificate.fold, by=by)
        finally:
            self.keys.forget((before | set(keys)) - self._key_names())

    def _try_out(self, uploaded: Mapping[Role, Presented], keys: Mapping[str, str], ca: Certificate) -> None:
        faults = [
            f"{role.value}: peers that trust the CA {ca.subject!a} do not take it: {fault}"
            for role, presented in uploaded.items()
            if (key := keys.get(presented.private_key))
            and (fault := self.trial_fault(role, presented.certificate, key, ca))
        ]
        if faults:
            raise InvalidInput(faults)

    def remove(self, role: Role, by: Actor) -> list[Event]:
        """Take a certificate of the server's own set out of use; its key is forgotten."""
        before = self._key_names()
        facts = self.log.change(KIND, SERVER, certificate.remove, role, fold=certificate.fold, by=by)
        self.keys.forget(before - self._key_names())
        return facts

    def install_revocation_list(self, encoded: bytes, trusted: Collection[Certificate], by: Actor) -> list[Event]:
        """Refuse from now on whom an authority has revoked; ``trusted`` are all that are. Raises InvalidInput."""
        uploaded = self.read_list(encoded, trusted, self.limits)
        install = revocation.install
        return self.log.change(
            revocation.KIND, uploaded.issuer, install, uploaded, self.clock(), fold=revocation.fold, by=by
        )

    def remove_revocation_list(self, issuer: str, by: Actor) -> list[Event]:
        """Take an authority's list out of use."""
        return self.log.change(revocation.KIND, issuer, revocation.remove, fold=revocation.fold, by=by)

    def _key_names(self) -> set[str]:
        installed = certificate.fold(recorded.event for recorded in self.log.stream(KIND, SERVER))
        return {fact.certificate.public_key for role, fact in installed.items() if role is not Role.CA}
