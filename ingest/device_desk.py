"""The device desk: presence, unknown devices and commands, between MQTT and the operations database.

It is asked on the intake's thread and works on another, so that a database that is slow or away delays no reading.
What waits for the database is bounded: by device, the newest counts.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

import msgspec
import structlog

from ingest.admission import Admission
from ingest.mqtt.connection import Connection
from ingest.mqtt.inbox import Delivery
from ingest.payload import MAX_BYTES, Count, Measurement, sparkplug
from ingest.payload.formats import SPARKPLUG_PREFIX
from ingest.topic import Channel, Topic, parse
from sensors.clock import Clock, to_ms
from sensors.command_log import Command, CommandLog
from sensors.presence import MAX_LOST, DeviceStatus, Presence
from sensors.unknown_device import MAX_DEVICES, MAX_POINTS, SeenPoint, Sighting, UnknownDevices
from twin.asset import System
from twin.errors import RefusedError, UnavailableError

logger = structlog.get_logger()

MAX_ANSWERS = 1000
"""Answers that wait for the database, unacknowledged. Those past it are lost, and told: left with the broker they would
use up the deliveries in flight, and readings would come no more."""

HAND_OVER_S = 5.0
"""How long the broker may take to acknowledge a command."""


class _Status(msgspec.Struct):
    """What is read of ``status``; a message with neither `online` nor a birth is of a device that speaks."""

    online: bool = True
    boot: Count | None = None
    lost: list[tuple[Count, Count]] = []
    points: msgspec.Raw = msgspec.Raw()


class _Answer(msgspec.Struct):
    """What is read of ``cmd/ans``."""

    id: str
    ok: bool
    code: str = ""
    result: msgspec.Raw = msgspec.Raw(b"")


class DeviceDesk:
    """Keeps presence, unknown devices and commands of one `district`; `clock` is the city's."""

    def __init__(
        self, district: str, presence: Presence, unknown: UnknownDevices, commands: CommandLog, clock: Clock
    ) -> None:
        self._district = district
        self._presence = presence
        self._unknown = unknown
        self._commands = commands
        self._clock = clock
        self._lock = threading.Lock()
        self._statuses: dict[str, DeviceStatus] = {}
        self._sightings: dict[str, Sighting] = {}
        self._answers: deque[tuple[Delivery, Topic, _Answer]] = deque()

    def hear(self, deliveries: list[Delivery], admission: Admission) -> list[Delivery]:
        """Take notice of what stands on ``status``, and take the answers; return what is left for the intake.

        Answers are acknowledged once they are written; what is none is the intake's, which acknowledges it. A status is
        the intake's too, which refuses what is none, and so are Sparkplug's births and deaths, of which the desk reads
        no more than the topic.
        """
        left: list[Delivery] = []
        for delivery in deliveries:
            topic = delivery.topic
            if topic.endswith(_STATUS):
                self._hear_status(delivery, admission)
            elif topic.endswith(_ANSWER) and self._take_answer(delivery, admission):
                continue
            elif topic.startswith(SPARKPLUG_PREFIX):
                self._hear_sparkplug(delivery, admission)
            left.append(delivery)
        return left

    def see(self, device: str, system: System | None, measurements: Iterable[Measurement], at: datetime) -> None:
        """Note a message of a device that the registry does not know, by its topic's name or its address."""
        with self._lock:
            before = self._sightings.get(device)
            if before is None and len(self._sightings) >= MAX_DEVICES:
                return
            points = dict(before.points) if before else {}
            for measured in measurements:
                if measured.point in points or len(points) < MAX_POINTS:
                    points[measured.point] = SeenPoint(measured.unit, measured.value)
            if before is None:
                self._sightings[device] = Sighting(device, self._district, system, at, at, points=points)
            else:
                self._sightings[device] = replace(before, last=at, messages=before.messages + 1, points=points)

    def step(self, connection: Connection) -> None:
        """Write what waits, send the commands that are due, and give up those that have expired.

        UnavailableError or BusyError where the database does not answer; what waits goes on waiting.
        """
        self._write_statuses()
        self._write_sightings()
        self._write_answers(connection)
        now = self._clock.now()
        if connection.connected:
            for command in self._commands.pending(self._district, now):
                self._send(connection, command)
        for command in self._commands.expire(now):
            logger.warning("command_expired", command=command.id, device=command.device, name=command.name)

    def _hear_sparkplug(self, delivery: Delivery, admission: Admission) -> None:
        try:
            topic = sparkplug.parse(delivery.topic)
        except RefusedError:
            return  # the intake says so, and keeps it
        if not topic.kind.endswith(("BIRTH", "DEATH")):
            return
        # A node that dies takes its devices with it; each has a birth of its own when it is back.
        device, now = admission.find(None, topic.address), self._clock.now()
        gone = admission.below(topic.address) if topic.kind == "NDEATH" else []
        with self._lock:
            for each in gone or ([] if device is None else [device]):
                self._statuses[each] = DeviceStatus(each, topic.kind.endswith("BIRTH"), now, now)

    def _hear_status(self, delivery: Delivery, admission: Admission) -> None:
        if len(delivery.payload) > MAX_BYTES:
            return
        try:
            topic = parse(delivery.topic)
            said = msgspec.json.decode(delivery.payload, type=_Status)
            text = delivery.payload.decode()
        except (RefusedError, msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return  # the intake says so, and keeps it
        now = self._clock.now()
        birth = text if said.online and bytes(said.points) else ""
        with self._lock:
            if not admission.knows(topic):
                self._note_birth(topic, birth, now)
                return
            before = self._statuses.get(topic.device)
            lost = (*(before.lost if before and before.boot == said.boot else ()), *said.lost)[-MAX_LOST:]
            self._statuses[topic.device] = DeviceStatus(
                topic.device,
                said.online,
                now,
                None if delivery.retain else now,
                said.boot,
                birth or (before.birth if before else ""),
                lost,
            )

    def _note_birth(self, topic: Topic, birth: str, now: datetime) -> None:
        before = self._sightings.get(topic.device)
        if before is not None:
            self._sightings[topic.device] = replace(before, last=now, birth=birth or before.birth)
        elif birth and len(self._sightings) < MAX_DEVICES:
            self._sightings[topic.device] = Sighting(
                topic.device, self._district, topic.system, now, now, messages=0, birth=birth
            )

    def _take_answer(self, delivery: Delivery, admission: Admission) -> bool:
        try:
            topic = parse(delivery.topic)
            answer = msgspec.json.decode(delivery.payload, type=_Answer)
        except (RefusedError, msgspec.DecodeError, RecursionError) as error:
            logger.warning("answer_refused", topic=delivery.topic[:300], error=str(error))
            return False
        if len(delivery.payload) > MAX_BYTES or not admission.knows(topic):
            logger.warning("answer_refused", topic=delivery.topic, error="too long, or of an unknown device")
            return False
        if "\0" in answer.id + answer.code:  # no text of PostgreSQL's
            logger.warning("answer_refused", topic=delivery.topic, error="holds U+0000")
            return False
        with self._lock:
            if len(self._answers) >= MAX_ANSWERS:
                logger.warning("answer_refused", topic=delivery.topic, error="too many wait for the database")
                return False
            self._answers.append((delivery, topic, answer))
        return True

    def _write_statuses(self) -> None:
        with self._lock:
            rows, self._statuses = self._statuses, {}
        try:
            self._presence.put(rows.values())
        except BaseException:
            with self._lock:
                self._statuses = rows | self._statuses
            raise

    def _write_sightings(self) -> None:
        with self._lock:
            seen, self._sightings = self._sightings, {}
        try:
            self._unknown.note(seen.values())
        except BaseException:
            with self._lock:
                self._sightings = seen | self._sightings
            raise

    def _write_answers(self, connection: Connection) -> None:
        while self._answers:
            delivery, topic, answer = self._answers[0]
            noted = self._commands.answer(
                answer.id,
                device=topic.device,
                ok=answer.ok,
                code=answer.code,
                result=bytes(answer.result).decode("utf-8", "replace"),
                at=self._clock.now(),
            )
            if noted is None:
                logger.warning("answer_to_no_command", device=topic.device, command=answer.id[:64])
            else:
                logger.info("command_answered", device=topic.device, command=noted.id, ok=answer.ok)
            connection.ack([delivery])
            with self._lock:
                self._answers.popleft()

    def _send(self, connection: Connection, command: Command) -> None:
        """Note that a command is sent, then send it: what is on the wire twice may open a valve twice."""
        self._commands.sent([command.id], self._clock.now())
        topic = Topic(command.district, command.system, command.device, Channel.CMD)
        try:
            connection.publish(str(topic), _payload(command), wait_s=HAND_OVER_S)
        except UnavailableError as error:
            logger.warning("command_not_taken", command=command.id, device=command.device, error=str(error))
        else:
            logger.info("command_sent", command=command.id, device=command.device, name=command.name, by=command.by)


def _payload(command: Command) -> bytes:
    parts: Mapping[str, object] = {
        "id": command.id,
        "name": command.name,
        "args": msgspec.Raw(command.args.encode()),
        "expires": to_ms(command.expires),
    }
    return msgspec.json.encode(parts)


_STATUS = f"/{Channel.STATUS}"
_ANSWER = f"/{Channel.ANSWER}"

__all__ = ["DeviceDesk"]
