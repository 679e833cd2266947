"""Whose signature a licence has (B58); and that a vendor needs no more than openssl, as decision 19 says it."""

from __future__ import annotations

import json
import subprocess
from base64 import b64encode
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from adapters.licence.signature import is_signed
from domain import licence
from domain.limits import Limits
from tests.licence.vendor import Vendor

CODE = "0123A-BCDEF-GHJKM-NPQRS-TVWXY"
VENDOR = Vendor()


def test_LIC_1_a_licence_made_with_openssl_is_signed_by_the_key_that_openssl_prints(tmp_path: Path) -> None:
    terms = (
        '{"clients_max":10,"end_of_support":"2030-12-31","format":"annals-licence-1",'
        f'"issued_at":"2026-11-30T09:00:00Z","product_code":"{CODE}"}}'
    )
    (tmp_path / "terms").write_text(terms)

    def openssl(*arguments: str) -> bytes:
        return subprocess.run(["openssl", *arguments], cwd=tmp_path, check=True, capture_output=True).stdout

    openssl("genpkey", "-algorithm", "ed25519", "-out", "vendor.pem")
    key = openssl("pkey", "-in", "vendor.pem", "-pubout").decode()
    signature = openssl("pkeyutl", "-sign", "-inkey", "vendor.pem", "-rawin", "-in", "terms")
    document = f'{{"licence": {terms}, "signature": "{b64encode(signature).decode()}"}}'
    signed = licence.read(document.encode(), Limits())
    assert is_signed(licence.vendor_key(key), signed.message, signed.signature)
    assert not is_signed(VENDOR.public_key, signed.message, signed.signature)


@given(st.binary(min_size=64, max_size=64), st.binary(min_size=32, max_size=32))
def test_B58_no_other_signature_and_no_other_key_will_do(signature: bytes, key: bytes) -> None:
    signed = licence.read(json.dumps(VENDOR.signed(CODE)).encode(), Limits())
    assert is_signed(VENDOR.public_key, signed.message, signed.signature)
    assert not is_signed(VENDOR.public_key, signed.message, signature)
    assert not is_signed(key, signed.message, signed.signature)
    assert not is_signed(VENDOR.public_key, signed.message + b" ", signed.signature)
