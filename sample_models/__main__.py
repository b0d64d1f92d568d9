"""``python -m sample_models FOLDER [SEED]`` makes the sample district."""

from __future__ import annotations

import sys
from pathlib import Path

from sample_models.district import make

if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python -m sample_models FOLDER [SEED]")
    sys.stdout.write(f"{make(Path(sys.argv[1]), seed=int(sys.argv[2]) if len(sys.argv) == 3 else 7)}\n")
