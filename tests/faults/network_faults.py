"""A network between the service and its stores that passes nothing on for a while."""

import time

from tests.faults.cut import Network
from tests.faults.trial import Fault


class Cut(Fault):
    """Connections stay open, new ones are accepted, and nothing arrives.

    Args:
        name: where the network leads.
        network: what is cut.
        at: what is the first that does not arrive, and so arrives when all is well again.
    """

    seconds = 10.0

    def __init__(self, name: str, network: Network, at: bytes) -> None:
        self.name = f"network to {name} cut for 10 s"
        self._network = network
        self._at = at

    def strike(self) -> None:
        self._network.cut(self._at)

    def mend(self) -> float:
        self._network.mend()
        return time.monotonic()
