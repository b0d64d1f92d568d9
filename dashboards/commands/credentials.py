"""`chengmai credentials`: logins of devices, platforms and services; their secrets are shown once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dashboards.settings import Settings, settings_of
from sensors.credentials import Role

if TYPE_CHECKING:
    from sensors.credentials import Credential, Credentials, Secret
    from sensors.trail import AuditTrail

app = typer.Typer(help="Logins: list, issue, rotate, revoke.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]
Write = Annotated[
    Path | None,
    typer.Option(help="Write the secret into this new file (mode 0600) and not on the screen."),
]
Login = Annotated[str, typer.Argument(help="Login, as `chengmai credentials list` names it.")]
SecretFile = Annotated[
    Path | None, typer.Option(help="Stations only: take the password from this file (HJ 212 devices come with one).")
]
Days = Annotated[int | None, typer.Option(min=1, help="The login ends after so many days.")]


@app.command("list")
def list_(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the logins; secrets are nowhere to be listed from."""
    from sensors.clock import SystemClock

    logins, _ = _open(settings_of(ctx))
    now = SystemClock().now()
    found = logins.list()
    if as_json:
        typer.echo(json.dumps([_record(one, now) for one in found], ensure_ascii=False, indent=1))
        return
    for one in found:
        record = _record(one, now)
        speaks = record["device"] or record["scope"]
        typer.echo(f"{one.login}  {one.role.value}  {record['state']}  {record['issued'][:19]}Z  {speaks}".rstrip())


@app.command("issue")
def issue(
    ctx: typer.Context,
    login: Annotated[str, typer.Argument(help="Login: the device's id, the node's id, hj212/MN, or a name.")],
    *,
    role: Annotated[Role, typer.Option(help="What the login is for.")] = Role.DEVICE,
    device: Annotated[str | None, typer.Option(help="Device of a station; a device's own login needs none.")] = None,
    scope: Annotated[str, typer.Option(help="Devices that a platform sends for: globs, apart by spaces.")] = "",
    days: Days = None,
    secret_file: SecretFile = None,
    write: Write = None,
    as_json: AsJson = False,
) -> None:
    """Make a login and show its secret, once."""
    from sensors.clock import SystemClock
    from sensors.device import DeviceId

    settings = settings_of(ctx)
    _require_new(write)
    logins, trail = _open(settings)
    owner = DeviceId(login) if role is Role.DEVICE and device is None else None if device is None else DeviceId(device)
    expires = None if days is None else SystemClock().now() + timedelta(days=days)
    chosen = None if secret_file is None else _read_secret(secret_file)
    made = logins.issue(login, role, owner, scope=scope, expires=expires, secret=chosen)
    _audit(trail, "credential.issue", made.login, role=role.value, device=owner, scope=scope, days=days)
    _hand_over([made], write, as_json=as_json)


@app.command("rotate")
def rotate(
    ctx: typer.Context, login: Login, *, secret_file: SecretFile = None, write: Write = None, as_json: AsJson = False
) -> None:
    """Give a login a new secret; the old one is good for nothing once the broker has read its logins again."""
    _require_new(write)
    logins, trail = _open(settings_of(ctx))
    made = logins.rotate(login, None if secret_file is None else _read_secret(secret_file))
    _audit(trail, "credential.rotate", login)
    _hand_over([made], write, as_json=as_json)


@app.command("revoke")
def revoke(ctx: typer.Context, login: Login, as_json: AsJson = False) -> None:
    """End a login."""
    logins, trail = _open(settings_of(ctx))
    logins.revoke(login)
    _audit(trail, "credential.revoke", login)
    if as_json:
        typer.echo(json.dumps({"login": login, "state": "revoked"}))
    else:
        typer.echo(f"{login} is revoked; {_NEXT}")


def issue_to_devices(
    ctx: typer.Context,
    devices: Annotated[list[str] | None, typer.Argument(help="Devices; none for all that have no login.")] = None,
    *,
    days: Days = None,
    write: Write = None,
    as_json: AsJson = False,
) -> None:
    """Give devices their logins and show the secrets, once: those named, or all that have none."""
    from sensors.clock import SystemClock
    from sensors.device import DeviceId

    _require_new(write)
    logins, trail = _open(settings_of(ctx))
    named = [DeviceId(device) for device in devices or ()] or logins.without()
    made = logins.issue_to_devices(named, None if days is None else SystemClock().now() + timedelta(days=days))
    if not made and not as_json:
        typer.echo("every device has its login")
        return
    if len(made) == 1:
        _audit(trail, "credential.issue", made[0].login, role=Role.DEVICE.value, days=days)
    else:  # one entry for all of them: a city's worth of entries would be a city's worth of fsyncs
        _audit(trail, "credential.issue", f"{len(made)} devices", logins=[one.login for one in made], days=days)
    _hand_over(made, write, as_json=as_json)


_NEXT = "tell the broker with `chengmai broker logins FOLDER`"


def _open(settings: Settings) -> tuple[Credentials, AuditTrail]:
    from dashboards.audit_trail import trail_of
    from sensors.credentials import Credentials
    from sensors.operations import connect

    engine = connect(settings.operations_url())
    return Credentials(engine), trail_of(settings, engine)


def _audit(trail: AuditTrail, action: str, login: str, **detail: object) -> None:
    from dashboards.audit_trail import who

    trail.write(who(), action, login, {key: value for key, value in detail.items() if value})


def _require_new(path: Path | None) -> None:
    """Refuse a file that is there, or whose folder is not, before any secret is made for it."""
    from twin.errors import InputError

    if path is None:
        return
    if path.exists():
        raise InputError("is there already", where=str(path), expected="a new file", code="E_FILE")
    if not path.parent.is_dir():
        raise InputError("no such folder", where=str(path.parent), expected="a folder to write in", code="E_FILE")


def _read_secret(path: Path) -> str:
    from twin.errors import InputError

    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", where=str(path), expected="a file with the password") from None


def _hand_over(made: Sequence[Secret], path: Path | None, *, as_json: bool) -> None:
    """Show secrets once, or write them into a file that only its owner reads: the secret alone, or CSV for many."""
    from ingest.broker.private import write_private
    from twin.errors import InputError

    if path is None:
        if as_json:
            typer.echo(json.dumps([{"login": one.login, "secret": one.secret} for one in made]))
        else:
            for one in made:
                typer.echo(f"{one.login}  {one.secret}")
            typer.echo(f"shown once: keep it now, and {_NEXT}", err=True)
        return
    lines = [made[0].secret] if len(made) == 1 else ["login,secret", *(f"{one.login},{one.secret}" for one in made)]
    try:
        write_private(path, ("\n".join(lines) + "\n").encode(), new=True)
    except InputError as error:
        lost = f"{error.what}; the new secrets are lost, rotate {', '.join(one.login for one in made[:5])} …"
        raise InputError(lost, where=error.where, expected=error.expected, code=error.code) from None
    receipt = {"logins": [one.login for one in made], "file": str(path)}
    typer.echo(json.dumps(receipt) if as_json else f"{_counted(len(made))} in {path}; {_NEXT}")


def _counted(secrets: int) -> str:
    return "1 secret" if secrets == 1 else f"{secrets:,} secrets"


def _record(one: Credential, now: datetime) -> dict[str, Any]:
    return {
        "login": one.login,
        "role": one.role.value,
        "device": one.device,
        "scope": one.scope,
        "issued": one.issued.isoformat(),
        "expires": None if one.expires is None else one.expires.isoformat(),
        "state": _state(one, now),
    }


def _state(one: Credential, now: datetime) -> str:
    if one.revoked is not None:
        return "revoked"
    if one.valid(now):
        return "valid"
    return "device retired" if one.device_retired else "expired"
