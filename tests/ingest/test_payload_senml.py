"""SenML packs (RFC 8428): base fields, names, times, and that nothing but a message or a refusal comes out."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.payload import MAX_READINGS, WHOLE, Measurement
from ingest.payload.senml import SenmlDecoder
from sensors.clock import ManualClock, to_ms
from twin.errors import RefusedError

from .payload_outcome import check_outcome

NOW = datetime(2026, 8, 1, 8, 0, tzinfo=UTC)
TOPIC = "cim/v1/hewan/water/WP-1/data/senml"
T = 1_785_571_200


def decode(pack):
    raw = pack if isinstance(pack, bytes) else json.dumps(pack).encode()
    return SenmlDecoder(ManualClock(NOW)).decode(TOPIC, raw)


def test_base_fields_hold_for_the_records_after_them():
    message = decode(
        [
            {"bn": "urn:dev:ops:32473-WP:WP-1:", "bt": T, "bu": "Cel", "bv": 10, "n": "inlet", "v": 1.5},
            {"n": "outlet", "v": 2, "t": 0.25},
            {"bn": "WP-1/", "bu": "m3/s", "bv": 0, "n": "flow", "u": "l/s", "v": 12.4, "t": -60},
            {"n": "flow", "v": 3},
        ]
    )
    assert message.measurements == [
        Measurement(0, T * 1000, "inlet", 11.5, "Cel", 0),
        Measurement(1, T * 1000 + 250, "outlet", 12.0, "Cel", 0),
        Measurement(2, T * 1000 - 60_000, "flow", 12.4, "l/s", 0),
        Measurement(3, T * 1000, "flow", 3.0, "m3/s", 0),
    ]
    assert (message.boot, message.seq, message.history, message.refused) == (None, None, False, [])


def test_a_pack_with_boot_and_seq_has_a_name():
    message = decode([{"boot": 17, "seq": 4, "hist": True, "n": "pressure", "v": 1, "t": T}])
    assert (message.boot, message.seq, message.history, message.readings) == (17, 4, True, 1)


def test_truth_values_are_one_and_zero():
    message = decode([{"n": "cover_open", "vb": True, "t": T}, {"bv": 5, "n": "pump_state", "vb": False, "t": T}])
    assert [measured.value for measured in message.measurements] == [1.0, 0.0]


def test_a_time_below_2_28_counts_from_the_receipt_and_is_flagged():
    message = decode([{"n": "a", "v": 1, "t": -5}, {"n": "b", "v": 1}, {"n": "c", "v": 1, "t": 2**28}])
    assert [(one.time, one.quality) for one in message.measurements] == [
        (to_ms(NOW) - 5000, 1),
        (None, 0),
        (2**28 * 1000, 0),
    ]


def test_a_record_that_only_sets_base_values_is_no_reading():
    assert decode([{"bn": "WP-1:", "bt": T}, {"n": "p", "v": 1}]).readings == 1


@pytest.mark.parametrize("name", ["WP-2/p", "urn:dev:ow:WP-2:p", "WP-2:"])
def test_a_name_of_another_device_is_an_identity_refused(name):
    message = decode([{"n": name, "v": 1, "t": T}, {"n": "p", "v": 1, "t": T}])
    assert [(refusal.place, refusal.code) for refusal in message.refused] == [(0, "E_IDENTITY")]
    assert [measured.point for measured in message.measurements] == ["p"]


@pytest.mark.parametrize(
    ("record", "code"),
    [
        ('{"n":"p","v":NaN}', "E_NAN"),
        ('{"n":"p","v":1e999}', "E_NAN"),
        ('{"n":"p","v":"3.5"}', "E_NAN"),
        ('{"n":"p","vs":"open"}', "E_NAN"),
        ('{"n":"p","vd":"AQI"}', "E_NAN"),
        ('{"n":"p","s":12}', "E_NAN"),
        ('{"n":"p","v":1,"vb":true}', "E_FIELD"),
        ('{"n":"p","v":1,"t":1e300}', "E_FIELD"),
        ('{"n":"","v":1}', "E_FIELD"),
        ('{"n":"压力","v":1}', "E_FIELD"),
        ('{"n":"p","v":1,"u":5}', "E_FIELD"),
    ],
)
def test_a_record_that_cannot_be_taken_is_refused_alone(record, code):
    message = decode(f'[{record},{{"n":"good","v":1}}]'.encode())
    assert [(refusal.place, refusal.code) for refusal in message.refused] == [(0, code)]
    assert [measured.point for measured in message.measurements] == ["good"]


@pytest.mark.parametrize(
    ("pack", "code"),
    [
        (b"", "E_JSON"),
        (b"{}", "E_FIELD"),
        (b"[]", "E_FIELD"),
        (b"[1]", "E_FIELD"),
        (b'[{"n":"p","v":1,"seq":1}]', "E_FIELD"),
        (b'[{"bver":11,"n":"p","v":1}]', "E_FIELD"),
        (b'[{"n":"p","v":1,"x_":1}]', "E_FIELD"),
        (b'[{"n":"p","v":1},{"bver":5,"n":"p","v":1}]', "E_FIELD"),
        (b'[{"bn":"WP-1"}]', "E_COUNT"),
        (b"\xfe\xff", "E_UTF8"),
        (b"[" * 100, "E_DEPTH"),
        (b" " * 70_000, "E_SIZE"),
        (json.dumps([{"n": "p", "v": 1}] * (MAX_READINGS + 1)).encode(), "E_COUNT"),
    ],
)
def test_what_is_wrong_as_a_whole_is_refused_by_its_code(pack, code):
    with pytest.raises(RefusedError) as refused:
        decode(pack)
    assert refused.value.code == code


def test_a_pack_with_a_name_is_refused_by_it():
    message = decode([{"boot": 3, "seq": 4, "bver": 11, "n": "p", "v": 1}])
    assert (message.boot, message.seq, message.readings) == (3, 4, 1)
    assert [(refusal.place, refusal.code) for refusal in message.refused] == [(WHOLE, "E_FIELD")]


JSON = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(st.integers())
LABELS = st.sampled_from(
    ["bn", "bt", "bu", "bv", "bs", "bver", "n", "u", "v", "vs", "vb", "vd", "s", "t", "ut", "boot", "seq", "hist", "x_"]
)
PACKS = st.lists(st.dictionaries(LABELS, JSON | st.floats() | st.just("WP-1/p")), max_size=5)


@given(st.binary() | (PACKS | JSON).map(lambda values: json.dumps(values).encode()))
def test_nothing_but_a_message_or_a_refusal_comes_out(payload):
    check_outcome(SenmlDecoder(ManualClock(NOW)), TOPIC, payload)


FINITE = st.floats(-1e12, 1e12)


@given(
    st.lists(st.tuples(st.from_regex(r"[a-z][a-z0-9_]{0,7}", fullmatch=True), FINITE, st.integers(2**28, 2**32))),
    st.booleans(),
)
def test_what_is_sent_comes_back_whether_base_fields_are_used_or_not(rows, based):
    first = {"bn": "WP-1/", "bt": 2**29} if based else {"n": "lead", "v": 0, "t": T}
    records = [{"n": name, "v": value, "t": time - (2**29 if based else 0)} for name, value, time in rows]
    raw = json.dumps([first, *records]).encode()
    if not rows and based:
        return
    message = check_outcome(SenmlDecoder(ManualClock(NOW)), TOPIC, raw)
    assert message is not None
    if len(raw) < 60_000:
        read = [(one.point, one.value, one.time) for one in message.measurements][not based :]
        assert read == [(name, value, time * 1000) for name, value, time in rows]
