"""The native payload: what it gives, what it refuses, and that nothing else ever comes out of it."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.payload import MAX_READINGS, WHOLE, Measurement
from ingest.payload.native import NativeDecoder
from ingest.payload.senml import SenmlDecoder
from sensors.clock import SystemClock
from twin.errors import RefusedError


def decode(payload):
    return NativeDecoder().decode("cim/v1/hewan/water/WP-1/data", payload)


def test_a_single_message_gives_its_readings_in_order():
    message = decode(b'{"v":1,"boot":17,"seq":4,"ts":1763726400123,"m":{"p":{"v":0.3,"u":"MPa"},"f":{"v":12,"q":1}}}')
    assert (message.boot, message.seq, message.history, message.readings) == (17, 4, False, 2)
    assert message.measurements == [
        Measurement(0, 1763726400123, "p", 0.3, "MPa", 0),
        Measurement(1, 1763726400123, "f", 12.0, None, 1),
    ]


def test_unknown_fields_are_ignored():
    assert decode(b'{"v":1,"firmware":{"a":[1,2]},"m":{"p":{"v":1,"x":2}}}').readings == 1


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", "E_JSON"),
        (b"[1]", "E_FIELD"),
        (b'{"v":1}', "E_FIELD"),
        (b'{"v":1,"boot":1,"m":{"p":{"v":1}}}', "E_FIELD"),
        (b'{"v":1,"boot":-1,"seq":1,"m":{"p":{"v":1}}}', "E_FIELD"),
        (b'{"v":1,"boot":1,"seq":9223372036854775808,"m":{"p":{"v":1}}}', "E_FIELD"),
        (b'{"v":1,"m":{"p":{"v":1}},"r":[]}', "E_FIELD"),
        (b'{"v":1,"r":[]}', "E_COUNT"),
        (b'{"v":1,"r":[[1]]}', "E_FIELD"),
        (b"\xfe\xff", "E_UTF8"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "E_DEPTH"),
        (b" " * 70_000, "E_SIZE"),
    ],
)
def test_what_is_wrong_as_a_whole_is_refused_by_its_code(payload, code):
    with pytest.raises(RefusedError) as refused:
        decode(payload)
    assert refused.value.code == code


@pytest.mark.parametrize(("contents", "code"), [('"m":{}', "E_COUNT"), ('"r":[[1]]', "E_FIELD"), ('"x":1', "E_FIELD")])
def test_a_message_with_a_name_is_refused_by_it(contents, code):
    message = decode(f'{{"v":1,"boot":3,"seq":4,{contents}}}'.encode())
    assert (message.boot, message.seq, message.readings) == (3, 4, 1)
    assert [(refusal.place, refusal.code) for refusal in message.refused] == [(WHOLE, code)]


def test_more_readings_than_allowed_are_refused():
    rows = [[1, {"p": {"v": 1}}]] * (MAX_READINGS + 1)
    with pytest.raises(RefusedError) as refused:
        decode(json.dumps({"v": 1, "r": rows}).encode())
    assert refused.value.code == "E_COUNT"


def test_brackets_in_strings_are_not_depth():
    assert decode(b'{"v":1,"note":"' + b"[" * 100 + b'","m":{"p":{"v":1}}}').readings == 1


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999", '"3.5"', "null", "true", "[1]"])
def test_a_value_that_is_no_finite_number_is_refused_alone(value):
    message = decode(f'{{"v":1,"boot":1,"seq":2,"m":{{"bad":{{"v":{value}}},"good":{{"v":1}}}}}}'.encode())
    assert [(refusal.place, refusal.code) for refusal in message.refused] == [(0, "E_NAN")]
    assert [measured.point for measured in message.measurements] == ["good"]
    assert (message.boot, message.seq, message.readings) == (1, 2, 2)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from(["v", "u", "q", "m", "r", "ts", "boot", "seq", "hist"]), inner)
    ),
    max_leaves=30,
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_nothing_but_a_message_or_a_refusal_comes_out(payload):
    check_outcome(payload)


@pytest.mark.parametrize("text", [r"\ud800", r"\uDFFF", r"\\\ud800", r"\ud83d x", r"\ud83d\ud83d\ude00"])
def test_half_a_surrogate_pair_is_refused_before_anything_has_to_keep_it(text):
    native = f'{{"v":1,"m":{{"p":{{"v":1,"u":"{text}"}},"{text}":{{"v":NaN}}}}}}'
    pack = f'[{{"n":"p","v":1,"u":"{text}"}}]'
    for decoder, payload in ((NativeDecoder(), native), (SenmlDecoder(SystemClock()), pack)):
        with pytest.raises(RefusedError) as refused:
            decoder.decode("cim/v1/hewan/water/WP-1/data", payload.encode())
        assert refused.value.code == "E_UTF8"


@pytest.mark.parametrize("text", [r"\ud83d\ude00", r"\\ud800", r"\u00e9", r"\\\\ud800"])
def test_a_whole_pair_and_what_only_looks_like_a_half_are_taken(text):
    (measurement,) = decode(f'{{"v":1,"m":{{"{text}":{{"v":1}},"q":{{"v":NaN}}}}}}'.encode()).measurements
    assert measurement.point == json.loads(f'"{text}"')


VALUES = st.fixed_dictionaries({"v": JSON | st.floats() | st.integers()}, optional={"u": st.text(), "q": JSON})
MESSAGES = st.fixed_dictionaries(
    {"v": st.sampled_from([1, 1, 1, 2])},
    optional={
        "boot": st.integers(-1, 2**64),
        "seq": st.integers(-1, 2**64),
        "ts": JSON | st.integers(),
        "hist": st.booleans(),
        "m": st.dictionaries(st.text(), VALUES, max_size=4),
        "r": st.lists(st.tuples(st.integers(), st.dictionaries(st.text(), VALUES, max_size=3)), max_size=4),
    },
)


@given(MESSAGES)
def test_almost_right_messages_are_taken_apart_reading_by_reading(values):
    check_outcome(json.dumps(values).encode())


def check_outcome(payload):
    try:
        message = decode(payload)
    except RefusedError as refused:
        code = refused.code
    else:
        check_message(message)
        return
    assert code in {"E_SIZE", "E_UTF8", "E_DEPTH", "E_JSON", "E_FIELD", "E_COUNT"}


def check_message(message):
    assert (message.boot is None) == (message.seq is None)
    assert 0 < message.readings <= MAX_READINGS
    assert len(message.measurements) + len(message.refused) == message.readings
    if any(refusal.place == WHOLE for refusal in message.refused):
        assert (message.boot is not None, message.readings) == (True, 1)
        return
    assert all(math.isfinite(measured.value) for measured in message.measurements)
    places = [measured.place for measured in message.measurements] + [refusal.place for refusal in message.refused]
    assert sorted(places) == list(range(message.readings))


FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.lists(
        st.tuples(st.integers(0, 2**53 - 1), st.dictionaries(st.text(max_size=8), FINITE, min_size=1)), min_size=1
    ),
    st.booleans(),
)
def test_what_is_encoded_by_the_contract_comes_back_bit_by_bit(rows, history):
    sent = [[time, {point: {"v": value} for point, value in values.items()}] for time, values in rows]
    message = decode(json.dumps({"v": 1, "boot": 3, "seq": 4, "hist": history, "r": sent}).encode())
    flat = [(time, point, value) for time, values in rows for point, value in values.items()]
    assert [(one.time, one.point, one.value) for one in message.measurements] == flat
    assert message.history is history
