"""The channel ``email``: a mail a recipient over SMTP (RFC 5321), as text with the CAP document attached.

The Message-ID (RFC 5322, 3.6.4) is made of the message's id, so that a mail that is sent twice is one in most
mailboxes; In-Reply-To and References put the messages about one group into one conversation.
"""

from __future__ import annotations

import smtplib
import ssl
from contextlib import suppress
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Literal

import msgspec

from sensors.notify import Message, Options, decoded
from sensors.notify.cap import Cap, CapOptions
from sensors.wording import Language
from twin.errors import RefusedError, SettingsError, UnavailableError


class EmailOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Options of the channel: the server, how it is spoken to, the login there, who writes, in which languages.

    `security`: starttls (RFC 3207), tls from the first byte (RFC 8314), or none, for a relay on this machine. A login
    goes over an encrypted connection only.
    """

    host: str
    sender: str
    port: int = 0
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str = ""
    password_file: Path | None = None
    ca: Path | None = None
    languages: tuple[Language, ...] = ("zh", "en")
    cap: CapOptions | None = None
    timeout_s: float = 10.0


_PORTS = {"starttls": 587, "tls": 465, "none": 25}


class EmailNotifier:
    """Sends mails, each over a connection of its own: a server closes one that waits for an hour."""

    def __init__(self, options: EmailOptions) -> None:
        self._from = _address(options.sender, "sender")
        if options.username and options.security == "none":
            raise SettingsError("would send the password in the clear", where="security", expected="starttls or tls")
        if not options.languages:
            raise SettingsError("is empty", where="languages", expected='"zh", "en" or both')
        if not 0 < options.timeout_s <= 30:
            raise SettingsError(f"is {options.timeout_s}", where="timeout_s", expected="more than 0, at most 30 s")
        self._options = options
        self._password = _password(options.password_file)
        self._cap = None if options.cap is None else Cap(options.cap)
        try:
            self._tls = ssl.create_default_context(cafile=None if options.ca is None else str(options.ca))
        except OSError as error:
            raise SettingsError(error.strerror or str(error), where=f"ca {options.ca}", expected="PEM") from None

    @classmethod
    def build(cls, options: Options) -> EmailNotifier:
        """Return the channel of `options` (`EmailOptions`)."""
        return cls(decoded(options, EmailOptions))

    def send(self, message: Message, to: str) -> None:
        """Send a mail to the address `to`. Errors as of `Notifier`."""
        try:
            mail = self.mail(message, to)
        except SettingsError as error:  # an address that is none
            raise RefusedError(error.what, where=error.where, expected=error.expected) from None
        host = self._options.host
        try:
            server = self._connect()
            try:
                server.send_message(mail)
            finally:
                with suppress(smtplib.SMTPException, OSError):  # the mail is taken, or not: the good-bye says nothing
                    server.quit()
        except smtplib.SMTPRecipientsRefused as error:
            status, said = next(iter(error.recipients.values()))
            raise _answered(host, status, said) from None
        except smtplib.SMTPResponseException as error:
            raise _answered(host, error.smtp_code, error.smtp_error) from None
        except smtplib.SMTPNotSupportedError as error:  # no STARTTLS, no login: mended at the server
            raise UnavailableError(str(error), where=host, expected=self._options.security) from None
        except (smtplib.SMTPException, OSError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise UnavailableError(reason, where=host, expected="a mail server") from None

    def close(self) -> None:
        """Hold nothing: each mail has its own connection."""

    def mail(self, message: Message, to: str) -> EmailMessage:
        """Return the mail of a message; SettingsError for an address that is none."""
        mail = EmailMessage()
        mail["From"] = self._from
        mail["To"] = _address(to, "to")
        mail["Date"] = format_datetime(message.at)
        mail["Subject"] = " ".join(message.headline(self._options.languages[0]).split())
        mail["Message-ID"] = self._id(message.id)
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no vacation notices back
        if message.level == 1:
            mail["Importance"] = "high"  # RFC 2156
        if message.references:
            mail["In-Reply-To"] = self._id(message.references[-1].id)
            mail["References"] = " ".join(self._id(each.id) for each in message.references)
        mark = "（演练）Exercise\n" if message.exercise else ""
        mail.set_content(mark + "\n".join(message.text(language) for language in self._options.languages))
        if self._cap is not None:
            document = self._cap.document(message, to)
            mail.add_attachment(document, maintype="application", subtype="cap+xml", filename=f"{message.id}.cap")
        return mail

    def _id(self, name: str) -> str:
        return f"<{name}@{self._from.domain}>"

    def _connect(self) -> smtplib.SMTP:
        """Return a connection, encrypted and logged in as the options say."""
        said, timeout_s = self._options, self._options.timeout_s
        port = said.port or _PORTS[said.security]
        if said.security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(said.host, port, timeout=timeout_s, context=self._tls)
        else:
            server = smtplib.SMTP(said.host, port, timeout=timeout_s)
        try:
            if said.security == "starttls":
                server.starttls(context=self._tls)
            if said.username:
                server.login(said.username, self._password)
        except BaseException:
            server.close()
            raise
        return server


def _answered(host: str, status: int, said: bytes | str) -> RefusedError | UnavailableError:
    """Return the error of an answer: 4yz is for now, 5yz for good (RFC 5321, 4.2.1), but for a login and its like."""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    what = f"answers {status} {' '.join(text.split())[:200]}"
    if status >= 500 and status not in _MENDED:
        return RefusedError(what, where=host, expected="250")
    return UnavailableError(what, where=host, expected="250")


_MENDED = frozenset({500, 502, 503, 521, 530, 534, 535, 538, 554})
"""5yz that a change at the server or of the settings mends: logins (RFC 4954, 6), a server that takes no mail at the
moment (RFC 7504), 554 as greeting or as a filter's answer."""


def _address(text: str, option: str) -> Address:
    try:
        return Address(addr_spec=text)
    except (ValueError, IndexError, MessageError) as error:
        raise SettingsError(f"{text!r} is no address: {error}", where=option, expected="name@domain") from None


def _password(file: Path | None) -> str:
    if file is None:
        return ""
    try:
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SettingsError(reason, where=f"password_file {file}", expected="the password") from None


__all__ = ["EmailNotifier", "EmailOptions"]
