"""The campaign's broker: Mosquitto with logins, each device held to its own topics."""

from __future__ import annotations

import getpass
import json
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path

from .processes import Server, chengmai, free_port, listens, program, send

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

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.port = free_port()
        self.folder = folder
        configuration = folder / "mosquitto.conf"
        configuration.write_text(
            f"user {getpass.getuser()}\nlistener {self.port} 127.0.0.1\nallow_anonymous false\n"
            f"password_file {folder}/passwords\nacl_file {folder}/acl\n"
            f"persistence true\npersistence_location {folder}/\nautosave_interval 1\n"
            "max_queued_messages 0\nmax_inflight_messages 0\n"
            "log_dest stderr\nlog_type error\nlog_type warning\nlog_type notice\n"
        )
        (folder / "passwords").touch(0o600)
        (folder / "acl").write_text(_ACL)
        super().__init__(
            [program("mosquitto"), "-c", str(configuration)], folder / "broker.log", lambda: listens(self.port)
        )
        self.admit([INGEST, WIDE])

    @property
    def settings(self) -> dict[str, str]:
        """What the settings of ingest say of this broker."""
        return {
            "url": f"mqtt://127.0.0.1:{self.port}",
            "username": INGEST,
            "password_file": str(self.folder / "ingest.secret"),
        }

    def prepare(self, settings: Path) -> None:
        """Write the secret of ingest, now that there is a city."""
        del settings
        (self.folder / "ingest.secret").touch(0o600)
        (self.folder / "ingest.secret").write_text(secret(INGEST))

    def credentials(self, login: str) -> dict[str, str]:
        """Return what a device needs to connect under a login."""
        return {"username": login, "password": secret(login)}

    def admit(self, logins: Iterable[str]) -> None:
        """Give each login its password; a running broker is told by SIGHUP."""
        lines = [f"{login}:{secret(login)}" for login in logins]
        fresh = self.folder / "fresh"
        fresh.write_text("\n".join(lines) + "\n")
        subprocess.run([program("mosquitto_passwd"), "-U", str(fresh)], check=True, capture_output=True)
        with (self.folder / "passwords").open("a") as passwords:
            passwords.write(fresh.read_text())
        if self.alive:
            send(self.pid, signal.SIGHUP)


class Hardened(Server):
    """Mosquitto as `chengmai broker config` sets it up: TLS, logins of the registry's devices, access lists."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self._services = free_port(), free_port()
        self._secrets: dict[str, str] = {}
        self._settings = Path()
        self._log = folder / "log" / "mosquitto.log"
        command = [program("mosquitto"), "-c", str(folder / "mosquitto.conf")]
        super().__init__(command, folder.with_suffix(".log"), lambda: listens(self.port))

    @property
    def settings(self) -> dict[str, str]:
        """What the settings of ingest say of this broker."""
        return {
            "url": f"mqtts://127.0.0.1:{self._services}",
            "username": INGEST,
            "password_file": str(self.folder / "secrets" / INGEST),
            "ca": str(self.folder / "tls" / "ca.pem"),
        }

    def prepare(self, settings: Path) -> None:
        """Have the configuration written, now that there is a city."""
        self._settings = settings
        doors = ("--devices", f"127.0.0.1:{self.port}", "--services", f"127.0.0.1:{self._services}")
        user = ("--user", getpass.getuser())
        chengmai(settings, "broker", "config", str(self.folder), "--name", "127.0.0.1", *doors, *user)

    def credentials(self, login: str) -> dict[str, str]:
        """Return what a device needs to connect under a login."""
        ca = str(self.folder / "tls" / "ca.pem")
        return {"username": login, "password": self._secrets[login], "ca": ca}

    def admit(self, logins: Iterable[str]) -> None:
        """Issue credentials to registered devices that have none, and tell the broker."""
        issued = json.loads(chengmai(self._settings, "devices", "credentials", *logins, "--json"))
        self._secrets |= {row["login"]: row["secret"] for row in issued}
        chengmai(self._settings, "broker", "logins", str(self.folder), *(["--reload"] if self.alive else []))

    def audited(self) -> list[str]:
        """Return the audit trail, a line an entry, once `chengmai broker watch` has read the broker's log."""
        chengmai(self._settings, "broker", "watch", str(self.folder), "--once")
        return chengmai(self._settings, "trail", "list").splitlines()
