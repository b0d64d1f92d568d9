"""Detectors of drains and gas keep the contract of detectors also where they have a network to watch."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sensors.detection import checks
from sensors.detection.drains.blockage import BlockageDetector
from sensors.detection.drains.illicit import IllicitDischargeDetector
from sensors.detection.drains.infiltration import InfiltrationDetector
from sensors.detection.gas.leak import GasLeakDetector
from sensors.detection.gas.line_pressure import LinePressureDetector
from tests.sensors.street import Street, devices_of_the_contract, make_street

DETECTORS = {
    "blockage": (BlockageDetector, "level"),
    "gas_leak": (GasLeakDetector, "level"),
    "infiltration": (InfiltrationDetector, "flow"),
    "illicit_discharge": (IllicitDischargeDetector, "conductivity"),
    "line_pressure": (LinePressureDetector, "level"),
}
"""By the kind that they find, each with what the contract suite's levels are taken for."""


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Street:
    return make_street(Path(tmp_path_factory.mktemp("street")) / "city.gpkg")


def builder(name: str, street: Street) -> checks.Build:
    detector, level_as = DETECTORS[name]
    return lambda devices: detector.build(street.scope(devices_of_the_contract(devices, level_as)))


@pytest.mark.parametrize("name", sorted(DETECTORS))
@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_detector_with_a_network_keeps_the_contract(name: str, check: Callable[[checks.Build], None], street: Street):
    check(builder(name, street))


@pytest.mark.parametrize("name", sorted(DETECTORS.keys() - {"infiltration"}))  # which takes weeks
def test_the_contract_is_no_dead_letter(name: str, street: Street):
    detector = builder(name, street)(checks.sample_devices())
    said = [each for part in checks.run(detector, checks.sample_stream(60)) for each in part if each.active]
    assert said
    assert {each.kind.value for each in said} == {name}
