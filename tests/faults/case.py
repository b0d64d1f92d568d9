"""What a case is, and what it says at its end."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from .city import City
from .fleet import Fleet
from .processes import MissingProgramError


@dataclass(slots=True)
class Report:
    """What was done and counted, and what came out wrong; counts are in readings. Nothing wrong means passed."""

    done: list[str] = field(default_factory=list[str])
    sent: int = 0
    receipted: int = 0
    stored: int = 0
    quarantined: int = 0
    found: list[str] = field(default_factory=list[str])
    wrong: list[str] = field(default_factory=list[str])

    def check(self, holds: object, what: str) -> None:
        """Note `what` as found, or as wrong where it does not hold."""
        (self.found if holds else self.wrong).append(what)

    def count(self, city: City, *fields: Fleet) -> None:
        """Hold every receipted reading against store and quarantine, the ledger against itself, and count."""
        for one in fields:
            self.sent += one.sent()
            self.receipted += one.receipted_readings()
            self.stored += one.stored()
            lost = one.missing()
            self.check(not lost.count, f"{lost.count} receipted readings lost {lost.examples[:3] or ''}".rstrip())
        self.balanced(city)

    def balanced(self, city: City) -> None:
        """Check that the ledger balances, and count what is in quarantine."""
        ledger = city.ledger()
        self.quarantined += ledger.quarantined
        self.check(
            not ledger.balance,
            f"ledger {ledger.received:,} = {ledger.stored:,} stored + {ledger.duplicates:,} duplicates "
            f"+ {ledger.quarantined:,} quarantined + {ledger.spooled:,} spooled",
        )


@dataclass(frozen=True, slots=True)
class Setting:
    """What a case is given: a folder of its own, and whether it is the short form that `make test` runs."""

    folder: Path
    short: bool = False
    environment: dict[str, str] = field(default_factory=dict[str, str])
    common: list[City] = field(default_factory=list[City])

    @contextmanager
    def shared(self) -> Iterator[City]:
        """Give the city that cases share which break nothing; it goes on after them."""
        if not self.common or not self.common[-1].ingest.alive:
            self.common.append(City(self.folder.parent / f"shared-{len(self.common)}", environment=self.environment))
            self.common[-1].start()
        self.common[-1].begin()
        yield self.common[-1]

    @contextmanager
    def city(self, name: str = "city", *, start: bool = True, **options: Any) -> Iterator[City]:
        """Give a city that runs, and stop it at the end."""
        environment = {**self.environment, **options.pop("environment", {})}
        city = City(self.folder / name, environment=environment, **options)
        try:
            if start:
                city.start()
            yield city
        finally:
            city.close()

    def close(self) -> None:
        """Stop the shared city."""
        for city in self.common:
            city.close()


@contextmanager
def fielded(city: City, *devices: str, **order: Any) -> Iterator[Fleet]:
    """Give a process of field devices, registered and connected."""
    city.register(devices)
    field_devices = Fleet(city)
    try:
        field_devices.connect(*devices, **order)
        yield field_devices
    finally:
        field_devices.close()


@dataclass(frozen=True, slots=True)
class Case:
    """A case of the campaign: its number and title (ingest faults, "Fault cases"), and what carries it out."""

    number: int
    title: str
    run: Callable[[Setting, Report], None]
    short: bool
    """Whether the short form of the campaign runs it too."""


CASES: dict[int, Case] = {}


def case(number: int, title: str, *, short: bool = False) -> Callable[[Callable[[Setting, Report], None]], Case]:
    """Enter a function as case `number`."""

    def enter(run: Callable[[Setting, Report], None]) -> Case:
        CASES[number] = Case(number, title, run, short)
        return CASES[number]

    return enter


@dataclass(frozen=True, slots=True)
class Verdict:
    """A case that was run: its report, and how long it took (s)."""

    case: Case
    report: Report
    seconds: float

    @property
    def passed(self) -> bool:
        return not self.report.wrong

    def __str__(self) -> str:
        report = self.report
        lines = [f"case {self.case.number:>2}  {self.case.title}  ({self.seconds:.0f} s)"]
        lines += [f"    {'done' if not nth else '':<12} {text}" for nth, text in enumerate(report.done)]
        for name in ("sent", "receipted", "stored", "quarantined"):
            lines.append(f"    {name:<12} {getattr(report, name):,}")
        lines += [f"    {'found' if not nth else '':<12} {text}" for nth, text in enumerate(report.found)]
        lines += [f"    {'WRONG':<12} {text}" for text in report.wrong]
        lines.append(f"    {'verdict':<12} {'PASS' if self.passed else 'FAIL'}")
        return "\n".join(lines)


def judge(one: Case, setting: Setting) -> Verdict:
    """Run a case; whatever goes wrong on the way is part of its verdict."""
    began, report = monotonic(), Report()
    try:
        one.run(setting, report)
    except MissingProgramError as error:
        report.wrong.append(f"could not run here: {error}")
    except Exception as error:  # noqa: BLE001  # a case that breaks has failed, and the others still run
        place = next(at for at in reversed(traceback.extract_tb(error.__traceback__)) if "cases" in at.filename)
        report.wrong.append(f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})")
    return Verdict(one, report, monotonic() - began)
