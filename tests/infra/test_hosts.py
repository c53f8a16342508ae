"""Several hosts of one database: how they are named, tried in turn, and left alone when silent."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.engine import make_url

from authsvc.core.errors import UsersUnavailable
from authsvc.core.users import User
from authsvc.infra.connections import connected
from authsvc.infra.hosts import Hosts, Place, parse
from authsvc.infra.users import SqlUsers
from tests.infra.databases import HASTY, Crowd, connected_to, migrated, new_user, nothing_more
from tests.infra.proxy import Fate, LossyProxy
from tests.support.mariadb import MariaDB
from tests.support.processes import HOST, free_port, wait_until

DATABASE = "hosts"
REQUEST_SECONDS = 10.0


@pytest.fixture(scope="module")
def second(server_folder: Path) -> Iterator[MariaDB]:
    """Another MariaDB."""
    with MariaDB(server_folder / "second") as server:
        yield server


class TestParse:
    def test_hosts_stand_one_after_another(self) -> None:
        url, places = parse("mysql+pymysql://u:p%40/w@h1:3307,h2, [::1]:3308/name?charset=utf8mb4")
        assert places == (Place("h1", 3307), Place("h2", 3306), Place("::1", 3308))
        assert (url.username, url.password, url.host, url.port) == ("u", "p@/w", "h1", 3307)
        assert (url.database, url.query) == ("name", {"charset": "utf8mb4"})

    def test_a_file_has_no_host(self) -> None:
        url, places = parse("sqlite:////var/lib/users.sqlite3")
        assert (url.database, places) == ("/var/lib/users.sqlite3", ())

    @pytest.mark.parametrize("hosts", ["h1,", "h1,,h2", "h1:0", "h1:99999", "::1", "h1:x", "a,a"])
    def test_a_malformed_host_is_refused(self, hosts: str) -> None:
        with pytest.raises(ValueError, match=r"host|twice"):
            parse(f"mysql+pymysql://u:p@{hosts}/name")


class TestHosts:
    A, B = Place("a"), Place("b")

    def test_the_first_is_tried_first_until_another_works(self) -> None:
        hosts = Hosts((self.A, self.B), lambda _: True)
        assert hosts.worth_trying() == [self.A, self.B]
        hosts.works(self.B)
        assert hosts.worth_trying() == [self.B, self.A]

    def test_one_that_refused_is_tried_last(self) -> None:
        hosts = Hosts((self.A, self.B), lambda _: True)
        hosts.refuses(self.A)
        assert hosts.worth_trying() == [self.B, self.A]

    def test_one_that_is_silent_is_asked_by_one_thread_alone_until_it_answers(self) -> None:
        asked, answers = threading.Semaphore(0), threading.Event()
        threads = set()

        def ask(_: Place) -> bool:
            threads.add(threading.current_thread())
            asked.release()
            return answers.wait(0.01)

        hosts = Hosts((self.A, self.B), ask)
        for _ in range(10):
            hosts.is_silent(self.A)
        for _ in range(3):
            assert asked.acquire(timeout=5)
        assert hosts.worth_trying() == [self.B]
        answers.set()
        assert wait_until(lambda: hosts.worth_trying() == [self.A, self.B], 5)
        assert len(threads) == 1


@pytest.mark.mariadb
class TestFailover:
    """Two servers with the same schema; nothing copies rows from one to the other."""

    @pytest.fixture
    def other(self, second: MariaDB) -> Iterator[MariaDB]:
        yield second
        second.ensure_running()

    @pytest.fixture
    def app(self, breakable_mariadb: MariaDB, other: MariaDB) -> Iterator[Flask]:
        for server in (other, breakable_mariadb):
            with migrated(server.create_database(DATABASE)):
                pass
            # Who has every right may write where others may only read.
            server.query("CREATE OR REPLACE USER app IDENTIFIED BY 'app'")
            server.query(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {DATABASE}.* TO app")
        hosts = f"{HOST}:{breakable_mariadb.port},{HOST}:{other.port}"
        with connected_to(f"mysql+pymysql://app:app@{hosts}/{DATABASE}", HASTY) as app:
            yield app

    def test_a_killed_host_costs_nobody_an_error(
        self, app: Flask, breakable_mariadb: MariaDB, other: MariaDB
    ) -> None:
        SqlUsers().add(new_user("one"), "hash", nothing_more)
        SqlUsers().by_id(1)
        breakable_mariadb.kill()
        assert SqlUsers().by_username_key("one") is None
        SqlUsers().add(new_user("two"), "hash", nothing_more)
        assert stored(other) == ["two"]

    def test_a_killed_host_is_found_out_by_a_write_too(
        self, app: Flask, breakable_mariadb: MariaDB, other: MariaDB
    ) -> None:
        SqlUsers().add(new_user("one"), "hash", nothing_more)
        breakable_mariadb.kill()
        SqlUsers().add(new_user("two"), "hash", nothing_more)
        assert stored(other) == ["two"]

    def test_a_frozen_host_is_left_and_a_read_answered_by_the_next(
        self, app: Flask, breakable_mariadb: MariaDB
    ) -> None:
        SqlUsers().add(new_user("one"), "hash", nothing_more)
        assert SqlUsers().by_username_key("one") is not None
        breakable_mariadb.pause()
        assert SqlUsers().by_username_key("one") is None

    def test_a_host_that_only_reads_is_left_for_one_that_writes(
        self, app: Flask, breakable_mariadb: MariaDB, other: MariaDB
    ) -> None:
        SqlUsers().by_id(1)
        breakable_mariadb.query("SET GLOBAL read_only = ON")
        try:
            SqlUsers().add(new_user("one"), "hash", nothing_more)
        finally:
            breakable_mariadb.query("SET GLOBAL read_only = OFF")
        assert stored(other) == ["one"]


def stored(server: MariaDB) -> list[str]:
    return [row[0] for row in server.query("SELECT username FROM users ORDER BY id", DATABASE)]


@pytest.mark.mariadb
class TestWire:
    @pytest.fixture
    def proxy(self, mariadb: MariaDB) -> Iterator[LossyProxy]:
        with LossyProxy(mariadb.port, Fate.LOST) as proxy:
            yield proxy

    @pytest.fixture
    def app(self, mariadb: MariaDB, proxy: LossyProxy) -> Iterator[Flask]:
        url = mariadb.create_database()
        with migrated(url):
            pass
        through = make_url(url).set(port=proxy.port).render_as_string(hide_password=False)
        with connected_to(through, HASTY) as app:
            yield app

    def test_every_look_at_a_user_is_one_statement_on_the_wire(
        self, app: Flask, proxy: LossyProxy
    ) -> None:
        users = SqlUsers()
        user, _ = users.add(new_user("bob", "bob@example.com"), "hash", nothing_more)
        users.by_id(user.id)
        looks: list[Callable[[], User | None]] = [
            lambda: users.by_id(user.id),
            lambda: users.by_username_key("bob"),
            lambda: users.by_login_key("bob"),
            lambda: users.by_email_key("bob@example.com"),
        ]
        for look in looks:
            proxy.sent.clear()
            assert look() == user
            assert [command[:7] for command in proxy.sent] == [b"\x03SELECT"]

    def test_a_sign_up_is_an_insert_and_a_commit(self, app: Flask, proxy: LossyProxy) -> None:
        users = SqlUsers()
        users.add(new_user("alice"), "hash", nothing_more)
        proxy.sent.clear()
        users.add(new_user("bob"), "hash", nothing_more)
        assert [command[:12] for command in proxy.sent] == [b"\x03INSERT INTO", b"\x03COMMIT"]

    def test_a_hundred_requests_at_once_are_answered_by_a_black_hole_in_time(
        self, app: Flask, proxy: LossyProxy
    ) -> None:
        users = SqlUsers()
        users.add(new_user("bob"), "hash", nothing_more)

        @app.get("/look")
        def look() -> str:
            try:
                users.by_username_key("bob")
            except UsersUnavailable:
                return "unavailable"
            return "there"

        proxy.go_dark()
        with Crowd(app, 8) as crowd:
            asked = [crowd.begin(lambda: app.test_client().get("/look").text) for _ in range(100)]
            said = {request.result(REQUEST_SECONDS) for request in asked}
        assert said == {"unavailable"}
        proxy.come_back()
        assert wait_until(lambda: app.test_client().get("/look").text == "there", 2)

    def test_too_many_connections_are_said_to_be_unavailable_and_no_more(
        self, mariadb: MariaDB
    ) -> None:
        url = mariadb.create_database()
        with migrated(url), connected(writes=True) as connection:
            connection.execute(text("SELECT 1"))
            mariadb.query("CREATE OR REPLACE USER narrow IDENTIFIED BY 'narrow'")
            mariadb.query("GRANT ALL ON *.* TO narrow WITH MAX_USER_CONNECTIONS 1")
        narrow = make_url(url).set(username="narrow", password="narrow")
        with (
            connected_to(narrow.render_as_string(hide_password=False), HASTY),
            connected(writes=True) as only,
        ):
            only.execute(text("SELECT 1"))
            with pytest.raises(UsersUnavailable):
                SqlUsers().by_id(1)

    def test_a_host_nobody_listens_on_is_unavailable_at_once(self) -> None:
        url = f"mysql+pymysql://u:p@{HOST}:{free_port()},{HOST}:{free_port()}/name"
        with connected_to(url, HASTY), pytest.raises(UsersUnavailable):
            SqlUsers().by_id(1)
