"""An SMTP server in a process of its own, which keeps what it takes and fails as it is told.

    python -m tests.support.smtp PORT FOLDER SETTINGS

The test changes `mode` in the folder while the server runs: a file of one word, as in `Mode`.
"""

import asyncio
import json
import signal
import ssl
import subprocess
import sys
from dataclasses import asdict, dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from tests.support.processes import HOST, Server, accepts_tcp, clean_environment, free_port

ROOT = Path(__file__).resolve().parents[2]


class Mode(StrEnum):
    """What becomes of a mail."""

    ACCEPT = "accept"
    REFUSE_FOR_NOW = "refuse_for_now"
    REFUSE_RECIPIENT = "refuse_recipient"
    REFUSE_CONTENT = "refuse_content"
    REFUSE_SENDER = "refuse_sender"
    DROP = "drop"
    HANG = "hang"
    LEAVE_RUDELY = "leave_rudely"


@dataclass(frozen=True)
class Settings:
    """What the server offers and asks for.

    Args:
        starttls: offered, with a certificate of the folder.
        tls: from the first byte on.
        user, password: asked for, unless empty.
        smtputf8: whether addresses may have letters beyond ASCII.
    """

    starttls: bool = False
    tls: bool = False
    user: str = ""
    password: str = ""
    smtputf8: bool = True


class SmtpServer(Server):
    """aiosmtpd on a free loopback port."""

    name = "smtp"

    def __init__(self, folder: Path, settings: Settings | None = None) -> None:
        super().__init__(folder.resolve())
        self.port = free_port()
        self.settings = settings or Settings()

    def prepare(self) -> None:
        super().prepare()
        (self.folder / "mails").mkdir(exist_ok=True)
        if not (self.folder / "mode").exists():
            self.turn(Mode.ACCEPT)
        if self.settings.starttls or self.settings.tls:
            make_certificate(self.folder)

    def command(self) -> list[str]:
        settings = json.dumps(asdict(self.settings))
        where = (str(self.port), str(self.folder))
        return [sys.executable, "-m", "tests.support.smtp", *where, settings]

    def environment(self) -> dict[str, str]:
        return clean_environment()

    def working_folder(self) -> Path:
        return ROOT

    def is_ready(self) -> bool:
        return accepts_tcp(self.port)

    def turn(self, mode: Mode) -> None:
        """Decides what becomes of the mails from now on."""
        draft = self.folder / "mode.draft"
        draft.write_text(mode)
        draft.rename(self.folder / "mode")

    def mails(self) -> list[EmailMessage]:
        """Returns what was taken, in its order."""
        files = sorted((self.folder / "mails").glob("*.eml"))
        return [_parsed(file.read_bytes()) for file in files]

    def tries(self) -> int:
        """Returns how many mails were begun."""
        file = self.folder / "tries"
        return len(file.read_text().splitlines()) if file.exists() else 0


def make_certificate(folder: Path) -> None:
    """Makes a certificate of `localhost`, signed by itself."""
    if (folder / "cert.pem").exists():
        return
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", "key.pem", "-out", "cert.pem"),
        ],
        cwd=folder,
        check=True,
        capture_output=True,
        timeout=60,
    )


def _parsed(content: bytes) -> EmailMessage:
    message = message_from_bytes(content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


class Handler:
    """Does with mails what the folder's mode says."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = len(list((folder / "mails").glob("*.eml")))

    def _mode(self) -> Mode:
        return Mode((self._folder / "mode").read_text())

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        with (self._folder / "tries").open("a") as tries:
            tries.write("try\n")
        mode = self._mode()
        if mode is Mode.HANG:
            await asyncio.sleep(600)
        if mode is Mode.DROP:
            cast(asyncio.WriteTransport, server.transport).abort()
        if mode is Mode.REFUSE_SENDER:
            return f"550 <{address}> may not send here"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        mode = self._mode()
        if mode is Mode.REFUSE_FOR_NOW:
            return f"451 <{address}> later"
        if mode is Mode.REFUSE_RECIPIENT:
            return f"550 <{address}> unknown here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        if self._mode() is Mode.REFUSE_CONTENT:
            return "554 not such a mail"
        content = envelope.content
        assert isinstance(content, bytes)
        self._count += 1
        transport = cast(asyncio.WriteTransport, server.transport)
        secured = "yes" if transport.get_extra_info("ssl_object") is not None else "no"
        head = f"X-Recipient: {','.join(envelope.rcpt_tos)}\r\nX-Secured: {secured}\r\n"
        draft = self._folder / "mails" / "draft"
        draft.write_bytes(head.encode() + content)
        draft.rename(draft.with_name(f"{self._count:04}.eml"))
        return "250 OK"

    async def handle_QUIT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        return "421 away" if self._mode() is Mode.LEAVE_RUDELY else "221 Bye"


async def _serve(port: int, folder: Path, settings: Settings) -> None:
    context = None
    if settings.starttls or settings.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    handler = Handler(folder)

    def authenticate(_: Any, __: Any, ___: Any, mechanism: str, data: Any) -> AuthResult:
        given = (data.login.decode(), data.password.decode())
        return AuthResult(success=given == (settings.user, settings.password))

    def connection() -> SMTP:
        return SMTP(
            handler,
            hostname="localhost",
            tls_context=context if settings.starttls else None,
            enable_SMTPUTF8=settings.smtputf8,
            auth_required=bool(settings.user),
            auth_require_tls=settings.starttls,
            authenticator=authenticate if settings.user else None,
        )

    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    await loop.create_server(connection, HOST, port, ssl=context if settings.tls else None)
    await stopping.wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), Path(sys.argv[2]), Settings(**json.loads(sys.argv[3]))))
