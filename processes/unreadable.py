"""Recording that the stored bytes of an instance could not be read (F14, D7)."""

from __future__ import annotations

from domain import instance
from domain.event import Actor
from domain.instance import Content
from processes.ports import Log


def record(log: Log, sop_instance_uid: str, content: Content, fault: str, by: Actor) -> bool:
    """Record it, unless it is known or the instance is at another place meanwhile; whether it was news.

    Raises :class:`domain.errors.Unavailable`.
    """
    verb = instance.find_unreadable
    return bool(log.change(instance.KIND, sop_instance_uid, verb, fault, content, fold=instance.fold, by=by))
