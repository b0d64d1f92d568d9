"""The gateway and its door for HJ 212 on a real broker and worker: no answer before the receipt."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.gateway.doorkeeper import Doorkeeper
from ingest.gateway.hj212 import MAX_GUESSES, WINDOW, Hj212Door, frames
from ingest.payload.hj212 import frame, read_frame
from sensors.clock import SystemClock, to_ms
from sensors.credentials import Credentials, Role
from sensors.device import Point
from sensors.unknown_device import UnknownDevices
from twin.errors import InputError, UnavailableError

from .conftest import pressure_device, wait_until
from .gateway_thread import Gateway
from .test_crash import start_worker

CHINA = timezone(timedelta(hours=8))
PASSWORD = "123456"


class Station:
    """An HJ 212 station, by its own socket."""

    def __init__(self, gateway, mn, password=PASSWORD):
        self.mn, self.password = mn, password
        self._socket = socket.create_connection(("127.0.0.1", gateway.hj212_port), timeout=10)
        self._read = b""

    def frame(self, at, value, flag=5):
        stamp = at.astimezone(CHINA).strftime("%Y%m%d%H%M%S")
        return frame(
            f"QN={stamp}000;ST=32;CN=2011;PW={self.password};MN={self.mn};Flag={flag};"
            f"CP=&&DataTime={stamp};w01018-Rtd={value},w01018-Flag=N&&"
        )

    def send(self, raw):
        self._socket.sendall(raw)

    def answer(self, timeout_s=10.0):
        """Return the next answer, None where none comes in time, or "closed"."""
        self._socket.settimeout(timeout_s)
        while b"\r\n" not in self._read:
            try:
                more = self._socket.recv(4096)
            except TimeoutError:
                return None
            if not more:
                return "closed"
            self._read += more
        line, self._read = self._read.split(b"\r\n", 1)
        return read_frame(line)

    def close(self):
        self._socket.close()


@pytest.fixture
def station_of(request):
    def connect(gateway, mn="MN1", password=PASSWORD):
        station = Station(gateway, mn, password)
        request.addfinalizer(station.close)
        return station

    return connect


def register_station(city, name="WQ-1", mn="MN1"):
    device = replace(
        pressure_device(name, city.district),
        points=(Point("pressure", "pressure", "kPa", code="w01018"),),
        address=f"hj212/{mn}",
    )
    city.registry.put([device])
    Credentials(city.engine).issue(device.address, Role.STATION, device.id, secret=PASSWORD)
    return city.registry.get(name)


def now():
    return datetime.now(UTC).replace(microsecond=0)


def test_a_station_is_answered_once_its_data_are_on_disk(city, station_of):
    device, at = register_station(city), now()
    with city.worker(), Gateway(city).running() as gateway:
        station = station_of(gateway)
        station.send(station.frame(at, 312.5))
        answer = station.answer()
        assert city.spool.ledger().received == 1, "what is answered has been committed"
        assert (answer.command, answer.station) == ("9014", "MN1")
        assert station.frame(at, 1)[6:30].decode().startswith(f"QN={answer.request}")
        station.send(station.frame(at + timedelta(seconds=-1), 300, flag=4))
        city.settled(2)
        assert station.answer(0.3) is None, "it asked for none"
    assert sorted(city.stored(device)) == [(to_ms(at) - 1000, 300_000.0), (to_ms(at), 312_500.0)]


def test_without_a_receipt_there_is_no_answer_and_the_same_frame_again_is_stored_once(city, station_of):
    device, at = register_station(city), now()
    with city.worker():
        pass  # the worker's session stands at the broker from now on
    with Gateway(city, answer_s=2.0).running() as gateway:
        station = station_of(gateway)
        raw = station.frame(at, 312.5)
        station.send(raw)
        assert station.answer(2.5) is None
        with city.worker():
            station.send(raw)
            assert station.answer().command == "9014"
            city.settled(2)
    assert city.stored(device) == [(to_ms(at), 312_500.0)]
    assert city.spool.ledger().duplicates == 1


def test_a_wrong_password_ends_the_connection_and_is_told(city, station_of, monkeypatch):
    monkeypatch.setattr("ingest.gateway.hj212.PAUSE_S", 0.1)
    register_station(city)
    with city.worker(), Gateway(city).running() as gateway:
        station = station_of(gateway, password="654321")
        station.send(station.frame(now(), 1))
        assert station.answer() == "closed"
        again = station_of(gateway, password="654321")
        again.send(again.frame(now(), 1))
        assert again.answer() == "closed"
    assert [(action, subject) for action, subject, _ in gateway.told] == [("gateway.refuse", "WQ-1")]
    assert "654321" not in str(gateway.told)
    assert city.spool.ledger().received == 0


def test_guessing_a_password_ends_before_it_is_guessed_and_shuts_no_neighbour_out(city, station_of, monkeypatch):
    monkeypatch.setattr("ingest.gateway.hj212.PAUSE_S", 0.0)
    register_station(city)
    register_station(city, "WQ-2", "MN2")
    with city.worker(), Gateway(city).running() as gateway:
        for guess in range(5):
            guesser = station_of(gateway, password=f"00000{guess}")
            guesser.send(guesser.frame(now(), 1))
            assert guesser.answer() == "closed"
        late = station_of(gateway)
        late.send(late.frame(now(), 1))
        assert late.answer() == "closed", "the right password, but too late"
        neighbour = station_of(gateway, mn="MN2")
        neighbour.send(neighbour.frame(now(), 1))
        assert neighbour.answer().command == "9014"


def test_guesses_side_by_side_are_as_many_as_one_by_one():
    asked = []

    class Slow:
        async def who(self, login, secret):
            asked.append(secret)
            await asyncio.sleep(0.01)

    async def guess():
        door = Hj212Door(None, Slow())
        reads = [read_frame(frame(f"ST=32;CN=2011;PW={number};MN=MN1;CP=&&&&")) for number in range(30)]
        return await asyncio.gather(*(door._proved("10.0.0.1", read, "WQ-1") for read in reads))

    assert not any(asyncio.run(guess()))
    assert len(asked) == MAX_GUESSES


def test_who_was_turned_away_while_the_database_was_is_told_when_it_is_back(city):
    away, told = [True], []

    def tell(action, subject, detail):
        if away[0]:
            raise UnavailableError("away")
        told.append((action, subject, detail["login"]))

    keeper = Doorkeeper(
        city.registry, lambda *_: None, UnknownDevices(city.engine), tell, SystemClock(), district=city.district
    )
    keeper.refuse("nbiot", "GM-1")
    keeper.step()
    keeper.refuse("nbiot", "GM-2")
    keeper.step()
    away[0] = False
    keeper.step()
    keeper.step()
    assert told == [("gateway.refuse", "GM-1", "nbiot"), ("gateway.refuse", "GM-2", "nbiot")]


def test_a_station_in_no_registry_is_listed_with_what_it_sends(city, station_of):
    with city.worker(), Gateway(city).running() as gateway:
        station = station_of(gateway, mn="STRANGER")
        station.send(station.frame(now(), 12.5))
        assert station.answer(0.3) is None
    (seen,) = gateway.unknown.list()
    assert (seen.device, seen.district, seen.points["w01018"].value) == ("hj212/STRANGER", city.district, 12.5)
    assert city.spool.ledger().received == 0


def test_a_damaged_frame_is_quarantined_and_noise_is_passed_over(city, station_of):
    register_station(city)
    with city.worker(), Gateway(city).running() as gateway:
        station = station_of(gateway)
        good = station.frame(now(), 1)
        damaged = good[:-6] + (b"0000" if good[-6:-2] != b"0000" else b"1111") + b"\r\n"
        station.send(b"noise\r\n" + damaged + b"#x##12a4" + good)
        assert station.answer().command == "9014"
        wait_until(lambda: city.spool.ledger().received == 2)
    (refused,) = city.spool.quarantined()
    assert (refused.code, refused.payload) == ("E_FRAME", damaged)


def test_a_backlog_sent_at_once_is_answered_whole(city, station_of):
    device, at, count = register_station(city), now() - timedelta(hours=1), WINDOW + 8
    with city.worker(), Gateway(city).running() as gateway:
        station = station_of(gateway)
        sent = [station.frame(at + timedelta(seconds=number), number) for number in range(count)]
        station.send(b"".join(sent))
        answered = {station.answer().request for _ in sent}
        assert answered == {read_frame(raw).request for raw in sent}
        city.settled(count)
    assert len(city.stored(device)) == count


@pytest.mark.slow
def test_a_worker_killed_in_mid_stream_loses_no_frame_that_was_answered(city, station_of):
    device, start = register_station(city), now() - timedelta(minutes=30)
    count = 2 * WINDOW
    worker = start_worker(city)
    try:
        with Gateway(city, answer_s=2.0).running() as gateway:
            station = station_of(gateway)
            sent = {
                raw: read_frame(raw).request
                for raw in (station.frame(start + timedelta(seconds=n), n) for n in range(count))
            }
            answered = set()
            wait_until(lambda: lives(city))
            station.send(b"".join(sent))
            wait_until(lambda: city.spool.ledger().received)
            os.kill(worker.pid, signal.SIGKILL)
            worker.wait(10)
            while answer := station.answer(0.3):
                answered.add(answer.request)
            assert answered < set(sent.values()), "some were under way when the worker died"
            assert {moment_of(request) for request in answered} <= on_disk(city, device)
            city.spool.beat(msgspec.structs.replace(city.spool.status(), connected=False))
            worker = start_worker(city)
            wait_until(lambda: lives(city))
            until = time.monotonic() + 60
            while answered != set(sent.values()) and time.monotonic() < until:
                station.send(b"".join(raw for raw, request in sent.items() if request not in answered))
                while answered != set(sent.values()) and (answer := station.answer(2.5)):
                    answered.add(answer.request)
        assert answered == set(sent.values())
        wait_until(lambda: not city.spool.ledger().spooled)
    finally:
        worker.kill()
        worker.wait(10)
    assert sorted(moment for moment, _ in city.stored(device)) == [to_ms(start) + n * 1000 for n in range(count)]
    assert (city.spool.ledger().balance, city.spool.ledger().quarantined) == (0, 0)


def lives(city):
    status = city.spool.status()
    return status is not None and status.connected


def moment_of(request):
    return to_ms(datetime.strptime(request[:14], "%Y%m%d%H%M%S").replace(tzinfo=CHINA))


def on_disk(city, device):
    spooled = {time for one in city.spool.batches(0, 10**9) for time in one.batch.time.tolist()}
    return spooled | {moment for moment, _ in city.stored(device)}


def test_a_gateway_that_is_stopped_with_frames_under_way_ends_quietly(city, station_of, caplog):
    register_station(city)
    with Gateway(city).running() as gateway:
        station = station_of(gateway)
        station.send(b"".join(station.frame(now() - timedelta(seconds=n), n) for n in range(50)))
        assert station.answer(1.0) is None
    assert station.answer() == "closed"
    assert not [record for record in caplog.records if record.name == "asyncio"]


def test_a_silent_or_noisy_connection_is_ended(city, station_of, monkeypatch):
    monkeypatch.setattr("ingest.gateway.hj212.STRANGER_S", 0.3)
    with Gateway(city).running() as gateway:
        assert station_of(gateway).answer() == "closed"
        noisy = station_of(gateway)
        noisy.send(b"x" * 40_000)
        assert noisy.answer() == "closed"


GOOD = [frame(f"QN=20260801085857{number:03d};ST=32;CN=2011;MN=MN1;CP=&&a-Rtd=1&&") for number in range(3)]


@given(st.lists(st.sampled_from(GOOD) | st.binary(max_size=20).filter(lambda noise: b"#" not in noise)), st.data())
def test_frames_are_found_whatever_stands_between_them_and_however_they_are_cut(parts, data):
    stream = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))

    async def read():
        reader = asyncio.StreamReader()
        for begin, end in pairwise([0, *cuts, len(stream)]):
            reader.feed_data(stream[begin:end])
        reader.feed_eof()
        return [raw async for raw in frames(reader, lambda: False)]

    assert asyncio.run(read()) == [part for part in parts if part in GOOD]


def test_a_taken_port_and_a_missing_certificate_are_told(city, tmp_path):
    gateway = Gateway(city)
    with socket.create_server(("127.0.0.1", gateway.hj212_port)), gateway.running(broker=False):
        wait_until(lambda: gateway.failure)
    assert str(gateway.hj212_port) in str(gateway.failure)
    blind = Gateway(city, certificate=tmp_path / "none.pem", key=tmp_path / "none.key")
    with blind.running(broker=False):
        wait_until(lambda: blind.failure)
    assert isinstance(blind.failure, InputError)
    assert "none.pem" in str(blind.failure)
