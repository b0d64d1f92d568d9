"""A finding: several signs of one cause, told as one detection that stays itself while it stands."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from sensors.detection import Candidate, Detection, DetectionKind, Evidence, Fact, Key, Subject
from sensors.detection.fusion.places import Spot, Spots
from sensors.detection.fusion.sign import Family, Sign
from twin.asset import AssetId

MILDEST = 4
"""The level that a finding begins with; it can only become worse."""

_SPEAKING = 64
"""So many signs of one finding speak, in the order in which they came; the others are heard when one of these goes."""

_MOST_CANDIDATES = 10
_MOST_POINTS = 20
_MOST_MEMBERS = 50
_MOST_FACTS = 8
"""So many of each are told; a person reads three, and a flood must not make an alarm of megabytes."""

_EVEN = 0.5
_SURE = 0.99
"""No confidence is higher: the detectors' own are estimates."""


@dataclass(slots=True)
class Finding:
    """Signs of one cause. `subject` and `rule` are those of its first sign and stay; level and confidence only grow.

    `home` is where the first sign was. `opened`, `sudden` (of its newest sudden sign), `changed` (of what it told last)
    and `ended` (None: it stands) are city times in milliseconds.
    """

    subject: Subject
    rule: str
    family: Family
    home: Spot
    opened: int
    sudden: int
    changed: int
    ended: int | None = None
    level: int = MILDEST
    confidence: float = 0.0
    signs: dict[Key, Sign] = field(default_factory=dict[Key, Sign])
    told: Detection | None = None
    _speaking: list[Sign] | None = None
    _spots: Spots | None = None
    _news: bool = True

    @property
    def key(self) -> Key:
        """The condition that it is."""
        return self.subject, self.rule

    @property
    def stands(self) -> bool:
        """Whether any of its signs does, beside safety limits, which are alarms of their own."""
        return any(sign.meaning.begins for sign in self.signs.values())

    @property
    def news(self) -> bool:
        """Whether anything that is told may have changed since it was told."""
        return self._news

    @property
    def damns(self) -> bool:
        """Whether a device is at fault so that nothing it measures can be believed."""
        return any(sign.meaning.damns for sign in self.signs.values())

    @property
    def speaking(self) -> list[Sign]:
        """The signs that say where and how sure it is: the first, and all that know the network.

        In a flood a thousand more say the same, and each of them would have to be held against all the others.
        """
        if self._speaking is None:
            signs = self.signs.values()
            rest = islice(signs, _SPEAKING, None)
            self._speaking = [*islice(signs, _SPEAKING), *(sign for sign in rest if sign.meaning.locates)]
        return self._speaking

    @property
    def spots(self) -> Spots:
        """Where it began, and where the signs that speak are."""
        if self._spots is None:
            self._spots = Spots((self.home, *(sign.spot for sign in self.speaking)))
        return self._spots

    def hear(self, sign: Sign) -> None:
        """Take in a sign, or what it says now. One more in a flood is no news, unless it knows the network or is worse.

        Its level counts whether it speaks or not.
        """
        crowded = sign.key not in self.signs and len(self.signs) >= _SPEAKING
        self.signs[sign.key] = sign
        if not crowded or sign.meaning.locates:
            self._speaking, self._spots, self._news = None, None, True
        if sign.said.level < self.level:
            self.level, self._news = sign.said.level, True

    def lose(self, key: Key) -> Sign:
        """Let go of a sign, and return it."""
        lost = self.signs.pop(key)
        if self._speaking is None or lost in self._speaking:
            self._speaking, self._spots, self._news = None, None, True
        return lost

    def ranked(self) -> list[Sign]:
        """Return the signs that speak, what knows the network first, limits last.

        Between them, of the quantity that most of them measure, what left its expected band the furthest: the nearest
        to the cause, since a burst is felt most where it is.
        """
        speaking = self.speaking
        measured = Counter(sign.said.quantity for sign in speaking if not sign.meaning.locates)
        return sorted(speaking, key=lambda sign: _rank(sign, measured[sign.said.quantity]))

    def tell(self, level: int, time: int) -> Detection | None:
        """Return what is to be said at `time`, or None where nothing is new; each telling is later than the last.

        `level` is what the matrix and its signs make of it now.
        """
        self._news = False
        self.level = min(self.level, level)
        ranked = self.ranked()
        self.confidence = max(self.confidence, confidence_of(ranked))
        lead = ranked[0].said
        now = Detection(
            self.subject,
            self.rule,
            DetectionKind.FINDING,
            active=True,
            level=self.level,
            time=0,
            value=lead.value,
            limit=lead.limit,
            expected=lead.expected,
            score=self.confidence,
            quantity=lead.quantity,
            evidence=_evidence(ranked, self.confidence),
        )
        if self.told is not None and (self.told.level, self.told.evidence) == (now.level, now.evidence):
            return None
        self.told = now
        return self._at(now, time, active=True)

    def end(self, time: int) -> Detection:
        """Return that it is over; it may be taken up again."""
        assert self.told is not None  # it was told when it began
        ended = self._at(self.told, time, active=False)
        self.ended, self.told = self.changed, None
        return ended

    def _at(self, said: Detection, time: int, *, active: bool) -> Detection:
        self.changed = max(time, self.changed + 1)
        return Detection(
            said.subject,
            said.rule,
            said.kind,
            active=active,
            level=said.level,
            time=self.changed,
            value=said.value,
            limit=said.limit,
            expected=said.expected,
            score=said.score,
            quantity=said.quantity,
            evidence=said.evidence,
        )


def confidence_of(signs: Iterable[Sign]) -> float:
    """Return how sure several signs make one, 0 to 0.99, to two figures.

    Each device or place is one witness, as sure as its surest sign; witnesses that may each be wrong by themselves are
    all wrong with the product of their doubts (noisy or: Pearl, Probabilistic Reasoning in Intelligent Systems, 1988,
    section 4.3.2). A safety limit is sure that something is wrong, and knows no more than any other what it is.
    """
    doubt: dict[str, float] = defaultdict(lambda: 1.0)
    for sign in signs:
        witness = sign.spot.device or sign.said.subject
        sure = sign.said.evidence.confidence if sign.meaning.begins else _EVEN
        doubt[witness] = min(doubt[witness], 1.0 - sure)
    return round(min(_SURE, 1.0 - math.prod(sorted(doubt.values()))), 2)


def _rank(sign: Sign, alike: int) -> tuple[object, ...]:
    said = sign.said
    network, joins = sign.meaning.locates, not sign.meaning.begins
    if network:
        return (False, joins, -said.evidence.confidence, said.time, said.subject, said.rule)
    return (True, joins, -alike, -_departure(said), said.time, said.subject, said.rule)


def _departure(said: Detection) -> float:
    """Return how far a value is from the middle of what was expected, SI; 0 where nothing was."""
    return 0.0 if said.value is None or said.expected is None else abs(said.value - sum(said.expected) / 2)


def _evidence(ranked: Sequence[Sign], confidence: float) -> Evidence:
    said = [sign.said for sign in ranked]
    # whose readings the value is one of, then what else was measured, then what others say of them
    seers = sorted(ranked, key=lambda sign: (sign.meaning.locates, sign.said.quantity != said[0].quantity))
    points = [point for sign in seers for point in (sign.said.subject, *sign.said.evidence.points) if _is_point(point)]
    facts: dict[str, Fact] = {}
    for each in said:
        for fact in each.evidence.facts:
            facts.setdefault(fact.name, fact)
    return Evidence(
        basis=said[0].evidence.basis,
        confidence=confidence,
        candidates=_candidates(said),
        facts=tuple(facts.values())[:_MOST_FACTS],
        points=tuple(dict.fromkeys(points))[:_MOST_POINTS],
        members=tuple((each.subject, each.rule) for each in said[:_MOST_MEMBERS]),
    )


def _candidates(said: Sequence[Detection]) -> tuple[Candidate, ...]:
    """Return the likeliest causes: the weights of all that name some, each counted by its confidence."""
    weight: dict[AssetId, float] = defaultdict(float)
    distance: dict[AssetId, float | None] = {}
    naming = [each for each in said if each.evidence.candidates]
    whole = sum(each.evidence.confidence for each in naming)
    for each in naming:
        share = each.evidence.confidence / whole if whole else 1.0 / len(naming)
        for candidate in each.evidence.candidates:
            weight[candidate.asset] += share * candidate.weight
            distance.setdefault(candidate.asset, candidate.distance_m)
    best = sorted(weight, key=lambda asset: (-weight[asset], asset))[:_MOST_CANDIDATES]
    return tuple(Candidate(asset, round(weight[asset], 4), distance[asset]) for asset in best)


def _is_point(subject: Subject) -> bool:
    return subject.startswith(("point:", "device:"))


__all__ = ["Finding", "confidence_of"]
