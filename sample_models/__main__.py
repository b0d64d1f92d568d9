"""``python -m sample_models FOLDER [SEED]`` makes the sample district and prints the path of its district.json."""

from __future__ import annotations

import argparse
from pathlib import Path

from sample_models.district import make

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m sample_models", description="Make the sample district.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("seed", type=int, nargs="?", default=7)
    given = parser.parse_args()
    print(make(given.folder, seed=given.seed))  # noqa: T201  # what the caller asked for
