"""Comparing a storage with the log: files that no fact knows, and facts whose file is gone (STO-5, D6)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from domain import instance
from domain.errors import Refused
from domain.event import Actor
from domain.instance import Content
from processes.ports import FoundFile, Log, Upkeep
from projections.catalogue.kept import kept_in, kept_of
from projections.read_model import ReadModel

_PAGE = 500

Adopt = Callable[[FoundFile], str]
"""Make an instance of a file that no fact knows; what came of it. Raises Refused where it cannot be one."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What does not fit, and what was done about it (nothing where it was only looked at)."""

    what: str
    sop_instance_uid: str
    path: str
    done: str = ""


class Reconciliation:
    """One run over a storage. Without ``mend`` and ``adopt`` it only looks."""

    def __init__(
        self,
        catalogue: ReadModel,
        log: Log,
        storage: Upkeep,
        is_whole: Callable[[Content], bool],
        *,
        by: Actor,
        older_than: float,
        mend: bool,
        adopt: Adopt | None = None,
    ) -> None:
        """Files changed after ``older_than`` (seconds since 1970) may be on their way and are passed over.

        ``is_whole`` says of any content whether its bytes can be read from its place and have its digest.
        """
        self._catalogue = catalogue
        self._log = log
        self._storage = storage
        self._is_whole = is_whole
        self._by = by
        self._older_than = older_than
        self._mend = mend
        self._adopt = adopt

    def run(self) -> Iterator[Difference]:
        """Both directions.

        With ``mend`` a missing file comes back from the orphans or becomes a fact; a copy of what is readable nowhere
        else is linked again; one of what lies whole at its place goes; any other unknown file is set aside. With
        ``adopt`` files of instances that the log does not know become instances (F49).
        """
        yield from self._missing()
        files = (file for file in self._storage.found() if file.modified <= self._older_than)
        while page := list(islice(files, _PAGE)):
            for file, known in self._unknown(page):
                yield self._answered(file, known)

    def _missing(self) -> Iterator[Difference]:
        after = ""
        while page := self._page(after):
            for after, content in page:
                if fault := _fault(self._storage, content):
                    done = self._mend_missing(after, content, fault) if self._mend else ""
                    yield Difference(f"file {fault}", after, content.path, done)

    def _mend_missing(self, uid: str, content: Content, fault: str) -> str:
        if self._storage.bring_back(content):
            return "brought back from the orphans"
        verb = instance.find_unreadable
        self._log.change(instance.KIND, uid, verb, fault, content, fold=instance.fold, by=self._by)
        return "recorded as unreadable"

    def _unknown(self, files: Sequence[FoundFile]) -> Iterator[tuple[FoundFile, instance.Instance | None]]:
        """The files that no fact knows, each with what history knows of its instance."""
        with self._catalogue.current() as connection:
            kept = kept_of(connection, [file.sop_instance_uid for file in files if file.content])
        for file in files:
            place = kept.get(file.sop_instance_uid)
            if place and (place.storage, place.path) == (self._storage.name, file.path):
                continue
            known = self._state(file.sop_instance_uid) if file.content else None
            if not _is_known(known, file):
                yield file, known

    def _answered(self, file: FoundFile, known: instance.Instance | None) -> Difference:
        if self._adopt and known is None and file.content:
            try:
                return _difference(file, self._adopt(file))
            except Refused as refusal:
                if not self._mend:
                    return _difference(file, f"cannot be adopted: {refusal}")
        return _difference(file, self._mended(file, known)) if self._mend else _difference(file)

    def _mended(self, file: FoundFile, known: instance.Instance | None) -> str:
        found = file.content
        place = known.place_of(found.digest, found.transfer_syntax_uid) if known and found else None
        if found and place and self._is_whole(place):
            if self._storage.remove(file.path, self._older_than, lambda: self._is_needed(file)):
                return f"removed: the same lies whole in {place.storage}"
            return "in use again"
        if found and place and _is_same(found, place) and not self._storage.fault_of(found):
            self._log.change(
                instance.KIND, file.sop_instance_uid, instance.move, found, fold=instance.fold, by=self._by
            )
            return "linked again"
        aside = self._storage.set_aside(file.path, self._older_than)
        return f"set aside as {aside}" if aside else "in use again"

    def _is_needed(self, file: FoundFile) -> bool:
        known = self._state(file.sop_instance_uid)
        return known is None or _is_known(known, file)

    def _state(self, uid: str) -> instance.Instance | None:
        return instance.fold(recorded.event for recorded in self._log.stream(instance.KIND, uid))

    def _page(self, after: str) -> list[tuple[str, Content]]:
        with self._catalogue.current() as connection:
            return kept_in(connection, self._storage.name, after, _PAGE)


def _is_known(known: instance.Instance | None, file: FoundFile) -> bool:
    return known is not None and file.content is not None and known.needs(file.content)


def _is_same(found: Content, place: Content) -> bool:
    return (found.size, found.transfer_syntax_uid) == (place.size, place.transfer_syntax_uid)


def _difference(file: FoundFile, done: str = "") -> Difference:
    return Difference("file that no fact knows", file.sop_instance_uid, file.path, done)


def _fault(storage: Upkeep, content: Content) -> str:
    try:
        os.close(storage.open(content))
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return ""
