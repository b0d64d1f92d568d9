"""`chengmai device-check`: the vendor kit, which plays the city against one device and reports clause by clause."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from dashboards.settings import Settings, settings_of
from twin.asset import System
from twin.errors import InputError, UnknownError

if TYPE_CHECKING:
    from ingest.topic import Topic


def device_check(  # noqa: PLR0917  # Typer makes options of them
    ctx: typer.Context,
    device: Annotated[str, typer.Argument(help="The device's name: that of its topic, and of its login.")],
    system: Annotated[System | None, typer.Option(help="That of its topic; else as registered.")] = None,
    district: Annotated[
        str | None, typer.Option(help="That of its topic; else the city's.", show_default=False)
    ] = None,
    listen: Annotated[str, typer.Option(help="host:port for the device to connect to, in place of the broker.")] = (
        "127.0.0.1:1884"
    ),
    through: Annotated[
        str | None, typer.Option(help="The broker's address for devices, if another than that of the settings.")
    ] = None,
    messages: Annotated[int, typer.Option(min=1, help="Messages that are watched at first; 4 show its pace.")] = 4,
    interval: Annotated[float, typer.Option(min=0.01, help="Seconds between two, where its birth says none.")] = 60.0,
    patience: Annotated[float, typer.Option(min=1, help="Seconds to come back in, and to send again.")] = 60.0,
    connect: Annotated[float, typer.Option(min=1, help="Seconds to connect in at first.")] = 120.0,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Play the city against a device that connects to --listen, and say which clauses of the contract it keeps.

    Receipts are given and withheld, the connection is cut, a message is named missing, commands are sent. It takes
    about twenty of the device's intervals. Exit status 1 when a clause is broken. The broker is that of the settings;
    no ingest may run on it for this device.
    """
    from dashboards.commands.ingest import address_of
    from ingest.device_check.check import DeviceCheck, Patience
    from ingest.device_check.clauses import Verdict, judge
    from ingest.mqtt.address import Address

    settings = settings_of(ctx)
    host, port = _listen(listen)
    broker = address_of(settings)
    check = DeviceCheck(
        _topic(settings, device, district, system),
        broker,
        through=None if through is None else Address.parse(through, ca=broker.ca if "mqtts:" in through else None),
        host=host,
        port=port,
        patience=Patience(connect, patience, interval, messages),
        say=lambda line: typer.echo(line, err=True),
    )
    findings = judge(check.run())
    counts = {verdict: sum(each.verdict is verdict for each in findings) for verdict in Verdict}
    if as_json:
        rows = [{"clause": each.clause, "verdict": each.verdict, "detail": each.detail} for each in findings]
        typer.echo(json.dumps({"device": device, "clauses": rows}, ensure_ascii=False, indent=1))
    else:
        for each in findings:
            typer.echo(f"{each.verdict:<8}  {each.clause}: {each.detail}")
        typer.echo(", ".join(f"{count} {verdict.lower()}" for verdict, count in counts.items()))
    if counts[Verdict.FAIL]:
        raise typer.Exit(1)


def _listen(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise InputError(f"{text!r} is no address", where="--listen", expected="host:port, such as 0.0.0.0:1884")
    return host.strip("[]"), int(port)


def _topic(settings: Settings, device: str, district: str | None, system: System | None) -> Topic:
    from dashboards.bindings import registry_of
    from ingest.topic import Channel, Topic
    from sensors.device import NAME, DeviceId

    if system is None:
        registry = registry_of(settings)  # None on a vendor's bench: a question makes none
        try:
            known = None if registry is None else registry.get(device)
        except UnknownError:
            known = None
        if known is None:
            raise InputError("is in no registry here", where=device, expected="its system by --system")
        return Topic(district or known.district, known.system, known.id, Channel.DATA)
    for what, name in (("device", device), ("district", district or settings.city.district)):
        if not NAME.fullmatch(name):
            raise InputError(f"{name!r} is no {what} name", where="command line", expected=NAME.pattern)
    return Topic(district or settings.city.district, system, DeviceId(device), Channel.DATA)
