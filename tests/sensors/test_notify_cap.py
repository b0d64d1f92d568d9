"""CAP documents held against the standard, as recalled, element by element: order, how often, what may stand in each.

The tables are those of the data dictionary (CAP 1.2, chapter 3.2) in the order of its XML schema (3.4).
"""

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from defusedxml.ElementTree import fromstring
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from sensors.notify.cap import NAMESPACE, Cap, CapOptions
from sensors.notify.checks import START, sample
from sensors.notify.message import Purpose, Reference
from twin.errors import SettingsError

TEXT = re.compile(r"(?s).+")
NAME = re.compile(r"[^\s,<&]+")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[-+]\d\d:\d\d")
CIRCLE = re.compile(r"-?\d{1,2}(\.\d+)?,-?\d{1,3}(\.\d+)? \d+(\.\d+)?")
REFERENCES = re.compile(
    rf"{NAME.pattern},{NAME.pattern},{TIME.pattern}( {NAME.pattern},{NAME.pattern},{TIME.pattern})*"
)
PAIR = [("valueName", 1, 1, TEXT), ("value", 1, 1, TEXT)]
MANY = 10**9


def one_of(words):
    return re.compile("|".join(words.split()))


RESOURCE = [
    ("resourceDesc", 1, 1, TEXT),
    ("mimeType", 1, 1, TEXT),
    ("size", 0, 1, re.compile(r"\d+")),
    ("uri", 0, 1, TEXT),
    ("derefUri", 0, 1, TEXT),
    ("digest", 0, 1, TEXT),
]
AREA = [
    ("areaDesc", 1, 1, TEXT),
    ("polygon", 0, MANY, TEXT),
    ("circle", 0, MANY, CIRCLE),
    ("geocode", 0, MANY, PAIR),
    ("altitude", 0, 1, TEXT),
    ("ceiling", 0, 1, TEXT),
]
INFO = [
    ("language", 0, 1, re.compile("[a-z]{2}(-[A-Z]{2})?")),
    ("category", 1, MANY, one_of("Geo Met Safety Security Rescue Fire Health Env Transport Infra CBRNE Other")),
    ("event", 1, 1, TEXT),
    ("responseType", 0, MANY, one_of("Shelter Evacuate Prepare Execute Avoid Monitor Assess AllClear None")),
    ("urgency", 1, 1, one_of("Immediate Expected Future Past Unknown")),
    ("severity", 1, 1, one_of("Extreme Severe Moderate Minor Unknown")),
    ("certainty", 1, 1, one_of("Observed Likely Possible Unlikely Unknown")),
    ("audience", 0, 1, TEXT),
    ("eventCode", 0, MANY, PAIR),
    ("effective", 0, 1, TIME),
    ("onset", 0, 1, TIME),
    ("expires", 0, 1, TIME),
    ("senderName", 0, 1, TEXT),
    ("headline", 0, 1, TEXT),
    ("description", 0, 1, TEXT),
    ("instruction", 0, 1, TEXT),
    ("web", 0, 1, TEXT),
    ("contact", 0, 1, TEXT),
    ("parameter", 0, MANY, PAIR),
    ("resource", 0, MANY, RESOURCE),
    ("area", 0, MANY, AREA),
]
ALERT = [
    ("identifier", 1, 1, NAME),
    ("sender", 1, 1, NAME),
    ("sent", 1, 1, TIME),
    ("status", 1, 1, one_of("Actual Exercise System Test Draft")),
    ("msgType", 1, 1, one_of("Alert Update Cancel Ack Error")),
    ("source", 0, 1, TEXT),
    ("scope", 1, 1, one_of("Public Restricted Private")),
    ("restriction", 0, 1, TEXT),
    ("addresses", 0, 1, re.compile(r'("[^"]+"|\S+)( ("[^"]+"|\S+))*')),
    ("code", 0, MANY, TEXT),
    ("note", 0, 1, TEXT),
    ("references", 0, 1, REFERENCES),
    ("incidents", 0, 1, TEXT),
    ("info", 0, MANY, INFO),
]


def hold(element, table):
    """Hold the children of `element` against a table of (name, least, most, what)."""
    names = [child.tag.removeprefix(f"{{{NAMESPACE}}}") for child in element]
    order = [name for name, *_ in table]
    assert set(names) <= set(order), f"{element.tag} has no {set(names) - set(order)}"
    assert names == sorted(names, key=order.index), f"the order in {element.tag}"
    for name, least, most, what in table:
        found = [child for child in element if child.tag == f"{{{NAMESPACE}}}{name}"]
        assert least <= len(found) <= most, f"{len(found)} {name}"
        for child in found:
            if isinstance(what, list):
                hold(child, what)
            else:
                assert not len(child)
                assert what.fullmatch(child.text or ""), f"{name} is {child.text!r}"


def document(message, to="duty@gas.example", **options):
    """Return the CAP of a message, parsed, after it was held against the standard."""
    root = fromstring(Cap(CapOptions(sender="chengmai@city.example", **options)).document(message, to))
    assert root.tag == f"{{{NAMESPACE}}}alert"
    hold(root, ALERT)
    assert (text(root, "scope") == "Private") == (text(root, "addresses") is not None)
    assert (text(root, "scope") == "Restricted") == (text(root, "restriction") is not None)
    assert (text(root, "msgType") in {"Update", "Cancel"}) <= (text(root, "references") is not None)
    return root


def text(element, path):
    found = element.find("/".join(f"{{{NAMESPACE}}}{name}" for name in path.split("/")))
    return None if found is None else found.text


@pytest.mark.parametrize(
    ("purpose", "kind"),
    [
        (Purpose.ALERT, "Alert"),
        (Purpose.UPDATE, "Update"),
        (Purpose.REPEAT, "Update"),
        (Purpose.CLEAR, "Cancel"),
        (Purpose.CASE, "Alert"),
    ],
)
def test_each_purpose_is_a_document_of_the_standard(purpose, kind):
    assert text(document(sample(1, purpose), crs="EPSG:4549"), "msgType") == kind


def test_an_update_refers_to_what_was_sent_before():
    earlier = tuple(Reference(f"m-{number}", START + timedelta(minutes=number)) for number in (1, 2))
    root = document(replace(sample(1, Purpose.UPDATE), references=earlier))
    sender = "chengmai@city.example"
    assert text(root, "references") == f"{sender},m-1,2026-01-01T12:01:00+08:00 {sender},m-2,2026-01-01T12:02:00+08:00"


@pytest.mark.parametrize(
    ("offset_h", "sent"),
    [(8, "2026-01-01T12:00:03+08:00"), (0, "2026-01-01T04:00:03-00:00"), (-3.5, "2026-01-01T00:30:03-03:30")],
)
def test_times_have_an_offset_and_never_a_letter(offset_h, sent):
    assert text(document(sample(), utc_offset_h=offset_h), "sent") == sent


@pytest.mark.parametrize(
    ("level", "said"),
    [
        (1, ("Immediate", "Extreme")),
        (2, ("Immediate", "Severe")),
        (3, ("Expected", "Moderate")),
        (4, ("Future", "Minor")),
    ],
)
def test_levels_are_severities(level, said):
    root = document(replace(sample(), level=level))
    assert (text(root, "info/urgency"), text(root, "info/severity")) == said


def test_an_all_clear_is_past():
    root = document(sample(1, Purpose.CLEAR))
    assert (text(root, "info/urgency"), text(root, "info/responseType")) == ("Past", "AllClear")


def test_a_place_is_latitude_first_in_wgs_84():
    root = document(sample(), crs="EPSG:4549")
    longitude, latitude = Transformer.from_crs("EPSG:4549", "EPSG:4326", always_xy=True).transform(500_000, 3_350_000)
    assert text(root, "info/area/circle") == f"{latitude:.6f},{longitude:.6f} 0"
    assert 30 < latitude < 31
    assert text(document(sample()), "info/area/circle") is None


def test_a_message_without_alarms_has_an_area_still():
    root = document(replace(sample(1, Purpose.CASE), items=(), alarms=0, district=""))
    assert (text(root, "info/area/areaDesc"), text(root, "info/certainty")) == ("位置未知", "Unknown")


def test_a_city_that_is_not_real_says_so():
    assert text(document(replace(sample(), exercise=True)), "status") == "Exercise"
    assert text(document(replace(sample(), exercise=True), status="Test"), "status") == "Test"
    assert text(document(sample()), "status") == "Actual"


def test_a_restriction_makes_it_restricted_and_names_nobody():
    assert text(document(sample(), restriction="内部 duty desks only"), "scope") == "Restricted"


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"sender": "a,b"}, "cap.sender"),
        ({"sender": "a", "languages": ()}, "cap.languages"),
        ({"sender": "a", "utc_offset_h": 99}, "cap.utc_offset_h"),
        ({"sender": "a", "utc_offset_h": float("nan")}, "cap.utc_offset_h"),
        ({"sender": "a", "status": "Public"}, "cap.status"),
        ({"sender": "a", "crs": "EPSG:0"}, "cap.crs"),
    ],
)
def test_options_of_which_no_document_can_be_made_are_refused(fields, where):
    with pytest.raises(SettingsError) as caught:
        Cap(CapOptions(**fields))
    assert caught.value.where == where


@settings(max_examples=30, deadline=None)
@given(
    st.text(max_size=30),
    st.text(max_size=30),
    st.sampled_from(["gas", "rain", "", "third party"]),
    st.sampled_from(list(Purpose)),
)
def test_whatever_an_alarm_says_the_document_is_one(said, to, system, purpose):
    message = sample(1, purpose)
    items = tuple(replace(each, zh=said, en=said, rule=said, subject=said) for each in message.items)
    document(replace(message, items=items, zh=said, system=system), to)
