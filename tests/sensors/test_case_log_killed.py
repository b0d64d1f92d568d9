"""A desk killed while people work: what it said was done is done wholly, and sent again it is not done twice."""

import signal
import subprocess
import sys
import textwrap

import pytest

from sensors.cases import acts
from sensors.cases.attachments import Attachments
from sensors.cases.log import CaseLog
from sensors.operations import connect
from sensors.trail import AuditTrail

from .disposal import OPERATOR, RESPONSE

DESK = textwrap.dedent("""
    import sys
    from pathlib import Path
    from sensors.cases import acts
    from sensors.cases.attachments import Attachments
    from sensors.cases.log import CaseLog
    from sensors.clock import SystemClock
    from sensors.operations import connect
    from sensors.people import Person, PersonId, Role
    from sensors.response import load
    from sensors.trail import AuditTrail

    folder = Path(sys.argv[1])
    engine = connect(f"sqlite:///{folder / 'operations.sqlite'}")
    response = load()
    trail = AuditTrail(engine, folder / "trail.anchor")
    log = CaseLog(engine, SystemClock(), response, trail, Attachments(folder / "attachments", response.attachments))
    by = Person(PersonId("wang"), "Wang", Role.OPERATOR)
    for number in range(10_000):
        told = acts.Report(title=f"no {number}", level=2, district="test")
        case = log.report(told, by, key=f"report {number}")
        log.act(case.id, acts.Open(), by, version=1, key=f"open {number}")
        print(case.id, flush=True)
""")


@pytest.mark.slow
@pytest.mark.parametrize("after", [3, 17])
def test_a_desk_killed_at_work_loses_nothing_that_it_said(tmp_path, clock, after):
    with subprocess.Popen([sys.executable, "-c", DESK, str(tmp_path)], stdout=subprocess.PIPE, text=True) as desk:
        said = [int(desk.stdout.readline()) for _ in range(after)]
        desk.send_signal(signal.SIGKILL)
    engine = connect(f"sqlite:///{tmp_path / 'operations.sqlite'}")
    trail = AuditTrail(engine, tmp_path / "trail.anchor")
    log = CaseLog(engine, clock, RESPONSE, trail, Attachments(tmp_path / "attachments", RESPONSE.attachments))
    events, newest = log.changes(0, limit=100_000)
    assert [event.number for event in events] == list(range(1, newest + 1))
    assert all(log.get(case).version == 2 for case in said)
    assert [entry.subject for entry in trail.list(limit=100_000)] == [f"case {event.case}" for event in events]
    verified = trail.verify()
    assert list(verified.faults) == []
    assert verified.entries - verified.anchored <= 1  # the one whose head was not yet written when it died
    told = acts.Report(title="no 0", level=2, district="test")
    assert log.report(told, OPERATOR, key="report 0").id == said[0]
    assert log.changes(0)[1] == newest
    engine.dispose()
