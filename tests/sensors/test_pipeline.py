from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import entry_points
from types import SimpleNamespace

import numpy as np
import pytest

from sensors.alarm_log import AlarmLog
from sensors.detection import Candidate, Detection, DetectionKind, Evidence, Fact, Subject, checks
from sensors.detection.pipeline import GROUP, Pipeline
from sensors.detection.scope import Scope
from sensors.limits import load
from sensors.operations import connect
from sensors.quality import GrossRange
from sensors.reading import Batch, Quality
from sensors.registry import Registry
from twin.asset import AssetId
from twin.errors import InputError, SettingsError, UnavailableError

LIMITS = load()


def pipeline(devices=None, disabled=()):
    return Pipeline.build(Scope(devices or checks.sample_devices(), LIMITS), disabled)


def test_value_outside_the_span_of_its_sensor_fails():
    batch = checks.sample_batch([0, 0, 0, 0], [0, 1, 2, 3], [3e5, 2e6, -1e5, np.nan])
    checked = GrossRange(checks.sample_devices()).check(batch)
    assert checked.quality.tolist() == [Quality.GOOD, Quality.FAIL, Quality.FAIL, Quality.MISSING]


def test_noise_at_the_end_of_a_span_passes_and_a_flag_is_never_made_better():
    batch = checks.sample_batch([0, 0], [0, 1], [-500.0, 3e5])
    batch = replace(batch, quality=np.array([1, 3], np.uint8))
    assert GrossRange(checks.sample_devices()).check(batch).quality.tolist() == [Quality.GOOD, Quality.SUSPECT]


def test_gas_beyond_the_end_of_the_scale_still_raises_the_red_alarm():
    (found,) = pipeline().update(checks.sample_batch([2], [0], [1.3]))
    assert (found.rule, found.level) == ("combustible_gas_high", 1)


def test_unknown_detector_in_the_settings_is_named():
    with pytest.raises(SettingsError, match="seasnal"):
        pipeline(disabled=["seasnal"])


def test_detector_of_a_third_party_is_built_from_a_sequence_of_devices(monkeypatch):
    given = []
    factory = SimpleNamespace(build=given.append)
    point = SimpleNamespace(name="third_party", load=lambda: factory)
    monkeypatch.setattr("sensors.detection.pipeline.entry_points", lambda group: [point])
    pipeline()
    (scope,) = given
    assert isinstance(scope.devices, Sequence)
    assert (list(scope.devices), scope.limits) == (checks.sample_devices(), LIMITS)


def test_detector_that_lacks_its_model_is_off_and_says_why(monkeypatch):
    def build(scope):
        raise UnavailableError("no EPANET file is named", where="detection.hydraulics")

    point = SimpleNamespace(name="leak", load=lambda: SimpleNamespace(build=build))
    monkeypatch.setattr("sensors.detection.pipeline.entry_points", lambda group: [point])
    assert "no EPANET file" in pipeline().degraded["leak"]


def test_detector_that_cannot_be_built_is_off_and_the_others_go_on(monkeypatch):
    def build(scope):
        raise ZeroDivisionError

    broken = SimpleNamespace(name="third_party", load=lambda: SimpleNamespace(build=build))
    installed = [*entry_points(group=GROUP), broken]
    monkeypatch.setattr("sensors.detection.pipeline.entry_points", lambda group: installed)
    built = pipeline()
    assert "ZeroDivisionError" in built.degraded["third_party"]
    assert built.failed == {"third_party"}
    assert [d.rule for d in built.update(checks.sample_batch([2], [0], [0.3]))] == ["combustible_gas_high"]


def test_fusion_that_fails_is_off_and_every_detector_speaks_for_itself(monkeypatch):
    def fails(self, detections):
        raise ZeroDivisionError

    monkeypatch.setattr("sensors.detection.fusion.Fusion.update", fails)
    built = pipeline()
    (found,) = built.update(checks.sample_batch([2], [0], [0.3]))
    assert (found.rule, built.failed) == ("combustible_gas_high", {"fusion"})


def test_state_from_before_fusion_is_taken_over():
    batches = checks.sample_stream()
    before, after = pipeline(disabled=["fusion"]), pipeline()
    checks.run(before, batches[:400])
    assert before.standing
    assert after.load(before.save()) == before.standing
    ended = {(d.subject, d.rule) for part in checks.run(after, batches[400:]) for d in part if not d.active}
    assert {key for key in before.standing if key not in after.standing} <= ended


def test_disabled_detector_says_nothing():
    quiet = pipeline(disabled=["limits"])
    assert quiet.update(checks.sample_batch([2], [0], [1.0])) == []


def test_detector_that_fails_is_switched_off_and_the_others_go_on():
    class Broken:
        def update(self, batch):
            raise ZeroDivisionError

    broken = pipeline()
    broken._detectors["third_party"] = Broken()
    (found,) = broken.update(checks.sample_batch([2], [0], [0.3]))
    assert found.rule == "combustible_gas_high"
    assert list(broken.degraded) == ["third_party"]


def test_detector_whose_numbers_are_none_stops_no_alarm_from_being_stored_and_read(engine, clock):
    nothing = float("nan")
    evidence = Evidence("model", nothing, (Candidate(AssetId("P-1"), nothing),), (Fact("loss", nothing),))
    odd = Detection(
        Subject("zone:Z-1"),
        "odd",
        DetectionKind.BALANCE,
        active=True,
        level=3,
        time=1000,
        value=nothing,
        expected=(0.0, nothing),
        score=nothing,
        evidence=evidence,
    )
    odder = pipeline(disabled=["fusion"])
    odder._detectors["third_party"] = SimpleNamespace(update=lambda batch: [odd])
    log = AlarmLog(engine, clock)
    log.apply(odder.update(checks.sample_batch([2], [0], [0.0])))
    (alarm,) = log.open()
    assert (alarm.value, alarm.expected, alarm.score, alarm.evidence.candidates) == (None, None, 0.0, ())
    assert odder.degraded == {}


def test_state_of_fewer_series_is_taken_over_by_more():
    batches = checks.sample_stream()
    few = pipeline()
    checks.run(few, batches[:360])
    more = [replace(d, points=(replace(d.points[0], series=d.points[0].series + 12),)) for d in checks.sample_devices()]
    grown = pipeline([*checks.sample_devices(), *(replace(d, id=f"N{d.id}") for d in more)])
    grown.load(few.save())
    assert checks.run(grown, batches[360:]) == checks.run(few, batches[360:])


def test_damaged_state_is_refused_and_a_foreign_detector_state_starts_anew():
    with pytest.raises(InputError):
        pipeline().load(b"nonsense")
    one = pipeline()
    one._detectors["limits"].save = lambda: b"nonsense"
    other = pipeline()
    other.load(one.save())
    assert [d.rule for d in other.update(checks.sample_batch([2], [0], [0.3]))] == ["combustible_gas_high"]


def test_columns_of_any_layout_are_taken():
    batch = checks.sample_batch([2, 2], [0, 1], [0.1, 0.3])
    value = np.zeros((2, 2))
    value[:, 0] = batch.value
    frozen = batch.time.copy()
    frozen.flags.writeable = False
    strided = Batch(batch.series.astype(np.int64), frozen, value[:, 0], batch.quality, batch.history, batch.now)
    assert len(pipeline().update(strided)) == 1


def test_worker_killed_after_detection_raises_everything_once_and_clears_it(engine, clock):
    Registry(engine).put(checks.sample_devices())
    log = AlarmLog(engine, clock)
    batches = checks.sample_stream()
    first = pipeline()
    for batch in batches[:400]:
        log.apply(first.update(batch))
    saved = first.save()
    for batch in batches[400:450]:
        log.apply(first.update(batch))
    first.update(batches[450])  # detected, and killed before the alarm log was told
    second = pipeline()
    second.load(saved)
    again = AlarmLog(connect(str(engine.url)), clock)
    again.reconcile(second.standing)
    for batch in batches[400:]:
        again.apply(second.update(batch))
    whole = pipeline()
    expected = {(d.subject, d.rule) for part in checks.run(whole, batches) for d in part if d.active}
    raised = again.list()
    assert {(alarm.subject, alarm.rule) for alarm in raised} == expected
    assert len(raised) == len(expected)
    assert {(a.subject, a.rule) for a in raised if a.condition.value == "active"} == second.standing == whole.standing
