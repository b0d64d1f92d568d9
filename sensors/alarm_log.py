"""The alarm log: alarms and every change of them, in the operations database.

Each call is one transaction, and writers queue for the counter `change`, so that the sequence of changes has neither
holes nor overtakers: who has seen the changes up to n asks for those after n. The pure machine is `sensors.alarm`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import (
    Connection,
    Engine,
    Row,
    RowMapping,
    Select,
    and_,
    bindparam,
    exists,
    func,
    insert,
    or_,
    select,
    union,
    update,
)

from sensors import alarm as machine
from sensors.alarm import Alarm, AlarmId, Condition, Event, Place, State, Step, Transition, Visibility
from sensors.clock import Clock, from_ms, to_ms
from sensors.detection import NO_EVIDENCE, Detection, DetectionKind, Evidence, Key, Subject
from sensors.device import DeviceId
from sensors.ingest_alarm import ingest_subject
from sensors.operations import advance, alarms, counter, devices, reading, transitions, writing
from sensors.trail import AuditTrail
from twin.asset import AssetId
from twin.errors import InputError, StaleError, UnknownError

_CHUNK = 500
"""Subjects named in one query; SQLite takes 32,766 parameters, PostgreSQL plans short lists better."""


class AlarmLog:
    """The alarms of a city, in the operations database behind `engine` (of `operations.connect`).

    Acknowledgements go into `trail` too, where one is given: detection acknowledges nothing.
    """

    def __init__(self, engine: Engine, clock: Clock, trail: AuditTrail | None = None) -> None:
        self._engine = engine
        self._clock = clock
        self._trail = trail

    def apply(self, detections: Iterable[Detection]) -> list[Alarm]:
        """Raise, clear, reopen and re-level what `detections` say, in one transaction; return the changed alarms.

        Applying the same detections again changes nothing.
        """
        given = list(detections)
        if not given:
            return []
        at = self._now()
        with writing(self._engine) as connection:
            changes = _Changes(connection)
            subjects = {detection.subject for detection in given}
            newest = _newest(connection, subjects)
            places = _places(connection, given)
            for detection in given:
                key = (detection.subject, detection.rule)
                alarm = newest.get(key)
                if alarm is not None and machine.follows(alarm, detection):
                    step = machine.take(alarm, detection, at, places[key])
                elif detection.active:
                    step = machine.raise_(changes.alarm_id(), detection, places[key], at)
                else:
                    step = None
                if step is not None:
                    newest[key] = changes.note(step)
            return changes.write()

    def reconcile(self, standing: Collection[Key], district: str | None = None) -> list[Alarm]:
        """Clear the open active alarms, of the devices of `district` or of all, that are not `standing`; return them.

        For a worker that starts: detectors that forgot a condition (a lost state, a removed device, another limit)
        would never say that it is over. What ingest found itself is not theirs, and stays; so does, of several
        districts, what no device is named for: it may be another's.
        """
        at = self._now()
        mine = [*_STANDING, alarms.c.kind != DetectionKind.INGEST.value]
        if district is not None:
            alone = ~exists().where(devices.c.district != district)
            mine.append(or_(alarms.c.device.in_(_devices_of(district)), and_(alarms.c.device.is_(None), alone)))
        with writing(self._engine) as connection:
            changes = _Changes(connection)
            for alarm in _alarms(connection, *mine):
                if (alarm.subject, alarm.rule) not in standing:
                    changes.note(machine.forget(alarm, at))
            return changes.write()

    def of_ingest(self, district: str) -> list[Alarm]:
        """Return the active alarms that ingest of `district` raised, about itself or about one of its devices.

        For a monitor that starts: what its predecessor raised is for it to clear.
        """
        about = or_(alarms.c.subject == ingest_subject(district), alarms.c.device.in_(_devices_of(district)))
        with reading(self._engine) as connection:
            return _alarms(connection, *_STANDING, alarms.c.kind == DetectionKind.INGEST.value, about)

    def acknowledge(self, alarm_id: int, *, by: str, comment: str = "", version: int) -> Alarm:
        """Acknowledge an alarm as the person `by`, who saw its `version`; return it.

        UnknownError for no such alarm, StaleError where it has changed since that version, InputError for nobody.
        """
        if not by.strip():
            raise InputError("nobody acknowledges", where=f"alarm {alarm_id}", expected="a name")
        with writing(self._engine) as connection:
            changes = _Changes(connection)
            alarm = _one(connection, alarm_id)
            if alarm.version != version:
                raise StaleError(
                    f"is at version {alarm.version} ({alarm.state.value}), not {version}",
                    where=f"alarm {alarm_id}",
                    expected="the newest version; look again",
                )
            step = machine.acknowledge(alarm, by=by, comment=comment, at=self._now())
            if step is None:
                return alarm
            changes.note(step)
            acknowledged = changes.write()[0]
        if self._trail is not None:
            said = {"version": acknowledged.version, "comment": comment}
            self._trail.write(by, "alarm.acknowledge", f"alarm {alarm_id}", said)
        return acknowledged

    def get(self, alarm_id: int) -> Alarm:
        """Return one alarm; UnknownError if there is none of that id."""
        with reading(self._engine) as connection:
            return _one(connection, alarm_id)

    def open(self) -> list[Alarm]:
        """Return the open alarms, the worst level first, then the newest."""
        return self.list(only_open=True)

    def list(
        self,
        *,
        only_open: bool = False,
        level: int | None = None,
        since: datetime | None = None,
        limit: int | None = None,
    ) -> list[Alarm]:
        """Return alarms, the worst level first, then the newest; those of `level` or worse, with onset from `since`."""
        wanted: list[Any] = [alarms.c.open] if only_open else []
        if level is not None:
            wanted.append(alarms.c.level <= level)
        if since is not None:
            wanted.append(alarms.c.onset >= to_ms(since))
        with reading(self._engine) as connection:
            return _alarms(
                connection, *wanted, order=(alarms.c.level, alarms.c.onset.desc(), alarms.c.id.desc()), limit=limit
            )

    def transitions(self, alarm_id: int) -> Sequence[Transition]:
        """Return what became of one alarm, oldest first; UnknownError if there is none of that id."""
        with reading(self._engine) as connection:
            _one(connection, alarm_id)
            query = select(transitions).where(transitions.c.alarm == alarm_id).order_by(transitions.c.version)
            return [_transition(row) for row in connection.execute(query)]

    def between(self, start: datetime, end: datetime) -> Sequence[tuple[Alarm, Sequence[Transition]]]:
        """Return the alarms that are open or changed from `start` on, of those that were known before `end`.

        Each as it is now, with what became of it before `end`, oldest first; the worst level first, then the newest.
        """
        told = union(
            select(alarms.c.id).where(alarms.c.open),
            select(transitions.c.alarm).where(transitions.c.at >= to_ms(start)),
        )
        wanted = (alarms.c.id.in_(told), alarms.c.detected < to_ms(end))
        with reading(self._engine) as connection:
            found = _alarms(connection, *wanted, order=(alarms.c.level, alarms.c.onset.desc(), alarms.c.id.desc()))
            steps: dict[AlarmId, list[Transition]] = {alarm.id: [] for alarm in found}
            query = select(transitions).join(alarms, alarms.c.id == transitions.c.alarm)
            query = query.where(*wanted, transitions.c.at < to_ms(end)).order_by(
                transitions.c.alarm, transitions.c.version
            )
            for row in connection.execute(query):
                steps[AlarmId(row.alarm)].append(_transition(row))
        return [(alarm, steps[alarm.id]) for alarm in found if steps[alarm.id]]

    def changes(self, after: int) -> tuple[Sequence[Alarm], int]:
        """Return the alarms that changed since the sequence number `after`, and the newest number."""
        with reading(self._engine) as connection:
            changed = _alarms(connection, alarms.c.sequence > after, order=(alarms.c.sequence,))
            return changed, counter(connection, "change")

    def _now(self) -> datetime:
        return from_ms(to_ms(self._clock.now()))  # what is returned is what is stored


_STANDING = (alarms.c.open, alarms.c.condition == Condition.ACTIVE.value)


def _devices_of(district: str) -> Select[tuple[str]]:
    return select(devices.c.device).where(devices.c.district == district)


class _Changes:
    """The steps of one write transaction, gathered and written at its end."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sequence = advance(connection, "change", 0)  # takes the lock: writers queue here
        self._first = self._sequence
        self._known = counter(connection, "alarm")
        self._following = self._known
        self._changed: dict[AlarmId, Alarm] = {}
        self._transitions: list[Transition] = []

    def alarm_id(self) -> AlarmId:
        """Return the id of the next new alarm."""
        self._following += 1
        return AlarmId(self._following)

    def note(self, step: Step) -> Alarm:
        """Number the change, keep it for `write`, and return the alarm with its number."""
        alarm, transition = step
        self._sequence += 1
        numbered = machine.numbered(alarm, self._sequence)
        self._changed[alarm.id] = numbered
        if transition is not None:
            self._transitions.append(transition)
        return numbered

    def write(self) -> list[Alarm]:
        """Write everything noted; return the changed alarms as they are now, in the order of their changes."""
        if not self._changed:
            return []
        fresh = [_row(alarm) for alarm in self._changed.values() if alarm.id > self._known]
        changed = [{**_row(alarm), "key": alarm.id} for alarm in self._changed.values() if alarm.id <= self._known]
        if changed:
            names = [name for name in changed[0] if name not in {"key", "id"}]
            statement = update(alarms).where(alarms.c.id == bindparam("key"))
            rows = [{name: row[name] for name in ("key", *names)} for row in changed]
            self._connection.execute(statement.values({name: bindparam(name) for name in names}), rows)
        if fresh:
            self._connection.execute(insert(alarms), fresh)
        if self._transitions:
            self._connection.execute(insert(transitions), [_transition_row(each) for each in self._transitions])
        advance(self._connection, "change", self._sequence - self._first)
        advance(self._connection, "alarm", self._following - self._known)
        return sorted(self._changed.values(), key=lambda alarm: alarm.sequence)


def _newest(connection: Connection, subjects: Collection[Subject]) -> dict[Key, Alarm]:
    """Return the newest alarm of every (subject, rule) of `subjects`."""
    found: dict[Key, Alarm] = {}
    for chunk in _chunks(sorted(subjects)):
        last = (
            select(func.max(alarms.c.id)).where(alarms.c.subject.in_(chunk)).group_by(alarms.c.subject, alarms.c.rule)
        )
        found |= {(alarm.subject, alarm.rule): alarm for alarm in _alarms(connection, alarms.c.id.in_(last))}
    return found


def _places(connection: Connection, detections: Iterable[Detection]) -> dict[Key, Place]:
    """Return the place of every condition: that of its device in the registry, or of the asset that it names itself.

    What several signs tell is where its likeliest cause is, or else where the device is whose readings speak loudest.
    """
    newest = {(each.subject, each.rule): each for each in detections}
    named = {key: _named(said.subject) for key, said in newest.items()}
    for key, said in newest.items():
        if said.evidence.points and named[key][0] is None:
            named[key] = _named(said.evidence.points[0])[0], named[key][1]
    owners = sorted({device for device, _ in named.values() if device is not None})
    known: dict[str, Place] = {}
    for chunk in _chunks(owners):
        for row in connection.execute(select(devices).where(devices.c.device.in_(chunk))):
            asset = None if row.asset is None else AssetId(row.asset)
            known[row.device] = Place(DeviceId(row.device), asset, row.easting, row.northing, row.system)
    places: dict[Key, Place] = {}
    for key, (device, asset) in named.items():
        place = Place() if device is None else known.get(device, Place(DeviceId(device)))
        where = _likeliest(newest[key], asset, place)
        # where the asset is, the city knows: not where the device is that saw it
        places[key] = place if where is None else Place(place.device, where, system=place.system)
    return places


def _likeliest(said: Detection, named: AssetId | None, seen: Place) -> AssetId | None:
    """Return the asset that a condition is shown at; None: where its device is."""
    if said.kind is not DetectionKind.FINDING:
        return named
    if said.evidence.candidates:
        return said.evidence.candidates[0].asset
    return named if seen.asset is None else None


def _named(subject: Subject) -> tuple[str | None, AssetId | None]:
    scheme, _, rest = subject.partition(":")
    if scheme in {"point", "device"}:
        return rest.partition("/")[0], None
    return None, AssetId(rest) if scheme in {"asset", "zone"} else None


def _chunks(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[start : start + _CHUNK] for start in range(0, len(names), _CHUNK))


def _one(connection: Connection, alarm_id: int) -> Alarm:
    found = _alarms(connection, alarms.c.id == alarm_id)
    if not found:
        raise UnknownError("no such alarm", where=f"alarm {alarm_id}", expected="one of `chengmai alarms list`")
    return found[0]


def _alarms(
    connection: Connection, *where: Any, order: Sequence[Any] = (alarms.c.id,), limit: int | None = None
) -> list[Alarm]:
    query = select(alarms).where(*where).order_by(*order)
    return [_alarm(row) for row in connection.execute(query if limit is None else query.limit(limit)).mappings()]


def _alarm(row: RowMapping) -> Alarm:
    return Alarm(
        id=AlarmId(row["id"]),
        subject=Subject(row["subject"]),
        rule=row["rule"],
        kind=DetectionKind(row["kind"]),
        level=row["level"],
        original_level=row["original_level"],
        condition=Condition(row["condition"]),
        acknowledged=bool(row["acknowledged"]),
        visibility=Visibility(row["visibility"]),
        onset=from_ms(row["onset"]),
        detected=from_ms(row["detected"]),
        changed=from_ms(row["changed"]),
        acknowledged_at=_time(row["acknowledged_at"]),
        acknowledged_by=row["acknowledged_by"],
        cleared=_time(row["cleared"]),
        value=row["value"],
        limit=row["limit"],
        expected=None if row["expected_low"] is None else (row["expected_low"], row["expected_high"]),
        score=row["score"],
        quantity=row["quantity"],
        place=Place(
            None if row["device"] is None else DeviceId(row["device"]),
            None if row["asset"] is None else AssetId(row["asset"]),
            row["easting"],
            row["northing"],
            row["system"],
        ),
        count=row["count"],
        version=row["version"],
        sequence=row["sequence"],
        evidence=NO_EVIDENCE if row["evidence"] is None else msgspec.json.decode(row["evidence"], type=Evidence),
    )


def _row(alarm: Alarm) -> dict[str, Any]:
    low, high = alarm.expected or (None, None)
    return {
        "id": alarm.id,
        "subject": alarm.subject,
        "rule": alarm.rule,
        "kind": alarm.kind.value,
        "level": alarm.level,
        "original_level": alarm.original_level,
        "condition": alarm.condition.value,
        "acknowledged": alarm.acknowledged,
        "visibility": alarm.visibility.value,
        "open": alarm.open,
        "onset": to_ms(alarm.onset),
        "detected": to_ms(alarm.detected),
        "changed": to_ms(alarm.changed),
        "acknowledged_at": _ms(alarm.acknowledged_at),
        "acknowledged_by": alarm.acknowledged_by,
        "cleared": _ms(alarm.cleared),
        "value": alarm.value,
        "limit": alarm.limit,
        "expected_low": low,
        "expected_high": high,
        "score": alarm.score,
        "quantity": alarm.quantity,
        "system": alarm.place.system,
        "device": alarm.place.device,
        "asset": alarm.place.asset,
        "easting": alarm.place.easting,
        "northing": alarm.place.northing,
        "count": alarm.count,
        "version": alarm.version,
        "sequence": alarm.sequence,
        "evidence": None if alarm.evidence == NO_EVIDENCE else msgspec.json.encode(alarm.evidence).decode(),
    }


def _transition(row: Row[Any]) -> Transition:
    return Transition(
        AlarmId(row.alarm),
        row.version,
        from_ms(row.at),
        Event(row.event),
        State(row.from_state),
        State(row.to_state),
        row.level,
        row.value,
        by=row.by,
        comment=row.comment,
    )


def _transition_row(transition: Transition) -> dict[str, Any]:
    return {
        "alarm": transition.alarm,
        "version": transition.version,
        "at": to_ms(transition.at),
        "event": transition.event.value,
        "from_state": transition.from_state.value,
        "to_state": transition.to_state.value,
        "level": transition.level,
        "value": transition.value,
        "by": transition.by,
        "comment": transition.comment,
    }


def _time(ms: int | None) -> datetime | None:
    return None if ms is None else from_ms(ms)


def _ms(time: datetime | None) -> int | None:
    return None if time is None else to_ms(time)
