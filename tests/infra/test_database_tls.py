"""Connections to a MariaDB that can encrypt."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import text

from authsvc.core.errors import UsersUnavailable
from authsvc.infra import connections
from authsvc.infra.connections import connected
from authsvc.infra.wire import BoundedConnection
from tests.conftest import require
from tests.infra.databases import connected_to
from tests.support.binaries import MARIADB
from tests.support.certificates import certify
from tests.support.mariadb import MariaDB


class EncryptingMariaDB(MariaDB):
    """MariaDB with a certificate, which is its own authority."""

    @property
    def certificate(self) -> Path:
        """The file of the certificate."""
        return self.folder / "certificate.pem"

    def prepare(self) -> None:
        super().prepare()
        certify(self.certificate, self.folder / "key.pem")

    def command(self) -> list[str]:
        key = self.folder / "key.pem"
        return [*super().command(), f"--ssl-cert={self.certificate}", f"--ssl-key={key}"]


@pytest.fixture(scope="module")
def encrypting(server_folder: Path) -> Iterator[EncryptingMariaDB]:
    """A MariaDB that can encrypt."""
    require(MARIADB)
    with EncryptingMariaDB(server_folder / "encrypting-mariadb") as server:
        yield server


def what_is_in_force() -> tuple[str, int]:
    """Return the cipher of a connection of the pool, and the connection's number."""
    with connected() as connection:
        cipher = connection.execute(text("SHOW STATUS LIKE 'Ssl_cipher'")).one()[1]
        return cipher, connection.execute(text("SELECT CONNECTION_ID()")).scalar_one()


def test_a_server_that_can_encrypt_is_spoken_to_encrypted(encrypting: EncryptingMariaDB) -> None:
    with connected_to(encrypting.create_database()):
        seen = {what_is_in_force() for _ in range(5)}
    assert len(seen) == 1, "one connection is used again and again"
    assert seen.pop()[0].startswith("TLS_")


def test_a_server_without_a_certificate_is_spoken_to_in_the_clear(mariadb: MariaDB) -> None:
    with connected_to(mariadb.create_database()):
        assert what_is_in_force()[0] == ""


def test_connections_share_what_they_need_to_encrypt(encrypting: EncryptingMariaDB) -> None:
    with connected_to(encrypting.create_database()) as app:
        assert len({id(context) for context in contexts_of_two(app)}) == 1


def contexts_of_two(app: Flask) -> list[object]:
    """Return what two connections at a time encrypt with."""
    engine = connections.of(app).reads
    with engine.connect() as one, engine.connect() as other:
        lent = [connection.connection.dbapi_connection for connection in (one, other)]
        assert all(isinstance(connection, BoundedConnection) for connection in lent)
        return [connection.ctx for connection in lent if connection is not None]


class TestAuthority:
    def test_a_server_whose_certificate_it_signed_is_trusted(
        self, encrypting: EncryptingMariaDB
    ) -> None:
        url = f"{encrypting.create_database()}?ssl_ca={encrypting.certificate}"
        with connected_to(url):
            assert what_is_in_force()[0].startswith("TLS_")

    def test_any_other_server_is_not(self, encrypting: EncryptingMariaDB, tmp_path: Path) -> None:
        certify(tmp_path / "other.pem", tmp_path / "key.pem")
        url = f"{encrypting.create_database()}?ssl_ca={tmp_path / 'other.pem'}"
        with connected_to(url), pytest.raises(UsersUnavailable):
            what_is_in_force()

    def test_a_server_that_cannot_encrypt_is_not(
        self, encrypting: EncryptingMariaDB, mariadb: MariaDB
    ) -> None:
        url = f"{mariadb.create_database()}?ssl_ca={encrypting.certificate}"
        with connected_to(url), pytest.raises(UsersUnavailable):
            what_is_in_force()
