"""Cases 1 and 12: the broker is stopped and killed; a device speaks as another."""

from __future__ import annotations

import subprocess

from tests.faults.case import Report, Setting, case, fielded
from tests.faults.city import DISTRICT, City, now_ms
from tests.faults.field import Block
from tests.faults.processes import program, wait_until

from .messages import reading


@case(1, "broker SIGTERM and kill -9")
def broker_stopped_and_killed(setting: Setting, report: Report) -> None:
    """Nothing receipted is lost; devices send again."""
    devices, away = ("B-1", "B-2", "B-3"), 500
    with setting.city() as city, fielded(city, *devices) as field:
        start = now_ms() - 3_600_000
        for device in devices:
            field.send(Block(device, 1, 0, 10**6, start, step=10), rate=100)
        for end in (city.broker.stop, city.broker.kill) * (1 if setting.short else 5):
            more = city.ledger().received + 200
            wait_until(lambda more=more: city.ledger().received > more, "readings come in")
            end()
            city.broker.start()
        field.halt()
        report.done.append("SIGTERM and kill -9 by turns while three devices send 300 messages a second")
        field.all_receipted()
        city.ingest.stop()
        field.go_on()
        for device in devices:
            field.send(Block(device, 2, 0, away - 1, start - 100_000, step=10, base=0.4))
        wait_until(lambda: field.counts()[0] == field.counts()[1], "the broker has acknowledged every message")
        city.broker.kill()
        report.done.append(f"ingest away: {3 * away} messages acknowledged by the broker, then the broker killed -9")
        city.broker.start()
        city.start_ingest()
        field.all_receipted()
        city.settled(field.sent())
        report.found.append(f"{field.counts()[2]:,} messages sent again by the devices")
        report.check(not field.missing(every=True).count, "every reading sent is stored")
        report.check(field.stored() == field.sent(), f"{field.stored():,} stored of {field.sent():,}: none twice")
        report.count(city, field)


@case(12, "a device publishes as another")
def impersonation(setting: Setting, report: Report) -> None:
    """Refused, and audited: on the other's topic, with a wrong password, without a login, as a listener."""
    with setting.city(hardened=True) as city, fielded(city, "I-1", "I-2") as field:
        start, forged = now_ms() - 60_000, 20
        for seq in range(forged):
            field.raw("I-1", reading(1, seq, start + 1000 * seq, 9.9), f"cim/v1/{DISTRICT}/water/I-2/data")
        wait_until(lambda: sum(one["told"] == "refused" for one in field.told) >= forged, "refused by the broker")
        report.done.append(
            f"I-1 publishes {forged} messages as I-2, and its own; wrong password, no login, another's ack"
        )
        field.send(Block("I-1", 1, 0, 9, start))
        field.send(Block("I-2", 1, 0, 9, start))
        field.all_receipted()
        city.settled(20)
        values = [value for _, value in city.stored("I-2")]
        report.check(len(values) == 10 and max(values) < 1, "only I-2's own readings are in its series")
        own = city.broker.credentials("I-1")
        topic = f"cim/v1/{DISTRICT}/water/I-2/data"
        tried = {
            "a wrong password": ("-u", "I-2", "-P", "guessed"),
            "no login": (),
            "the login of one, the client id of another": ("-u", "I-1", "-P", own["password"], "-i", "I-2", "-V", "5"),
        }
        for what, options in tried.items():
            came = _published(city, topic, *options)
            report.check(not came, f"{what}: refused")
        heard = _listened(city, f"cim/v1/{DISTRICT}/water/I-2/ack", "-u", "I-1", "-P", own["password"])
        report.check(not heard, "another's receipts cannot be heard")
        field.send(Block("I-2", 2, 0, 9, start + 30_000))
        field.all_receipted()
        city.settled(30)
        report.check(len(city.stored("I-2")) == 20, "I-2 goes on")
        told = [
            line for line in city.broker.audited() if "publish_denied" in line and "I-1" in line and "/I-2/data" in line
        ]
        report.check(told, f"in the audit trail, by `chengmai broker watch`: {told[-1] if told else 'nothing'}")
        report.count(city, field)
        report.sent += forged


def _published(city: City, topic: str, *options: str) -> bool:
    """Publish a forged message with mosquitto_pub, and return whether the city has taken it."""
    before = city.ledger().received
    command = [program("mosquitto_pub"), *_door(city), "-q", "1", "-t", topic]
    forged = reading(7, 1, now_ms(), 9.9).decode()
    subprocess.run([*command, *options, "-m", forged], capture_output=True, timeout=30, check=False)
    return city.ledger().received != before


def _listened(city: City, topic: str, *options: str) -> bool:
    """Return whether mosquitto_sub is granted the topic."""
    command = [program("mosquitto_sub"), *_door(city), "-q", "1", "-t", topic]
    done = subprocess.run([*command, *options, "-C", "1", "-W", "3"], capture_output=True, timeout=30, check=False)
    return bool(done.stdout)


def _door(city: City) -> tuple[str, ...]:
    return ("-h", "127.0.0.1", "-p", str(city.broker.port), "--cafile", city.broker.settings["ca"])
