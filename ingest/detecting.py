"""Detecting: the forwarder that follows the spool into detection, and takes what it finds to the alarm log."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence

import structlog

from ingest.spool import Reader, Spool, Spooled
from sensors.alarm_log import AlarmLog
from sensors.clock import Clock, to_ms
from sensors.detection import Detection
from sensors.detection.pipeline import Pipeline
from sensors.reading import Batch
from twin.errors import BusyError, UnavailableError

logger = structlog.get_logger()

RETRY_S = (0.5, 10.0)
CHECKPOINT_S = 5.0
"""How often detector state goes to disk; what came since is fed to detection again after a crash."""
CHECKPOINT_REST = 20
"""Detection goes on for so many times as long as its last checkpoint took: a city of many series has a large state."""

PASS_S = 1.0
"""An empty batch follows this long (city time) after the last one: silence is something to detect."""


class DetectionForwarder:
    """Feeds what is spooled to detection, and its detections to the alarm log; checkpoints its state.

    A live city's batches go on as they come. With `recording`, readings wait until the replay says that a stretch of
    time is complete (an empty batch in the spool): devices replay one after the other, and detection must not take
    those that are still to come for silent.
    """

    def __init__(
        self,
        spool: Spool,
        pipeline: Pipeline,
        alarms: AlarmLog,
        clock: Clock,
        *,
        district: str,
        recording: bool,
    ) -> None:
        self.available = True
        self._spool = spool
        self._pipeline = pipeline
        self._alarms = alarms
        self._district = district
        self._reconciled = False
        self._clock = clock
        self._recording = recording
        self._cursor = self._checkpointed = spool.cursor(Reader.DETECTED)
        self._ahead = self._cursor
        self._waiting: list[Batch] = []
        self._unapplied: list[Detection] = []
        self._changed = False
        self._passed_s = clock.seconds()
        self._checkpoint_s, self._checkpoint_took_s = time.monotonic(), 0.0
        state = spool.detector_state()
        if state is not None:
            pipeline.load(state)

    @property
    def failed(self) -> list[str]:
        """Detectors that have failed and are switched off."""
        return sorted(self._pipeline.failed)

    @property
    def degraded(self) -> dict[str, str]:
        """The layers that are off, each with the reason: they failed, or lack what they work with."""
        return dict(self._pipeline.degraded)

    def replace(self, pipeline: Pipeline) -> None:
        """Go on with a pipeline built for a changed registry; it takes over the state of the old one."""
        pipeline.load(self._pipeline.save())
        self._pipeline = pipeline
        self._reconciled = False

    def run(self, stop: threading.Event, changed: Callable[[], Pipeline | None]) -> None:
        """Detect until `stop`; `changed` gives a new pipeline when the registry has changed."""
        wait_s = RETRY_S[0]
        while not stop.is_set():
            try:
                pipeline = changed()
                if pipeline is not None:
                    self.replace(pipeline)
                if not self.step():
                    self._spool.wait(self._ahead, 0.1)
            except (UnavailableError, BusyError) as error:
                if self.available:
                    logger.warning("alarm_log_unavailable", error=str(error))
                self.available = False
                stop.wait(wait_s)
                wait_s = min(2 * wait_s, RETRY_S[1])
            else:
                if not self.available:
                    logger.info("alarm_log_available_again")
                self.available, wait_s = True, RETRY_S[0]
        try:
            self.checkpoint()
        except UnavailableError as error:  # its disk is full: what came since the last one is detected again
            logger.warning("detection_not_checkpointed", error=str(error))

    def step(self) -> bool:
        """Hand the next batches (or the passing of time) to detection; whether there were any."""
        self._flush()
        spooled = self._spool.batches(self._ahead)
        if not spooled and not self._reconciled:  # what a crash left behind has been fed again by now
            self._alarms.reconcile(self._pipeline.standing, self._district)
            self._reconciled = True
        for one in self._steps(spooled):
            self._update(one)
        now_s = self._clock.seconds()
        if not self._recording and now_s - self._passed_s >= PASS_S:
            self._update(Batch.empty(to_ms(self._clock.now())))
        rest_s = max(CHECKPOINT_S, CHECKPOINT_REST * self._checkpoint_took_s)
        if time.monotonic() - self._checkpoint_s >= rest_s:
            self.checkpoint()
        return bool(spooled)

    def checkpoint(self) -> None:
        """Put detector state on disk, with the cursor that belongs to it."""
        self._checkpoint_s = time.monotonic()
        if (self._changed or self._cursor != self._checkpointed) and not self._unapplied:
            self._spool.detected(self._cursor, self._pipeline.save())
            self._checkpointed, self._changed = self._cursor, False
        self._checkpoint_took_s = time.monotonic() - self._checkpoint_s

    def _steps(self, spooled: Sequence[Spooled]) -> Iterator[Batch]:
        """Yield what detection is to be given; the cursors move first, since nothing is given twice."""
        if not self._recording:
            if spooled:
                self._cursor = self._ahead = spooled[-1].id
                yield Batch.joined([one.batch for one in spooled], to_ms(self._clock.now()))
            return
        for one in spooled:
            self._ahead = one.id
            self._waiting.append(one.batch)
            if not len(one.batch):
                stretch, self._waiting = self._waiting, []
                self._cursor = one.id
                yield Batch.joined(stretch, one.batch.now)

    def _update(self, batch: Batch) -> None:
        self._passed_s = self._clock.seconds()
        self._unapplied += self._pipeline.update(batch)
        self._flush()

    def _flush(self) -> None:
        """Apply what was detected; what the alarm log cannot take now stays for the next time."""
        if self._unapplied:
            self._alarms.apply(self._unapplied)
            self._unapplied, self._changed = [], True


__all__ = ["DetectionForwarder"]
