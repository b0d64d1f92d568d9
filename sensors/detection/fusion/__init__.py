"""Fusion: what the layers say, as few findings as there are causes.

Detections of one family (`sign.Family`) that share place and time are signs of one finding: a detection of kind
FINDING that begins with its first sign, grows with the others, stays itself while one of them stands, and bears them
as evidence. What statistics and networks say has no alarm of its own. A safety limit and the silence of a device do;
the limit is evidence for a finding that stands beside it. How bad a finding is, `levels` says.

Where one cause ends and the next begins: signs of one place (asset, device) belong together; others within the reach
of their family, along open pipes. Two places that a network layer located further apart than that layer can err are
two causes, and so is a sudden change long after the last one. A device that quality control found out speaks for its
own fault only.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from operator import attrgetter

import msgspec

from sensors.detection import Detection, DetectionKind, Key, Subject
from sensors.detection.fusion.finding import MILDEST, Finding
from sensors.detection.fusion.levels import Levels
from sensors.detection.fusion.places import Places, Spot, apart_m
from sensors.detection.fusion.sign import Family, Sign, meaning_of
from sensors.detection.scope import Scope
from sensors.detection.series import decoded

_ALARMS = frozenset({DetectionKind.LIMIT, DetectionKind.SILENCE, DetectionKind.FINDING})
"""Kinds that are alarms of their own; what a third party has fused itself passes as it is."""

_NO_SIGNS = frozenset({DetectionKind.SILENCE, DetectionKind.FINDING})

_PIPED = frozenset(Family) - {Family.GAS, Family.DEVICE, Family.OTHER}
"""Families whose signs are joined by open pipes only; gas also goes through the ground."""

_UNEXPLAINED = frozenset({Family.OTHER, Family.INTEGRITY})
"""Families of what has no cause yet."""

_NEVER = -(2**62)


class _SavedSign(msgspec.Struct):
    said: Detection
    alone: bool
    """Whether it was taken for what it is where it finds nothing to join."""


class _SavedFinding(msgspec.Struct):
    subject: Subject
    rule: str
    family: Family
    home: Spot
    opened: int
    sudden: int
    changed: int
    ended: int | None
    level: int
    confidence: float
    told: Detection | None
    signs: list[_SavedSign]


class _State(msgspec.Struct):
    findings: list[_SavedFinding]
    loose: list[Detection]
    alarms: list[Key]


class Fusion:
    """Makes findings of detections; one batch's at a time, in the order of their times.

    >>> from sensors.detection.checks import sample_devices
    >>> from sensors.limits import load
    >>> fusion = Fusion(Scope(sample_devices(), load()))
    >>> fall = Detection(Subject("point:S-00/pressure"), "rate_of_change", DetectionKind.RATE_OF_CHANGE, active=True,
    ...                  level=3, time=0, value=2e5, expected=(2.8e5, 3.2e5), quantity="pressure")
    >>> [(told.subject, told.rule, told.evidence.members) for told in fusion.update([fall])]
    [('device:S-00', 'burst', (('point:S-00/pressure', 'rate_of_change'),))]
    """

    def __init__(self, scope: Scope) -> None:
        self._places = Places(scope)
        self._levels = Levels(scope)
        number = scope.limits.number
        self._reach_m = {family: number("fusion", f"reach_{family.value}") for family in Family}
        self._apart_m = number("fusion", "apart")
        self._together_ms = 1000 * number("fusion", "together")
        self._hold_ms = 1000 * number("fusion", "hold")
        self._findings: dict[Key, Finding] = {}
        self._of: dict[Key, Finding] = {}
        self._loose: dict[Key, Sign] = {}
        self._alarms: set[Key] = set()

    @property
    def standing(self) -> set[Key]:
        """The conditions that stand, of findings and of what passes."""
        return self._alarms | {key for key, finding in self._findings.items() if finding.ended is None}

    def update(self, detections: Iterable[Detection]) -> list[Detection]:
        """Take in what the layers say, and return what there is to tell: alarms of their own, and findings."""
        told: list[Detection] = []
        for each in sorted(detections, key=attrgetter("time", "subject", "rule")):
            key = (each.subject, each.rule)
            if each.kind in _ALARMS or (key in self._alarms and not each.active):
                (self._alarms.add if each.active else self._alarms.discard)(key)
                told.append(each)
            if each.kind not in _NO_SIGNS:
                told += self._begun(each, each.time) if each.active else self._over(key, each.time)
        return told

    def save(self) -> bytes:
        """Return the whole state."""
        findings = [_saved(each) for each in self._findings.values()]
        loose = [sign.said for sign in self._loose.values()]
        return msgspec.msgpack.encode(_State(findings, loose, sorted(self._alarms)))

    def load(self, state: bytes | None, standing: Collection[Key]) -> None:
        """Take over the state of `save`, of what is still `standing` by the word of the detectors; InputError E_FORMAT.

        A finding none of whose signs stands any longer is gone. What stands and is in no state, as where fusion was
        off before, is an alarm of its own until it is over.
        """
        saved = _State([], [], []) if state is None else decoded(state, _State, "fusion state")
        stands = set(standing)
        findings = [self._restored(each, stands) for each in saved.findings]
        self._findings = {each.key: each for each in findings if each.stands or each.ended is not None}
        self._of = {key: each for each in self._findings.values() for key in each.signs}
        loose = [self._sign(said) for said in saved.loose]
        self._loose = {sign.key: sign for sign in loose if sign.key in stands}
        self._alarms = (set(saved.alarms) & stands) | (stands - self._of.keys() - self._loose.keys())

    def _restored(self, saved: _SavedFinding, standing: Collection[Key]) -> Finding:
        kept = [(self._sign(each.said), each.alone) for each in saved.signs]
        signs = [(alone and sign.alone()) or sign for sign, alone in kept if sign.key in standing]
        return Finding(
            saved.subject,
            saved.rule,
            saved.family,
            saved.home if saved.home.asset is None else self._places.at(saved.home.asset, saved.home),
            saved.opened,
            saved.sudden,
            saved.changed,
            saved.ended,
            saved.level,
            saved.confidence,
            {sign.key: sign for sign in signs},
            saved.told,
        )

    def _sign(self, said: Detection) -> Sign:
        spot = self._places.of(said)
        return Sign(said, meaning_of(said, spot.system), spot)

    def _begun(self, said: Detection, time: int) -> list[Detection]:
        """Take in a condition that began or changed."""
        sign = self._sign(said)
        finding = self._of.get(sign.key) or self._joined(sign, time)
        over = finding is not None and finding.ended is not None
        if not sign.meaning.begins and (finding is None or over):
            alone = None if over and sign.meaning.quiet else sign.alone()
            if alone is None:
                self._loose[sign.key] = sign
                return []
            sign, finding = alone, self._joined(alone, time)
        elif finding is not None and finding.family in _UNEXPLAINED:
            sign = sign.alone() or sign
        finding = finding or self._opened(sign, time)
        begins = self._take(finding, sign)
        explained = self._explained(finding, time) if begins else []
        damned = self._released(sign.spot.device, finding, time) if sign.meaning.damns else []
        return [*explained, *damned, *self._tell(finding, time)]

    def _over(self, key: Key, time: int) -> list[Detection]:
        """Take in that a condition is over."""
        self._loose.pop(key, None)
        finding = self._of.pop(key, None)
        if finding is None:
            return []
        over = finding.lose(key)
        if not over.meaning.damns or any(sign.meaning.damns for sign in finding.signs.values()):
            return self._tell(finding, time)
        again = [sign for sign in finding.signs.values() if sign.meaning.family is not Family.DEVICE]
        for sign in again:  # its device is believed again
            del self._of[finding.lose(sign.key).key]
        return [*self._tell(finding, time), *(each for sign in again for each in self._begun(sign.said, time))]

    def _tell(self, finding: Finding, time: int) -> list[Detection]:
        """Return what is new about a finding."""
        if finding.stands:
            if not finding.news:
                return []
            lead = finding.ranked()[0]
            best = lead.said.evidence.candidates[:1]
            place = self._places.at(best[0].asset, lead.spot) if best else lead.spot
            told = finding.tell(self._levels.of(finding, place), time)
            return [] if told is None else [told]
        left = {key: finding.lose(key) for key in list(finding.signs)}
        for key in left:
            del self._of[key]
        self._loose |= {key: sign for key, sign in left.items() if sign.meaning.quiet}
        lasting = [sign.said for sign in left.values() if not sign.meaning.quiet]
        return [finding.end(time), *(each for said in lasting for each in self._begun(said, time))]

    def _joined(self, sign: Sign, time: int) -> Finding | None:
        """Return the finding that a sign belongs to: the nearest that may take it in, one that stands before others."""
        self._findings = {
            key: each
            for key, each in self._findings.items()
            if each.ended is None or time - each.ended <= self._hold_ms
        }
        fault = self._findings.get((Subject(f"device:{sign.spot.device}"), "device_fault"))
        if fault is not None and fault.damns and sign.meaning.begins and not sign.meaning.locates:
            return fault
        near: list[tuple[bool, float, int, Key, Finding]] = []
        for finding in self._findings.values():
            distance = self._distance_m(sign, finding, time)
            if distance <= self._reach_m[finding.family]:
                near.append((finding.ended is not None, distance, finding.opened, finding.key, finding))
        return min(near)[-1] if near else None

    def _distance_m(self, sign: Sign, finding: Finding, time: int) -> float:
        """Return how far a sign is from a finding that it may be one of; infinite where it may not."""
        meaning = sign.meaning
        if meaning.family is not finding.family:
            return math.inf
        piped = meaning.family in _PIPED
        nearest = finding.spots.apart_m(sign.spot, piped=piped)
        rivals = [each for each in finding.speaking if each.meaning.locates and each.said.kind is sign.said.kind]
        if meaning.locates and any(apart_m(sign.spot, each.spot, piped=piped) > self._apart_m for each in rivals):
            return math.inf
        late = time - max(finding.opened, finding.sudden) > self._together_ms
        return math.inf if meaning.sudden and late and nearest > 0 else nearest

    def _opened(self, sign: Sign, time: int) -> Finding:
        """Return the finding that a sign begins; the one of that name where there is one."""
        spot, meaning = sign.spot, sign.meaning
        subject = sign.said.subject
        if spot.device:
            of_asset = spot.asset is not None and meaning.family is not Family.DEVICE
            subject = Subject(f"asset:{spot.asset}" if of_asset else f"device:{spot.device}")
        fresh = Finding(subject, meaning.rule, meaning.family, spot, time, _NEVER, _NEVER)
        return self._findings.setdefault(fresh.key, fresh)

    def _take(self, finding: Finding, sign: Sign) -> bool:
        """Take a sign into a finding; whether it begins with it, or again."""
        begins = finding.ended is not None or not finding.signs
        if finding.ended is not None:
            finding.ended, finding.opened = None, sign.said.time
            finding.level, finding.confidence = MILDEST, 0.0
        finding.hear(sign)
        self._of[sign.key] = finding
        if sign.meaning.sudden:
            finding.sudden = max(finding.sudden, sign.said.time)
        return begins

    def _explained(self, finding: Finding, time: int) -> list[Detection]:
        """Take to a finding that begins what it explains; return what that makes of other findings.

        That is limits that stand beside it, and what began shortly before and had no cause.
        """
        told: list[Detection] = []
        for sign in list(self._loose.values()):
            if self._distance_m(sign, finding, time) <= self._reach_m[finding.family]:
                del self._loose[sign.key]
                self._take(finding, sign)
        for other in list(self._findings.values()):
            if other is finding or other.family not in _UNEXPLAINED or time - other.opened > self._together_ms:
                continue
            signs = [self._sign(sign.said) for sign in other.signs.values()]
            signs = [each for each in signs if self._distance_m(each, finding, time) <= self._reach_m[finding.family]]
            for sign in signs:
                other.lose(sign.key)
                self._take(finding, sign)
            if signs and other.ended is None:
                told += self._tell(other, time)
        return told

    def _released(self, device: str, fault: Finding, time: int) -> list[Detection]:
        """Take what a faulty device measured from other findings to its own; return what that makes of them."""
        told: list[Detection] = []
        for finding in list(self._findings.values()):
            doubtful = [] if finding is fault else [sign for sign in finding.signs.values() if _of_series(sign, device)]
            for sign in doubtful:
                finding.lose(sign.key)
                self._take(fault, sign)
            if doubtful:
                told += self._tell(finding, time)
        return told


def _of_series(sign: Sign, device: str) -> bool:
    return sign.spot.device == device and sign.meaning.begins and not sign.meaning.locates


def _saved(finding: Finding) -> _SavedFinding:
    return _SavedFinding(
        finding.subject,
        finding.rule,
        finding.family,
        finding.home,
        finding.opened,
        finding.sudden,
        finding.changed,
        finding.ended,
        finding.level,
        finding.confidence,
        finding.told,
        [_SavedSign(sign.said, sign.meaning.alone) for sign in finding.signs.values()],
    )


__all__ = ["Fusion"]
