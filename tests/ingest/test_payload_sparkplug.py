"""Sparkplug B: births, aliases, gaps, deaths, and that nothing but a message or a refusal comes out."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.payload import MAX_READINGS, Measurement
from ingest.payload.sparkplug import REBIRTH_S, SparkplugDecoder
from ingest.payload.sparkplug_schema import DataType, payload_class
from sensors.clock import ManualClock, to_ms
from twin.errors import RefusedError

from .payload_outcome import check_outcome

NOW = datetime(2026, 8, 1, 8, 0, tzinfo=UTC)
T = to_ms(NOW)
GROUP = "spBv1.0/plant"


def payload(*metrics, seq=None, timestamp=T):
    """Return a payload; each metric is a dict of its fields, `properties` among them as a dict."""
    made = payload_class()()
    if seq is not None:
        made.seq = seq
    if timestamp is not None:
        made.timestamp = timestamp
    for fields in metrics:
        given_properties = fields.get("properties", {})
        metric = made.metrics.add(**{key: value for key, value in fields.items() if key != "properties"})
        for key, value in given_properties.items():
            metric.properties.keys.append(key.encode())
            kind = "string_value" if isinstance(value, str) else "int_value"
            metric.properties.values.add(**{kind: value.encode() if isinstance(value, str) else value})
    return made.SerializeToString()


def metric(name=None, alias=None, value=None, kind="double_value", datatype=DataType.DOUBLE, **more):
    fields = {"name": name and name.encode(), "alias": alias, "datatype": datatype, **more}
    return {key: given for key, given in fields.items() if given is not None} | ({} if value is None else {kind: value})


BD = metric("bdSeq", value=7, kind="long_value", datatype=DataType.INT64)
PRESSURE = metric("Inlet/Pressure", 1, 0.3, properties={"engUnit": "MPa"})
FLOW = metric("Flow", 2, value=(-5) % 2**32, kind="int_value", datatype=DataType.INT16)


def born(clock=None):
    """Return a decoder that has heard the births of node edge-1 and its device pump: seq stands at 1."""
    decoder = SparkplugDecoder(clock or ManualClock(NOW))
    decoder.decode(
        f"{GROUP}/NBIRTH/edge-1", payload(BD, metric("Node Control/Rebirth", value=False, kind="boolean_value"), seq=0)
    )
    decoder.decode(f"{GROUP}/DBIRTH/edge-1/pump", payload(PRESSURE, FLOW, seq=1))
    return decoder


def test_a_birth_gives_the_values_it_names():
    decoder = SparkplugDecoder(ManualClock(NOW))
    assert decoder.decode(f"{GROUP}/NBIRTH/edge-1", payload(BD, seq=0)).readings == 0
    message = decoder.decode(f"{GROUP}/DBIRTH/edge-1/pump", payload(PRESSURE, FLOW, metric("Make", datatype=12), seq=1))
    assert message.address == "spBv1.0/plant/edge-1/pump"
    assert message.measurements == [
        Measurement(0, T, "Inlet/Pressure", 0.3, "MPa", 0),
        Measurement(1, T, "Flow", -5.0, None, 0),
    ]
    assert (message.boot, message.seq, message.refused, message.replies) == (None, None, [], ())


def test_data_by_alias_are_what_the_birth_named():
    data = payload({"alias": 1, "double_value": 0.5, "timestamp": T - 10}, {"alias": 2, "int_value": 2**32 - 7}, seq=2)
    message = born().decode(f"{GROUP}/DDATA/edge-1/pump", data)
    assert message.measurements == [
        Measurement(0, T - 10, "Inlet/Pressure", 0.5, "MPa", 0),
        Measurement(1, T, "Flow", -7.0, None, 0),
    ]
    assert message.replies == ()


@pytest.mark.parametrize(
    ("datatype", "kind", "raw", "value"),
    [
        (DataType.INT8, "int_value", 0xFF, -1.0),
        (DataType.INT8, "int_value", 0xFFFFFFFF, -1.0),
        (DataType.INT16, "int_value", 0x8000, -32768.0),
        (DataType.INT32, "int_value", 0xFFFFFFFE, -2.0),
        (DataType.INT64, "long_value", 2**64 - 3, -3.0),
        (DataType.UINT8, "int_value", 0xFF, 255.0),
        (DataType.UINT32, "int_value", 0xFFFFFFFE, 4294967294.0),
        (DataType.UINT64, "long_value", 2**63, 2.0**63),
        (DataType.FLOAT, "float_value", 0.25, 0.25),
        (DataType.BOOLEAN, "boolean_value", True, 1.0),
    ],
)
def test_every_type_of_number_is_read_with_its_sign(datatype, kind, raw, value):
    data = payload({"name": b"x", "datatype": datatype, kind: raw}, seq=2)
    (measured,) = born().decode(f"{GROUP}/DDATA/edge-1/pump", data).measurements
    assert measured.value == value


def asks_for_rebirth(message):
    if not message.replies:
        return False
    ((topic, raw),) = message.replies
    asked = payload_class().FromString(raw)
    return (topic, asked.metrics[0].name, asked.metrics[0].boolean_value) == (
        f"{GROUP}/NCMD/edge-1",
        b"Node Control/Rebirth",
        True,
    )


def pressure(seq, alias=1):
    return payload({"alias": alias, "double_value": 0.5}, seq=seq)


def test_a_gap_asks_for_a_rebirth_and_flags_what_only_an_alias_names_until_it_comes():
    decoder = born()
    late = decoder.decode(f"{GROUP}/DDATA/edge-1/pump", pressure(9))
    assert (asks_for_rebirth(late), late.measurements[0].quality) == (True, 1)
    after = decoder.decode(f"{GROUP}/DDATA/edge-1/pump", pressure(10))
    assert (after.replies, after.measurements[0].quality) == ((), 1)
    named = decoder.decode(f"{GROUP}/DDATA/edge-1/pump", payload(metric("Inlet/Pressure", value=1.0), seq=11))
    assert named.measurements[0].quality == 0
    decoder.decode(f"{GROUP}/NBIRTH/edge-1", payload(BD, seq=0))
    decoder.decode(f"{GROUP}/DBIRTH/edge-1/pump", payload(PRESSURE, FLOW, seq=1))
    good = decoder.decode(f"{GROUP}/DDATA/edge-1/pump", pressure(2))
    assert (good.replies, good.measurements[0].quality) == ((), 0)


def test_the_count_goes_on_from_255_to_0():
    decoder = born()
    messages = [decoder.decode(f"{GROUP}/DDATA/edge-1/pump", pressure(seq % 256)) for seq in range(2, 600)]
    assert not any(message.replies for message in messages)


def test_a_node_that_does_not_answer_is_asked_again_later_only():
    clock = ManualClock(NOW)
    decoder = SparkplugDecoder(clock)
    asked = []
    for second in range(int(2 * REBIRTH_S) + 1):
        clock.move_to(NOW + timedelta(seconds=second))
        asked.append(asks_for_rebirth(decoder.decode(f"{GROUP}/DDATA/edge-1/pump", pressure(second))))
    assert [second for second, was in enumerate(asked) if was] == [0, REBIRTH_S, 2 * REBIRTH_S]


def test_an_alias_of_no_birth_is_refused_alone_and_asked_for():
    data = payload({"alias": 99, "double_value": 1.0}, {"alias": 1, "double_value": 0.5}, seq=2)
    message = born().decode(f"{GROUP}/DDATA/edge-1/pump", data)
    assert [(refusal.place, refusal.code) for refusal in message.refused] == [(0, "E_ALIAS")]
    assert [one.point for one in message.measurements] == ["Inlet/Pressure"]
    assert asks_for_rebirth(message)


def test_a_whole_number_whose_type_no_birth_told_is_refused():
    message = SparkplugDecoder(ManualClock(NOW)).decode(
        f"{GROUP}/DDATA/edge-1/pump", payload({"name": b"x", "int_value": 2**32 - 1}, seq=2)
    )
    assert [refusal.code for refusal in message.refused] == ["E_ALIAS"]
    assert asks_for_rebirth(message)


def test_an_alias_of_another_device_is_an_identity_refused():
    message = born().decode(f"{GROUP}/DDATA/edge-1/valve", pressure(2))
    assert [refusal.code for refusal in message.refused] == ["E_IDENTITY"]


def test_a_new_birth_may_give_an_alias_anew():
    decoder = born()
    decoder.decode(f"{GROUP}/DBIRTH/edge-1/pump", payload(metric("Level", 1, 2.0), seq=2))
    (measured,) = decoder.decode(f"{GROUP}/DDATA/edge-1/pump", pressure(3)).measurements
    assert measured.point == "Level"


def test_after_a_death_data_are_doubtful_until_the_birth_and_a_late_death_says_nothing():
    decoder = born()
    decoder.decode(f"{GROUP}/NDEATH/edge-1", payload({**BD, "long_value": 6}))
    assert not decoder.decode(f"{GROUP}/DDATA/edge-1/pump", pressure(2)).replies
    assert decoder.decode(f"{GROUP}/NDEATH/edge-1", payload(BD)).readings == 0
    message = decoder.decode(f"{GROUP}/DDATA/edge-1/pump", pressure(3))
    assert (asks_for_rebirth(message), message.measurements[0].quality) == (True, 1)


def test_aliases_outlive_a_restart_flagged_until_the_node_answers():
    before = born()
    memory = before.memory()
    assert memory is not None
    assert before.memory() is None
    before.decode(f"{GROUP}/DDATA/edge-1/pump", pressure(2))
    assert before.memory() is None
    before.decode(f"{GROUP}/NBIRTH/edge-1", payload(BD, seq=0))
    before.decode(f"{GROUP}/DBIRTH/edge-1/pump", payload(PRESSURE, FLOW, seq=1))
    assert before.memory() is None, "a rebirth that says the same is nothing new"
    after = SparkplugDecoder(ManualClock(NOW))
    after.recall(memory)
    message = after.decode(f"{GROUP}/DDATA/edge-1/pump", pressure(3))
    assert [(one.point, one.unit, one.quality) for one in message.measurements] == [("Inlet/Pressure", "MPa", 1)]
    assert asks_for_rebirth(message)


def test_history_is_what_all_metrics_say():
    decoder = born()
    old = {"alias": 1, "double_value": 0.5, "is_historical": True}
    assert decoder.decode(f"{GROUP}/DDATA/edge-1/pump", payload(old, old, seq=2)).history is True
    assert (
        decoder.decode(f"{GROUP}/DDATA/edge-1/pump", payload(old, {**old, "is_historical": False}, seq=3)).history
        is False
    )


def test_null_and_not_a_number_are_refused_in_data_and_passed_over_in_a_birth():
    decoder = born()
    bad = [
        metric("a", is_null=True),
        metric("b", value=math.nan),
        metric("c", datatype=12),
        metric("d", value=1, kind="long_value", datatype=13),
    ]
    message = decoder.decode(f"{GROUP}/DDATA/edge-1/pump", payload(*bad, seq=2))
    assert [refusal.code for refusal in message.refused] == ["E_NAN"] * 4
    assert decoder.decode(f"{GROUP}/DBIRTH/edge-1/pump", payload(*bad, PRESSURE, seq=3)).readings == 1


def test_a_value_of_bad_quality_is_flagged():
    data = payload(
        {"alias": 1, "double_value": 0.5, "properties": {"Quality": 192}},
        {"alias": 1, "double_value": 0.5, "properties": {"Quality": 500}},
        seq=2,
    )
    message = born().decode(f"{GROUP}/DDATA/edge-1/pump", data)
    assert [one.quality for one in message.measurements] == [0, 1]


@pytest.mark.parametrize(
    ("topic", "raw", "code"),
    [
        ("spBv1.0/plant/DDATA/edge-1", b"", "E_TOPIC"),
        ("spBv1.0/plant/NDATA/edge-1/pump", b"", "E_TOPIC"),
        ("spBv1.0/STATE/host", b"{}", "E_TOPIC"),
        ("spBv1.0//NDATA/edge-1", b"", "E_TOPIC"),
        ("spBv1.0/plant/NDATA/edge-1", b"\xff\xff", "E_FRAME"),
        ("spBv1.0/plant/NDATA/edge-1", payload({"name": b"\xfe", "double_value": 1.0}), "E_UTF8"),
        ("spBv1.0/plant/NDATA/edge-1", payload(*[metric("x", value=1.0)] * (MAX_READINGS + 1)), "E_COUNT"),
        ("spBv1.0/plant/NDATA/edge-1", b" " * 70_000, "E_SIZE"),
    ],
)
def test_what_is_wrong_as_a_whole_is_refused_by_its_code(topic, raw, code):
    with pytest.raises(RefusedError) as refused:
        SparkplugDecoder(ManualClock(NOW)).decode(topic, raw)
    assert refused.value.code == code


def test_what_is_remembered_is_bounded(monkeypatch):
    most = 2000
    monkeypatch.setattr("ingest.payload.sparkplug.MAX_METRICS", most)
    monkeypatch.setattr("ingest.payload.sparkplug.MAX_ASKED", 100)
    decoder = SparkplugDecoder(ManualClock(NOW))
    size = 40
    birth = payload(*[metric(f"m{number}", number) for number in range(size)], seq=0)
    for number in range(most // size + 3):
        decoder.decode(f"{GROUP}/NBIRTH/node-{number}", birth)
    assert sum(1 + len(node.names) for node in decoder._nodes.values()) <= most
    assert "plant/node-0" not in decoder._nodes
    assert decoder._metrics == sum(len(node.names) for node in decoder._nodes.values()) > most / 2
    for number in range(120):
        decoder.decode(f"{GROUP}/NDATA/nobody-{number}", pressure(0))
    assert len(decoder._asked) == 100


KINDS = st.sampled_from(["NBIRTH", "NDATA", "NDEATH", "NCMD", "DBIRTH", "DDATA", "DDEATH", "DCMD", "X"])
METRICS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from([b"", b"bdSeq", b"a", b"\xff"]),
        "alias": st.integers(0, 3),
        "datatype": st.integers(0, 40),
        "timestamp": st.integers(0, 2**64 - 1),
        "is_null": st.booleans(),
        "is_historical": st.booleans(),
        "properties": st.dictionaries(
            st.sampled_from(["Quality", "engUnit"]),
            st.integers(0, 2**32 - 1) | st.sampled_from(["MPa", ""]),
            max_size=2,
        ),
    },
)
VALUES = st.sampled_from(
    [
        {},
        {"int_value": 2**32 - 1},
        {"long_value": 5},
        {"double_value": math.inf},
        {"float_value": 1.5},
        {"boolean_value": True},
    ]
)
MESSAGES = st.tuples(
    KINDS,
    st.binary(max_size=40)
    | st.builds(
        lambda metrics, seq, time: payload(*[{**m, **v} for m, v in metrics], seq=seq, timestamp=time),
        st.lists(st.tuples(METRICS, VALUES), max_size=4),
        st.none() | st.integers(0, 2**64 - 1),
        st.none() | st.integers(0, 2**64 - 1),
    ),
)


@given(st.lists(MESSAGES, max_size=8))
def test_nothing_but_a_message_or_a_refusal_comes_out_whatever_came_before(messages):
    decoder = SparkplugDecoder(ManualClock(NOW))
    for kind, raw in messages:
        name = f"{GROUP}/{kind}/edge-1" + ("/pump" if kind[0] == "D" else "")
        check_outcome(decoder, name, raw)
        memory = decoder.memory()
        if memory is not None:
            SparkplugDecoder(ManualClock(NOW)).recall(memory)
