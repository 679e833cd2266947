"""C-FIND as SCP, patient root and study root (PS3.4 C.4.1)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from adapters.dimse.answers import CANCELLED, PENDING, PENDING_WITH_UNSUPPORTED_KEYS, SUCCESS, status_of
from adapters.dimse.association import Association
from adapters.dimse.command import Command
from adapters.dimse.encoding import RecordEncoder
from adapters.dimse.errors import AssociationEnded
from adapters.dimse.identifier import IdentifierReader
from adapters.dimse.presentation import PATIENT_ROOT_FIND, is_relational
from domain.attributes import Level
from domain.limits import Limits
from domain.matching import (
    INSTANCE_AVAILABILITY,
    QUERY_RETRIEVE_LEVEL,
    RETRIEVE_AE_TITLE,
    SPECIFIC_CHARACTER_SET,
    Key,
    Query,
    is_private_creator,
    query,
)
from processes.find import Finder

_LOG = logging.getLogger("annals.dimse.find")


class FindService:
    """Answers C-FIND: rows are streamed, and a cancel is seen between them."""

    def __init__(self, finder: Finder, ae_title: str, limits: Limits) -> None:
        self._finder = finder
        self._ae_title = ae_title
        self._limits = limits
        self._identifiers = IdentifierReader(limits)
        self._encoder = RecordEncoder()

    def __call__(self, association: Association, context_id: int, request: Command) -> None:
        """Answer one request."""
        context = association.contexts[context_id]
        root = Level.PATIENT if context.abstract_syntax == PATIENT_ROOT_FIND else Level.STUDY
        relational = is_relational(association.extended, context.abstract_syntax)
        try:
            encoded = association.read_small_data_set(self._limits.identifier_max)
            keys = self._identifiers.keys(encoded, context.transfer_syntax)
            asked = query(root, _level_name(keys), keys, self._limits, relational=relational)
            pending = PENDING_WITH_UNSUPPORTED_KEYS if asked.unsupported else PENDING
            for page in self._finder.find(asked):
                if not self._send(association, context_id, request, page, asked, pending):
                    association.send(context_id, request.response(CANCELLED))
                    return
            status, said = SUCCESS, ""
        except AssociationEnded:
            raise
        except Exception as error:  # noqa: BLE001 - the door's one place where errors become statuses
            status, said = status_of(error)
            _LOG.warning("C-FIND of %a refused with %04X: %s", association.calling_ae_title, status, said)
        association.send(context_id, request.response(status, error_comment=said))

    def _send(
        self,
        association: Association,
        context_id: int,
        request: Command,
        page: Sequence[Mapping[str, Any]],
        asked: Query,
        pending: int,
    ) -> bool:
        """Answer with a page of records; whether more is wanted: a cancel is seen before each answer (C1.19)."""
        syntax = association.contexts[context_id].transfer_syntax
        character_sets = asked.keys[SPECIFIC_CHARACTER_SET].values if SPECIFIC_CHARACTER_SET in asked.keys else ()
        for record in page:
            if association.is_cancelled(request.message_id):
                return False
            answer = self._encoder.encode(self._answer(asked, record), syntax, character_sets)
            association.send(context_id, request.response(pending), answer)
        return not association.is_cancelled(request.message_id)

    def _answer(self, asked: Query, record: Mapping[str, Any]) -> dict[str, Any]:
        """The requested keys and only those; zero length where there is no value (correctness C1.17)."""
        answer: dict[str, Any] = {
            tag: _requested(tag, key, record.get(tag))
            for tag, key in asked.keys.items()
            if tag != SPECIFIC_CHARACTER_SET
        }
        answer[QUERY_RETRIEVE_LEVEL] = {"vr": "CS", "Value": [asked.level.name]}
        answer[RETRIEVE_AE_TITLE] = {"vr": "AE", "Value": [self._ae_title]}
        if INSTANCE_AVAILABILITY in asked.keys:
            answer[INSTANCE_AVAILABILITY] = {"vr": "CS", "Value": ["ONLINE"]}
        return answer


def _requested(tag: str, key: Key, element: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if is_private_creator(tag):
        return {"vr": key.vr, "Value": list(key.values)}
    if element is None:
        return {"vr": key.vr}
    if key.vr == "SQ" and key.item:
        items = element.get("Value") or []
        return {
            "vr": "SQ",
            "Value": [
                {tag: _requested(tag, inner, item.get(tag)) for tag, inner in key.item.items()} for item in items
            ],
        }
    return element


def _level_name(keys: Mapping[str, Key]) -> str:
    key = keys.get(QUERY_RETRIEVE_LEVEL)
    return key.values[0] if key and key.values else ""
