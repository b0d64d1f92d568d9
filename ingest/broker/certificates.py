"""Certificates for a broker of one's own: an authority, the server's certificate, clients', and what is revoked.

X.509 v3 (RFC 5280) with ECDSA on P-256 and SHA-256, which small devices can check. A city that has an authority of its
own puts that one's files in place of these, under the same names.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ingest.broker.private import make_folder, write_private
from twin.errors import InputError

AUTHORITY_LASTS = timedelta(days=3650)
LEAF_LASTS = timedelta(days=825)
"""How long a server's or client's certificate lasts: what Apple's and most other systems still take."""

LIST_LASTS = timedelta(days=3650)
"""How long a revocation list is good: OpenSSL refuses every client once it is out of date, so it lasts as long as the
authority; it is written anew with every revocation."""

_SKEW = timedelta(days=1)
"""Certificates begin this much earlier: a device whose clock is slow must still be able to connect and be told."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority in two files of a folder, ``ca.pem`` and ``ca.key``."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @staticmethod
    def make(folder: Path, name: str, now: datetime) -> Authority:
        """Make an authority called `name`, good from `now`, and write its files into `folder`."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            _builder(subject, subject, key, now, AUTHORITY_LASTS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        write_private(folder / "ca.key", _pem_key(key))
        write_private(folder / "ca.pem", _pem(certificate))
        return Authority(certificate, key)

    @staticmethod
    def read(folder: Path) -> Authority:
        """Return the authority in `folder`; InputError where its files are missing or are none."""
        try:
            certificate = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
            key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
        except FileNotFoundError as error:
            raise InputError("is not there", where=str(error.filename), expected="the authority's file") from None
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"cannot be read: {error}", where=str(folder), expected="ca.pem and ca.key") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise InputError("is of another kind", where=str(folder / "ca.key"), expected="a key on P-256")
        return Authority(certificate, key)

    def issue_server(self, names: Sequence[str], now: datetime) -> tuple[bytes, bytes]:
        """Return certificate and key (PEM) of a server that is called by `names`: host names or IP addresses."""
        alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
        return self._issue(names[0], ExtendedKeyUsageOID.SERVER_AUTH, now, alternatives)

    def issue_client(self, login: str, now: datetime) -> tuple[bytes, bytes]:
        """Return certificate and key (PEM) of a client; its common name is its login."""
        return self._issue(login, ExtendedKeyUsageOID.CLIENT_AUTH, now, None)

    def revocations(self, serials: Iterable[int], now: datetime) -> bytes:
        """Return the revocation list (PEM) of the certificates numbered `serials`."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(now - _SKEW)
            .next_update(now + LIST_LASTS)
        )
        for serial in serials:
            revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
            builder = builder.add_revoked_certificate(revoked)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _issue(
        self, name: str, purpose: x509.ObjectIdentifier, now: datetime, names: x509.SubjectAlternativeName | None
    ) -> tuple[bytes, bytes]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            _builder(subject, self.certificate.subject, key, now, LEAF_LASTS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        return _pem(builder.sign(self.key, hashes.SHA256())), _pem_key(key)


@dataclass(frozen=True, slots=True)
class TlsFolder:
    """The files that a broker's TLS needs, in one folder.

    ``ca.pem`` (and ``ca.key``, which belongs on another machine between two uses), ``server.pem``, ``server.key``,
    ``crl.pem``, and under ``clients`` and ``replaced`` every client certificate ever issued, without its key.
    """

    folder: Path

    def prepare(self, names: Sequence[str], now: datetime) -> list[str]:
        """Make what is missing for a server called by `names`; return the names of the files made."""
        before = {path.name for path in self.folder.iterdir()}
        if "server.pem" not in before:
            here = "ca.pem" in before
            authority = Authority.read(self.folder) if here else Authority.make(self.folder, f"{names[0]} CA", now)
            certificate, key = authority.issue_server(names, now)
            write_private(self.folder / "server.key", key)
            write_private(self.folder / "server.pem", certificate)
        for name in ("clients", "replaced"):
            make_folder(self.folder / name)
        return sorted({path.name for path in self.folder.iterdir() if path.is_file()} - before)

    def issue(self, login: str, now: datetime, *, replace: bool = False) -> tuple[bytes, bytes]:
        """Return a new certificate and key (PEM) for `login`; with `replace` its others are revoked with the next list.

        InputError where the authority's key is not in the folder.
        """
        certificate, key = Authority.read(self.folder).issue_client(login, now)
        if replace:
            for older in (self.folder / "clients").glob(f"{login}.*.pem"):
                older.rename(self.folder / "replaced" / older.name)
        serial = x509.load_pem_x509_certificate(certificate).serial_number
        write_private(self.folder / "clients" / f"{login}.{serial:x}.pem", certificate)
        return certificate, key

    def write_revocations(self, valid: Collection[str], now: datetime) -> int:
        """Write the list of client certificates that are replaced, or whose login is not `valid`; return their number.

        InputError where the authority's key is not in the folder, while there is something new to revoke.
        """
        gone = {int(path.name.split(".")[1], 16) for path in (self.folder / "replaced").glob("*.pem")}
        for path in (self.folder / "clients").glob("*.pem"):
            login, serial, _ = path.name.split(".")
            if login not in valid:
                gone.add(int(serial, 16))
        if gone != self._revoked():
            revocations = Authority.read(self.folder).revocations(sorted(gone), now)
            write_private(self.folder / "crl.pem", revocations)
        return len(gone)

    def _revoked(self) -> set[int] | None:
        """Return what the list in the folder revokes, or None where there is no list."""
        try:
            listed = x509.load_pem_x509_crl((self.folder / "crl.pem").read_bytes())
        except FileNotFoundError:
            return None
        return {one.serial_number for one in listed}


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, lasts: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + lasts)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    """Return what a key may do: an authority signs certificates and lists, a leaf proves itself (RFC 5280 §4.2.1.3)."""
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return _host_name(name)
    return x509.IPAddress(address)


def _host_name(name: str) -> x509.DNSName:
    try:
        return x509.DNSName(name)
    except ValueError:
        raise InputError("is no host name", where=repr(name), expected="ASCII letters; punycode for others") from None


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _pem_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


__all__ = ["Authority", "TlsFolder"]
