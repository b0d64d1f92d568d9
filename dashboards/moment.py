"""Moments as a person types them."""

from __future__ import annotations

from datetime import datetime

from twin.errors import InputError


def moment(text: str, where: str, expected: str = "a time such as 2026-01-01T00:00+08:00") -> datetime:
    """Return the time that `text` names (ISO 8601 with an offset); InputError tells `where` it was and what was due."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise InputError(f"{text!r} is no time", where=where, expected=expected)
    return at
