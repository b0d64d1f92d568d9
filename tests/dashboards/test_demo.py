"""The demo's script fits the district that it is played in."""

from __future__ import annotations

from pathlib import Path

from dashboards.demo import FAULTS
from sensors.registry import read_devices
from sensors.simulation.faults import parse


def test_devices_that_fail_in_the_demo_stand_in_its_district(district: Path) -> None:
    devices = {str(device.id) for device in read_devices(district / "devices.json")}

    failing = [fault.place for fault in map(parse, FAULTS) if fault.kind.of_device]

    assert len(failing) == 2
    assert devices.issuperset(map(str, failing))
