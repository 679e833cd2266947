"""How talking with a DICOM peer ends when it does not end in a release."""

from __future__ import annotations

from domain.errors import AnnalsError


class DimseError(AnnalsError):
    """Any end of a conversation with a peer other than a release."""


class ConnectionFailed(DimseError):
    """No TCP or TLS connection came about."""


class TlsFailed(ConnectionFailed):
    """The peer takes connections, and no TLS came about on ours."""


class AssociationRejected(DimseError):
    """The peer answered A-ASSOCIATE-RJ; the numbers are PS3.8 Table 9-21's."""

    def __init__(self, result: int, source: int, reason: int) -> None:
        super().__init__(f"the association was rejected: {_REASONS.get((source, reason), 'unknown reason')}")
        self.result = result
        self.source = source
        self.reason = reason


class AssociationEnded(DimseError):
    """The association was aborted by either side, or its connection was lost."""


class GivenUp(AssociationEnded):
    """We ended it: the peer broke the protocol, a limit or a deadline. The text is one of few."""


class FileCut(AssociationEnded):
    """We aborted, since one of our own files could not be read to its end; the peer did nothing wrong."""


_REASONS = {
    (1, 1): "no reason given",
    (1, 2): "application context name not supported",
    (1, 3): "calling AE title not recognised",
    (1, 7): "called AE title not recognised",
    (2, 1): "no reason given",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}
