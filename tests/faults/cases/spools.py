"""Case 3: the disk of the spool is full."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.case import Report, Setting, case, fielded
from tests.faults.city import City, now_ms
from tests.faults.field import Block
from tests.faults.fleet import Fleet
from tests.faults.processes import NAMESPACE, MissingProgramError, program, wait_until


@contextmanager
def one_megabyte(folder: Path) -> Iterator[Path]:
    """Mount a tmpfs of 1 MB at `folder`, in the campaign's own mount namespace."""
    if not os.environ.get(NAMESPACE):
        raise MissingProgramError("no mount namespace of our own (unshare, and root or user namespaces)")
    folder.mkdir(parents=True)
    subprocess.run([program("mount"), "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run([program("umount"), "--lazy", str(folder)], check=True)


@case(3, "spool disk full: a tmpfs of 1 MB", short=True)
def spool_disk_full(setting: Setting, report: Report) -> None:
    """Receipts stop, a level-1 alarm is raised, nothing crashes; ingest goes on by itself when there is room."""
    with (
        one_megabyte(setting.folder / "disk") as disk,
        setting.city(settings={"ingest": {"spool": str(disk / "spool.sqlite")}}, spool=disk / "spool.sqlite") as city,
        fielded(city, "F-1", "F-2") as field,
    ):
        pid, start = city.ingest.pid, now_ms() - 3_600_000
        city.victoria.kill()
        for device in ("F-1", "F-2"):
            field.send(Block(device, 1, 0, 400, start, step=10, readings=100), rate=100)
        stopped(field, city, report, "the store away, the disk full of spool")
        report.done.append("the store killed, 80,200 readings sent: more than the disk holds; the store back")
        city.victoria.start()
        field.all_receipted()
        city.settled(field.sent())
        eased(city, report)
        if not setting.short:
            filled_by_another(city, field, report, disk / "ballast", start - 1_000_000)
        report.check(city.ingest.pid == pid and city.ingest.alive, "the same process all along")
        report.count(city, field)


def filled_by_another(city: City, field: Fleet, report: Report, file: Path, start: int) -> None:
    """Fill the disk with something else while devices send, and make room again."""
    ballast(file)
    report.done.append("the disk filled to the last byte by another file; 20,000 readings sent; the file removed")
    for device in ("F-1", "F-2"):
        field.send(Block(device, 2, 0, 99, start, step=10, readings=100, base=0.4), rate=100)
    stopped(field, city, report, "the disk full of something else", lambda: ballast(file))
    file.unlink()
    field.all_receipted()
    city.settled(field.sent())
    eased(city, report)


def stopped(field: Fleet, city: City, report: Report, why: str, fill: Callable[[], None] = lambda: None) -> None:
    """Wait until no more is receipted though more was sent, and the level-1 alarm stands.

    `fill` takes what room there is: the spool gives pages back that it does not use.
    """
    last = [-1, time.monotonic()]

    def still() -> bool:
        fill()
        now = field.receipted_readings()
        if now != last[0]:
            last[:] = [now, time.monotonic()]
        return now < field.sent() and time.monotonic() - last[1] > 4

    wait_until(still, f"receipts stop ({why})")
    wait_until(lambda: standing(city), f"a level-1 alarm about the spool ({why})")
    report.found.append(f"{why}: receipts stopped at {field.receipted_readings():,}, alarm {standing(city)}")
    report.check(city.ingest.alive, "ingest lives")


def standing(city: City) -> list[str]:
    """Return the rules of the level-1 alarms about ingest that stand."""
    return [one["rule"] for one in city.alarms(level=1, condition="active") if one["subject"].startswith("ingest:")]


def eased(city: City, report: Report) -> None:
    """Wait until the alarm is over by itself."""
    wait_until(lambda: not standing(city), "the alarm is over by itself")
    report.found.append("with room again: goes on by itself, the alarm is over")


def ballast(path: Path) -> None:
    """Fill a disk until it takes not one byte more."""
    with path.open("ab", buffering=0) as file:
        for size in (65_536, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
