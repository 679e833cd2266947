"""What must hold after any crash: every broken promise is one line."""

from __future__ import annotations

from collections.abc import Iterable

from adapters.files.storages import StoredFiles
from annals.compose import Archive
from domain.attributes import Level
from domain.event import Recorded
from domain.instance import Content, InstanceStored
from projections.catalogue.select import select
from tests.durability.objects import Sent

_PAGE = 1000
_ROWS_MAX = 100_000


def broken_promises(archive: Archive, files: StoredFiles, acknowledged: Iterable[Sent], after: int = 0) -> list[str]:
    """P1 and P2: what was acknowledged is in the log, whole on disk and found; no fact is without its file.

    Facts are looked at from a position on; the read model is brought up to the log first, as at a start.
    """
    facts = list(_stored(archive, after))
    broken = [f"the fact {fact.position} has no whole file" for fact in facts if not _is_whole(files, fact)]
    versions = [(fact.stream, fact.version) for fact in facts]
    broken += [f"{key} stands twice in the log" for key in set(versions) if versions.count(key) > 1]
    for reader in archive.readers():
        reader.prepare()
        while reader.step():
            pass
    digests = {_event(fact).sop_instance_uid: _event(fact).content.digest for fact in facts}
    wanted = list(acknowledged)
    with archive.catalogue.current() as connection:
        rows = select(connection, {Level.STUDY: sorted({one.study for one in wanted})}, _ROWS_MAX)
    found = {row[1]: Content(*row[4:]) for row in rows}
    for one in wanted:
        digest = one.digest()
        if digests.get(one.instance) != digest:
            broken.append(f"{one.instance} was acknowledged and is not in the log")
        elif one.instance not in found:
            broken.append(f"{one.instance} was acknowledged and is not found")
        elif found[one.instance].digest != digest or not files.is_whole(found[one.instance]):
            broken.append(f"{one.instance} was acknowledged and cannot be retrieved")
    return broken


def _stored(archive: Archive, after: int) -> Iterable[Recorded]:
    while facts := archive.log.read(after, _PAGE):
        yield from (fact for fact in facts if isinstance(fact.event, InstanceStored))
        after = facts[-1].position


def _event(fact: Recorded) -> InstanceStored:
    assert isinstance(fact.event, InstanceStored)
    return fact.event


def _is_whole(files: StoredFiles, fact: Recorded) -> bool:
    return fact.particulars is not None and files.is_whole(_event(fact).content)
