"""In which transfer syntax an object may be sent: the device's preferred one, the stored one, then what all can read.

Product TS-1 to TS-3, correctness C3.9. Never lossy unless it is preferred, never lossy from lossy.
"""

from __future__ import annotations

from collections.abc import Collection

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.57"
JPEG_LOSSLESS_SV1 = "1.2.840.10008.1.2.4.70"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_LS_NEAR = "1.2.840.10008.1.2.4.81"
JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"
JPEG_2000 = "1.2.840.10008.1.2.4.91"
HTJ2K_LOSSLESS = "1.2.840.10008.1.2.4.201"
HTJ2K_LOSSLESS_RPCL = "1.2.840.10008.1.2.4.202"
HTJ2K = "1.2.840.10008.1.2.4.203"
RLE = "1.2.840.10008.1.2.5"

NATIVE = frozenset((IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN))
LOSSY = frozenset((JPEG_BASELINE, JPEG_EXTENDED, JPEG_LS_NEAR, JPEG_2000, HTJ2K))
"""What can lose: their pixels are never compressed with loss again."""

DECODED = NATIVE | {
    *(JPEG_BASELINE, JPEG_EXTENDED, JPEG_LOSSLESS, JPEG_LOSSLESS_SV1, JPEG_LS, JPEG_LS_NEAR, JPEG_2000_LOSSLESS),
    *(JPEG_2000, HTJ2K_LOSSLESS, HTJ2K_LOSSLESS_RPCL, HTJ2K, RLE),
}
ENCODED_LOSSLESS = (
    *(JPEG_LS, JPEG_2000_LOSSLESS, JPEG_LOSSLESS_SV1, HTJ2K_LOSSLESS, HTJ2K_LOSSLESS_RPCL, JPEG_LOSSLESS, RLE),
    DEFLATED,
)
"""In the order in which they are tried where a peer takes nothing else."""

ENCODED_LOSSY = LOSSY
ENCODED = NATIVE | frozenset(ENCODED_LOSSLESS) | ENCODED_LOSSY
FALLBACKS = (EXPLICIT, IMPLICIT)
"""What is tried, in this order, where the peer does not take the stored syntax (correctness C3.9)."""


def can(stored: str, wanted: str) -> bool:
    """Whether there is a way from one syntax to the other that breaks no rule; an object may still prove unfit."""
    if stored == wanted:
        return True
    return stored in DECODED and wanted in ENCODED and not (stored in LOSSY and wanted in ENCODED_LOSSY)


def sending_order(stored: str, preferred: str, accepted: Collection[str]) -> list[str]:
    """The syntaxes to try for an object, best first, among those that the peer accepted (TS-3, C3.9)."""
    order = (preferred, stored, *FALLBACKS, *ENCODED_LOSSLESS, BIG_ENDIAN)
    return [syntax for syntax in dict.fromkeys(order) if syntax in accepted and can(stored, syntax)]


def proposed(stored: str, preferred: str) -> list[str]:
    """The syntaxes worth proposing to a destination, the most wanted first."""
    return sending_order(stored, preferred, {preferred, stored, *FALLBACKS})


WEB_DEFAULT, WEB_ANY = "", "*"
"""What a media type without transfer-syntax parameter asks for, and one whose parameter is the asterisk."""

_NOT_ON_THE_WEB = frozenset((IMPLICIT, BIG_ENDIAN))


def web_order(stored: str, asked: Collection[tuple[str, float]]) -> list[str]:
    """The syntaxes to try for an object over HTTP, best first, from what was asked for with its weight (PS3.18 8.7.3).

    Among equals the stored one goes first. What nobody named is Explicit VR Little Endian or, where an object cannot be
    had so, the stored syntax (8.7.3: lossy or too long). Implicit VR and big endian are not used with web services.
    """
    as_stored = EXPLICIT if stored in _NOT_ON_THE_WEB else stored
    ranked: list[tuple[float, bool, str]] = []
    for syntax, weight in asked:
        named = {WEB_DEFAULT: EXPLICIT, WEB_ANY: as_stored}.get(syntax, syntax)
        ranked.append((-weight, named != stored, named))
        if syntax == WEB_DEFAULT:
            ranked.append((0.0, True, as_stored))
    ranked.sort(key=lambda one: one[:2])
    possible = dict.fromkeys(syntax for *_, syntax in ranked if syntax not in _NOT_ON_THE_WEB)
    return [syntax for syntax in possible if can(stored, syntax)]
