"""docs/protocols.md: examples are what decoders take; codes, those of docs/devices.md too, are what they say."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from ingest.gateway.push import parse_push
from ingest.payload.hj212 import Hj212Decoder, read_frame
from ingest.payload.native import NativeDecoder
from ingest.payload.senml import SenmlDecoder
from sensors.clock import ManualClock

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "protocols.md").read_text("utf-8")
DEVICES = (ROOT / "docs" / "devices.md").read_text("utf-8")
SENML = SenmlDecoder(ManualClock(datetime(2026, 11, 21, tzinfo=UTC)))


def example(fence):
    (found,) = re.findall(rf"^```{fence}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return found


def test_the_senml_pack_gives_its_readings():
    message = SENML.decode("cim/v1/hewan/water/WP-0001/data/senml", example("json senml").encode())
    assert (message.boot, message.seq, message.refused) == (17, 4821, [])
    assert [(one.point, one.unit, one.quality) for one in message.measurements] == [
        ("pressure", "MPa", 0),
        ("flow", "m3/h", 0),
    ]


def test_the_hj_212_frame_gives_its_readings_and_is_answered_as_shown():
    sent, answered = (line.encode() + b"\r\n" for line in example("hj212").splitlines())
    assert [one.point for one in Hj212Decoder().decode("", sent).measurements] == ["w01001", "w01018"]
    assert read_frame(sent).answer() == answered


def test_the_push_gives_a_native_message_and_a_pack():
    native, pack = parse_push(example("json push").encode())
    assert NativeDecoder().decode("", bytes(native.data)).readings == 1
    assert SENML.decode(f"cim/v1/hewan/water/{pack.device}/data/senml", bytes(pack.senml)).refused == []


def test_every_code_of_a_refusal_is_in_the_table_of_devices_and_no_other():
    sources = [*(ROOT / "ingest" / "payload").glob("*.py")]
    sources += [ROOT / "ingest" / f"{name}.py" for name in ("admission", "arrival", "intake", "storing", "topic")]
    used = {code for file in sources for code in re.findall(r'"(E_[A-Z0-9]+)"', file.read_text("utf-8"))}
    (table,) = re.findall(r"^\| code \| why \|\n(.*?)\n\n", DEVICES, re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"E_[A-Z0-9]+", table)) == used
    named = set(re.findall(r"E_[A-Z0-9]+", PAGE))
    assert named <= used | {"E_UNAVAILABLE", "E_TIMEOUT"}  # what only HTTP push says
