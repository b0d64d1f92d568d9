"""docs/protocols.md: each of its examples is what its protocol's decoder takes."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingest.gateway.push import parse_push
from ingest.payload.hj212 import Hj212Decoder, read_frame
from ingest.payload.native import NativeDecoder
from ingest.payload.senml import SenmlDecoder
from sensors.clock import ManualClock

PAGE = (Path(__file__).parents[2] / "docs" / "protocols.md").read_text("utf-8")
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


@pytest.mark.parametrize("word", ["E_IDENTITY", "E_NAN", "E_ALIAS", "E_FRAME", "E_POINT", "E_FIELD", "E_UNAVAILABLE"])
def test_the_codes_that_are_named_stand_in_the_code(word):
    root = Path(__file__).parents[2] / "ingest"
    assert any(f'"{word}"' in file.read_text("utf-8") for file in root.rglob("*.py"))
