"""What does the catalogue say of the files of a storage? For moving, checking and reconciling."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from domain.instance import Content

_PAGE = """
SELECT sop_instance_uid, digest, size, header_size, transfer_syntax_uid, storage, path
FROM instance WHERE storage = %s AND sop_instance_uid > %s ORDER BY sop_instance_uid LIMIT %s
"""
_OF = """
SELECT sop_instance_uid, digest, size, header_size, transfer_syntax_uid, storage, path
FROM instance WHERE sop_instance_uid = ANY(%(uids)s)
UNION ALL
SELECT sop_instance_uid, digest, size, header_size, transfer_syntax_uid, storage, path
FROM withdrawn_instance WHERE sop_instance_uid = ANY(%(uids)s)
"""
_USED = """
SELECT storage, count(*), sum(size + header_size) FROM (
    SELECT storage, size, header_size FROM instance
    UNION ALL SELECT storage, size, header_size FROM withdrawn_instance
) AS kept GROUP BY storage
"""


def kept_in(connection: Any, storage: str, after: str, maximum: int) -> list[tuple[str, Content]]:
    """The instances in a storage by SOP Instance UID, after one of them; at most ``maximum``."""
    return list(_contents(connection.execute(_PAGE, (storage, after, maximum)).fetchall()))


def kept_of(connection: Any, sop_instance_uids: Sequence[str]) -> Mapping[str, Content]:
    """Where these instances are, also those of removed storages."""
    return dict(_contents(connection.execute(_OF, {"uids": list(sop_instance_uids)}).fetchall()))


def used(connection: Any) -> Mapping[str, tuple[int, int]]:
    """How many instances each storage holds, removed ones too, and their bytes with their headers."""
    return {name: (count, int(size)) for name, count, size in connection.execute(_USED).fetchall()}


def _contents(rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[str, Content]]:
    return ((uid, Content(*content)) for uid, *content in rows)
