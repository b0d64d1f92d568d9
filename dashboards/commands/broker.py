"""`chengmai broker`: the demo's embedded broker; and Mosquitto's configuration, logins and denials for a city."""

from __future__ import annotations

import json
import os
import signal
import threading
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dashboards.settings import settings_of

if TYPE_CHECKING:
    from ingest.broker.log import Attempt
    from sensors.credentials import Credentials
    from sensors.trail import AuditTrail

app = typer.Typer(help="The MQTT broker: the demo's own, or Mosquitto's configuration.", invoke_without_command=True)

AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]
Folder = Annotated[Path, typer.Argument(help="The broker's folder, as `chengmai broker config` made it.")]
Reload = Annotated[bool, typer.Option("--reload", help="Have the broker that runs from the folder read them at once.")]


@app.callback()
def broker(ctx: typer.Context) -> None:
    """Run the embedded MQTT broker at `mqtt.url` (demo only: it forgets sessions; a city runs Mosquitto)."""
    if ctx.invoked_subcommand is not None:
        return
    from ingest.broker.embedded import EmbeddedBroker
    from ingest.mqtt.connection import Address

    address = Address.parse(settings_of(ctx).mqtt.url)
    EmbeddedBroker(address.host, address.port).run(_until_told())


@app.command("config")
def config(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Folder to write; what TLS needs stays if it is there.")],
    *,
    name: Annotated[
        list[str] | None, typer.Option(help="Host name or address that clients call the broker by; may be repeated.")
    ] = None,
    devices: Annotated[str, typer.Option(help="Where devices connect, with a password.")] = "0.0.0.0:8883",
    services: Annotated[str, typer.Option(help="Where ingest and gateway connect.")] = "127.0.0.1:8884",
    certificates: Annotated[str, typer.Option(help="Where devices connect with a certificate, if at all.")] = "",
    user: Annotated[
        str, typer.Option(help="User that the broker runs as; yourself, or mosquitto if you are root.")
    ] = "",
    connections: Annotated[
        int, typer.Option(min=-1, help="Most connections at a door of devices; -1: as many as the system allows.")
    ] = -1,
    save_s: Annotated[
        int, typer.Option(min=0, help="Seconds between two saves of what the broker holds; 0: after each message.")
    ] = 2,
    denials: Annotated[bool, typer.Option(help="Log what access lists deny, for `chengmai broker watch`.")] = True,
    sparkplug: Annotated[bool, typer.Option(help="Let Sparkplug B nodes in.")] = True,
    as_json: AsJson = False,
) -> None:
    """Write a hardened configuration for Mosquitto: TLS, logins, access lists, persistence, limits."""
    import socket

    from dashboards.audit_trail import who
    from ingest.broker.mosquitto import SERVICES, Door, Plan, set_up

    plan = Plan(
        folder.resolve(),
        user or _broker_user(),
        settings_of(ctx).districts,
        replace(Door.parse(devices), most=connections),
        Door.parse(services),
        replace(Door.parse(certificates), most=connections) if certificates else None,
        save_s,
        denials,
        sparkplug,
    )
    issuer, trail = _open(ctx)
    done = set_up(plan, name or [socket.gethostname(), "localhost", "127.0.0.1"], issuer)
    trail.write(
        who(), "broker.config", str(plan.folder), {"devices": str(plan.devices), "services": str(plan.services)}
    )
    for login in done.issued:
        trail.write(who(), "credential.issue", login, {"role": "service"})
    secrets = {login: str(path) for login in SERVICES if (path := plan.folder / "secrets" / login).is_file()}
    if as_json:
        report = {"folder": str(plan.folder), "configuration": str(plan.configuration), "secrets": secrets}
        typer.echo(json.dumps({**report, "made": done.made, "issued": done.issued, **asdict(done.written)}))
        return
    typer.echo(f"{done.written.devices} devices and {done.written.services} services may log in")
    for login in SERVICES:
        lost = f"has a login already; its secret is not here: chengmai credentials rotate {login}"
        typer.echo(f"{login}: {f'its password is in {secrets[login]}' if login in secrets else lost}")
    if name and "server.pem" not in done.made:
        typer.echo(
            f"--name: {plan.folder / 'tls' / 'server.pem'} stays as it was; delete it and run this again", err=True
        )
    typer.echo(f"run it: mosquitto -c {plan.configuration}   (more in {plan.folder / 'README.md'})")


@app.command("logins")
def logins(ctx: typer.Context, folder: Folder, *, reload: Reload = False, as_json: AsJson = False) -> None:
    """Write the broker's password files and revocation list anew, after logins were issued, rotated or revoked."""
    from ingest.broker.mosquitto import reload as tell
    from ingest.broker.mosquitto import write_logins

    issuer, _ = _open(ctx)
    try:
        written = write_logins(folder.resolve(), issuer)
    finally:  # passwords stand in their files even where the revocation list lacks its key: they end now
        if reload:
            tell(folder.resolve())
    if as_json:
        typer.echo(json.dumps({**asdict(written), "reloaded": reload}))
        return
    told = "the broker has been told" if reload else "a running broker needs --reload"
    typer.echo(
        f"{written.devices} devices, {written.services} services, {written.revoked} revoked certificates; {told}"
    )


@app.command("certificate")
def certificate(
    ctx: typer.Context,
    folder: Folder,
    login: Annotated[str, typer.Argument(help="Login of a device, as `chengmai credentials list` names it.")],
    *,
    write: Annotated[Path, typer.Option(help="Folder for LOGIN.pem and LOGIN.key, which must not be there yet.")],
    replace: Annotated[bool, typer.Option("--replace", help="Revoke the login's other certificates.")] = False,
    as_json: AsJson = False,
) -> None:
    """Issue a certificate to a device that has a login; its key is nowhere else."""
    from dashboards.audit_trail import who
    from ingest.broker.certificates import TlsFolder
    from ingest.broker.mosquitto import write_logins
    from ingest.broker.private import make_folder, write_private
    from sensors.credentials import AT_THE_BROKER, Role
    from twin.errors import InputError, UnknownError

    issuer, trail = _open(ctx)
    now = issuer.clock.now()
    allowed = AT_THE_BROKER - {Role.SERVICE}
    found = issuer.get(login)
    if found.role not in allowed or not found.valid(now):
        raise UnknownError("is no valid login", where=login, expected="a device's or node's: chengmai credentials list")
    for path in (write / f"{login}.key", write / f"{login}.pem"):
        if path.exists():
            raise InputError("is there already", where=str(path), expected="a new file", code="E_FILE")
    made, key = TlsFolder(folder.resolve() / "tls").issue(login, now, replace=replace)
    make_folder(write)
    write_private(write / f"{login}.key", key, new=True)
    write_private(write / f"{login}.pem", made, new=True)
    trail.write(who(), "credential.certificate", login, {"replace": replace})
    write_logins(folder.resolve(), issuer)
    files = {"login": login, "certificate": str(write / f"{login}.pem"), "key": str(write / f"{login}.key")}
    typer.echo(json.dumps(files) if as_json else f"{files['certificate']}, {files['key']}")


@app.command("watch")
def watch(
    ctx: typer.Context,
    folder: Folder,
    *,
    once: Annotated[bool, typer.Option("--once", help="Read what is there, and stop.")] = False,
    as_json: AsJson = False,
) -> None:
    """Follow the broker's log: audit refused logins and denied publishes and subscriptions; keep the log short."""
    import math
    import time

    from ingest.broker.log import Attempts, LogReader
    from twin.errors import InputError

    log = folder.resolve() / "log" / "mosquitto.log"
    if not log.parent.is_dir():
        raise InputError("is no broker's folder", where=str(folder), expected="one of `chengmai broker config`")
    logins, trail = _open(ctx)
    stop, reader, attempts = _until_told(), LogReader(log, log.with_name("read")), Attempts()

    def tell(now_s: float) -> None:
        for attempt in attempts.due(now_s):
            if _is_ours(attempt, logins):
                continue
            said = {"what": attempt.what, "times": attempt.times}
            trail.write("broker", attempt.kind.value, attempt.who, said)
            line = {"action": attempt.kind.value, "who": attempt.who, **said}
            typer.echo(json.dumps(line, ensure_ascii=False) if as_json else "  ".join(map(str, line.values())))

    while True:
        lines = reader.lines()
        attempts.read(lines)
        tell(time.monotonic())
        if lines:
            reader.done()
        elif once or stop.wait(1.0):
            break
    tell(math.inf)  # what was counted since


def _is_ours(attempt: Attempt, logins: Credentials) -> bool:
    """Return whether an attempt is a service's subscription: services hear more, under ids of their own choice."""
    from ingest.broker.log import Kind
    from sensors.credentials import Role
    from twin.errors import UnknownError

    if attempt.kind is not Kind.SUBSCRIBE:
        return False
    try:
        return logins.get(attempt.who).role is Role.SERVICE
    except UnknownError:
        return True


def _broker_user() -> str:
    """Return whom the broker is to run as: never root, where there is somebody else for it."""
    import pwd

    names = {entry.pw_name for entry in pwd.getpwall()}
    return "mosquitto" if os.geteuid() == 0 and "mosquitto" in names else pwd.getpwuid(os.geteuid()).pw_name


def _until_told() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _open(ctx: typer.Context) -> tuple[Credentials, AuditTrail]:
    from dashboards.audit_trail import trail_of
    from sensors.credentials import Credentials
    from sensors.operations import connect

    settings = settings_of(ctx)
    engine = connect(settings.operations_url())
    return Credentials(engine), trail_of(settings, engine)
