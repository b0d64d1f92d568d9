"""HJ 212 frames of pollution monitoring (HJ 212-2017; HJ 212-2025, in force since 2026-01-01), and what answers them.

::

    ##0136QN=20260801085857223;ST=32;CN=2011;PW=…;MN=…;Flag=5;CP=&&DataTime=20260801085857;w01018-Rtd=12.3,…&&1C80<CR><LF>
    └┬┘└┬┘└────────────────────────── data segment, as long as the four digits say ──────────────────────────┘└┬─┘
    head length in bytes                                                                                    its CRC-16

Of the 2017 edition the frame, its fields and its CRC are taken here as they are published; the 2025 edition's text was
not at hand, so that its frames are read by the same rules whatever version their Flag names (docs/protocols.md).

A frame is named by its QN, which the standard calls unique to one exchange. Stations in the field give one QN to all
frames of a moment, so that command, system and packet number are part of the name here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import NamedTuple

from ingest.payload import MAX_READINGS, WHOLE, Measurement, Message, Refusal, check_size
from sensors.clock import to_ms
from twin.errors import RefusedError

HEAD = b"##"
TAIL = b"\r\n"
AROUND = 4 + 4 + len(HEAD) + len(TAIL)
"""Bytes of a frame beside its data segment: head, length, CRC, tail."""

LOCAL = timezone(timedelta(hours=8))
"""QN and DataTime are local time in China (UTC+8, no summer time)."""

COMMANDS: Mapping[str, int] = {"2011": 1, "2051": 2, "2061": 3, "2031": 4}
"""Uploads that carry readings: of the moment, and the statistics of minutes, hours and days. The digit is the
command's in a frame's name (0: any other), and stays what it is for ever."""

INSTANT = "2011"
REALTIME = "Rtd"
STATISTICS = frozenset({REALTIME, "Avg", "Min", "Max", "Cou", "ZsRtd", "ZsAvg", "ZsMin", "ZsMax"})
"""Values of a factor (``Zs``: converted to the reference oxygen); everything else about it is no reading."""

LATE: Mapping[str, timedelta] = {"2011": timedelta(minutes=10), "2051": timedelta(minutes=30)}
"""How long after its DataTime a frame is sent (QN) at most while it is live; later, it is what a station has kept
through an outage, which the protocol does not mark. Ours, not the standard's: an interval and some patience. What
hours and days have been is never live."""

DATA_ANSWER = "9014"
ANSWERING_SYSTEM = "91"
_ANSWER_WANTED, _SPLIT, _VERSION = 1, 2, 0xFC
_EPOCH = to_ms(datetime(2000, 1, 1, tzinfo=UTC))
_CENTURY_MS = 100 * 365 * 86_400_000
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_MN = re.compile(r"[A-Za-z0-9_-]{1,64}")


def _shifted(register: int) -> int:
    for _ in range(8):
        register = register >> 1 ^ (0xA001 if register & 1 else 0)
    return register


_TABLE = [_shifted(byte) for byte in range(256)]


class Name(NamedTuple):
    """What names a frame in receipts: `boot` is always 0, `seq` is built of QN, command, system and packet number."""

    boot: int
    seq: int


@dataclass(frozen=True, slots=True)
class Frame:
    """The fields of a data segment, as text; `parameters` is what stands between the ``&&`` of CP."""

    request: str
    system: str
    command: str
    station: str
    flag: int
    packets: str
    packet: str
    parameters: str
    password: str = field(repr=False)

    @property
    def address(self) -> str:
        """What the registry calls the station (`Device.address`)."""
        return f"hj212/{self.station}"

    @property
    def wants_answer(self) -> bool:
        """Whether the station asks for an answer: bit A of Flag (HJ 212-2017, 6.3, data segment)."""
        return bool(self.flag & _ANSWER_WANTED)

    def name(self) -> Name | None:
        """Return the frame's name, or None without a QN: such a frame is kept, and cannot be answered."""
        if not self.request:
            return None
        packet = int(self.packet or 0)
        moment = _time(self.request, "QN") - _EPOCH
        if not 0 <= moment < _CENTURY_MS:
            raise RefusedError(f"QN={self.request}", expected="a time from 2000 to 2099", code="E_FIELD")
        return Name(0, ((moment * 10 + COMMANDS.get(self.command, 0)) * 100 + int(self.system)) * 1000 + packet)

    def kept(self, time: int | None) -> bool:
        """Return whether what was measured at `time` (ms since 1970 UTC) was sent too late to be live."""
        late = LATE.get(self.command)
        if late is None:
            return True
        return (
            bool(self.request) and time is not None and _time(self.request, "QN") - time > late.total_seconds() * 1000
        )

    def answer(self) -> bytes:
        """Return the frame that tells the station that its data have arrived (9014 of HJ 212-2017, clause 6)."""
        split = f";PNUM={self.packets};PNO={self.packet}" if self.flag & _SPLIT else ""
        return frame(
            f"QN={self.request};ST={ANSWERING_SYSTEM};CN={DATA_ANSWER};PW={self.password};MN={self.station};"
            f"Flag={self.flag & (_VERSION | _SPLIT)}{split};CP=&&&&"
        )


def crc16(segment: bytes) -> int:
    """Return the check of a data segment (HJ 212-2017, annex A: not the CRC of Modbus, whose polynomial it shares).

    >>> segment = "QN=20160801085857223;ST=32;CN=1062;PW=100000;MN=010000A8900016F000169DC0;Flag=5;"
    >>> f"{crc16((segment + 'CP=&&RtdInterval=30&&').encode()):04X}"  # the example of the standard
    '1C80'
    """
    register = 0xFFFF
    for byte in segment:
        register = _TABLE[register >> 8 ^ byte]
    return register


def frame(segment: str) -> bytes:
    """Return a data segment as the frame that goes over the wire."""
    raw = segment.encode("latin-1")
    return b"##%04d%b%04X\r\n" % (len(raw), raw, crc16(raw))


def read_frame(raw: bytes, *, checked: bool = True) -> Frame:
    """Return what a frame says; RefusedError E_FRAME for its length, CRC or syntax, E_FIELD for a field.

    Without `checked` the CRC is not looked at: who sent a damaged frame is asked before it is kept as damaged.
    """
    segment = _segment(raw, checked=checked)
    head, marked, tail = segment.partition("CP=&&")
    parameters, closed, rest = tail.rpartition("&&")
    if not marked or not closed or rest:
        raise RefusedError("there is no CP=&&…&& at its end", expected="a data segment", code="E_FRAME")
    fields: dict[str, str] = {}
    for part in head.split(";"):
        key, equals, value = part.partition("=")
        if part and (not equals or key in fields):
            raise RefusedError(f"{part[:40]!r} is no field, or comes twice", expected="NAME=value;…", code="E_FRAME")
        fields[key] = value
    flag = int(_digits(fields, "Flag", 1, 3) or 0)
    split = bool(flag & _SPLIT)
    if not _MN.fullmatch(fields.get("MN", "")):
        raise RefusedError(f"MN={fields.get('MN', '')[:40]!r}", expected="the station's number", code="E_FIELD")
    return Frame(
        request=_digits(fields, "QN", 17, 17),
        system=_digits(fields, "ST", 1, 2, needed=True),
        command=_digits(fields, "CN", 4, 4, needed=True),
        station=fields["MN"],
        flag=flag,
        packets=_digits(fields, "PNUM", 1, 4, needed=split) if split else "",
        packet=_digits(fields, "PNO", 1, 3, needed=split) if split else "",
        parameters=parameters,
        password=fields.get("PW", ""),
    )


class Hj212Decoder:
    """Decodes data frames.

    A factor's ``-Rtd`` is the point whose code is the factor (``w01018``); other values name themselves, and those of
    statistics their command too (``w01018-ZsRtd``, ``w01018-Avg/2061``), so that an hour's mean never passes for a
    moment's value. Units are the registry's: frames have none.
    """

    def decode(self, topic: str, payload: bytes) -> Message:
        """Return the message, or raise RefusedError: E_SIZE, E_FRAME, E_FIELD.

        A frame that has a name and wrong contents is returned, refused as a whole, so that it is answered. One of
        another command carries no readings, and gives none.
        """
        del topic
        check_size(payload)
        read = read_frame(payload)
        name = read.name() or (None, None)
        history = False
        try:
            taken, refused = _readings(read) if read.command in COMMANDS else ([], [])
            history = bool(taken) and read.kept(taken[0].time)
        except RefusedError as error:
            if name[0] is None:
                raise
            taken, refused = [], [Refusal(WHOLE, error.code, str(error))]
        return Message(
            *name,
            history=history,
            readings=len(taken) + len(refused),
            measurements=taken,
            refused=refused,
            address=read.address,
            consecutive=False,
        )

    def memory(self) -> bytes | None:
        """Return None: every frame stands by itself, packets of a split one too."""
        return None

    def recall(self, memory: bytes) -> None:
        """Take nothing over."""
        del memory


def _segment(raw: bytes, *, checked: bool) -> str:
    body = raw.removesuffix(TAIL)
    length, segment, check = body[2:6], body[6:-4], body[-4:]
    if len(body) < AROUND - len(TAIL) or not body.startswith(HEAD) or not length.isdigit():
        raise RefusedError(f"{raw[:10]!r} begins no frame", expected="## and the length in 4 digits", code="E_FRAME")
    if int(length) != len(segment):
        raise RefusedError(
            f"its data segment has {len(segment)} bytes", expected=f"{int(length)}, as it says", code="E_FRAME"
        )
    if checked and check.upper() != b"%04X" % crc16(segment):
        raise RefusedError(f"its CRC is {check!r}", expected=f"{crc16(segment):04X}", code="E_FRAME")
    return segment.decode("latin-1")  # texts of devices come in GBK and UTF-8; what is read here is ASCII in both


def _digits(fields: Mapping[str, str], key: str, least: int, most: int, *, needed: bool = False) -> str:
    text = fields.get(key, "")
    if (text or needed) and not (least <= len(text) <= most and text.isascii() and text.isdigit()):
        raise RefusedError(f"{key}={text[:40]!r}", expected=f"{key} of {least} to {most} digits", code="E_FIELD")
    return text


def _time(text: str, key: str) -> int:
    """Return YYYYMMDDhhmmss[zzz], local time, in ms since 1970 UTC."""
    try:
        moment = datetime.strptime(text[:14], "%Y%m%d%H%M%S").replace(tzinfo=LOCAL)
        return to_ms(moment) + int(text[14:] or 0)
    except (ValueError, OverflowError) as error:
        raise RefusedError(f"{key}={text[:40]!r}: {error}", expected="YYYYMMDDhhmmss", code="E_FIELD") from None


def _readings(read: Frame) -> tuple[list[Measurement], list[Refusal]]:
    items = list(_items(read.parameters))
    found = dict(items)
    stated = found.get("DataTime", "")
    if len(stated) not in {14, 17} or not (stated.isascii() and stated.isdigit()):
        raise RefusedError(f"DataTime={stated[:40]!r}", expected="DataTime=YYYYMMDDhhmmss", code="E_FIELD")
    time = _time(stated, "DataTime")
    taken: list[Measurement] = []
    refused: list[Refusal] = []
    place = 0
    for key, text in items:
        factor, dash, statistic = key.rpartition("-")
        if not dash or statistic not in STATISTICS:
            continue
        value = float(text) if _NUMBER.fullmatch(text) else math.nan
        if math.isfinite(value):
            quality = int(found.get(f"{factor}-Flag", "N") != "N")
            taken.append(Measurement(place, time, _point(factor, statistic, read.command), value, None, quality))
        else:
            refused.append(Refusal(place, "E_NAN", f"{key[:64]}={text[:40]!r} is not a number"))
        place += 1
    if not 0 < place <= MAX_READINGS:
        raise RefusedError(f"{place} readings", expected=f"1 to {MAX_READINGS}", code="E_COUNT")
    return taken, refused


def _items(parameters: str) -> Iterator[tuple[str, str]]:
    for part in re.split("[;,]", parameters):
        key, equals, value = part.partition("=")
        if equals:
            yield key.strip(), value.strip()


def _point(factor: str, statistic: str, command: str) -> str:
    if command != INSTANT:
        return f"{factor}-{statistic}/{command}"
    return factor if statistic == REALTIME else f"{factor}-{statistic}"


__all__ = ["COMMANDS", "LOCAL", "Frame", "Hj212Decoder", "Name", "crc16", "frame", "read_frame"]
