"""The contract suite of reading stores: plain functions that any implementation can be held to.

Each takes a store without readings, and raises AssertionError with what was expected. A third party's package runs
``for check in CHECKS: check(empty_store())``.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import numpy as np

from ingest.store import ReadingStore
from ingest.store.sifting import same
from sensors.clock import from_ms
from sensors.reading import Batch, Quality

START = 1_763_726_400_000
"""The suite's readings begin at this time, ms since 1970 UTC; whole minutes."""

_END = from_ms(START + 3_600_000)


def readings(*rows: tuple[int, int, float]) -> Batch:
    """Return a batch of (series, ms after `START`, value), all of good quality."""
    series, after, value = zip(*rows, strict=True)
    return Batch(
        np.array(series, np.int32),
        np.array(after, np.int64) + START,
        np.array(value, np.float64),
        np.full(len(rows), Quality.GOOD, np.uint8),
        np.zeros(len(rows), np.bool_),
        START,
    )


def check_what_is_written_is_read(store: ReadingStore) -> None:
    """Values come back as exactly as the store says, ordered by series and time, in the promised columns."""
    values = (0.1, -0.0, 1 / 3, 101_325.0, 312_000.123456789)
    if not store.precision:
        values = (0.1, -0.0, 1e-300, 1.7976931348623157e308, 312_000.123456789)
    written = store.write(readings(*((7, 1000 * (len(values) - at), value) for at, value in enumerate(values))))
    assert (written.stored, written.duplicates, len(written.conflicts)) == (5, 0, 0), "five new readings"
    frame = store.read([7], from_ms(START), _END)
    assert list(frame.columns) == ["series", "time", "value", "quality"], "columns of read"
    kinds = [str(kind) for kind in frame.dtypes]
    assert kinds == ["int32", "datetime64[ms, UTC]", "float64", "uint8"], f"types of read, not {kinds}"
    back = frame["value"].to_numpy()
    assert same(back, np.array(values[::-1]), store.precision * max(values)).all(), (
        f"values in time order, not {list(back)}"
    )
    assert list(frame["quality"]) == [Quality.GOOD] * 5, "quality comes back"


def check_writing_again_changes_nothing(store: ReadingStore) -> None:
    """A batch that comes again is all duplicates."""
    batch = readings((1, 0, 1.0), (1, 1000, 2.0), (2, 0, 3.0))
    store.write(batch)
    again = store.write(batch)
    assert (again.stored, again.duplicates, len(again.conflicts)) == (0, 3, 0), "three duplicates"
    assert len(store.read([1, 2], from_ms(START), _END)) == 3, "three readings, once"


def check_a_conflict_is_refused_by_position(store: ReadingStore) -> None:
    """Another value at a time that is taken is refused and named; its neighbours are kept."""
    store.write(readings((1, 0, 1.0)))
    written = store.write(readings((1, 1000, 5.0), (1, 0, 9.0)))
    assert (written.stored, written.duplicates, list(written.conflicts)) == (1, 0, [1]), "the second is a conflict"
    assert list(store.read([1], from_ms(START), _END)["value"]) == [1.0, 5.0], "the first value stays"


def check_a_range_is_half_open(store: ReadingStore) -> None:
    """The start of a range belongs to it, the end does not."""
    store.write(readings((1, 0, 1.0), (1, 1000, 2.0), (1, 2000, 3.0)))
    frame = store.read([1], from_ms(START), from_ms(START + 2000))
    assert list(frame["value"]) == [1.0, 2.0], "[start, end)"


def check_only_the_series_asked_for(store: ReadingStore) -> None:
    """Other series stay out; a series that nobody wrote is no error."""
    store.write(readings((1, 0, 1.0), (2, 0, 2.0), (12, 0, 3.0)))
    frame = store.read([12, 1, 99], from_ms(START), _END)
    assert list(frame["series"]) == [1, 12], "series 1 and 12, in order"
    assert not len(store.read([], from_ms(START), _END)), "no series, no rows"


def check_late_readings_do_not_move_latest_back(store: ReadingStore) -> None:
    """A late reading is stored where it belongs and changes nothing about the newest."""
    store.write(readings((1, 60_000, 2.0), (2, 0, 7.0)))
    store.write(readings((1, 0, 1.0)))
    latest = store.latest()
    assert list(latest.series) == [1, 2], "each series once, in order"
    assert list(latest.value) == [2.0, 7.0], "the newest values"
    assert list(latest.time) == [START + 60_000, START], "the newest times"
    assert len(store.read([1], from_ms(START), _END)) == 2, "the late one is there"


def check_buckets(store: ReadingStore) -> None:
    """`every` gives one row a bucket that holds readings: min, mean, max, count; buckets lie on whole multiples."""
    store.write(readings((1, 0, 1.0), (1, 30_000, 3.0), (1, 120_000, 8.0)))
    frame = store.read([1], from_ms(START), _END, timedelta(minutes=1))
    assert list(frame.columns) == ["series", "time", "min", "mean", "max", "count"], "columns of buckets"
    rows = [tuple(row) for row in frame[["min", "mean", "max", "count"]].itertuples(index=False)]
    assert rows == [(1.0, 2.0, 3.0, 2), (8.0, 8.0, 8.0, 1)], "two buckets"
    assert list(frame["time"]) == [from_ms(START), from_ms(START + 120_000)], "named by their beginning"


def check_nothing_is_nothing(store: ReadingStore) -> None:
    """An empty store and an empty batch are no error."""
    assert store.write(Batch.empty(START)).stored == 0, "nothing to store"
    assert not len(store.latest().series), "no latest"
    assert not len(store.read([1], from_ms(START), _END)), "nothing to read"
    assert not len(store.read([1], from_ms(START), _END, timedelta(minutes=1))), "no buckets"


CHECKS: tuple[Callable[[ReadingStore], None], ...] = (
    check_what_is_written_is_read,
    check_writing_again_changes_nothing,
    check_a_conflict_is_refused_by_position,
    check_a_range_is_half_open,
    check_only_the_series_asked_for,
    check_late_readings_do_not_move_latest_back,
    check_buckets,
    check_nothing_is_nothing,
)

__all__ = ["CHECKS", "readings"]
