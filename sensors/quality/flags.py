"""The quality tests by name, as bits: which of them a reading did not pass."""

from __future__ import annotations

from enum import IntFlag


class Test(IntFlag):
    """Quality tests, each a bit of `Batch.flags`; numbers in brackets are those of QARTOD's manuals.

    Units and syntax (2) are ingest's: what fails them is refused with a code and never becomes a reading.

    MISSING (1): no number. FUTURE, STALE (1): the device's clock is ahead of the city's, or its readings come late.
    DUPLICATE, OUT_OF_ORDER (1): not newer than the newest of its series. GAP (1): the first after a pause.
    GROSS_RANGE (4): outside the sensor's span. OPERATOR_RANGE (4): outside what operators have called plausible.
    SPIKE (6): alone, far from its neighbours. RATE (7): further from the last one than the quantity can move.
    FLAT_LINE (8): the series stands still. ATTENUATED (10): it moves, but far less than it used to. DRIFT (11): it
    leaves its neighbours slowly. CALIBRATION: its sensor is past the day it was to be calibrated by. INCONSISTENT (9):
    it contradicts another point of its device or asset. BATTERY, RADIO: the device runs out of power, or of reach.
    ICE: the water that its sensor stands in freezes. COMPANION: another point of its device has begun to fail, as when
    somebody handles it.
    """

    __test__ = False  # pytest: no class of tests

    MISSING = 1 << 0
    FUTURE = 1 << 1
    STALE = 1 << 2
    DUPLICATE = 1 << 3
    OUT_OF_ORDER = 1 << 4
    GAP = 1 << 5
    GROSS_RANGE = 1 << 6
    OPERATOR_RANGE = 1 << 7
    SPIKE = 1 << 8
    RATE = 1 << 9
    FLAT_LINE = 1 << 10
    ATTENUATED = 1 << 11
    DRIFT = 1 << 12
    CALIBRATION = 1 << 13
    INCONSISTENT = 1 << 14
    BATTERY = 1 << 15
    RADIO = 1 << 16
    ICE = 1 << 17
    COMPANION = 1 << 18

    @property
    def rule(self) -> str:
        """What alarms and settings call the test; of one bit."""
        return str(self.name).lower()


__all__ = ["Test"]
