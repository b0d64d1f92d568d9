"""Mosquitto for a city: its configuration, access lists and password files, written into one folder.

Three doors, each with its own logins and access list (``per_listener_settings``): **devices** come with a password,
devices with a **certificate** through another, the city's own **services** through a third that the field never sees.
Every directive is one of mosquitto.conf(5), version 2.0.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ingest.broker.certificates import LEAF_LASTS, TlsFolder
from ingest.broker.private import make_folder, write_private
from ingest.topic import PREFIX, Channel
from sensors.credentials import AT_THE_BROKER, Credentials, Role
from twin.asset import System
from twin.errors import InputError, UnavailableError

SERVICES = ("ingest", "gateway")

MAX_PACKET_BYTES = 2 * 1024 * 1024
"""A packet longer than this ends its connection. It is far more than the contract's 64 KiB, so that a message that is
merely too long reaches quarantine and is receipted there: a device that is cut off instead would send it for ever."""

_SPARKPLUG_ACL = """
# Sparkplug B 3.0, chapter 4: the login is the edge node's id.
pattern write spBv1.0/+/NBIRTH/%u
pattern write spBv1.0/+/NDATA/%u
pattern write spBv1.0/+/NDEATH/%u
pattern write spBv1.0/+/DBIRTH/%u/+
pattern write spBv1.0/+/DDATA/%u/+
pattern write spBv1.0/+/DDEATH/%u/+
pattern read spBv1.0/+/NCMD/%u
pattern read spBv1.0/+/DCMD/%u/+
pattern read spBv1.0/STATE/+
"""

SERVICES_ACL = f"""\
user ingest
topic read {PREFIX}/#
topic write {PREFIX}/+/+/+/ack
topic write {PREFIX}/+/+/+/cmd
topic write {PREFIX}/+/alarms
topic read spBv1.0/#
topic write spBv1.0/+/NCMD/+
topic write spBv1.0/+/DCMD/+/+
topic write spBv1.0/STATE/+

user gateway
topic write {PREFIX}/+/+/+/data
topic write {PREFIX}/+/+/+/data/senml
topic write {PREFIX}/+/+/+/data/hj212
topic read {PREFIX}/+/+/+/ack
"""


@dataclass(frozen=True, slots=True)
class Door:
    """Where a listener listens; `most` bounds its connections (-1: as many as the system allows)."""

    host: str
    port: int
    most: int = -1

    @staticmethod
    def parse(text: str) -> Door:
        """Return the door that ``host:port`` names (InputError).

        >>> Door.parse("0.0.0.0:8883").port
        8883
        """
        host, _, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not host or " " in host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise InputError("is no place to listen at", where=text, expected="host:port such as 0.0.0.0:8883")
        return Door(host, int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Written:
    """How many logins the broker's files hold, and how many certificates they revoke."""

    devices: int
    services: int
    revoked: int


@dataclass(frozen=True, slots=True)
class SetUp:
    """What a set-up made: files of TLS, logins of services whose secrets are new, and the logins written."""

    made: Sequence[str]
    issued: Sequence[str]
    written: Written


@dataclass(frozen=True, slots=True)
class Plan:
    """A broker to be: its folder (absolute), its doors, the user it runs as, and how it keeps what it has.

    Every `save_s` seconds the broker writes all that it holds to disk, and a kill -9 costs what came after; 0 writes
    after every single message, which costs forty times the rate (18,000 to 440 messages/s on two cores). Devices that
    wait for receipts lose nothing either way. With `denials`, the broker logs what its access lists deny (and, as its
    log has no finer grain, every packet: a third more of its processor), for `chengmai broker watch` to audit.
    """

    folder: Path
    user: str
    districts: Sequence[str]
    devices: Door = Door("0.0.0.0", 8883)  # noqa: S104  # devices come from outside, through TLS
    services: Door = Door("127.0.0.1", 8884)
    certificates: Door | None = None
    save_s: int = 2
    denials: bool = True
    sparkplug: bool = True

    @property
    def configuration(self) -> Path:
        """The broker's configuration."""
        return self.folder / "mosquitto.conf"

    @property
    def log(self) -> Path:
        """The broker's log."""
        return self.folder / "log" / "mosquitto.log"


def configuration(plan: Plan) -> str:
    """Return the text of ``mosquitto.conf``."""
    folder = plan.folder
    lines = [
        "# Written by `chengmai broker config`; run it again rather than editing here.",
        f"user {plan.user}",
        f"pid_file {folder / 'mosquitto.pid'}",
        "per_listener_settings true",
        "",
        "# What has come in survives a kill -9 but for the last moments, and no queue is cut short.",
        "persistence true",
        f"persistence_location {folder / 'data'}/",
        f"autosave_on_changes {'false' if plan.save_s else 'true'}",
        f"autosave_interval {plan.save_s or 1}",
        "max_queued_messages 0",
        "persistent_client_expiration 14d",
        "",
        "# Limits.",
        f"max_packet_size {MAX_PACKET_BYTES}",
        "max_keepalive 1200",
        "set_tcp_nodelay true",
        "",
        f"log_dest file {plan.log}",
        "log_timestamp_format %Y-%m-%dT%H:%M:%S%z",
        *(f"log_type {kind}" for kind in _log_types(plan)),
        "",
        "# Devices with a password. Their login is their client id: nobody ends another's session.",
        *_door(plan, plan.devices, "devices"),
        "use_username_as_clientid true",
        "",
        "# The city's own services.",
        *_door(plan, plan.services, "services"),
    ]
    if plan.certificates is not None:
        lines += [
            "",
            "# Devices with a certificate: its common name is their login.",
            *_door(plan, plan.certificates, "devices", passwords=False),
            "require_certificate true",
            "use_identity_as_username true",
            "use_username_as_clientid true",
            f"crlfile {folder / 'tls' / 'crl.pem'}",
        ]
    return "\n".join(lines) + "\n"


def devices_acl(districts: Sequence[str], *, sparkplug: bool) -> str:
    """Return the access list of devices: each speaks and hears under its own name, in one of `districts`.

    Districts and systems are written out, since a device that could make up as many as it likes could fill the broker
    with retained messages. What is sent most stands first: Mosquitto takes the first line that fits.
    """
    lines = ["# %u is the login (docs/devices.md)."]
    for access, channel in (
        ("write", Channel.DATA),
        ("read", Channel.ACK),
        ("write", Channel.SENML),
        ("write", Channel.STATUS),
        ("read", Channel.CMD),
        ("write", Channel.ANSWER),
    ):
        places = [f"{district}/{system}" for district in districts for system in System]
        lines += [f"pattern {access} {PREFIX}/{place}/%u/{channel}" for place in places]
    return "\n".join(lines) + "\n" + (_SPARKPLUG_ACL if sparkplug else "")


def set_up(plan: Plan, names: Sequence[str], logins: Credentials) -> SetUp:
    """Write everything that the broker needs into its folder; what TLS needs stays where it is there already.

    `names` are the host names and addresses that clients call the broker by; what the services call it by is always
    among them. The services' logins are issued unless there are any. InputError for what cannot be written.
    """
    make_folder(plan.folder)
    if os.geteuid() == 0:
        try:
            shutil.chown(plan.folder, plan.user)
        except LookupError:
            raise InputError("no such user", where=plan.user, expected="one of this system") from None
    for name in ("data", "log", "secrets", "tls"):
        make_folder(plan.folder / name)
    inside = [plan.services.host] if plan.services.host not in {*names, "0.0.0.0", "::"} else []  # noqa: S104  # not bound
    made = TlsFolder(plan.folder / "tls").prepare([*names, *inside], logins.clock.now())
    known = {credential.login for credential in logins.each() if credential.revoked is None}
    issued = [login for login in SERVICES if login not in known]
    for login in issued:
        secret = logins.issue(login, Role.SERVICE).secret
        write_private(plan.folder / "secrets" / login, f"{secret}\n".encode())
    write_private(plan.configuration, configuration(plan).encode())
    write_private(plan.folder / "devices.acl", devices_acl(plan.districts, sparkplug=plan.sparkplug).encode())
    write_private(plan.folder / "services.acl", SERVICES_ACL.encode())
    write_private(plan.folder / "README.md", readme(plan).encode())
    return SetUp(made, issued, write_logins(plan.folder, logins))


def write_logins(folder: Path, logins: Credentials) -> Written:
    """Write the password files of all logins that are valid now, and the revocation list; return what is in them.

    InputError for a folder that `set_up` has not made.
    """
    if not (folder / "mosquitto.conf").is_file():
        raise InputError("is no broker's folder", where=str(folder), expected="one of `chengmai broker config`")
    now = logins.clock.now()
    kept: dict[str, list[str]] = {"devices": [], "services": []}
    names: set[str] = set()
    for credential in logins.each():
        if credential.role in AT_THE_BROKER and credential.valid(now):
            door = "services" if credential.role is Role.SERVICE else "devices"
            kept[door].append(f"{credential.login}:{credential.verifier}\n")
            names.add(credential.login)
    for door, lines in kept.items():
        write_private(folder / f"{door}.passwd", "".join(lines).encode())
    revoked = TlsFolder(folder / "tls").write_revocations(names, now)
    return Written(len(kept["devices"]), len(kept["services"]), revoked)


def reload(folder: Path) -> None:
    """Have the broker that runs from `folder` read its logins and certificates again (UnavailableError).

    It ends the sessions of passwords that are no longer good; of revoked certificates, with the next connection.
    """
    path = folder / "mosquitto.pid"
    try:
        pid = int(path.read_text("ascii"))
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        if b"mosquitto" not in command:
            raise ProcessLookupError(f"process {pid} is another program")  # the file of a broker that was killed
        os.kill(pid, signal.SIGHUP)
    except (OSError, ValueError) as error:
        raise UnavailableError(
            f"no broker can be told: {error}", where=str(path), expected="a running broker"
        ) from None


def readme(plan: Plan) -> str:
    """Return what the person who runs the broker has to know."""
    folder = plan.folder
    doors = [
        f"- devices: `mqtts://…:{plan.devices.port}`, login and password; their trust anchor is `tls/ca.pem`",
        f"- services: `mqtts://{plan.services}`, for ingest and gateway alone: keep it off the field's network",
    ]
    if plan.certificates is not None:
        doors.append(f"- devices with a certificate: `mqtts://…:{plan.certificates.port}`")
    return f"""# The city's broker

Written by `chengmai broker config`; Mosquitto 2.0 or newer. Run it as the user {plan.user}, who owns this folder:

    mosquitto -c {plan.configuration}

{chr(10).join(doors)}

Settings of ingest:

    [mqtt]
    embedded = false
    url = "mqtts://{plan.services}"
    username = "ingest"
    password_file = "{folder / "secrets" / "ingest"}"
    ca = "{folder / "tls" / "ca.pem"}"

    [gateway]
    username = "gateway"
    password_file = "{folder / "secrets" / "gateway"}"

- A service's password is put into `secrets/` when it is first issued; move it to the machine that the service runs on.
- `tls/ca.key` signs certificates: move it to another machine, and back only for `chengmai broker certificate` and for
  revoking one.
- `tls/server.pem` ends after {LEAF_LASTS.days} days: delete it and run `chengmai broker config` again, then reload.
- After logins change: `chengmai broker logins {folder} --reload`.
- Denials: `chengmai broker watch {folder}` writes them to the audit trail and keeps the log short.
"""


def _log_types(plan: Plan) -> list[str]:
    return ["error", "warning", "notice", "information", *(["debug"] if plan.denials else [])]


def _door(plan: Plan, door: Door, logins: str, *, passwords: bool = True) -> list[str]:
    tls = plan.folder / "tls"
    lines = [
        f"listener {door.port} {door.host}",
        f"max_connections {door.most}",
        "allow_anonymous false",
        f"acl_file {plan.folder / logins}.acl",
        f"certfile {tls / 'server.pem'}",
        f"keyfile {tls / 'server.key'}",
        f"cafile {tls / 'ca.pem'}",
        "tls_version tlsv1.2",
    ]
    return [*lines, f"password_file {plan.folder / logins}.passwd"] if passwords else lines


__all__ = [
    "SERVICES",
    "Door",
    "Plan",
    "SetUp",
    "Written",
    "configuration",
    "readme",
    "reload",
    "set_up",
    "write_logins",
]
