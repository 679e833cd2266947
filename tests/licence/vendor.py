"""A vendor who signs licences, as the decision on licences describes it."""

from __future__ import annotations

import base64
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

FORMAT = "annals-licence-1"


class Vendor:
    """One key, and what it has signed."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()

    @property
    def pem(self) -> str:
        """The public key as a setting."""
        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    @property
    def public_key(self) -> bytes:
        """Its 32 bytes."""
        return self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def signed(self, product_code: str, **changes: Any) -> dict[str, Any]:
        """A licence file's content; ``changes`` replace fields before it is signed."""
        terms = {
            "format": FORMAT,
            "product_code": product_code,
            "clients_max": 5,
            "end_of_support": "2099-12-31",
            "issued_at": "2026-01-31T12:00:00Z",
            **changes,
        }
        message = json.dumps(terms, sort_keys=True, separators=(",", ":")).encode()
        return {"licence": terms, "signature": base64.b64encode(self._key.sign(message)).decode()}

    def licence(self, product_code: str, **changes: Any) -> bytes:
        """A licence file."""
        return json.dumps(self.signed(product_code, **changes), indent=2).encode()
