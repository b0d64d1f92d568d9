"""The supervisor: parts in order, a dead one started again, all of them stopped cleanly."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dashboards.supervisor import Part, Supervisor, listens, require_free_port
from twin.errors import BusyError, UnavailableError

MARK = "import pathlib,sys,time; pathlib.Path(sys.argv[1]).write_text(str({value})); time.sleep(60)"


def sleeper(name: str, file: Path, *, after: tuple[str, ...] = (), value: str = "time.time()") -> Part:
    return Part(name, [sys.executable, "-c", MARK.format(value=value), str(file)], after, lambda: bool(text(file)))


def text(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def wait_for(condition: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_a_part_starts_only_when_those_before_it_are_ready(tmp_path: Path):
    lines: list[str] = []
    first, second = tmp_path / "first", tmp_path / "second"
    group = Supervisor([sleeper("b", second, after=("a",)), sleeper("a", first)], tmp_path / "logs", lines.append)
    try:
        group.start(threading.Event())
    finally:
        group.shut_down()

    assert float(text(first)) < float(text(second))
    assert [line.split()[0] for line in lines] == ["a", "b"]


def test_a_log_that_has_grown_long_is_begun_anew_and_the_last_one_kept(tmp_path: Path):
    lines: list[str] = []
    stop = threading.Event()
    talks = "print('x' * 30_000_000, flush=True)\nwhile True: print('still here', flush=True); time.sleep(0.05)"
    group = Supervisor(
        [Part("talker", [sys.executable, "-c", f"import time\n{talks}"])], tmp_path / "logs", lines.append
    )
    watcher = threading.Thread(target=group.watch, args=(stop,))
    try:
        group.start(stop)
        watcher.start()
        log = tmp_path / "logs" / "talker.log"
        wait_for(lambda: (tmp_path / "logs" / "talker.log.1").exists() and b"still here" in log.read_bytes())
    finally:
        stop.set()
        watcher.join()
        group.shut_down()

    assert log.stat().st_size < 1_000_000
    assert (tmp_path / "logs" / "talker.log.1").stat().st_size > 20_000_000


def test_a_killed_part_is_started_again_and_said_so(tmp_path: Path):
    lines: list[str] = []
    pid_file, stop = tmp_path / "pid", threading.Event()
    group = Supervisor(
        [sleeper("ingest", pid_file, value="__import__('os').getpid()")], tmp_path / "logs", lines.append
    )
    watcher = threading.Thread(target=group.watch, args=(stop,))
    try:
        group.start(stop)
        old = int(text(pid_file))
        watcher.start()
        pid_file.unlink()
        os.kill(old, signal.SIGKILL)
        wait_for(lambda: text(pid_file))
        assert int(text(pid_file)) != old
    finally:
        stop.set()
        watcher.join()
        group.shut_down()

    assert any("killed by signal 9" in line for line in lines)
    assert "ingest started again" in lines


def test_stopping_leaves_no_process_behind(tmp_path: Path):
    pid_file = tmp_path / "pid"
    group = Supervisor([sleeper("a", pid_file, value="__import__('os').getpid()")], tmp_path / "logs", lambda _: None)
    group.start(threading.Event())
    group.shut_down()

    with pytest.raises(ProcessLookupError):
        os.kill(int(text(pid_file)), 0)


def test_a_part_stops_before_those_it_came_after_and_its_peers_with_it(tmp_path: Path):
    told = (
        "import pathlib,signal,sys,time; out = pathlib.Path(sys.argv[1]); "
        "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.5), out.write_text(str(time.time())), sys.exit())); "
        "out.write_text('ready'); time.sleep(60)"
    )

    def part(name: str, after: tuple[str, ...] = ()) -> Part:
        file = tmp_path / name
        return Part(name, [sys.executable, "-c", told, str(file)], after, lambda: bool(text(file)))

    group = Supervisor([part("broker"), part("one", ("broker",)), part("two", ("broker",))], tmp_path, lambda _: None)
    group.start(threading.Event())
    group.shut_down()
    broker, one, two = (float(text(tmp_path / name)) for name in ("broker", "one", "two"))
    assert broker > max(one, two)
    assert abs(one - two) < broker - max(one, two)  # the two slept at once, and the broker after them


def test_a_part_that_stops_at_once_is_named_with_its_last_words(tmp_path: Path):
    part = Part("ingest", [sys.executable, "-c", "raise SystemExit('no broker here')"], ready=lambda: False)
    group = Supervisor([part], tmp_path / "logs", lambda _: None)
    try:
        with pytest.raises(UnavailableError, match="no broker here") as failed:
            group.start(threading.Event())
    finally:
        group.shut_down()

    assert failed.value.where == "ingest"


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
def test_the_parts_stop_when_the_supervisor_is_killed(tmp_path: Path):
    pid_file = tmp_path / "pid"
    program = (
        "import sys,threading,pathlib\n"
        "from dashboards.supervisor import Part, Supervisor\n"
        "part = Part('a', [sys.executable, '-c', sys.argv[1], sys.argv[2]])\n"
        "group = Supervisor([part], pathlib.Path(sys.argv[3]), print)\n"
        "stop = threading.Event(); group.start(stop); group.watch(stop)\n"
    )
    mark = MARK.format(value="__import__('os').getpid()")
    with subprocess.Popen([sys.executable, "-c", program, mark, pid_file, tmp_path / "logs"]) as supervisor:
        wait_for(lambda: text(pid_file))
        supervisor.kill()

    def gone() -> bool:
        state = Path(f"/proc/{text(pid_file)}/stat")
        return not state.exists() or state.read_text().split()[2] == "Z"

    wait_for(gone)


def test_a_taken_port_is_named_with_the_option_that_moves_it():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        assert listens("127.0.0.1", port)
        with pytest.raises(BusyError, match=f"port {port} is taken") as refused:
            require_free_port("127.0.0.1", port, "--port")

    assert f"--port {port + 1}" in refused.value.expected
