"""Values as people write them: names, dates and times (PS3.5 6.2)."""

from __future__ import annotations


def readable(value: str, vr: str) -> str:
    """A value as people write it."""
    if vr == "PN":
        alphabetic = value.split("=")[0] or value.replace("=", " ")
        family, *given = [part.strip() for part in alphabetic.split("^")]
        return ", ".join(filter(None, (family, " ".join(filter(None, given)))))
    if vr == "DA" and len(value) == 8 and value.isdigit():
        return f"{value[:4]}-{value[4:6]}-{value[6:]}"
    if vr == "TM" and len(value) >= 4 and value[:4].isdigit():
        return ":".join(filter(None, (value[:2], value[2:4], value[4:6])))
    if vr == "DT" and len(value) >= 12 and value[:12].isdigit():
        return f"{readable(value[:8], 'DA')} {readable(value[8:14], 'TM')}"
    return value
