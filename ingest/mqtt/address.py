"""Where a broker listens, and how a client shows who it is there."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from twin.errors import InputError


@dataclass(frozen=True, slots=True)
class Address:
    """Where a broker listens, and the login there (no secret ever stands in the URL).

    `ca` are the certificates that may sign the broker's, PEM (None: the system's); `certificate` and `key` are the
    client's own, PEM, for brokers that ask for one; the key may stand in the certificate's file.
    """

    host: str
    port: int
    tls: bool = False
    username: str = ""
    password: str = field(default="", repr=False)
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @staticmethod
    def parse(
        url: str,
        username: str = "",
        password: str = "",
        *,
        ca: Path | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
    ) -> Address:
        """Return the address of ``mqtt://host[:port]`` or ``mqtts://host[:port]``.

        InputError for any other URL, for certificates with a URL that has no TLS, and for a key without a certificate.

        >>> Address.parse("mqtts://broker.example").port
        8883
        """
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.username or parts.password:
            raise InputError(
                "holds a login",
                where=f"{parts.scheme}://…@{parts.hostname}",
                expected="it in the settings, not the URL",
            )
        if parts.scheme not in {"mqtt", "mqtts"} or not parts.hostname or port == -1:
            raise InputError("is not the address of a broker", where=url, expected="mqtt://host:port or mqtts://…")
        tls = parts.scheme == "mqtts"
        if not tls and (ca or certificate or key):
            raise InputError("has no TLS, and certificates are given", where=url, expected="mqtts://host:port")
        if key and not certificate:
            raise InputError("is a key without a certificate", where=str(key), expected="both, or neither")
        return Address(parts.hostname, port or (8883 if tls else 1883), tls, username, password, ca, certificate, key)

    def __str__(self) -> str:
        return f"mqtt{'s' if self.tls else ''}://{self.host}:{self.port}"

    def context(self) -> ssl.SSLContext | None:
        """Return the TLS context: 1.2 or newer, the broker's certificate and name checked; None without TLS.

        InputError naming the file that cannot be read, or holds no certificate or no key that fits.
        """
        if not self.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=None if self.ca is None else str(self.ca))
        except OSError as error:  # of which ssl.SSLError is one
            raise _unusable(self.ca, error, "certificates (PEM)") from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.certificate is not None:
            try:
                # A key behind a passphrase is refused: asking for it would hang a service that has no terminal.
                context.load_cert_chain(self.certificate, self.key, password=_no_passphrase)
            except (OSError, InputError) as error:
                raise _unusable(self.certificate, error, "a certificate and its key (PEM)") from None
        return context


def _no_passphrase() -> str:
    raise InputError("the key has a passphrase", expected="a key without one, readable by this user only")


def _unusable(path: Path | None, error: Exception, expected: str) -> InputError:
    what = error.what if isinstance(error, InputError) else (getattr(error, "strerror", "") or str(error))
    return InputError(what, where=str(path), expected=expected)


__all__ = ["Address"]
