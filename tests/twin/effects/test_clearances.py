"""The table of clearances says of itself what of it was held against a text."""

from __future__ import annotations

import msgspec
import pytest

from twin.effects.clearances import Clearances, read_clearances

GAS = ("gas_drain", "gas_drain_crossing", "gas_reach", "gas_score")


def checked(table: Clearances, *names: str) -> Clearances:
    """Return the table with the rows of these names marked as verified."""
    said = msgspec.to_builtins(table)
    for name in names:
        for row in said[name] if isinstance(said[name], list | tuple) else [said[name]]:
            row["verified"] = True
    return msgspec.convert(said, Clearances)


def test_gas_answers_are_verified_only_when_every_number_of_theirs_is() -> None:
    assert checked(read_clearances(), *GAS).gas_verified


@pytest.mark.parametrize("left", GAS)
def test_one_unread_source_leaves_gas_answers_unverified(left: str) -> None:
    assert not checked(read_clearances(), *(name for name in GAS if name != left)).gas_verified
