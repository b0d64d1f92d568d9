"""Line protocol: readings as lines of text, delivered in requests; a line that is refused is found by halving.

Measurement ``reading``, tag ``series``, fields ``value`` and ``quality``, time in ms. Numbers only, so that nothing
needs escaping. Source: InfluxDB v2.7 documentation, "Line protocol".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from sensors.reading import Batch, Quality
from twin.errors import RefusedError

_DROPPED = re.compile(r"dropped[= ](\d+)")


def lines(batch: Batch) -> list[str]:
    """Return one line a reading."""
    return [
        f"reading,series={series} value={value!r},quality={quality}i {time}"
        for series, time, value, quality in _rows(batch)
    ]


def sparse_lines(batch: Batch) -> list[str]:
    """Return one line a reading, without its quality where that is GOOD: for stores that keep a field a series."""
    good = int(Quality.GOOD)
    return [
        f"reading,series={series} value={value!r} {time}"
        if quality == good
        else f"reading,series={series} value={value!r},quality={quality}i {time}"
        for series, time, value, quality in _rows(batch)
    ]


def _rows(batch: Batch) -> Iterable[tuple[int, int, float, int]]:
    columns = (batch.series, batch.time, batch.value, batch.quality)
    return zip(*(column.tolist() for column in columns), strict=True)


def deliver(body: Sequence[str], send: Callable[[bytes], None], at_once: int) -> list[tuple[int, str]]:
    """Send lines, `at_once` a request; return the positions of those that are refused for good, and why.

    `send` raises RefusedError where the server refuses lines of a request, or its size. What else of that request it
    kept is not known: halves of it are sent again, which changes nothing where a point is named by series and time.
    """
    refused: list[tuple[int, str]] = []
    waiting = [(first, min(first + at_once, len(body))) for first in range(0, len(body), at_once)][::-1]
    while waiting:
        first, last = waiting.pop()
        try:
            send("\n".join(body[first:last]).encode())
        except RefusedError as error:
            if last - first == 1 or _all_dropped(error.what, last - first):
                refused += [(at, error.what) for at in range(first, last)]
            else:
                middle = (first + last) // 2
                waiting += [(middle, last), (first, middle)]
    return refused


def _all_dropped(answer: str, count: int) -> bool:
    """Say whether the server names as many dropped points as there were: halving would ask once a line for nothing."""
    dropped = _DROPPED.search(answer)
    return dropped is not None and int(dropped[1]) == count


__all__ = ["deliver", "lines", "sparse_lines"]
