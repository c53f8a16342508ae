"""Whose request it is: the client's address behind proxies that are trusted."""

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from flask import request

from authsvc.core.clients import Client

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

LANGUAGES = ("en", "zh")
AGENT_MAX_LENGTH = 256
_REMEMBERED, _REMEMBERED_LENGTH = 1024, 128
CLIENT_ADDRESS = "authsvc.client_address"
"""Where the environment of a request holds the client's address."""
REQUEST_ID = "authsvc.request_id"
"""Where it holds what names the request in the log."""
UNIX_SOCKET = "unix"
"""How a connection over a unix socket is named among the trusted proxies."""

_ADDRESS_MAX_LENGTH = 64


class TrustedProxies:
    """The peers whose `X-Forwarded-For` is believed.

    Args:
        networks: their addresses.
        unix_socket: whether the peer of a unix socket is one of them.
    """

    def __init__(self, networks: Sequence[Network] = (), unix_socket: bool = False) -> None:
        self._networks = tuple(networks)
        self._unix_socket = unix_socket
        self._remembered = lru_cache(_REMEMBERED)(self._find)
        self._trusted = lru_cache(_REMEMBERED)(lambda peer: self._trusts(_parse(peer)))

    def client(self, peer: str, forwarded_for: str) -> str:
        """Return the client's address.

        It is the peer's, unless the peer is trusted: then the rightmost address
        of `X-Forwarded-For` that is not itself trusted. What stands left of an
        entry that is no address is not believed.
        """
        if len(forwarded_for) > _REMEMBERED_LENGTH:
            return self._find(peer, forwarded_for)
        return self._remembered(peer, forwarded_for)

    def trusts(self, peer: str) -> bool:
        """Tell whether what this peer says about a request is believed."""
        return self._trusted(peer)

    def _find(self, peer: str, forwarded_for: str) -> str:
        nearest = _parse(peer)
        if not self._trusts(nearest):
            return _text(nearest)
        for entry in reversed(forwarded_for.split(",")):
            hop = _parse(entry.strip())
            if hop is None:
                break
            nearest = hop
            if not self._trusts(hop):
                break
        return _text(nearest)

    def _trusts(self, address: Address | None) -> bool:
        if address is None:
            return self._unix_socket
        return any(address in network for network in self._networks)


def client_address() -> str:
    """Return the address of the client that sent this request; `unix` for an unnamed socket."""
    address: str = request.environ[CLIENT_ADDRESS]
    return address


def client_is_within(networks: Sequence[Network]) -> bool:
    """Tell whether the client's address is in one of the networks."""
    address = _parse(client_address())
    return address is not None and any(address in network for network in networks)


def client_network() -> str:
    """Return what is counted as one client: an IPv4 address, or an IPv6 /64."""
    return _network(client_address())


def client() -> Client:
    """Return the client that sent this request."""
    address = client_address()
    return Client(
        address=address,
        network=_network(address),
        user_agent=_printable(request.headers.get("User-Agent", ""))[:AGENT_MAX_LENGTH],
        request_id=request.environ[REQUEST_ID],
        language=language(),
    )


def language() -> str:
    """Return the language of `LANGUAGES` that the client reads best; the first if none."""
    for wanted, quality in request.accept_languages:
        primary = re.split("[-_]", wanted.lower(), maxsplit=1)[0]
        if primary in LANGUAGES and quality > 0:
            return primary
    return LANGUAGES[0]


@lru_cache(maxsize=1024)
def _network(address: str) -> str:
    parsed = _parse(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((parsed, 64), strict=False))
    return _text(parsed)


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(character for character in text if character.isprintable())


def _parse(text: str) -> Address | None:
    return _parsed(text) if len(text) <= _ADDRESS_MAX_LENGTH else None


@lru_cache(maxsize=1024)
def _parsed(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _text(address: Address | None) -> str:
    return UNIX_SOCKET if address is None else str(address)
