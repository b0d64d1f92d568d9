"""The audit trail of the running command: where it is kept, and who acts."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping

from sqlalchemy import Engine

from dashboards.settings import Settings
from sensors.operations import connect
from sensors.trail import AuditTrail


def trail_of(settings: Settings, engine: Engine) -> AuditTrail:
    """Return the audit trail in the operations database behind `engine`, anchored where the settings say."""
    return AuditTrail(engine, settings.trail_anchor())


def note(settings: Settings, action: str, subject: str, detail: Mapping[str, object] | None = None) -> None:
    """Write what was just done into the trail of the settings' city, as done by who runs this process."""
    engine = connect(settings.operations_url())
    try:
        trail_of(settings, engine).write(who(), action, subject, detail)
    finally:
        engine.dispose()


def who() -> str:
    """Return who runs this process: the user of the operating system, and behind sudo(8) who asked.

    Asked of the system, not of LOGNAME or USER, which anybody may set.
    """
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = f"uid {os.getuid()}"
    asked = os.environ.get("SUDO_USER", "") if os.getuid() == 0 else ""
    return f"{user} (for {asked})" if asked else user


__all__ = ["note", "trail_of", "who"]
