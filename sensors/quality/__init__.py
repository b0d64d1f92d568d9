"""Data quality, before any detector: which readings can be believed, and which devices are told of.

QARTOD's tests (IOOS, Manuals for Real-Time Oceanographic Data Quality Control) by bits (`flags.Test`): those that need
no memory (`gross_range.GrossRange`, what the store's flags come from) and those that hold a reading against its own
series, its device and its neighbours (`quality.Quality`, which detection begins with). A reading that fails stays in
the store with its flag, feeds no baseline and raises no process alarm.
"""

from sensors.quality.flags import Test
from sensors.quality.gross_range import MARGIN, GrossRange
from sensors.quality.quality import Quality

__all__ = ["MARGIN", "GrossRange", "Quality", "Test"]
