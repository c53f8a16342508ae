"""Connections to a Redis that listens for TLS alone."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as ConnectionLost

from authsvc.infra.redis import Call, RedisOptions, connect
from tests.conftest import require
from tests.support.binaries import REDIS
from tests.support.certificates import certify
from tests.support.processes import HOST
from tests.support.redis import RedisServer

HASTY = RedisOptions(pool_size=2, connect_timeout=2, timeout=2)


class EncryptingRedis(RedisServer):
    """Redis with a certificate, which is its own authority."""

    @property
    def certificate(self) -> Path:
        """The file of the certificate."""
        return self.folder / "certificate.pem"

    @property
    def address(self) -> str:
        """Host, port and database, without the scheme."""
        return f"{HOST}:{self.port}/0"

    def prepare(self) -> None:
        super().prepare()
        certify(self.certificate, self.folder / "key.pem")

    def command(self) -> list[str]:
        return [
            *super().command(),
            *("--port", "0"),
            *("--tls-port", str(self.port)),
            *("--tls-cert-file", str(self.certificate)),
            *("--tls-key-file", str(self.folder / "key.pem")),
            *("--tls-ca-cert-file", str(self.certificate)),
            *("--tls-auth-clients", "no"),
        ]

    def is_ready(self) -> bool:
        trust = ssl.create_default_context(cafile=str(self.certificate))
        try:
            with (
                socket.create_connection((HOST, self.port), timeout=1) as plain,
                trust.wrap_socket(plain, server_hostname=HOST) as connection,
            ):
                connection.sendall(b"PING\r\n")
                return connection.recv(64) == b"+PONG\r\n"
        except OSError:
            return False


@pytest.fixture(scope="module")
def encrypting(server_folder: Path) -> Iterator[EncryptingRedis]:
    """A Redis that speaks TLS alone."""
    require(REDIS)
    with EncryptingRedis(server_folder / "encrypting-redis") as server:
        yield server


def stored_and_read(url: str) -> object:
    """Store something, and return what is stored then."""
    client = connect(url, HASTY)
    client.one(Call(("SET", "word", "kept"), "word"))
    return client.one(Call(("GET", "word"), "word"))


def test_a_server_whose_authority_is_known_is_trusted(encrypting: EncryptingRedis) -> None:
    url = f"rediss://{encrypting.address}?ssl_ca_certs={encrypting.certificate}"
    assert stored_and_read(url) == b"kept"


def test_any_other_server_is_not(encrypting: EncryptingRedis) -> None:
    with pytest.raises(ConnectionLost, match="certificate verify failed"):
        stored_and_read(f"rediss://{encrypting.address}")


def test_a_server_that_encrypts_is_not_spoken_to_in_the_clear(encrypting: EncryptingRedis) -> None:
    with pytest.raises(ConnectionLost):
        stored_and_read(f"redis://{encrypting.address}")
