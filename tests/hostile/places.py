"""Where requests are sent to."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """Two ports that stand for the documents' 8080 and 3000.

    Args:
        name: what listens there.
        first, second: the ports.
    """

    name: str
    first: int
    second: int
