"""Case 9: the server's clock jumps by an hour, there and back."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from tests.faults.case import Report, Setting, case
from tests.faults.city import City, now_ms
from tests.faults.field import Block
from tests.faults.fleet import Fleet
from tests.faults.processes import program

HOUR_S = 3600
WATCH_S = 30
"""Longer than it takes to call a device of one message a second silent: three intervals and ten seconds."""


def skewed(folder: Path) -> tuple[Path, dict[str, str]]:
    """Compile the shim that shifts a process's wall clock; return the file of the shift (s), and its environment."""
    folder.mkdir(parents=True, exist_ok=True)
    library, shift = folder / "skew.so", folder / "shift"
    source = Path(__file__).parent.parent / "skew.c"
    command = [program("gcc"), "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    shift.write_text("0")
    return shift, {"LD_PRELOAD": str(library), "SKEW_FILE": str(shift)}


@case(9, "server clock an hour ahead and an hour behind")
def clock_jumps(setting: Setting, report: Report) -> None:
    """Timers are monotonic: devices that go on sending are not called silent, and nothing is lost."""
    shift, environment = skewed(setting.folder / "skew")
    devices = [f"C-{nth}" for nth in range(20)]
    watch_s = 10 if setting.short else WATCH_S
    with setting.city(environment=environment) as city:
        city.register(devices, interval_s=1.0)
        field = Fleet(city)
        field.connect(*devices)
        for device in devices:
            field.send(Block(device, 1, 0, 10**6, now_ms()), rate=1)
        time.sleep(watch_s)
        for step in (HOUR_S, 0, -HOUR_S, 0):
            shift.write_text(str(step))
            time.sleep(watch_s)
            report.found.append(f"clock {step / HOUR_S:+.0f} h for {watch_s} s: alarms {standing(city) or 'none'}")
        silent = city.alarms(rule="silence")  # of devices that were sending: after the halt they are silent
        field.halt()
        report.done.append("20 devices send every second; the wall clock of ingest goes +1 h, back, -1 h, back")
        field.all_receipted()
        city.settled(field.sent())
        report.check(not silent, f"{len(silent)} alarms of silence")
        own = [one for one in city.alarms() if one["subject"].startswith("ingest:")]
        report.check(
            any(one["rule"] == "clock" for one in own), f"ingest says that its clock is off: {len(own)} alarms"
        )
        report.check(not field.missing(every=True).count, "every reading is stored, or in quarantine as it came")
        report.count(city, field)
        field.close()


def standing(city: City) -> list[str]:
    """Return rule and subject of the alarms whose condition stands."""
    return [f"{one['rule']} {one['subject']}" for one in city.alarms(condition="active")]
