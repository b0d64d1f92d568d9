"""The contract suite of notifiers: plain functions that any implementation can be held to.

Each takes a `Bench`: a notifier, an address that it may send to, and ways to take the other side down and up again. A
check raises AssertionError with what was expected. A third party's package runs ``for check in CHECKS: check(bench)``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from sensors.notify import Notifier
from sensors.notify.message import Item, Message, Purpose, Reference
from twin.errors import RefusedError, UnavailableError

START = datetime(2026, 1, 1, 4, 0, tzinfo=UTC)

PATIENCE_S = 35.0
"""No attempt takes longer: the outbox hands a delivery to another sender after a minute."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What a check works with; `received` are the ids of the messages that the other side has taken, in order."""

    notifier: Notifier
    to: str
    received: Callable[[], list[str]]
    break_down: Callable[[], None] | None = None
    """Make the other side answer nothing, or errors that pass; None where there is no other side."""
    mend: Callable[[], None] | None = None


def sample(number: int = 1, purpose: Purpose = Purpose.ALERT) -> Message:
    """Return a message with everything in it that is hard on a channel: quotes, tags, Chinese, line ends, no place."""
    item = Item(
        alarm=number,
        version=1,
        level=1,
        state="unacknowledged",
        condition="active",
        subject="point:GM-0044/ch4",
        rule="gas_leak",
        kind="gas_leak",
        system="gas",
        district="hewan",
        quantity="combustible_gas",
        value=0.31,
        limit=0.2,
        confidence=0.9,
        onset=START,
        detected=START + timedelta(seconds=2),
        cleared=None,
        device="GM-0044",
        asset='gas.gpkg:node:"<&>"',
        easting=500_000.0,
        northing=3_350_000.0,
        zh="GM-0044：可燃气体浓度 31 %LEL，超过“一级红”限值 <20 %LEL>。\n第二行",
        en='GM-0044: combustible gas 31 %LEL, above the "red" limit of <20 %LEL>.\x00 & a second line\r\nhere',
    )
    blank = replace(item, alarm=number + 1, level=4, device=None, asset=None, easting=None, northing=None, value=None)
    earlier = () if purpose is Purpose.ALERT else (Reference(f"chengmai-0-{number}", START - timedelta(minutes=10)),)
    return Message(
        id=f"chengmai-1767240000000-{number}",
        purpose=purpose,
        at=START + timedelta(seconds=3),
        route="gas company",
        group="hewan/gas",
        level=1,
        system="gas",
        district="hewan",
        zh=f"一级红 hewan 燃气 2 条报警：{item.zh}",
        en=f"red, hewan, gas: 2 alarms: {item.en}",
        alarms=2,
        items=(item, blank),
        references=earlier,
    )


def check_every_purpose_arrives(bench: Bench) -> None:
    """News, updates, reminders, all-clears and words about a case are all taken, in order."""
    messages = [sample(10 * number, purpose) for number, purpose in enumerate(Purpose, 1)]
    for message in messages:
        bench.notifier.send(message, bench.to)
    wanted = [message.id for message in messages]
    assert bench.received() == wanted, f"{wanted} in this order, not {bench.received()}"


def check_a_message_without_alarms_arrives(bench: Bench) -> None:
    """A word about a case has no alarms, and perhaps neither system nor district."""
    message = replace(sample(purpose=Purpose.CASE), items=(), alarms=0, system="", district="", case=7)
    bench.notifier.send(message, bench.to)
    assert bench.received() == [message.id], "a message without alarms is taken"


def check_a_dead_other_side_is_unavailable(bench: Bench) -> None:
    """Where nobody answers, `send` says UnavailableError soon, and the channel works again once it is mended."""
    if bench.break_down is None or bench.mend is None:
        return
    bench.break_down()
    began = time.monotonic()
    try:
        bench.notifier.send(sample(1), bench.to)
    except UnavailableError:
        pass
    except RefusedError as error:
        raise AssertionError(f"UnavailableError, so that it is tried again, not {error}") from None
    else:
        raise AssertionError("UnavailableError where nobody answers")
    took_s = time.monotonic() - began
    assert took_s < PATIENCE_S, f"an attempt to end within {PATIENCE_S:g} s, not {took_s:.0f} s"
    bench.mend()
    bench.notifier.send(sample(5), bench.to)
    assert sample(5).id in bench.received(), "the channel to work again once the other side is back"


CHECKS: tuple[Callable[[Bench], None], ...] = (
    check_every_purpose_arrives,
    check_a_message_without_alarms_arrives,
    check_a_dead_other_side_is_unavailable,
)

__all__ = ["CHECKS", "Bench", "sample"]
