import base64
import json
import time
from dataclasses import replace

import pytest

from sensors.notify import decoded, open_notifier
from sensors.notify.cap import NAMESPACE, Cap, CapOptions
from sensors.notify.checks import CHECKS, Bench, sample
from sensors.notify.message import Purpose, decode
from sensors.notify.webhook import WebhookNotifier, WebhookOptions, signature
from twin.errors import RefusedError, UnavailableError

from .notify_servers import HttpReceiver, MailServer, certificate

SECRET = b"a secret of the receiver and us"
CAP = {"sender": "chengmai@city.example", "crs": "EPSG:4549"}


@pytest.fixture
def receiver():
    receiver = HttpReceiver()
    yield receiver
    receiver.stop()


@pytest.fixture
def mail_server(tmp_path):
    tls, ca = certificate(tmp_path)
    server = MailServer(tls, ("chengmai", "pass"))
    server.ca = ca
    yield server
    server.stop()


@pytest.fixture
def webhook(receiver, tmp_path):
    file = tmp_path / "secret"
    file.write_bytes(SECRET)
    options = {"url": receiver.url, "secret_file": str(file), "timeout_s": 1.0}
    notifier = open_notifier("webhook", options, "webhook")
    yield notifier
    notifier.close()


@pytest.fixture
def email(mail_server, tmp_path):
    file = tmp_path / "password"
    file.write_text("pass\n")
    options = {
        "host": "127.0.0.1",
        "port": mail_server.port,
        "sender": "chengmai@city.example",
        "username": "chengmai",
        "password_file": str(file),
        "ca": str(mail_server.ca),
        "cap": CAP,
        "timeout_s": 1.0,
    }
    return open_notifier("email", options, "email")


def webhook_bench(webhook, receiver):
    def status(number):
        receiver.status = number

    return Bench(
        webhook,
        "",
        lambda: [json.loads(body)["id"] for _, body, _ in receiver.posts],
        lambda: status(503),
        lambda: status(200),
    )


def email_bench(email, server):
    def mode(name):
        server.mode = name

    return Bench(
        email,
        "duty@gas.example",
        lambda: [mail["Message-ID"].removeprefix("<").partition("@")[0] for mail in server.mails],
        lambda: mode("deaf"),
        lambda: mode("up"),
    )


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_webhook_keeps_the_contract(check, webhook, receiver):
    check(webhook_bench(webhook, receiver))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_email_keeps_the_contract(check, email, mail_server):
    check(email_bench(email, mail_server))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_log_keeps_the_contract(check, monkeypatch):
    lines = []

    class Logger:
        def error(self, event, **values):
            lines.append((event, values))

        warning = error

    monkeypatch.setattr("sensors.notify.log.logger", Logger())
    check(Bench(open_notifier("log", {}, "log"), "", lambda: [values["message"] for _, values in lines]))


def test_the_suite_catches_a_channel_that_swallows_messages():
    class Hole:
        def send(self, message, to):
            pass

        def close(self):
            pass

    with pytest.raises(AssertionError):
        CHECKS[0](Bench(Hole(), "", list))
    with pytest.raises(AssertionError):
        CHECKS[2](Bench(Hole(), "", list, lambda: None, lambda: None))


def test_a_webhook_is_signed_over_id_time_and_body(webhook, receiver):
    message = sample()
    webhook.send(message, "")
    ((headers, body, path),) = receiver.posts
    headers = {name.lower(): value for name, value in headers.items()}
    assert path == "/alarms?token=hush"
    assert decode(body) == message
    assert headers["webhook-id"] == message.id
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    assert headers["webhook-signature"] == signature(SECRET, message.id, headers["webhook-timestamp"], body)
    assert headers["webhook-signature"] != signature(SECRET, message.id, headers["webhook-timestamp"], body + b" ")


def test_a_secret_may_be_written_as_the_standard_has_it(tmp_path, receiver):
    file = tmp_path / "secret"
    file.write_text("whsec_" + base64.b64encode(SECRET).decode())
    notifier = WebhookNotifier(decoded({"url": receiver.url, "secret_file": str(file)}, WebhookOptions), lambda: 5.0)
    notifier.send(sample(), "")
    notifier.close()
    ((headers, body, _),) = receiver.posts
    assert signature(SECRET, sample().id, "5", body) in headers.values()


@pytest.mark.parametrize("status", [301, 302, 307, 400, 410, 413])
def test_a_webhook_that_will_never_be_taken_is_refused_and_no_redirect_followed(webhook, receiver, status):
    elsewhere = HttpReceiver()
    receiver.status, receiver.headers = status, {"Location": elsewhere.url}
    with pytest.raises(RefusedError, match=f"answers {status}"):
        webhook.send(sample(), "")
    elsewhere.stop()
    assert elsewhere.posts == []


@pytest.mark.parametrize(("status", "after", "wanted"), [(503, "7", 7.0), (429, "soon", None), (401, "", None)])
def test_a_webhook_that_may_be_taken_later_is_tried_again(webhook, receiver, status, after, wanted):
    receiver.status, receiver.headers = status, {"Retry-After": after}
    with pytest.raises(UnavailableError) as caught:
        webhook.send(sample(), "")
    assert caught.value.retry_s == wanted


def test_a_receiver_that_hangs_costs_the_timeout_and_tells_no_token(webhook, receiver):
    receiver.delay_s = 3
    began = time.monotonic()
    with pytest.raises(UnavailableError, match="in time") as caught:
        webhook.send(sample(), "")
    assert time.monotonic() - began < 2.5
    assert "hush" not in str(caught.value)


def test_a_receiver_that_is_gone_is_unavailable(webhook, receiver):
    receiver.stop()
    with pytest.raises(UnavailableError) as caught:
        webhook.send(sample(), "")
    assert "hush" not in str(caught.value)


def test_a_webhook_may_post_cap(receiver):
    notifier = open_notifier("webhook", {"url": receiver.url, "format": "cap", "cap": CAP}, "webhook")
    notifier.send(sample(), "duty desk")
    notifier.close()
    ((headers, body, _),) = receiver.posts
    assert headers["Content-Type"] == "application/cap+xml"
    assert NAMESPACE in body.decode()
    assert '"duty desk"' in body.decode()


def test_a_mail_is_encrypted_says_all_and_carries_cap(email, mail_server):
    message = sample()
    email.send(message, "duty@gas.example")
    (mail,) = mail_server.mails
    assert mail_server.encrypted == [True]
    assert (mail["To"], mail["From"]) == ("duty@gas.example", "chengmai@city.example")
    assert mail["Subject"].startswith("一级红 hewan 燃气 2 条报警")
    text = mail.get_body(("plain",)).get_content()
    assert all(item.zh.split("\n")[0] in text for item in message.items)
    assert "red, hewan, gas: 2 alarms" in text
    (document,) = list(mail.iter_attachments())
    assert document.get_content_type() == "application/cap+xml"
    assert document.get_content() == Cap(decoded(CAP, CapOptions)).document(message, "duty@gas.example")


def test_mails_of_one_group_are_one_conversation(email, mail_server):
    first = sample(1)
    email.send(first, "duty@gas.example")
    more = sample(2, Purpose.UPDATE)
    email.send(replace(more, references=(replace(more.references[0], id=first.id),)), "duty@gas.example")
    before, after = mail_server.mails
    assert after["In-Reply-To"] == before["Message-ID"]


@pytest.mark.parametrize(("mode", "error"), [("busy", UnavailableError), ("refuse", RefusedError)])
def test_a_mail_server_says_for_now_or_for_good(email, mail_server, mode, error):
    mail_server.mode = mode
    with pytest.raises(error, match="answers"):
        email.send(sample(), "duty@gas.example")


def test_an_address_that_is_none_is_refused(email):
    with pytest.raises(RefusedError, match="no address"):
        email.send(sample(), "duty at gas")


def test_a_wrong_password_is_tried_again_once_it_is_mended(email, mail_server):
    mail_server.login = ("chengmai", "other")
    with pytest.raises(UnavailableError, match="535"):
        email.send(sample(), "duty@gas.example")
    assert mail_server.mails == []


def test_a_mail_server_without_a_certificate_to_trust_gets_no_mail(mail_server):
    options = {"host": "127.0.0.1", "port": mail_server.port, "sender": "a@city.example", "timeout_s": 1.0}
    with pytest.raises(UnavailableError, match="certificate"):
        open_notifier("email", options, "email").send(sample(), "duty@gas.example")
    assert mail_server.mails == []
