"""A mail server and an HTTP receiver of the tests' own, on free loopback ports: real sockets, and real trouble."""

from __future__ import annotations

import base64
import socketserver
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class HttpReceiver:
    """Keeps every POST as (headers, body, path); `status` is what it answers, `delay_s` how long it takes to."""

    def __init__(self, port=0):
        self.posts = []
        self.status = 204
        self.headers = {}
        self.delay_s = 0.0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                time.sleep(receiver.delay_s)
                if receiver.status < 300:
                    receiver.posts.append((dict(self.headers), body, self.path))
                self.send_response(receiver.status)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/alarms?token=hush"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


class MailServer(socketserver.ThreadingTCPServer):
    """Takes mail; `mode`: up, busy (451), refuse (550), deaf (never a word). `tls`: a context that STARTTLS uses."""

    daemon_threads = True

    def __init__(self, tls=None, login=None):
        super().__init__(("127.0.0.1", 0), _Session)
        self.tls, self.login = tls, login
        self.mails, self.encrypted = [], []
        self.mode = "up"
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        self.shutdown()
        self.server_close()


class _Session(socketserver.StreamRequestHandler):
    """Enough of RFC 5321, STARTTLS and AUTH PLAIN."""

    def handle(self):
        self.secure, self.known = False, self.server.login is None
        if self.server.mode == "deaf":
            time.sleep(3)
            return
        self.say("220 tests ESMTP")
        while line := self.rfile.readline():
            word, _, rest = line.decode().strip().partition(" ")
            getattr(self, f"do_{word.lower()}")(rest)
            if word.lower() == "quit":
                return

    def say(self, line):
        self.wfile.write(line.encode() + b"\r\n")
        self.wfile.flush()

    def do_ehlo(self, _rest):
        self.say("250-tests")
        if self.server.tls and not self.secure:
            self.say("250-STARTTLS")
        self.say("250 AUTH PLAIN")

    def do_starttls(self, _rest):
        self.say("220 go on")
        self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        self.rfile, self.wfile = self.request.makefile("rb"), self.request.makefile("wb")
        self.secure = True

    def finish(self):
        super().finish()
        self.request.close()  # of TLS it is another than the one that the server closes

    def do_auth(self, rest):
        given = base64.b64decode(rest.split()[1]).decode().split("\0")[1:]
        self.known = tuple(given) == self.server.login
        self.say("235 welcome" if self.known else "535 not you")

    def do_mail(self, _rest):
        self.say("250 ok" if self.known else "530 who are you")

    def do_rcpt(self, _rest):
        self.say({"busy": "451 later", "refuse": "550 no such mailbox"}.get(self.server.mode, "250 ok"))

    def do_data(self, _rest):
        self.say("354 go on")
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            lines.append(line[1:] if line.startswith(b"..") else line)
        self.server.mails.append(message_from_bytes(b"".join(lines), policy=policy.default))
        self.server.encrypted.append(self.secure)
        self.say("250 taken")

    def do_rset(self, _rest):
        self.say("250 ok")

    def do_quit(self, _rest):
        self.say("221 bye")


def certificate(folder):
    """Return the TLS context of a server called 127.0.0.1, and the file of the certificate that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "certificate.pem", folder / "key.pem"
    public.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return context, public
