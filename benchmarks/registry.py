"""What a million known devices cost ingest: how long it takes to start, and its memory.

    python benchmarks/registry.py [--json] [--devices N]

Makes a registry of N devices with one point each in SQLite, then starts the worker of their district in a process of
its own, without a broker: it reads the registry, and makes what checks, quality control and detection need of it.

Memory is that of a worker that has started and heard nothing yet. The profiles of `sensors.detection.seasonal`, 1152
bytes for each series that has one, are laid out and take their memory as readings fill them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

sys.path.remove(str(Path(__file__).resolve().parent))  # where this file would be found in place of the package

from sensors.device import Device, DeviceId, Point
from sensors.operations import connect
from sensors.registry import Registry
from twin.asset import System

CHUNK = 100_000
KINDS = (("pressure", "pressure", "MPa"), ("flow", "flow", "m3/h"), ("gas", "combustible_gas", "%LEL"))

START = """
import json, sys, time
from pathlib import Path
from ingest.mqtt.address import Address
from ingest.spool import Spool
from ingest.store import open_store
from ingest.worker import Worker
from sensors import limits as detection_limits
from sensors.alarm_log import AlarmLog
from sensors.clock import SystemClock
from sensors.detection.pipeline import Pipeline
from sensors.detection.scope import Scope
from sensors.operations import connect
from sensors.registry import Registry

def resident_kb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith(("VmRSS", "VmHWM"))}

folder, detection = Path(sys.argv[1]), sys.argv[2] == "detection"
engine, limits = connect(f"sqlite:///{folder / 'operations.sqlite'}"), detection_limits.load()
def worker(district):
    return Worker(
        address=Address("127.0.0.1", 1), district=district, spool=Spool(folder / f"{district}.sqlite"),
        store=open_store(f"sqlite:{folder / 'readings.sqlite'}"), registry=Registry(engine),
        pipeline=lambda devices: Pipeline.build(Scope(devices if detection else (), limits)),
        alarms=AlarmLog(engine, SystemClock()), clock=SystemClock(),
    )
empty = worker("nobody")  # whatever is imported and opened is not of the devices
before, begun_s, begun_cpu_s = resident_kb(), time.monotonic(), time.process_time()
full = worker("bench")
took_s, cpu_s, after = time.monotonic() - begun_s, time.process_time() - begun_cpu_s, resident_kb()
kb, peak_kb = (after[name] - before["VmRSS"] for name in ("VmRSS", "VmHWM"))
print(json.dumps({"start_s": took_s, "cpu_s": cpu_s, "kb": kb, "peak_kb": peak_kb}))
"""


def fill(url: str, count: int) -> float:
    """Put `count` devices into the registry at `url`, and return the seconds that it took."""
    begun_s = time.monotonic()
    engine = connect(url)
    registry = Registry(engine)
    for first in range(0, count, CHUNK):
        registry.put(
            Device(
                DeviceId(f"GM-{number:07}"),
                "bench",
                System.GAS,
                (Point(*KINDS[number % len(KINDS)]),),
                timedelta(minutes=1),
            )
            for number in range(first, min(first + CHUNK, count))
        )
    engine.dispose()
    return time.monotonic() - begun_s


def start(folder: Path, what: str) -> dict[str, float]:
    command = [sys.executable, "-c", START, str(folder), what]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--devices", type=int, default=1_000_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        filled_s = fill(f"sqlite:///{folder / 'operations.sqlite'}", arguments.devices)
        report: dict[str, float | int] = {"devices": arguments.devices, "fill_s": round(filled_s, 1)}
        for what in ("ingest", "detection"):
            found = start(folder, what)
            prefix = "" if what == "ingest" else "with_detection_"
            report[f"{prefix}start_s"] = round(found["start_s"], 1)
            report[f"{prefix}start_cpu_s"] = round(found["cpu_s"], 1)
            report[f"{prefix}bytes_a_device"] = round(found["kb"] * 1024 / arguments.devices)
            report[f"{prefix}peak_bytes_a_device"] = round(found["peak_kb"] * 1024 / arguments.devices)
    if arguments.json:
        print(json.dumps(report))
    else:
        for key, value in report.items():
            print(f"{key:36} {value:>12}")


if __name__ == "__main__":
    main()
