"""Sparkplug B (Eclipse Sparkplug 3.0.0): births name metrics and give them aliases, data say what changed.

What is remembered of an edge node are the metrics of its births. Its data are counted (`seq`, 0 to 255): at a gap, at
an alias that no birth gave, and after a restart of our own, the node is asked for a rebirth; until it answers, what
only an alias names is taken as last heard and flagged, since a birth that was missed may have given that alias anew.

The protocol keeps nothing for a host that is away and has no receipts: (boot, seq) are None.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
from google.protobuf.message import DecodeError

from ingest.payload import MAX_READINGS, Measurement, Message, Refusal, check_size
from ingest.payload.sparkplug_schema import DataType, payload_class
from sensors.clock import Clock, to_ms
from twin.errors import RefusedError

NAMESPACE = "spBv1.0"
REBIRTH = "Node Control/Rebirth"
MAX_ASKED = 10_000
"""Nodes whose last request is remembered: names come from outside, so that they are bounded."""

REBIRTH_S = 10.0
"""Between two requests to one node: a birth takes some seconds on a slow network, and a request may be lost (QoS 0)."""

MAX_METRICS = 200_000
"""Metrics and nodes remembered, all together; the nodes whose birth is longest ago are forgotten first."""

GOOD = 192
"""The property Quality of a good value (Sparkplug 3.0.0, tck-id-payloads-propertyset-quality-value-value)."""

_OWN = ("bdSeq", "Node Control/", "Device Control/")
"""Metrics about the session itself (Sparkplug 3.0.0, chapter 6, NBIRTH and DBIRTH): no readings."""

_BIRTHS = frozenset({"NBIRTH", "DBIRTH"})
_DATA = frozenset({"NDATA", "DDATA"})
_COUNTED = frozenset({"DBIRTH", "NDATA", "DDATA", "DDEATH"})
_KINDS = _BIRTHS | _DATA | {"NDEATH", "DDEATH", "NCMD", "DCMD"}
_BITS = {DataType.INT8: 8, DataType.INT16: 16, DataType.INT32: 32, DataType.INT64: 64}
_WHOLE = frozenset({DataType.UINT8, DataType.UINT16, DataType.UINT32, DataType.UINT64, DataType.BOOLEAN})


class SparkplugTopic(NamedTuple):
    """``spBv1.0/{group}/{kind}/{node}[/{device}]`` (Sparkplug 3.0.0, 4.1); `device` is empty for the node itself."""

    group: str
    kind: str
    node: str
    device: str

    @property
    def session(self) -> str:
        """The edge node: its births, its count and its requests for rebirth are those of all its devices."""
        return f"{self.group}/{self.node}"

    @property
    def address(self) -> str:
        """What the registry calls the sender (`Device.address`)."""
        return "/".join((NAMESPACE, self.group, self.node, *((self.device,) if self.device else ())))


class Metric(NamedTuple):
    """What a birth says of a metric: whose it is (`device`, empty for the node), its name, type and unit."""

    device: str
    name: str
    datatype: int
    unit: str | None


class _Remembered(msgspec.Struct, array_like=True):
    aliases: dict[int, Metric]
    names: list[Metric]


@dataclass(slots=True)
class _Node:
    """An edge node: its metrics by alias and by (device, name), the last `seq`, the birth's bdSeq.

    `certain`: every message since the birth was heard. The two tables are replaced, never changed.
    """

    aliases: dict[int, Metric] = field(default_factory=dict[int, Metric])
    names: dict[tuple[str, str], Metric] = field(default_factory=dict[tuple[str, str], Metric])
    seq: int | None = None
    session: int | None = None
    certain: bool = False


def parse(name: str) -> SparkplugTopic:
    """Return the topic called `name`; RefusedError E_TOPIC for anything outside Sparkplug's grammar.

    >>> parse("spBv1.0/plant/DDATA/edge-1/pump").address
    'spBv1.0/plant/edge-1/pump'
    """
    parts = name.split("/")
    if 4 <= len(parts) <= 5 and parts[0] == NAMESPACE and all(parts):
        kind = parts[2]
        if kind in _KINDS and (len(parts) == 5) == (kind[0] == "D"):
            return SparkplugTopic(parts[1], kind, parts[3], parts[4] if len(parts) == 5 else "")
    raise RefusedError(
        "is outside the topic grammar",
        where=name[:200],
        expected=f"{NAMESPACE}/{{group}}/{{message}}/{{node}}[/{{device}}]",
        code="E_TOPIC",
    )


def rebirth_request(topic: SparkplugTopic, now: int) -> tuple[str, bytes]:
    """Return topic and payload that ask an edge node for its births; `now` in ms.

    Sparkplug 3.0.0, tck-id-operational-behavior-data-commands-rebirth-name, -datatype and -value.
    """
    payload = payload_class()(timestamp=now)
    payload.metrics.add(name=REBIRTH.encode(), timestamp=now, datatype=DataType.BOOLEAN, boolean_value=True)
    return f"{NAMESPACE}/{topic.group}/NCMD/{topic.node}", payload.SerializeToString()


class SparkplugDecoder:
    """Decodes the messages of edge nodes and their devices; not thread-safe. `clock` is the city's.

    Numbers and truth values are readings. Other metrics are passed over in a birth, which lists everything, and
    refused in data.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._nodes: OrderedDict[str, _Node] = OrderedDict()
        self._asked: OrderedDict[str, float] = OrderedDict()
        self._born: set[str] = set()
        self._metrics = 0
        self._told: dict[str, tuple[dict[int, Metric], dict[tuple[str, str], Metric]]] = {}

    def decode(self, topic: str, payload: bytes) -> Message:
        """Return the message, or raise RefusedError: E_TOPIC, E_SIZE, E_FRAME, E_UTF8, E_COUNT.

        One reading is refused with E_ALIAS (no birth that was heard says what it is), E_NAN or E_FIELD. Deaths and
        commands give no readings.
        """
        heard = parse(topic)
        check_size(payload)
        try:
            read = payload_class().FromString(payload)
        except DecodeError as error:
            raise RefusedError(f"is no Sparkplug payload: {error}", expected="protobuf", code="E_FRAME") from None
        names = [_text(metric.name) for metric in read.metrics]
        units = [_unit(metric) for metric in read.metrics]
        if heard.kind in _DATA and len(names) > MAX_READINGS:
            raise RefusedError(f"{len(names)} readings", expected=f"at most {MAX_READINGS}", code="E_COUNT")
        node = self._nodes.get(heard.session, _Node())
        if heard.kind in _BIRTHS:
            self._learn(heard, node, read, list(zip(names, units, strict=True)))
        elif heard.kind == "NDEATH":
            _bury(node, read, names)
        doubtful = heard.kind in _COUNTED and not _follows(node, read)
        taken, refused = _readings(heard, node, read, list(zip(names, units, strict=True)))
        doubtful = doubtful or any(refusal.code == "E_ALIAS" for refusal in refused)
        return Message(
            None,
            None,
            history=bool(taken) and all(metric.is_historical for metric in read.metrics),
            readings=len(taken) + len(refused),
            measurements=taken,
            refused=refused,
            address=heard.address,
            replies=self._ask(heard) if doubtful else (),
        )

    def memory(self) -> bytes | None:
        """Return the metrics of all nodes if a birth has changed them since the last call, else None."""
        born, self._born = self._born, set()
        if all(self._told.get(name) == _tables(self._nodes.get(name)) for name in born):
            return None
        self._told = {name: (node.aliases, node.names) for name, node in self._nodes.items()}
        return msgspec.msgpack.encode({name: _remembered(node) for name, node in self._nodes.items()})

    def recall(self, memory: bytes) -> None:
        """Take over what `memory` returned. Which births were missed meanwhile is unknown: the nodes will be asked."""
        for name, known in msgspec.msgpack.decode(memory, type=dict[str, _Remembered]).items():
            names = {(metric.device, metric.name): metric for metric in (*known.aliases.values(), *known.names)}
            self._nodes[name] = _Node(known.aliases, names)
            self._metrics += len(names)

    def _learn(
        self, topic: SparkplugTopic, node: _Node, payload: Any, described: Sequence[tuple[str, str | None]]
    ) -> None:
        """Take over a birth: of a node, in place of everything known of it; of a device, in place of its own."""
        keep = topic.kind == "DBIRTH"
        aliases = {a: m for a, m in node.aliases.items() if keep and m.device != topic.device}
        names = {key: m for key, m in node.names.items() if keep and key[0] != topic.device}
        for metric, (name, unit) in zip(payload.metrics, described, strict=True):
            if not name or name.startswith(_OWN):
                continue
            known = Metric(topic.device, name, metric.datatype, unit)
            names[topic.device, name] = known
            if metric.HasField("alias"):
                aliases[metric.alias] = known
        self._metrics += len(names) - len(node.names)
        node.aliases, node.names = aliases, names
        if topic.kind == "NBIRTH":
            node.certain, node.seq = True, payload.seq
            node.session = _session(payload, [name for name, _ in described])
            self._asked.pop(topic.session, None)
        self._nodes[topic.session] = node
        self._nodes.move_to_end(topic.session)
        self._born.add(topic.session)
        while len(self._nodes) > 1 and self._metrics + len(self._nodes) > MAX_METRICS:
            forgotten, gone = self._nodes.popitem(last=False)
            self._metrics -= len(gone.names)
            self._born.add(forgotten)

    def _ask(self, topic: SparkplugTopic) -> tuple[tuple[str, bytes], ...]:
        """Return the request for a rebirth, unless the node was asked a moment ago."""
        seconds = self._clock.seconds()
        if seconds - self._asked.get(topic.session, -math.inf) < REBIRTH_S:
            return ()
        self._asked[topic.session] = seconds
        self._asked.move_to_end(topic.session)
        if len(self._asked) > MAX_ASKED:
            self._asked.popitem(last=False)
        return (rebirth_request(topic, to_ms(self._clock.now())),)


def _tables(node: _Node | None) -> tuple[dict[int, Metric], dict[tuple[str, str], Metric]] | None:
    return None if node is None else (node.aliases, node.names)


def _remembered(node: _Node) -> _Remembered:
    aliased = {(metric.device, metric.name) for metric in node.aliases.values()}
    return _Remembered(node.aliases, [metric for key, metric in node.names.items() if key not in aliased])


def _bury(node: _Node, payload: Any, names: Sequence[str]) -> None:
    """Note a death, unless bdSeq says that it is the late one of a session before.

    Sparkplug 3.0.0, tck-id-payloads-ndeath-bdseq.
    """
    session = _session(payload, names)
    if node.session is None or session is None or session == node.session:
        node.certain, node.seq = False, None


def _session(payload: Any, names: Sequence[str]) -> int | None:
    found = next((metric for metric, name in zip(payload.metrics, names, strict=True) if name == "bdSeq"), None)
    return None if found is None else int(found.long_value or found.int_value)


def _follows(node: _Node, payload: Any) -> bool:
    """Count a message, and return whether every one since the node's birth was heard."""
    if payload.HasField("seq"):
        if node.seq is None or payload.seq != (node.seq + 1) % 256:
            node.certain = False
        node.seq = payload.seq
    return node.certain


def _readings(
    topic: SparkplugTopic, node: _Node, payload: Any, described: Sequence[tuple[str, str | None]]
) -> tuple[list[Measurement], list[Refusal]]:
    taken: list[Measurement] = []
    refused: list[Refusal] = []
    if topic.kind not in _BIRTHS | _DATA:
        return taken, refused
    sent = payload.timestamp if payload.HasField("timestamp") else None
    for metric, (name, unit) in zip(payload.metrics, described, strict=True):
        place = len(taken) + len(refused)
        known = node.names.get((topic.device, name)) if name else node.aliases.get(metric.alias)
        name = name or (known.name if known and metric.HasField("alias") else "")  # noqa: PLW2901  # by its birth
        if name.startswith(_OWN):
            continue
        value = _value(metric, metric.datatype or (known.datatype if known else 0), name)
        time = metric.timestamp if metric.HasField("timestamp") else sent
        if isinstance(value, tuple):
            if topic.kind in _DATA:
                refused.append(Refusal(place, *value))
        elif time is not None and time >= 2**53:
            refused.append(Refusal(place, "E_FIELD", f"{name[:64]}: time {time} is not milliseconds since 1970"))
        elif known is not None and known.device != topic.device:
            refused.append(Refusal(place, "E_IDENTITY", f"{name[:64]} is a metric of {known.device or 'the node'}"))
        else:
            good = _good(metric) and (node.certain or not metric.HasField("alias"))
            taken.append(Measurement(place, time, name, value, unit or (known.unit if known else None), int(not good)))
    return taken, refused


def _value(metric: Any, datatype: int, name: str) -> float | tuple[str, str]:
    """Return a metric's number, or (code, reason)."""
    if not name:
        return "E_ALIAS", f"alias {metric.alias} is of no birth that was heard"
    kind = metric.WhichOneof("value")
    if metric.is_null or kind is None:
        return "E_NAN", f"{name[:64]} has no number"
    value = float(getattr(metric, kind))
    if kind in {"int_value", "long_value"}:
        if datatype in _BITS:
            size = 1 << _BITS[DataType(datatype)]
            value = getattr(metric, kind) % size
            value = float(value - size if value >= size // 2 else value)
        elif datatype == 0:
            return "E_ALIAS", f"{name[:64]}: no birth that was heard names its type"
        elif datatype not in _WHOLE:
            return "E_NAN", f"{name[:64]} is of type {datatype}, which is no number"
    if not math.isfinite(value):
        return "E_NAN", f"{name[:64]}: {value} is not a number"
    return value


def _good(metric: Any) -> bool:
    """Return whether the property Quality, if there is one, says so."""
    found = _property(metric, b"Quality")
    return found is None or found.int_value == GOOD


def _unit(metric: Any) -> str | None:
    """Return the property engUnit: a convention of Ignition and Tahu, not of the specification."""
    found = _property(metric, b"engUnit")
    return _text(found.string_value) or None if found is not None else None


def _property(metric: Any, key: bytes) -> Any | None:
    if not metric.HasField("properties"):
        return None
    keys, values = metric.properties.keys, metric.properties.values
    return next((value for name, value in zip(keys, values, strict=False) if name == key), None)


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise RefusedError(f"{raw[:40]!r} is not UTF-8", expected="names in UTF-8", code="E_UTF8") from None


__all__ = ["NAMESPACE", "Metric", "SparkplugDecoder", "SparkplugTopic", "parse", "rebirth_request"]
