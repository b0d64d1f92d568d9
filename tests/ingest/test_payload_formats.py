"""One reading, four formats: all give the same measurement, and the same row in the store."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from ingest.admission import Admission
from ingest.intake import Intake
from ingest.mqtt.inbox import Delivery
from ingest.payload import Format, Measurement
from ingest.payload.formats import decoders
from ingest.payload.hj212 import frame
from ingest.payload.sparkplug_schema import DataType, payload_class
from ingest.spool import Spool
from sensors.clock import ManualClock, from_ms, to_ms
from sensors.device import Point

from .conftest import DISTRICT, pressure_device

NOW = datetime(2026, 8, 1, 8, 0, tzinfo=UTC)
CHINA = timezone(timedelta(hours=8))
BASE = f"cim/v1/{DISTRICT}/water"


def native(point, value, time):
    return "data", json.dumps({"v": 1, "ts": time, "m": {point: {"v": value}}}).encode()


def senml(point, value, time):
    return "data/senml", json.dumps([{"bn": "WP-1/", "n": point, "v": value, "t": time / 1000}]).encode()


def hj212(point, value, time):
    stamp = from_ms(time).astimezone(CHINA).strftime("%Y%m%d%H%M%S")
    return "data/hj212", frame(
        f"QN={stamp}000;ST=32;CN=2011;PW=x;MN=MN1;Flag=5;CP=&&DataTime={stamp};{point}-Rtd={value:f},{point}-Flag=N&&"
    )


def sparkplug(point, value, time):
    birth = payload_class()(seq=0, timestamp=time)
    birth.metrics.add(name=point.encode(), timestamp=time, datatype=DataType.DOUBLE, double_value=value)
    return f"spBv1.0/{DISTRICT}/NBIRTH/edge-1", birth.SerializeToString()


FORMATS = {Format.NATIVE: native, Format.SENML: senml, Format.HJ212: hj212, Format.SPARKPLUG: sparkplug}


@given(
    st.integers(-(10**9), 10**9).map(lambda thousandths: thousandths / 1000),
    st.integers(950_000_000, 4_000_000_000).map(lambda seconds: seconds * 1000),
)
def test_the_same_reading_is_the_same_measurement_in_every_format(value, time):
    reader = decoders(ManualClock(NOW))
    for format_, write in FORMATS.items():
        channel, payload = write("w01018", value, time)
        name = channel if "/" in channel and channel.startswith("sp") else f"{BASE}/WP-1/{channel}"
        message = reader[format_].decode(name, payload)
        assert message.measurements == [Measurement(0, time, "w01018", value, None, 0)]
        assert (message.readings, message.refused, message.history) == (1, [], False)


def test_the_same_reading_is_the_same_row_in_every_format(tmp_path):
    devices = [
        replace(
            pressure_device(f"WP-{number}"),
            points=(Point("pressure", "pressure", "kPa", series=number, code="w01018"),),
            address=address,
        )
        for number, address in enumerate(["", "", "hj212/MN1", f"spBv1.0/{DISTRICT}/edge-1"])
    ]
    admission = Admission(devices, future=timedelta(minutes=5), history=timedelta(days=400))
    spool = Spool(tmp_path / "spool.sqlite")
    clock = ManualClock(NOW)
    intake = Intake(spool, admission, decoders(clock), clock, clock_topic="none", refresh=lambda: admission)
    time = to_ms(NOW) - 60_000
    sent = []
    for device, write in zip(devices, FORMATS.values(), strict=True):
        channel, payload = write("w01018", 312.5, time)
        payload = payload.replace(b'"WP-1/"', f'"{device.id}/"'.encode())
        name = channel if channel.startswith("sp") else f"{BASE}/{device.id}/{channel}"
        sent.append(Delivery(name, payload, 1, 1, retain=False, connection=1))
    intake.take(sent)
    assert not spool.quarantined()
    batch = spool.batches(0)[0].batch
    rows = zip(batch.series.tolist(), batch.time.tolist(), batch.value.tolist(), batch.quality.tolist(), strict=True)
    assert list(rows) == [(number, time, 312_500.0, 1) for number in range(4)]
    spool.close()
