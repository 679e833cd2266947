"""Facts as lines that a person reads: ``annals events`` and ``annals explain`` (HIS-1, first form)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from domain.event import Event, Recorded

_LEFT_OUT = {"attributes", "document", "particulars", "particulars_digest"}
_ENTRIES_SHOWN = 8


def line(recorded: Recorded) -> str:
    """One fact on one line: position, time, fact, what it says, actor, cause and reason. Control characters escaped."""
    envelope = recorded.envelope
    parts = [
        f"{recorded.position:>10}",
        envelope.at.isoformat(timespec="milliseconds"),
        f"{recorded.event.NAME:<18}",
        details(recorded.event),
        f"by {envelope.by}",
    ]
    if envelope.cause:
        parts.append(f"because of {envelope.cause}")
    if envelope.reason:
        parts.append(f"reason: {envelope.reason}")
    return escaped("  ".join(part for part in parts if part))


def details(event: Event) -> str:
    """What a fact says, as ``name=value`` pairs."""
    said = []
    for field in dataclasses.fields(event):
        value = getattr(event, field.name)
        if field.name in _LEFT_OUT or value in ("", None, ()):
            continue
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = _short(dataclasses.asdict(value))
        elif isinstance(value, (Mapping, tuple)) and len(value) > _ENTRIES_SHOWN:
            value = f"{len(value)} entries"
        said.append(f"{field.name}={value}")
    return " ".join(said)


def life(recorded: Iterable[Recorded]) -> Iterator[str]:
    """Facts in time order, runs of the same fact by the same actor for one cause told as one line."""
    ordered = sorted(recorded, key=lambda one: one.position)
    for _, run in groupby(ordered, key=lambda one: (one.event.NAME, one.envelope.by, _association(one.envelope.cause))):
        facts = list(run)
        if len(facts) <= 3:
            yield from (line(one) for one in facts)
        else:
            first, last = facts[0], facts[-1]
            yield escaped(
                f"{first.position:>10}  {first.envelope.at.isoformat(timespec='milliseconds')}  "
                f"{first.event.NAME} for {len(facts)} instances, the last at "
                f"{last.envelope.at.isoformat(timespec='milliseconds')} (position {last.position})  "
                f"by {first.envelope.by}"
            )


def escaped(text: str) -> str:
    """Text whose control characters cannot move the cursor or forge a line."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _association(cause: str) -> str:
    return cause.rpartition("/")[0] or cause


def _short(content: dict[str, Any]) -> str:
    if "fingerprint" in content:
        return (
            f"{content['subject']} by {content['issuer']} until {content['not_after'][:10]} "
            f"(SHA-256 {content['fingerprint']})"
        )
    if "digest" in content:
        return f"{content['size']} bytes in {content['storage']}:{content['path']} ({content['transfer_syntax_uid']})"
    return str(content)
