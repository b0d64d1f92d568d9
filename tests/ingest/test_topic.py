"""The topic grammar: what a device may be called, and that nothing else gets through."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.topic import Channel, Topic, parse
from sensors.device import DeviceId
from twin.asset import System
from twin.errors import RefusedError

NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)


@given(NAMES, st.sampled_from(System), NAMES, st.sampled_from(Channel))
def test_a_topic_comes_back_from_its_name(district, system, device, channel):
    topic = Topic(district, system, DeviceId(device), channel)
    assert parse(str(topic)) == topic


@pytest.mark.parametrize(
    "name",
    [
        "",
        "cim/v1/hewan/gas/GM-1",
        "cim/v2/hewan/gas/GM-1/data",
        "cim/v1/hewan/steam/GM-1/data",
        "cim/v1/hewan/gas/GM-1/data/more",
        "cim/v1/hewan/gas/GM-1/DATA",
        "cim/v1/hewan/gas/../data",
        "cim/v1/hewan/gas/GM,x=1/data",
        "cim/v1/hewan/gas/GM\x00/data",
        "cim/v1/hewan/gas/GM-1\n/data",
        "cim/v1/+/gas/#/data",
        "cim/v1/hewan/gas/井盖/data",
        "cim/v1/hewan/gas/" + "x" * 65 + "/data",
    ],
)
def test_what_is_outside_the_grammar_is_refused(name):
    with pytest.raises(RefusedError) as refused:
        parse(name)
    assert refused.value.code == "E_TOPIC"


@given(st.text())
def test_nothing_but_a_topic_or_a_refusal_comes_out(name):
    with contextlib.suppress(RefusedError):
        assert str(parse(name)) == name
