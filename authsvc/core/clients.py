"""Whoever sent the request at hand."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Client:
    """Where a request came from.

    Args:
        address: the client's address.
        network: what is counted as one client: an IPv4 address, or an IPv6 /64.
        user_agent: what the client says that it is, at most 256 characters.
        request_id: names the request in the log and the audit log.
        language: the language that the client reads, as `en`, `zh`.
    """

    address: str
    network: str
    user_agent: str = ""
    request_id: str = ""
    language: str = "en"


OPERATOR = Client(address="", network="", user_agent="flask")
"""An operator at the command line."""
