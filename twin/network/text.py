"""Columns of text as the bytes they are stored in, searched without a Python string being made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numba as nb
import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


def arrow(column: pd.Series[Any] | NDArray[np.object_]) -> Any:
    """Return a table's column of text as one Arrow array; missing values are null."""
    text: Any = cast("Any", pa).array(column, from_pandas=True)
    text = text.combine_chunks() if isinstance(text, pa.ChunkedArray) else text
    return text.cast(pa.large_string())


def buffers(text: Any) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Return where each string begins (and the last one ends) and the bytes of all; a missing one is empty."""
    _, offsets, data = text.fill_null("").buffers()
    bytes_of = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    if not len(text):
        return np.zeros(1, np.int64), bytes_of
    return np.frombuffer(offsets, np.int64)[text.offset : text.offset + len(text) + 1], bytes_of


def contains(column: pd.Series[Any], word: str) -> NDArray[np.bool_]:
    """Return which rows of a table's column have `word` in them, bool (n,); missing ones have not."""
    return _contains(*buffers(arrow(column)), np.frombuffer(word.encode(), np.uint8))


@nb.njit(cache=True)
def _contains(offsets: NDArray[np.int64], data: NDArray[np.uint8], word: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Search after Horspool, Software: Practice and Experience 10 (1980) 501-506: most bytes are leapt over."""
    size = len(word)
    leap = np.full(256, size, np.int64)
    for at in range(size - 1):
        leap[word[at]] = size - 1 - at
    found = np.zeros(len(offsets) - 1, np.bool_)
    for row in range(len(found)):
        at = offsets[row] + size - 1
        while at < offsets[row + 1]:
            back = 0
            while back < size and data[at - back] == word[size - 1 - back]:
                back += 1
            if back == size:
                found[row] = True
                break
            at += leap[data[at]]
    return found
