"""What is usual for a series: the third largest of what it has done lately.

Pumps start, valves turn and coarse sensors stand still. What a series has done three times before is no news, however
large; what it did once may have been a fault and teaches nothing.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

HALF_LIFE_MS = 30 * 86_400_000.0
_MEAN_LIFE_MS = HALF_LIFE_MS / np.log(2.0)


@numba.njit(cache=True)
def remember(top: Any, value: float, passed_ms: float) -> None:  # pragma: no cover  # compiled
    """Let `passed_ms` pass over the three largest values in `top` (largest first) and take in `value`.

    >>> import numpy as np
    >>> top = np.array([5.0, 2.0, 1.0])
    >>> remember(top, 3.0, 0.0)
    >>> top
    array([5., 3., 2.])
    """
    keep = np.exp(-passed_ms / _MEAN_LIFE_MS)
    for k in range(3):
        top[k] *= keep
    if value > top[2]:
        top[2] = value
        if top[2] > top[1]:
            top[1], top[2] = top[2], top[1]
        if top[1] > top[0]:
            top[0], top[1] = top[1], top[0]
