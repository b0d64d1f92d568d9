"""Cases and their events as rows of the operations database, and back."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Row, RowMapping

from sensors.alarm import Place
from sensors.cases.case import Case, CaseEvent, CaseId, Event, Item, Request, Source, Step, Term, Waiver
from sensors.clock import from_ms, to_ms
from sensors.people import PersonId, Role
from twin.asset import AssetId

_MS = timedelta(milliseconds=1)


def case_of(row: RowMapping) -> Case:
    """Return the case that a row of `cases` is."""
    return Case(
        id=CaseId(row["id"]),
        title=row["title"],
        kind=row["kind"],
        level=row["level"],
        source=Source(row["source"]),
        district=row["district"],
        place=Place(
            None,
            None if row["asset"] is None else AssetId(row["asset"]),
            row["easting"],
            row["northing"],
            row["system"],
        ),
        step=Step(row["step"]),
        reported=from_ms(row["reported"]),
        reported_by=PersonId(row["reported_by"]),
        term=Term(
            from_ms(row["entered"]),
            _time(row["due"]),
            _time(row["wakes"]),
            None if row["escalated"] is None else Role(row["escalated"]),
            row["extensions"],
            _time(row["suspended"]),
            None if row["left"] is None else row["left"] * _MS,
        ),
        incident=row["incident"],
        department=row["department"],
        handlers=msgspec.json.decode(row["handlers"], type=tuple[PersonId, ...]),
        verifier=None if row["verifier"] is None else PersonId(row["verifier"]),
        asked=None if row["asked"] is None else msgspec.json.decode(row["asked"], type=Request),
        waiver=None if row["waiver"] is None else msgspec.json.decode(row["waiver"], type=Waiver),
        checklist=msgspec.json.decode(row["checklist"], type=tuple[Item, ...]),
        rating=row["rating"],
        merged_into=None if row["merged_into"] is None else CaseId(row["merged_into"]),
        version=row["version"],
    )


def row_of(case: Case) -> dict[str, Any]:
    """Return the row of `cases` that a case is."""
    term = case.term
    return {
        "id": case.id,
        "title": case.title,
        "kind": case.kind,
        "level": case.level,
        "source": case.source.value,
        "district": case.district,
        "system": case.place.system,
        "asset": case.place.asset,
        "easting": case.place.easting,
        "northing": case.place.northing,
        "incident": case.incident,
        "step": case.step.value,
        "open": case.open,
        "reported": to_ms(case.reported),
        "reported_by": case.reported_by,
        "entered": to_ms(term.entered),
        "due": _ms(term.due),
        "wakes": _ms(term.wakes),
        "escalated": None if term.escalated is None else term.escalated.value,
        "extensions": term.extensions,
        "suspended": _ms(term.suspended),
        "left": None if term.left is None else term.left // _MS,
        "department": case.department,
        "handlers": _json(case.handlers),
        "verifier": case.verifier,
        "asked": None if case.asked is None else _json(case.asked),
        "asked_by": None if case.asked is None else case.asked.by,
        "waiver": None if case.waiver is None else _json(case.waiver),
        "checklist": _json(case.checklist),
        "rating": case.rating,
        "merged_into": case.merged_into,
        "version": case.version,
    }


def event_of(row: Row[Any]) -> CaseEvent:
    """Return the event that a row of `case_events` is."""
    return CaseEvent(
        CaseId(row.case),
        row.version,
        from_ms(row.at),
        Event(row.event),
        None if row.from_step is None else Step(row.from_step),
        Step(row.to_step),
        row.by,
        row.name,
        None if row.role is None else Role(row.role),
        row.text,
        msgspec.json.decode(row.detail, type=dict[str, str]),
        row.number,
    )


def event_row(event: CaseEvent, key: str | None, request: str | None) -> dict[str, Any]:
    """Return the row of `case_events` that an event is; `key` and `request` are those of the write that made it."""
    return {
        "number": event.number,
        "case": event.case,
        "version": event.version,
        "at": to_ms(event.at),
        "event": event.event.value,
        "from_step": None if event.from_step is None else event.from_step.value,
        "to_step": event.to_step.value,
        "by": event.by,
        "name": event.name,
        "role": None if event.role is None else event.role.value,
        "text": event.text,
        "detail": _json(event.detail),
        "key": key,
        "request": request,
    }


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _time(ms: int | None) -> datetime | None:
    return None if ms is None else from_ms(ms)


def _ms(time: datetime | None) -> int | None:
    return None if time is None else to_ms(time)


__all__ = ["case_of", "event_of", "event_row", "row_of"]
