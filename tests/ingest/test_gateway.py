"""The gateway on a real broker and worker: no answer before the receipt, and nobody speaks for another."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.broker.certificates import Authority
from ingest.broker.embedded import EmbeddedBroker
from ingest.gateway.doorkeeper import Doorkeeper
from ingest.gateway.hj212 import MAX_GUESSES, WINDOW, Hj212Door, frames
from ingest.gateway.serving import Doors, serve
from ingest.mqtt.connection import Address
from ingest.payload.hj212 import frame, read_frame
from sensors.clock import SystemClock, to_ms
from sensors.credentials import Credentials, Role
from sensors.device import Point
from sensors.unknown_device import UnknownDevices
from twin.errors import BusyError, InputError, UnavailableError

from .conftest import City, free_port, pressure_device, wait_until
from .test_crash import start_worker

CHINA = timezone(timedelta(hours=8))
PASSWORD = "123456"


class Gateway:
    """A gateway in a thread of its own, on free ports; `told` is what it wrote to the audit trail."""

    def __init__(self, city, address=None, answer_s=10.0, **doors):
        self.told = []
        self.hj212_port, self.http_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.http_port}/api/v1/readings"
        self.unknown = UnknownDevices(city.engine)
        self.failure = None
        self._doors = Doors(("127.0.0.1", self.hj212_port), ("127.0.0.1", self.http_port), **doors)
        self._address = address or city.address
        self._answer_s = answer_s
        self._keeper = Doorkeeper(
            city.registry,
            Credentials(city.engine).prove,
            self.unknown,
            lambda *entry: self.told.append(entry),
            SystemClock(),
            district=city.district,
        )
        self._loop = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))

    async def _main(self):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            await serve(self._doors, self._address, self._keeper, SystemClock(), self._stop, answer_s=self._answer_s)
        except (BusyError, InputError) as error:
            self.failure = error

    @contextmanager
    def running(self, *, broker=True):
        self._thread.start()
        try:
            wait_until(lambda: self.failure or not broker or self._ready())
            yield self
        finally:
            if self._thread.is_alive():
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(20)
            assert not self._thread.is_alive()

    def _ready(self):
        try:
            return httpx.get(f"http://127.0.0.1:{self.http_port}/health").status_code == 200
        except httpx.TransportError:
            return False


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


def native(seq, at, value=0.3):
    return {"v": 1, "boot": 1, "seq": seq, "ts": to_ms(at), "m": {"pressure": {"v": value, "u": "MPa"}}}


def token_of(city, scope="WP-*"):
    return {"authorization": f"Bearer {Credentials(city.engine).issue('platform', Role.PLATFORM, scope=scope).bearer}"}


def test_a_push_is_answered_with_the_receipt_of_each_message(city):
    (one, two), at = city.register("WP-1", "WP-2"), now()
    pack = [{"boot": 1, "seq": 7, "bn": "WP-2/", "n": "pressure", "u": "MPa", "v": 0.5, "t": at.timestamp()}]
    body = {
        "messages": [
            {"device": "WP-1", "data": native(1, at)},
            {"device": "WP-2", "senml": pack},
            {"device": "WP-1", "data": {**native(2, at), "m": {"nothing": {"v": 1}}}},
        ]
    }
    with city.worker(), Gateway(city).running() as gateway:
        reply = httpx.post(gateway.url, json=body, headers=token_of(city))
        assert city.spool.ledger().received == 3, "what is answered has been committed"
        city.settled(3)
    assert reply.status_code == 200
    receipts = [result["receipt"] for result in reply.json()["results"]]
    assert [(receipt["boot"], receipt["ok"], receipt["rej"]) for receipt in receipts] == [
        (1, [[1, 1]], []),
        (1, [[7, 7]], []),
        (1, [[2, 2]], [[2, 0, "E_POINT"]]),
    ]
    assert city.stored(one) == [(to_ms(at), 300_000.0)]
    assert city.stored(two) == [(to_ms(at), 500_000.0)]


def test_the_embedded_broker_will_do(tmp_path):
    with EmbeddedBroker() as broker:
        city = City(tmp_path, Address(broker.host, broker.port))
        city.register("WP-1")
        with city.worker(), Gateway(city).running() as gateway:
            body = {"messages": [{"device": "WP-1", "data": native(1, now())}]}
            reply = httpx.post(gateway.url, json=body, headers=token_of(city), timeout=15)
            city.settled(1)
        city.close()
    assert reply.json()["results"][0]["receipt"]["ok"] == [[1, 1]]


def test_tokens_travel_over_tls(city, tmp_path):
    city.register("WP-1")
    authority = Authority.make(tmp_path, "test", datetime.now(UTC))
    issued = authority.issue_server(["127.0.0.1"], datetime.now(UTC))
    paths = [tmp_path / "gateway.pem", tmp_path / "gateway.key"]
    for path, pem in zip(paths, issued, strict=True):
        path.write_bytes(pem)
    gateway = Gateway(city, certificate=paths[0], key=paths[1])
    trusted = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    body = {"messages": [{"device": "WP-1", "data": native(1, now())}]}
    url, token = gateway.url.replace("http:", "https:"), token_of(city)
    with city.worker(), gateway.running(broker=False):
        wait_until(lambda: _listens(gateway.http_port))
        replies = []

        def receipted():
            replies.append(httpx.post(url, json=body, headers=token, verify=trusted, timeout=15))
            return replies[-1].status_code == 200

        wait_until(receipted)  # the broker's connection is still coming up
        with pytest.raises(httpx.ConnectError, match="certificate"):
            httpx.get(url)
        city.settled(1)
    assert replies[-1].json()["results"][0]["receipt"]["ok"] == [[1, 1]]


def _listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_token_speaks_for_its_own_devices_only(city):
    city.register("WP-1", "GM-1")
    body = {"messages": [{"device": "GM-1", "data": native(1, now())}, {"device": "WP-1", "data": native(1, now())}]}
    with city.worker(), Gateway(city).running() as gateway:
        token = token_of(city)
        mixed = httpx.post(gateway.url, json=body, headers=token)
        foreign = httpx.post(gateway.url, json={"messages": body["messages"][:1]}, headers=token)
        nobody = httpx.post(gateway.url, json=body)
        wrong = httpx.post(gateway.url, json=body, headers={"authorization": "Bearer platform.guessed"})
        city.settled(1)
    assert mixed.status_code == 200
    assert [result.get("error") for result in mixed.json()["results"]] == ["E_IDENTITY", None]
    assert (foreign.status_code, wrong.status_code, nobody.status_code) == (403, 401, 401)
    assert nobody.headers["www-authenticate"].startswith("Bearer")
    assert gateway.told == [
        ("gateway.refuse", "GM-1", {"login": "platform"}),
        ("gateway.refuse", "platform", {"login": "platform"}),
    ]
    assert "guessed" not in str(gateway.told)
    assert city.spool.ledger().received == 1


def test_what_cannot_be_receipted_is_refused_and_a_bad_payload_is_kept(city):
    city.register("WP-1")
    nameless = {"v": 1, "m": {"pressure": {"v": 1}}}
    messages = [
        {"device": "WP-1", "data": nameless},
        {"device": "WP-1", "data": {"v": 2}},
        {"device": "WP-1"},
        {"device": "WP-9", "data": native(1, now())},
    ]
    with city.worker(), Gateway(city).running() as gateway:
        reply = httpx.post(gateway.url, json={"messages": messages}, headers=token_of(city))
        wait_until(lambda: city.spool.ledger().received == 1)
    assert [result["error"] for result in reply.json()["results"]] == ["E_FIELD", "E_FIELD", "E_FIELD", "E_DEVICE"]
    assert json.loads(city.spool.quarantined()[0].payload) == {"v": 2}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"[]", 422),
        (b'{"messages":[]}', 422),
        (b"\xff", 422),
        (b'{"messages":[1]}', 422),
        (b" " * 5_000_000, 413),
    ],
)
def test_a_body_that_is_none_is_refused_with_its_reason(city, body, status):
    with Gateway(city).running() as gateway:
        reply = httpx.post(gateway.url, content=body, headers=token_of(city))
    assert (reply.status_code, reply.json()["error"][:2]) == (status, "E_")


@pytest.mark.parametrize(
    ("before", "said"),
    [(b"", b""), (b"", b"POST / HTTP/1.1\r\n"), (b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n", b"GET")],
)
def test_who_does_not_finish_the_head_of_a_request_does_not_keep_the_connection(city, before, said, monkeypatch):
    monkeypatch.setattr("ingest.gateway.serving.HEAD_S", 0.3)
    with (
        Gateway(city).running() as gateway,
        socket.create_connection(("127.0.0.1", gateway.http_port), timeout=5) as slow,
    ):
        slow.sendall(before)
        answer = b""
        while before and not answer.endswith(b"}"):
            answer += slow.recv(4096)
        slow.sendall(said)
        assert slow.recv(4096) == b""


def test_a_body_that_is_slow_in_coming_is_408_and_one_that_nobody_proved_is_not_read(city, monkeypatch):
    monkeypatch.setattr("ingest.gateway.serving.HEAD_S", 0.3)
    monkeypatch.setattr("ingest.gateway.push.BODY_S", 0.6)
    with Gateway(city).running() as gateway:
        for authorization, status in ((token_of(city)["authorization"], b"408"), ("Bearer a.b", b"401")):
            with socket.create_connection(("127.0.0.1", gateway.http_port), timeout=5) as slow:
                head = (
                    f"POST /api/v1/readings HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\nauthorization: {authorization}"
                )
                slow.sendall(f"{head}\r\n\r\n{{".encode())
                assert slow.recv(4096).split()[1] == status


def test_no_receipt_in_time_is_503_and_the_time_to_wait(city):
    city.register("WP-1")
    body = {"messages": [{"device": "WP-1", "data": native(1, now())}]}
    with Gateway(city, answer_s=0.3).running() as gateway:
        late = httpx.post(gateway.url, json=body, headers=token_of(city))
    assert (late.status_code, late.headers["retry-after"]) == (503, "5")
    assert late.json()["results"][0]["error"] == "E_UNAVAILABLE"


def test_a_broker_that_is_away_is_503_at_once(city):
    city.register("WP-1")
    body = {"messages": [{"device": "WP-1", "data": native(1, now())}]}
    nowhere = Address("127.0.0.1", free_port())
    with Gateway(city, address=nowhere).running(broker=False) as gateway:
        wait_until(lambda: _status(gateway) == 503)
        began = time.monotonic()
        away = httpx.post(gateway.url, json=body, headers=token_of(city))
        took_s = time.monotonic() - began
    assert (away.status_code, took_s < gateway._answer_s) == (503, True)


def _status(gateway):
    try:
        return httpx.get(f"http://127.0.0.1:{gateway.http_port}/health").status_code
    except httpx.TransportError:
        return None


def test_a_revoked_token_ends_within_a_minute_and_a_right_one_is_not_asked_each_time(city, monkeypatch):
    monkeypatch.setattr("ingest.gateway.doorkeeper.PROVED_S", 0.5)
    city.register("WP-1")
    with city.worker(), Gateway(city).running() as gateway:
        token = token_of(city)

        def send(seq):
            body = {"messages": [{"device": "WP-1", "data": native(seq, now())}]}
            return httpx.post(gateway.url, json=body, headers=token).status_code

        assert send(1) == 200
        Credentials(city.engine).revoke("platform")
        wait_until(lambda: send(2) == 401)


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
