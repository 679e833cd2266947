"""What is agreed on when an association begins: who speaks with whom, and of what (PS3.7 Annex D)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Context:
    """An accepted presentation context and the roles that we may play in it (PS3.7 D.3.3.4)."""

    id: int
    abstract_syntax: str
    transfer_syntax: str
    as_scu: bool
    as_scp: bool


@dataclass(frozen=True, slots=True)
class Parties:
    """Who speaks with whom."""

    calling_ae_title: str
    called_ae_title: str
    peer_address: str
    implementation_class_uid: str = ""
    implementation_version_name: str = ""
