"""How mails leave: to an SMTP server or, in development, into files."""

import ipaddress
import logging
import os
import re
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import policy
from email.message import EmailMessage
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

OPPORTUNISTIC, STARTTLS, TLS = "smtp", "smtp+starttls", "smtps"

_PORTS = {OPPORTUNISTIC: 25, STARTTLS: 587, TLS: 465}
_STEP_SECONDS = 10.0
_WHOLE_SECONDS = 40.0
_LOGIN_NEEDED = 530
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
_log = logging.getLogger(__name__)


class MailDeferred(Exception):
    """The mail could not be handed over now. The message names no address."""


class MailRefused(Exception):
    """The mail can never be handed over. The message names no address."""


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """Where mails are handed over.

    Args:
        host: its name or address.
        port: its port.
        security: `smtp` encrypts where the server offers it, and takes any certificate;
            `smtp+starttls` and `smtps` insist on it, and on a certificate of the host's.
        user, password: empty where the server asks for none.
    """

    host: str
    port: int
    security: str
    user: str = ""
    password: str = field(default="", repr=False)


class Delivery(Protocol):
    """Takes messages."""

    def deliver(self, message: EmailMessage, name: str) -> None:
        """Hand a message over.

        Args:
            message: whole, with one recipient.
            name: names the message in the log.

        Raises:
            MailDeferred, MailRefused
        """


def parse_smtp_url(text: str) -> SmtpServer:
    """Read `smtp://host`, `smtp+starttls://user:password@host` or `smtps://…`, with `:port` or not.

    The ports are 25, 587 and 465 if not given. User and password are percent-encoded.
    A password is never sent in the clear to another machine: with one, `smtp://` means
    `smtp+starttls://`, unless the host is this machine.

    Raises:
        ValueError: it is of another form; the message does not repeat the password.
    """
    try:
        url = urlsplit(text)
        host, port = url.hostname or "", url.port
    except ValueError:
        raise ValueError("is no URL") from None
    if url.scheme not in _PORTS:
        raise ValueError(f"begins with none of {', '.join(f'{name}://' for name in _PORTS)}")
    if url.path not in ("", "/") or url.query or url.fragment:
        raise ValueError("has more than a host and a port behind ://")
    if not (_HOST.fullmatch(host) or _is_address(host)) or port == 0:
        raise ValueError("names no host, or no port, that there can be")
    user, password = unquote(url.username or ""), unquote(url.password or "")
    if bool(user) != bool(password) or not (user + password).isascii():
        raise ValueError("needs both a user and a password, in ASCII, or neither")
    security = url.scheme
    if security == OPPORTUNISTIC and user and not _is_this_machine(host):
        security = STARTTLS
    return SmtpServer(host, port or _PORTS[url.scheme], security, user, password)


class SmtpDelivery:
    """Hands messages to an SMTP server, on a connection each.

    No step takes longer than 10 s, and all together no longer than 40 s once connected.

    Args:
        server: which.
        helo: the name that this machine gives to the server.
        trust: the certificates that are believed; the system's if None.
    """

    def __init__(self, server: SmtpServer, helo: str, trust: ssl.SSLContext | None = None) -> None:
        self._server = server
        self._helo = helo
        self._trust = trust

    def deliver(self, message: EmailMessage, name: str) -> None:
        """Hand a message over, once: an answer that is lost leaves open whether it was taken."""
        try:
            smtp = self._connected()
            with _closed_at_last(smtp), _cut_after(smtp, _WHOLE_SECONDS):
                self._secure(smtp)
                if self._server.user:
                    smtp.login(self._server.user, self._server.password)
                _hand_over(smtp, message)
        except OSError as error:  # smtplib's exceptions are of this class too
            raise MailDeferred(_described(error)) from None

    def _connected(self) -> smtplib.SMTP:
        host, port = self._server.host, self._server.port
        if self._server.security == TLS:
            context = self._trust or ssl.create_default_context()
            return smtplib.SMTP_SSL(
                host, port, local_hostname=self._helo, timeout=_STEP_SECONDS, context=context
            )
        return smtplib.SMTP(host, port, local_hostname=self._helo, timeout=_STEP_SECONDS)

    def _secure(self, smtp: smtplib.SMTP) -> None:
        smtp.ehlo_or_helo_if_needed()
        if self._server.security == STARTTLS:
            smtp.starttls(context=self._trust or ssl.create_default_context())
        elif self._server.security == OPPORTUNISTIC and smtp.has_extn("starttls"):
            smtp.starttls(context=_credulous())
        smtp.ehlo_or_helo_if_needed()


class FileDelivery:
    """Writes messages into files of their own, for development.

    Args:
        folder: made if need be, for this user's eyes only.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def deliver(self, message: EmailMessage, name: str) -> None:
        """Write a message to `<time>-<name>.eml`, and log where."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        file = self._folder / f"{stamp}-{name}.eml"
        draft = file.with_suffix(".draft")
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with open(draft, "wb", opener=_private) as opened:
                opened.write(message.as_bytes(policy=policy.SMTPUTF8))
            draft.rename(file)
        except OSError as error:
            raise MailDeferred(_described(error)) from None
        _log.info("a mail was written to %s", file)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_this_machine(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _credulous() -> ssl.SSLContext:
    """Encryption towards whoever answers: better than none, where none would do (RFC 7435)."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _hand_over(smtp: smtplib.SMTP, message: EmailMessage) -> None:
    try:
        smtp.send_message(message)
    except smtplib.SMTPNotSupportedError:
        raise MailRefused("the server takes no address beyond ASCII") from None
    except smtplib.SMTPRecipientsRefused as error:
        raise _of_codes([code for code, _ in error.recipients.values()]) from None
    except smtplib.SMTPDataError as error:
        raise _of_codes([error.smtp_code]) from None


def _of_codes(codes: list[int]) -> MailDeferred | MailRefused:
    answer = f"the server answered {', '.join(map(str, codes))}"
    if all(code >= 500 and code != _LOGIN_NEEDED for code in codes):
        return MailRefused(answer)
    return MailDeferred(answer)


def _described(error: OSError) -> str:
    """Say what happened without the words of the server, which may repeat an address."""
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{type(error).__name__}: the server answered {error.smtp_code}"
    if isinstance(error, smtplib.SMTPException) or error.strerror is None:
        return type(error).__name__
    return f"{type(error).__name__}: {error.strerror}"


@contextmanager
def _closed_at_last(smtp: smtplib.SMTP) -> Iterator[None]:
    """Take leave of the server; what it says to that changes nothing about the mail."""
    try:
        yield
        with suppress(OSError):
            smtp.quit()
    finally:
        smtp.close()


@contextmanager
def _cut_after(smtp: smtplib.SMTP, seconds: float) -> Iterator[None]:
    """Cut the connection if what is done meanwhile takes longer: each step has its own limit."""
    timer = threading.Timer(seconds, _cut, (smtp,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _cut(smtp: smtplib.SMTP) -> None:
    with suppress(OSError):
        if smtp.sock is not None:
            smtp.sock.shutdown(socket.SHUT_RDWR)
