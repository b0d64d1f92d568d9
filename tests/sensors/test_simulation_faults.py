from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensors.simulation.faults import FaultKind, parse
from twin.errors import InputError


@given(
    kind=st.sampled_from(list(FaultKind)),
    seconds=st.integers(0, 10**6),
    place=st.from_regex(r"[A-Za-z0-9._:@-]{1,40}", fullmatch=True),
)
def test_what_is_written_is_read(kind: FaultKind, seconds: int, place: str):
    fault = parse(f"{kind}@{seconds}:{place}")
    assert (fault.kind, fault.after, fault.place) == (kind, timedelta(seconds=seconds), place)


def test_time_and_place_may_be_left_to_the_seed():
    assert parse("gas_leak").after is None
    assert parse("gas_leak@40").place is None


@pytest.mark.parametrize("text", ["", "fire", "burst@", "burst@soon", "burst@-1", "burst@5:", "burst@nan"])
def test_anything_else_is_refused_in_one_line(text: str):
    with pytest.raises(InputError, match="KIND"):
        parse(text)
