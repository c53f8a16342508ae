"""Mails as messages: from whom, in which words, with which links."""

import html
import re
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, localtime, make_msgid
from string import Template
from urllib.parse import urlsplit

from authsvc.core.letters import RESET, VERIFY
from authsvc.core.mails import Mail
from authsvc.infra.mail import MailRefused
from authsvc.infra.mail_texts import FALLBACK, TEXTS

_SENDER = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9.-]*[A-Za-z0-9]")
_AMBIGUOUS = frozenset("ßẞς\u200c\u200d")
"""Letters that Python's codec writes as others, unlike today's registries (RFC 5892)."""
_PATHS = {VERIFY: "/verify-email", RESET: "/reset-password"}


def is_sender(address: str) -> bool:
    """Tell whether mails can come from this address."""
    return _SENDER.fullmatch(address) is not None


class Letterhead:
    """Words mails, plainly and in HTML.

    Args:
        sender: the address that mails come from.
        public_url: what links begin with; never taken from a request.

    Raises:
        ValueError: the sender is no address.
    """

    def __init__(self, sender: str, public_url: str) -> None:
        if not _SENDER.fullmatch(sender):
            raise ValueError("is no address, as name@host in ASCII")
        local, _, domain = sender.rpartition("@")
        self._sender = Address(username=local, domain=domain)
        self._public_url = public_url.rstrip("/")
        self._site = urlsplit(public_url).netloc

    def compose(self, mail: Mail) -> EmailMessage:
        """Return the message of a mail.

        Raises:
            MailRefused: the address's domain cannot be written in a message.
        """
        language = mail.language if mail.language in TEXTS else FALLBACK
        subject, paragraphs = TEXTS[language][mail.kind]
        values = {
            "site": self._site,
            "link": f"{self._public_url}{_PATHS.get(mail.kind, '')}?token={mail.token}",
            "minutes": str(mail.minutes),
            "username": mail.username or "",
        }
        shown = [text for text in paragraphs if mail.username or "$username" not in text]
        message = EmailMessage()
        message["Subject"] = subject
        message["From"] = self._sender
        message["To"] = _address_of(mail.address)
        message["Date"] = format_datetime(localtime())
        message["Message-ID"] = make_msgid(domain=self._sender.domain)
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(_plain(shown, values), cte="base64")
        message.add_alternative(_marked_up(shown, values, language), subtype="html", cte="base64")
        message["Content-Language"] = language
        return message


def _address_of(address: str) -> Address:
    """Return an address whose domain is in ASCII (RFC 5890), whatever its local part is in."""
    local, _, domain = address.rpartition("@")
    if _AMBIGUOUS & set(domain):
        raise MailRefused("this domain is another one to older software")
    try:
        return Address(username=local, domain=domain.encode("idna").decode())
    except UnicodeError:
        raise MailRefused("no such domain can be written") from None


def _plain(paragraphs: list[str], values: dict[str, str]) -> str:
    return "\n\n".join(Template(text).substitute(values) for text in paragraphs) + "\n"


def _marked_up(paragraphs: list[str], values: dict[str, str], language: str) -> str:
    escaped = {name: html.escape(value) for name, value in values.items()}
    escaped["link"] = f'<a href="{escaped["link"]}">{escaped["link"]}</a>'
    body = "\n".join(f"<p>{Template(text).substitute(escaped)}</p>" for text in paragraphs)
    head = f'<html lang="{language}"><head><meta charset="utf-8"></head>'
    return f"<!DOCTYPE html>\n{head}<body>\n{body}\n</body></html>\n"
