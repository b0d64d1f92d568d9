"""The campaign's broker: Mosquitto with logins, each device held to its own topics."""

from __future__ import annotations

import getpass
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from .processes import Server, free_port, listens, program

INGEST = "ingest"
WIDE = "wide-open"
"""A login that may publish anything: a broker that somebody has set up wrongly."""

_ACL = f"""
user {INGEST}
topic readwrite cim/v1/#
topic readwrite spBv1.0/#

user {WIDE}
topic readwrite #

pattern write cim/v1/+/+/%u/data/#
pattern write cim/v1/+/+/%u/data
pattern write cim/v1/+/+/%u/status
pattern write cim/v1/+/+/%u/cmd/ans
pattern read cim/v1/+/+/%u/ack
pattern read cim/v1/+/+/%u/cmd
"""


def secret(login: str) -> str:
    """Return the password of a login of the campaign: they are nobody's secrets."""
    return f"secret-of-{login}"


class Mosquitto(Server):
    """A real Mosquitto, with persistence as `docs/operations.md` asks for it."""

    def __init__(self, folder: Path, *, told: str = "notice") -> None:
        folder.mkdir()
        self.port = free_port()
        self.folder = folder
        configuration = folder / "mosquitto.conf"
        configuration.write_text(
            f"user {getpass.getuser()}\nlistener {self.port} 127.0.0.1\nallow_anonymous false\n"
            f"password_file {folder}/passwords\nacl_file {folder}/acl\n"
            f"persistence true\npersistence_location {folder}/\nautosave_interval 1\n"
            "max_queued_messages 0\nmax_inflight_messages 0\n"
            f"log_dest stderr\nlog_type error\nlog_type warning\nlog_type {told}\n"
        )
        (folder / "passwords").touch(0o600)
        (folder / "acl").write_text(_ACL)
        super().__init__(
            [program("mosquitto"), "-c", str(configuration)], folder / "broker.log", lambda: listens(self.port)
        )
        self.admit([INGEST, WIDE])

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def admit(self, logins: Iterable[str]) -> None:
        """Give each login its password; a running broker is told by SIGHUP."""
        lines = [f"{login}:{secret(login)}" for login in logins]
        fresh = self.folder / "fresh"
        fresh.write_text("\n".join(lines) + "\n")
        subprocess.run([program("mosquitto_passwd"), "-U", str(fresh)], check=True, capture_output=True)
        with (self.folder / "passwords").open("a") as passwords:
            passwords.write(fresh.read_text())
        if self.alive:
            import signal

            from .processes import send

            send(self.pid, signal.SIGHUP)

    def denied(self) -> list[str]:
        """Return what the broker's log says of denied publishes and logins."""
        return re.findall(r"(?:Denied PUBLISH|not authori[sz]ed).*", self.log.read_text("utf-8", "replace"))
