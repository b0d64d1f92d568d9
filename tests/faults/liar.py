"""A store that lies: a proxy before VictoriaMetrics that leaves out lines of what is written, and passes its 204 on.

VictoriaMetrics itself answers 204 to whatever it drops; what it drops by its retention, ingest asks it beforehand.
"""

from __future__ import annotations

import gzip
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Liar(ThreadingHTTPServer):
    """Passes everything on to `base`, but for written lines of the `swallowed` series."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.base = ""
        self.swallowed: set[int] = set()
        self.lines = 0
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def before(self, base: str) -> str:
        """Stand before the server at `base`; return the address that it is reached by from now on."""
        self.base = base
        return f"http://127.0.0.1:{self.server_address[1]}"

    def stop(self) -> None:
        """Stop listening."""
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Liar
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        del format, args

    def do_GET(self) -> None:
        self._pass_on(None)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "/write" in self.path:
            body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            del self.headers["Content-Encoding"]
            lines = body.splitlines()
            kept = [line for line in lines if not any(b"series=%d " % one in line for one in self.server.swallowed)]
            self.server.lines += len(lines) - len(kept)
            body = b"\n".join(kept)
        self._pass_on(body)

    def _pass_on(self, body: bytes | None) -> None:
        names = ("Content-Type", "Content-Encoding", "Authorization", "Accept")
        headers = {name: self.headers[name] for name in names if self.headers[name]}
        request = urllib.request.Request(self.server.base + self.path, body, headers, method=self.command)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                self._answer(answer.status, answer.headers.get("Content-Type", ""), answer.read())
        except urllib.error.HTTPError as error:
            self._answer(error.code, error.headers.get("Content-Type", ""), error.read())
        except OSError as error:
            self._answer(502, "text/plain", str(error).encode())

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
