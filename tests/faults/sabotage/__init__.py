"""A worker that acknowledges before it commits: the campaign has to find it out.

Nothing of it is in the product. `environment` puts this folder's `sitecustomize` in front of every Python process of a
city, which has the spool's commit return at once and write a moment later.
"""

from __future__ import annotations

import os
from pathlib import Path


def environment() -> dict[str, str]:
    """Return the environment in which `chengmai` is sabotaged."""
    here = str(Path(__file__).parent / "inside")
    before = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": f"{here}{os.pathsep}{before}" if before else here}
