"""The short form of the campaign, and that it finds out what it is there to find out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .trace import order

ROOT = Path(__file__).resolve().parents[2]
PUBLISH = r"\x32\x0e\x00\x08\x61\x2f\x62\x2f\x64\x61\x74\x61\x00\x07\x00\x7b"
PUBACK = r"\x40\x02\x00\x07"
ARRIVES = f'10 recvfrom(5<TCP:[127.0.0.1:9->127.0.0.1:1883]>, "{PUBLISH}", 65536, 0, NULL, NULL) = 16\n'
WRITTEN = '11 pwrite64(6</c/spool.sqlite-wal>, "\\x00", 1, 0) = 1\n'
SYNC_BEGINS = "11 fdatasync(6</c/spool.sqlite-wal> <unfinished ...>\n"
SYNC_ENDS = "11 <... fdatasync resumed>) = 0\n"
LEAVES = f'10 sendto(5<TCP:[127.0.0.1:9->127.0.0.1:1883]>, "{PUBACK}", 4, 0, NULL, 0) = 4\n'


def run(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.faults", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=850, check=False)


@pytest.mark.slow
@pytest.mark.timeout(900)  # a busy machine is no failure
def test_the_short_campaign_passes():
    done = run("--short")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith(", 0 failed")


@pytest.mark.parametrize(
    ("events", "durable"),
    [
        ((ARRIVES, WRITTEN, SYNC_BEGINS, SYNC_ENDS, LEAVES), True),
        ((ARRIVES, LEAVES, WRITTEN, SYNC_BEGINS, SYNC_ENDS), False),
        ((WRITTEN, SYNC_BEGINS, ARRIVES, SYNC_ENDS, LEAVES), False),
        ((ARRIVES, WRITTEN, SYNC_BEGINS, LEAVES, SYNC_ENDS), False),
        ((ARRIVES, SYNC_BEGINS, WRITTEN, SYNC_ENDS, LEAVES), False),
    ],
)
def test_a_puback_counts_only_after_the_spool_was_written_and_synced(
    tmp_path: Path, events: tuple[str, ...], durable: bool
):
    trace = tmp_path / "trace"
    trace.write_text("".join(events))
    found = order(trace, 1883, "spool.sqlite")
    assert [found.durable(arrived, left) for arrived, left in found.acknowledged] == [durable]
