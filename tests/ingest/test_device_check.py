"""The vendor kit against the devices of docs/devices.md, as their own processes over a real Mosquitto."""

import json
import re
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from ingest.device_check.check import DeviceCheck, Patience
from ingest.device_check.clauses import Verdict, judge
from ingest.mqtt.address import Address
from ingest.mqtt.connection import Connection
from ingest.topic import Channel, Topic
from sensors.device import DeviceId
from twin.asset import System
from twin.errors import InputError, UnavailableError

from .conftest import free_port, wait_until

PAGE = Path(__file__).parents[2] / "docs" / "devices.md"
ON_PUBACK = "lambda *_: [path.unlink() for path in kept.glob('*.json')]"
PATIENCE = Patience(connect_s=30, again_s=20, interval_s=0.2)


def example(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    return found


def topic(name: str) -> Topic:
    return Topic("hewan", System.WATER, DeviceId(name), Channel.DATA)


def check(mosquitto, name, patience=PATIENCE) -> DeviceCheck:
    return DeviceCheck(topic(name), mosquitto.address, host="127.0.0.1", port=free_port(), patience=patience)


@contextmanager
def running(command, folder: Path, port: int, name: str):
    """Run a device as its own process, which knows nothing but its command line."""
    (folder / "password").write_text("secret\n", "utf-8")
    words = [*command, "127.0.0.1", str(port), str(topic(name)).removesuffix("/data"), "0.2", "password"]
    process = subprocess.Popen(words, cwd=folder, stderr=subprocess.PIPE)
    try:
        yield
        assert process.poll() is None, process.stderr.read().decode()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("language", ["python", "c"])
def test_device_of_the_vendors_page_keeps_every_clause(language, mosquitto, tmp_path):
    (tmp_path / f"device.{language}").write_text(example(language), "utf-8")
    command = [sys.executable, "device.python"]
    if language == "c":
        if not (shutil.which("cc") and Path("/usr/include/mosquitto.h").is_file()):
            pytest.skip("no C compiler or no mosquitto.h (apt-get install gcc libmosquitto-dev)")
        flags = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-lmosquitto", "-lpthread"]
        subprocess.run(["cc", "-o", "device", "device.c", *flags], cwd=tmp_path, check=True, timeout=120)
        command = ["./device"]
    name = f"EX-{language}"
    played = check(mosquitto, name)
    with running(command, tmp_path, played.port, name):
        findings = judge(played.run())
    assert {each.clause: each.detail for each in findings if each.verdict is not Verdict.PASS} == {}
    assert (tmp_path / f"{name}-boot").read_text().strip() == "1"


@pytest.mark.slow
def test_device_that_trusts_the_puback_fails_where_it_loses(mosquitto, tmp_path):
    forgetful = example("python")
    for kept, lost in (
        ("device.loop_start()", f"device.on_publish = {ON_PUBACK}\ndevice.loop_start()"),
        ("    if device.is_connected():\n", "    if True:\n"),
        ("        if lost:", "        if False:"),
    ):
        assert kept in forgetful
        forgetful = forgetful.replace(kept, lost)
    (tmp_path / "device.py").write_text(forgetful, "utf-8")
    played = check(mosquitto, "EX-forgetful", Patience(connect_s=30, again_s=3, interval_s=0.2))
    with running([sys.executable, "device.py"], tmp_path, played.port, "EX-forgetful"):
        findings = judge(played.run())
    failed = {each.clause for each in findings if each.verdict is Verdict.FAIL}
    assert failed == {"keeps what has no receipt", "answers what is missing"}


def test_device_that_never_connects_is_told(mosquitto):
    findings = judge(check(mosquitto, "EX-none", Patience(connect_s=0.3)).run())
    assert findings[0].verdict is Verdict.FAIL
    assert "no device connected" in findings[0].detail


def test_broker_that_is_not_there_is_told(tmp_path):
    brief = Patience(connect_s=0.5)
    nowhere = DeviceCheck(topic("X"), Address("127.0.0.1", free_port()), host="127.0.0.1", port=0, patience=brief)
    with pytest.raises(UnavailableError):
        nowhere.run()


def test_another_city_on_the_same_broker_is_refused(mosquitto):
    played = check(mosquitto, "EX-two", Patience(connect_s=30, again_s=1, interval_s=0.2))
    base = str(topic("EX-two")).removesuffix("/data")
    told = []

    def run():
        try:
            played.run()
        except InputError as error:
            told.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    tapped = Address("127.0.0.1", played.port)
    wait_until(played._tap._started.is_set)
    device = Connection(tapped, "EX-two", subscribe=[f"{base}/ack"], clean=True, manual_ack=False).start()
    city = Connection(mosquitto.address, "another-city", clean=True, manual_ack=False).start()
    device.wait(10)
    city.wait(10)
    wait_until(lambda: any(each.filters for each in played._seen))
    city.publish(f"{base}/ack", json.dumps({"boot": 1, "ok": [[1, 1]], "missing": [], "rej": []}).encode())
    thread.join(30)
    device.close()
    city.close()
    assert "somebody else gives receipts" in str(told[0])
