"""Messages as CAP 1.2 XML (OASIS Standard, Common Alerting Protocol Version 1.2, 1 July 2010).

An ALERT is an Alert; an UPDATE and a REPEAT are Updates, a CLEAR a Cancel, with references to what was sent before.
Levels red to blue are severities Extreme to Minor. Section numbers are of chapter 3.2 of the standard,
recalled: its text and schema were not at hand.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import cache
from typing import TypeAlias

import msgspec
from pyproj import Transformer

from sensors.detection import DetectionKind
from sensors.notify.message import Item, Message, Purpose, Reference
from sensors.wording import LEVELS, Language
from twin.crs import parse
from twin.errors import CrsError, SettingsError

NAMESPACE = "urn:oasis:names:tc:emergency:cap:1.2"
MIME_TYPE = "application/cap+xml"

_CLEAN = re.compile(r"[^\s,<&]+")
"""identifier and sender: no spaces, commas or restricted characters (3.2.1)."""

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 (2.2) does not have."""

Locate: TypeAlias = Callable[[float, float], tuple[float, float]]
"""From easting and northing (m) to WGS 84 latitude and longitude (degrees)."""


class CapOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a city has to say of itself in CAP.

    `sender` names it globally (an Internet domain name or an e-mail address, 3.2.1), `sender_name` for people. `crs` is
    the city's, for places; without it an area has its name only. `status` is Actual, or Test and the like while a city
    tries itself out. `languages` are those of the info blocks, first first. `restriction`, where given, makes the
    scope Restricted, else it is Private. `utc_offset_h` is the offset of the times.
    """

    sender: str
    sender_name: str = "城脉 Chengmai"
    crs: str = ""
    status: str = "Actual"
    languages: tuple[Language, ...] = ("zh", "en")
    restriction: str = ""
    utc_offset_h: float = 8.0
    contact: str = ""


class Cap:
    """Writes messages as CAP; SettingsError for options that no valid document can be made of."""

    def __init__(self, options: CapOptions) -> None:
        if not _CLEAN.fullmatch(options.sender):
            raise SettingsError(f"is {options.sender!r}", where="cap.sender", expected="no blanks, commas, < or &")
        if options.status not in {"Actual", "Exercise", "System", "Test", "Draft"}:
            raise SettingsError(f"is {options.status!r}", where="cap.status", expected="Actual, Exercise, Test, …")
        if not options.languages:
            raise SettingsError("is empty", where="cap.languages", expected='"zh", "en" or both')
        if not abs(options.utc_offset_h) <= 14 or options.utc_offset_h * 60 % 1:
            raise SettingsError(
                f"is {options.utc_offset_h}", where="cap.utc_offset_h", expected="-14 to 14, in minutes"
            )
        try:
            self._locate = _locator(options.crs) if options.crs else None
        except CrsError as error:
            raise SettingsError(error.what, where="cap.crs", expected=error.expected) from None
        self._options = options

    def document(self, message: Message, to: str = "") -> bytes:
        """Return the message as a CAP document, UTF-8; `to` is whom a Private one is for (3.2.1, addresses)."""
        said = self._options
        alert = ET.Element("alert", xmlns=NAMESPACE)
        _add(alert, "identifier", message.id)
        _add(alert, "sender", said.sender)
        _add(alert, "sent", self._time(message.at))
        _add(alert, "status", "Exercise" if message.exercise and said.status == "Actual" else said.status)
        # an Update or Cancel has to say of what (3.2.1, references)
        _add(alert, "msgType", _TYPES.get(message.purpose, "Alert") if message.references else "Alert")
        _add(alert, "scope", "Restricted" if said.restriction else "Private")
        _add(alert, "restriction", said.restriction)
        if not said.restriction:
            _add(alert, "addresses", _quoted(to or message.route))
        if message.purpose is Purpose.REPEAT:
            _add(alert, "note", message.headline(said.languages[0]))
        _add(alert, "references", " ".join(self._reference(each) for each in message.references))
        if message.incident is not None:
            _add(alert, "incidents", str(message.incident))
        for language in said.languages:
            self._info(alert, message, language)
        return ET.tostring(alert, encoding="utf-8", xml_declaration=True)

    def _info(self, alert: ET.Element, message: Message, language: Language) -> None:
        info = ET.SubElement(alert, "info")
        over = message.purpose is Purpose.CLEAR
        _add(info, "language", "zh-CN" if language == "zh" else "en")
        for category in _CATEGORIES.get(message.system, ("Infra",)):
            _add(info, "category", category)
        _add(info, "event", _event(message, language))
        _add(info, "responseType", "AllClear" if over else "Assess" if message.level > 2 else "Execute")
        _add(info, "urgency", "Past" if over else _URGENCIES[message.level])
        _add(info, "severity", _SEVERITIES[message.level])
        _add(info, "certainty", _certainty(message))
        for rule in dict.fromkeys(item.rule for item in message.items if item.rule):
            _pair(info, "eventCode", "chengmai:rule", rule)
        onset = min((item.onset for item in message.items), default=None)
        _add(info, "effective", self._time(message.at))
        _add(info, "onset", "" if onset is None else self._time(onset))
        _add(info, "senderName", self._options.sender_name)
        _add(info, "headline", message.headline(language))
        _add(info, "description", message.text(language))
        _add(info, "contact", self._options.contact)
        _pair(info, "parameter", "chengmai:level", LEVELS["en"][message.level - 1])
        for item in message.items:
            _pair(info, "parameter", "chengmai:alarm", f"{item.alarm} {item.subject}")
        self._area(info, message, language)

    def _area(self, info: ET.Element, message: Message, language: Language) -> None:
        """Add the place, as circles of no radius (3.2.4): where devices or assets are is all that is known."""
        area = ET.SubElement(info, "area")
        assets = [item.asset.rpartition(":")[2] for item in message.items if item.asset]
        named = list(dict.fromkeys([message.district, *assets]))
        unknown = "位置未知" if language == "zh" else "place unknown"
        _add(area, "areaDesc", ", ".join(name for name in named if name) or unknown)
        for circle in dict.fromkeys(filter(None, map(self._circle, message.items))):
            _add(area, "circle", circle)

    def _circle(self, item: Item) -> str:
        if self._locate is None or item.easting is None or item.northing is None:
            return ""
        latitude, longitude = self._locate(item.easting, item.northing)
        return f"{latitude:.6f},{longitude:.6f} 0"

    def _reference(self, earlier: Reference) -> str:
        return f"{self._options.sender},{earlier.id},{self._time(earlier.at)}"

    def _time(self, at: datetime) -> str:
        """Return a time with its offset; UTC is -00:00, and never Z (3.3.2)."""
        offset = timedelta(hours=self._options.utc_offset_h)
        local = at.astimezone(timezone(offset)).isoformat(timespec="seconds")
        return local if offset else local.removesuffix("+00:00") + "-00:00"


_TYPES = {Purpose.UPDATE: "Update", Purpose.REPEAT: "Update", Purpose.CLEAR: "Cancel"}
_CATEGORIES = {
    "gas": ("Safety", "Infra"),
    "water": ("Infra",),
    "drainage": ("Infra", "Env"),
    "rain": ("Met", "Infra"),
    "structure": ("Safety", "Infra"),
}
_URGENCIES = {1: "Immediate", 2: "Immediate", 3: "Expected", 4: "Future"}
_SEVERITIES = {1: "Extreme", 2: "Severe", 3: "Moderate", 4: "Minor"}
_MEASURED = {DetectionKind.LIMIT, DetectionKind.SILENCE, DetectionKind.INGEST}
_EVENTS: dict[Language, dict[str, str]] = {
    "zh": {"gas": "燃气报警", "water": "供水报警", "drainage": "排水报警", "": "监测报警"},
    "en": {"gas": "gas alarm", "water": "water supply alarm", "drainage": "drainage alarm", "": "monitoring alarm"},
}


def _event(message: Message, language: Language) -> str:
    return _EVENTS[language].get(message.system, _EVENTS[language][""])


def _certainty(message: Message) -> str:
    """Return Observed for what was measured, Likely for more than 50 %, else Possible (3.2.2, certainty)."""
    if not message.items:
        return "Unknown"
    worst = message.items[0]
    if DetectionKind(worst.kind) in _MEASURED:
        return "Observed"
    return "Likely" if worst.confidence > 0.5 else "Possible"


def _add(parent: ET.Element, name: str, text: str) -> None:
    """Add an element, unless it would be empty."""
    if text:
        ET.SubElement(parent, name).text = _NOT_XML.sub("\ufffd", text)


def _pair(parent: ET.Element, name: str, kind: str, value: str) -> None:
    pair = ET.SubElement(parent, name)
    _add(pair, "valueName", kind)
    _add(pair, "value", value)


def _quoted(address: str) -> str:
    """Return a name for a list that blanks separate: in double quotes where it has one (3.2.1, addresses)."""
    clean = address.replace('"', "'")
    return f'"{clean}"' if re.search(r"\s", clean) else clean


@cache
def _locator(crs: str) -> Locate:
    transformer = Transformer.from_crs(parse(crs), parse("EPSG:4326"), always_xy=True)

    def locate(easting: float, northing: float) -> tuple[float, float]:
        longitude, latitude = transformer.transform(easting, northing)
        return float(latitude), float(longitude)

    return locate


__all__ = ["MIME_TYPE", "NAMESPACE", "Cap", "CapOptions"]
