"""The audit trail of the running command: where it is kept, and who acts."""

from __future__ import annotations

import os
import pwd

from sqlalchemy import Engine

from dashboards.settings import Settings
from sensors.trail import AuditTrail


def trail_of(settings: Settings, engine: Engine) -> AuditTrail:
    """Return the audit trail in the operations database behind `engine`, anchored where the settings say."""
    return AuditTrail(engine, settings.resolve(settings.operations.trail_anchor))


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


__all__ = ["trail_of", "who"]
