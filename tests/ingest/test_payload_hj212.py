"""HJ 212 frames: what they give, what names them, what answers them, and that damage is noticed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.payload import WHOLE, Measurement
from ingest.payload.hj212 import Hj212Decoder, frame, read_frame
from sensors.clock import to_ms
from twin.errors import RefusedError

from .payload_outcome import check_outcome

TOPIC = "cim/v1/hewan/drainage/WQ-1/data/hj212"
MN = "010000A8900016F000169DC0"
STANDARDS_OWN = (
    b"##0101QN=20160801085857223;ST=32;CN=1062;PW=100000;MN=010000A8900016F000169DC0;Flag=5;"
    b"CP=&&RtdInterval=30&&1C80\r\n"
)
"""The example of HJ 212-2017 for the frame and its CRC."""

LOCAL_TIME = to_ms(datetime(2026, 8, 1, 0, 58, 57, tzinfo=UTC))
"""20260801085857 in China."""


def sent(parameters, *, command="2011", flag=5, request="20260801085857223", extra=""):
    return frame(f"QN={request};ST=32;CN={command};PW=secret;MN={MN};Flag={flag}{extra};CP=&&{parameters}&&")


def decode(raw):
    return Hj212Decoder().decode(TOPIC, raw)


def test_the_standards_own_example_is_read_and_made():
    read = read_frame(STANDARDS_OWN)
    assert (read.request, read.command, read.station, read.wants_answer) == ("20160801085857223", "1062", MN, True)
    assert frame(STANDARDS_OWN[6:-6].decode()) == STANDARDS_OWN
    assert "100000" not in repr(read)


@pytest.mark.parametrize("flag", [1, 5, 9, 13])
def test_frames_of_2005_2017_and_later_editions_give_their_readings(flag):
    message = decode(sent("DataTime=20260801085857;w01018-Rtd=12.3,w01018-Flag=N;w21003-Rtd=-0.5", flag=flag))
    assert message.measurements == [
        Measurement(0, LOCAL_TIME, "w01018", 12.3, None, 0),
        Measurement(1, LOCAL_TIME, "w21003", -0.5, None, 0),
    ]
    assert (message.address, message.history, message.consecutive) == (f"hj212/{MN}", False, False)


def test_statistics_name_their_command_so_that_no_mean_passes_for_a_value():
    message = decode(
        sent("DataTime=20260801080000;w01018-Min=1,w01018-Avg=2,w01018-Max=3,w01018-Flag=N", command="2061")
    )
    assert [(one.point, one.value) for one in message.measurements] == [
        ("w01018-Min/2061", 1.0),
        ("w01018-Avg/2061", 2.0),
        ("w01018-Max/2061", 3.0),
    ]


@pytest.mark.parametrize(
    ("command", "stated", "history"),
    [
        ("2011", "20260801085000", False),
        ("2011", "20260801084800", True),
        ("2051", "20260801084000", False),
        ("2051", "20260801082000", True),
        ("2061", "20260801080000", True),
        ("2031", "20260731000000", True),
    ],
)
def test_what_was_kept_through_an_outage_and_what_hours_and_days_have_been_is_history(command, stated, history):
    assert decode(sent(f"DataTime={stated};w01018-Rtd=1", command=command)).history is history


@pytest.mark.parametrize(("flag", "quality"), [("N", 0), ("D", 1), ("M", 1), ("T", 1), ("", 1)])
def test_any_flag_but_n_marks_the_reading(flag, quality):
    (one,) = decode(sent(f"DataTime=20260801085857;w01018-Rtd=1,w01018-Flag={flag}")).measurements
    assert one.quality == quality


@pytest.mark.parametrize("text", ["", "-", "nan", "inf", "1_0", "1e999", "12.3mg/L", "٣"])
def test_a_value_that_is_no_number_is_refused_alone(text):
    message = decode(sent(f"DataTime=20260801085857;bad-Rtd={text};good-Rtd=1".encode().decode("latin-1")))
    assert [(refusal.place, refusal.code) for refusal in message.refused] == [(0, "E_NAN")]
    assert [one.point for one in message.measurements] == ["good"]


def test_frames_of_one_moment_have_names_of_their_own():
    parameters = "DataTime=20260801085857;w01018-Rtd=1"
    frames = [sent(parameters, command=command) for command in ("2011", "2051", "2061", "2031")]
    frames += [sent(parameters, flag=7, extra=f";PNUM=2;PNO={number}") for number in (1, 2)]
    frames.append(sent(parameters, request="20260801085857224"))
    names = [(message.boot, message.seq) for message in map(decode, frames)]
    assert len(set(names)) == len(frames)
    assert decode(frames[0]) == decode(bytes(frames[0]))
    assert all(boot == 0 and 0 <= seq < 2**63 for boot, seq in names)


def test_a_frame_without_a_request_number_is_kept_without_a_name():
    raw = frame(f"ST=32;CN=2011;PW=123456;MN={MN};CP=&&DataTime=20260801085857;B01-Rtd=36.91&&")
    message = decode(raw)
    assert (message.boot, message.seq, message.readings) == (None, None, 1)


def test_another_command_gives_no_readings_and_a_name_to_answer_by():
    message = decode(sent("DataTime=20260801085857;RestartTime=20260801085800", command="2081"))
    assert (message.readings, message.refused, message.boot) == (0, [], 0)


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ("w01018-Rtd=1", "E_FIELD"),
        ("DataTime=20261301000000;a-Rtd=1", "E_FIELD"),
        ("DataTime=20260801085857", "E_COUNT"),
    ],
)
def test_a_frame_with_a_name_is_refused_by_it(parameters, code):
    message = decode(sent(parameters))
    assert (message.boot, message.readings) == (0, 1)
    assert [(refusal.place, refusal.code) for refusal in message.refused] == [(WHOLE, code)]


GOOD = sent("DataTime=20260801085857;w01018-Rtd=1")


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "E_FRAME"),
        (b"##", "E_FRAME"),
        (GOOD[:-8], "E_FRAME"),
        (GOOD.replace(b"=1&&", b"=2&&"), "E_FRAME"),
        (b"##0099" + GOOD[6:], "E_FRAME"),
        (b"$$" + GOOD[2:], "E_FRAME"),
        (frame("QN=1"), "E_FRAME"),
        (frame(f"ST=32;ST=32;CN=2011;MN={MN};CP=&&&&"), "E_FRAME"),
        (frame(f"ST=32;CN=2011;MN={MN};CP=&&a-Rtd=1&&x"), "E_FRAME"),
        (frame("ST=32;CN=2011;MN=../etc;CP=&&a-Rtd=1&&"), "E_FIELD"),
        (frame(f"ST=xx;CN=2011;MN={MN};CP=&&a-Rtd=1&&"), "E_FIELD"),
        (frame(f"QN=20261301085857223;ST=32;CN=2011;MN={MN};CP=&&a-Rtd=1&&"), "E_FIELD"),
        (frame(f"QN=99991231235959999;ST=32;CN=2011;MN={MN};CP=&&a-Rtd=1&&"), "E_FIELD"),
        (frame(f"ST=32;CN=2011;MN={MN};Flag=7;CP=&&a-Rtd=1&&"), "E_FIELD"),
        (b" " * 70_000, "E_SIZE"),
    ],
)
def test_what_is_wrong_as_a_whole_is_refused_by_its_code(raw, code):
    with pytest.raises(RefusedError) as refused:
        decode(raw)
    assert refused.value.code == code


def test_the_answer_names_the_request_and_keeps_its_edition():
    answer = read_frame(read_frame(sent("DataTime=20260801085857", flag=9)).answer())
    assert (answer.request, answer.system, answer.command, answer.station) == ("20260801085857223", "91", "9014", MN)
    assert (answer.flag, answer.wants_answer, answer.parameters) == (8, False, "")
    split = read_frame(read_frame(sent("DataTime=20260801085857", flag=7, extra=";PNUM=2;PNO=1")).answer())
    assert (split.flag, split.packets, split.packet) == (6, "2", "1")


@given(st.integers(0, len(GOOD) - 3), st.integers(1, 255))
def test_a_flipped_byte_is_never_taken_for_another_reading(at, change):
    damaged = bytes([*GOOD[:at], GOOD[at] ^ change, *GOOD[at + 1 :]])
    message = check_outcome(Hj212Decoder(), TOPIC, damaged)
    # In the case of the CRC's letters alone the frame means the same.
    assert message is None or message == decode(GOOD)


TEXT = st.text(st.characters(codec="latin-1"), max_size=12)
FIELDS = st.sampled_from(["QN", "ST", "CN", "PW", "MN", "Flag", "PNUM", "PNO", "DataTime", "w01018-Rtd", "w01018-Flag"])
VALUES = TEXT | st.sampled_from(
    ["20260801085857223", "20260801085857", "32", "2011", "2051", MN, "5", "7", "1", "12.3"]
)
SEGMENTS = st.tuples(
    st.lists(st.tuples(FIELDS, VALUES), max_size=8), st.lists(st.tuples(FIELDS, VALUES), max_size=6)
).map(
    lambda parts: (
        ";".join(f"{k}={v}" for k, v in parts[0]) + ";CP=&&" + ";".join(f"{k}={v}" for k, v in parts[1]) + "&&"
    )
)


@given(st.binary() | SEGMENTS.map(frame) | SEGMENTS.map(sent))
def test_nothing_but_a_message_or_a_refusal_comes_out(raw):
    check_outcome(Hj212Decoder(), TOPIC, raw)


@given(
    st.lists(
        st.tuples(st.from_regex(r"[aw][0-9]{5}", fullmatch=True), st.decimals(-(10**6), 10**6, places=3)), min_size=1
    ),
    st.datetimes(datetime(2000, 1, 2), datetime(2099, 1, 1)),  # noqa: DTZ001  # the wire's local time has no zone
)
def test_what_is_sent_comes_back(rows, moment):
    stamp = moment.strftime("%Y%m%d%H%M%S")
    parameters = f"DataTime={stamp};" + ";".join(f"{code}-Rtd={value},{code}-Flag=N" for code, value in rows)
    message = check_outcome(Hj212Decoder(), TOPIC, sent(parameters, request=f"{stamp}000"))
    assert message is not None
    assert [(one.point, one.value) for one in message.measurements] == [(code, float(value)) for code, value in rows]
    local = moment.replace(microsecond=0, tzinfo=UTC)
    assert {one.time for one in message.measurements} == {to_ms(local) - 8 * 3_600_000}
