"""HTTP push on a real broker and worker: no 200 before the receipts, and no token speaks for another's devices."""

from __future__ import annotations

import json
import socket
import ssl
import time
from datetime import UTC, datetime

import httpx
import pytest

from ingest.broker.certificates import Authority
from ingest.broker.embedded import EmbeddedBroker
from ingest.mqtt.connection import Address
from sensors.clock import to_ms
from sensors.credentials import Credentials, Role

from .conftest import City, free_port, wait_until
from .gateway_thread import Gateway


def now():
    return datetime.now(UTC).replace(microsecond=0)


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
