"""The users in SQL where a fake cannot stand for them: schema, ids, lost answers, outages."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from flask import Flask
from flask_migrate import downgrade, upgrade
from sqlalchemy import Connection, create_engine, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from authsvc.core.errors import EmailTaken, UsernameTaken, UsersUnavailable
from authsvc.core.users import User
from authsvc.infra import connections
from authsvc.infra.connections import connected
from authsvc.infra.database import db
from authsvc.infra.users import SqlUsers
from tests.infra.databases import (
    HASTY,
    Crowd,
    connected_to,
    migrated,
    new_user,
    nothing_more,
    sqlite_url,
)
from tests.infra.proxy import Fate, LossyProxy
from tests.support.mariadb import MariaDB
from tests.support.processes import HOST, free_port, wait_until

SQLITE = pytest.param("sqlite", id="sqlite")
MARIADB = pytest.param("mariadb", id="mariadb", marks=pytest.mark.mariadb)


@pytest.fixture(params=[SQLITE, MARIADB])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path)
    mariadb: MariaDB = request.getfixturevalue("mariadb")
    return mariadb.create_database()


@contextmanager
def other_connection(url: str) -> Iterator[Connection]:
    """Lend a connection that is not the service's, in a transaction that is rolled back."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        yield connection


def insert(connection: Connection, name: str, email: str | None = None) -> None:
    """Insert a user without committing."""
    connection.execute(
        text(
            "INSERT INTO users (username, username_key, email, email_key,"
            " permission, data, password_hash, created_at)"
            " VALUES (:name, :name, :email, :email, 0, '', '', '2026-01-01')"
        ),
        {"name": name, "email": email},
    )


def count(url: str, name: str) -> int:
    """Return how many users have this folded name, as a connection of its own sees it."""
    with other_connection(url) as connection:
        query = text("SELECT count(*) FROM users WHERE username_key = :name")
        return int(connection.execute(query, {"name": name}).scalar_one())


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began


class TestSchema:
    def test_what_the_migrations_make_is_what_the_models_say(self, url: str) -> None:
        with migrated(url), db.engine.connect() as connection:
            context = MigrationContext.configure(
                connection, opts={"compare_type": True, "compare_server_default": True}
            )
            assert compare_metadata(context, db.metadata) == []

    def test_what_the_models_make_is_what_the_migrations_make(self, url: str) -> None:
        with migrated(url):
            by_migrations = described(db.engine.connect())
        with connected_to(url):
            downgrade(revision="base")
            db.create_all()
            by_models = described(db.engine.connect())
        assert by_migrations == by_models

    def test_the_migrations_can_be_undone_and_done_again(self, url: str) -> None:
        with migrated(url):
            downgrade(revision="base")
            assert not inspect(db.engine).has_table("users")
            upgrade()
            upgrade()
            SqlUsers().add(new_user("bob"), "hash", nothing_more)

    @pytest.mark.mariadb
    def test_mariadb_compares_keys_code_point_by_code_point(self, mariadb: MariaDB) -> None:
        with migrated(mariadb.create_database()), db.engine.connect() as connection:
            query = text(
                "SELECT column_name, character_set_name, collation_name"
                " FROM information_schema.columns WHERE table_schema = database()"
                " AND table_name = 'users' AND column_name LIKE '%\\_key'"
            )
            assert {tuple(row) for row in connection.execute(query)} == {
                ("username_key", "utf8mb4", "utf8mb4_bin"),
                ("email_key", "utf8mb4", "utf8mb4_bin"),
            }

    def test_sqlite_answers_when_the_user_is_on_disk(self, tmp_path: Path) -> None:
        with connected_to(sqlite_url(tmp_path)), db.engine.connect() as connection:
            settings = [
                connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
                for name in ("journal_mode", "synchronous")
            ]
        full = 2
        assert settings == ["wal", full]


def described(connection: Connection) -> dict[str, list[str]]:
    """Return what the database itself says of each table, in parts."""
    with connection:
        return {name: sorted(parts_of(connection, name)) for name in db.metadata.tables}


def parts_of(connection: Connection, table: str) -> list[str]:
    if connection.dialect.name == "sqlite":
        query = f"SELECT sql FROM sqlite_master WHERE tbl_name = '{table}' AND sql IS NOT NULL"
        ddl = "\n".join(connection.exec_driver_sql(query).scalars())
    else:
        _, ddl = connection.exec_driver_sql(f"SHOW CREATE TABLE {table}").one()
    return [part.strip() for part in re.split(r"[,\n]", ddl) if part.strip()]


class TestIds:
    def test_an_id_is_not_given_again_after_its_user_was_deleted(self, url: str) -> None:
        with migrated(url):
            users = SqlUsers()
            last, _ = [users.add(new_user(f"u{n}"), "hash", nothing_more) for n in range(3)][-1]
            with db.engine.begin() as connection:
                connection.execute(text("DELETE FROM users"))
            db.engine.dispose()
            assert users.add(new_user("bob"), "hash", nothing_more)[0].id > last.id

    @pytest.mark.mariadb
    def test_mariadb_remembers_the_last_id_over_a_restart(self, breakable_mariadb: MariaDB) -> None:
        with migrated(breakable_mariadb.create_database()):
            last, _ = SqlUsers().add(new_user("bob"), "hash", nothing_more)
            with db.engine.begin() as connection:
                connection.execute(text("DELETE FROM users"))
            breakable_mariadb.kill()
            breakable_mariadb.start()
            assert SqlUsers().add(new_user("bob"), "hash", nothing_more)[0].id > last.id


@pytest.mark.mariadb
class TestLostCommit:
    """A proxy loses the COMMIT of a sign-up, or the answer to it."""

    @pytest.fixture
    def url(self, mariadb: MariaDB) -> str:
        with migrated(url := mariadb.create_database()):
            return url

    @pytest.mark.parametrize("fate", [Fate.ANSWER_LOST, Fate.CUT_AT_ONCE])
    def test_a_user_whose_commit_arrived_is_answered_as_stored(self, url: str, fate: Fate) -> None:
        with LossyProxy(port_of(url), fate) as proxy, connected_to(through(proxy, url)):
            user, _ = SqlUsers().add(new_user("bob"), "hash", lambda _: proxy.arm())
            assert proxy.has_cut
            assert SqlUsers().by_id(user.id) == user
        assert count(url, "bob") == 1

    def test_a_user_whose_commit_arrived_is_found_when_the_database_comes_back(
        self, url: str
    ) -> None:
        proxy = LossyProxy(port_of(url), Fate.ANSWER_LOST, down=1.0)
        with proxy, connected_to(through(proxy, url)):
            user, _ = SqlUsers().add(new_user("bob"), "hash", lambda _: proxy.arm())
            assert proxy.has_cut
            assert SqlUsers().by_id(user.id) == user
        assert count(url, "bob") == 1

    def test_a_user_whose_commit_was_lost_is_not_stored_and_not_answered_as_stored(
        self, url: str
    ) -> None:
        with LossyProxy(port_of(url), Fate.LOST) as proxy, connected_to(through(proxy, url)):
            with pytest.raises(UsersUnavailable):
                SqlUsers().add(new_user("bob"), "hash", lambda _: proxy.arm())
            assert proxy.has_cut
            assert count(url, "bob") == 0
            SqlUsers().add(new_user("bob"), "hash", nothing_more)
        assert count(url, "bob") == 1

    def test_a_renewed_hash_whose_commit_was_lost_is_said_to_be(self, url: str) -> None:
        with LossyProxy(port_of(url), Fate.LOST) as proxy, connected_to(through(proxy, url)):
            with other_connection(url) as connection:
                insert(connection, "bob")
                connection.commit()
            user = SqlUsers().by_username_key("bob")
            assert user is not None
            proxy.arm()
            with pytest.raises(UsersUnavailable):
                SqlUsers().replace_hash(user, "another")

    def test_a_connection_cut_while_it_lay_in_the_pool_is_replaced_silently(
        self, url: str, mariadb: MariaDB
    ) -> None:
        with connected_to(url):
            with db.engine.connect() as connection:
                number = connection.exec_driver_sql("SELECT connection_id()").scalar_one()
            mariadb.query(f"KILL {number}")
            SqlUsers().add(new_user("bob"), "hash", nothing_more)
        assert count(url, "bob") == 1


def port_of(url: str) -> int:
    """Return the port in a database's address."""
    port = make_url(url).port
    assert port is not None
    return port


def through(proxy: LossyProxy, url: str) -> str:
    """Return a database's address with the proxy's port in it."""
    return make_url(url).set(port=proxy.port).render_as_string(hide_password=False)


class TestOutage:
    def test_a_database_that_is_down_is_said_to_be_at_once(self) -> None:
        url = f"mysql+pymysql://nobody:nothing@{HOST}:{free_port()}/none"
        with connected_to(url):
            for use in uses():
                watch = Stopwatch()
                with pytest.raises(UsersUnavailable):
                    use()
                assert watch.seconds < 1

    def test_a_database_that_refuses_the_password_is_unavailable(self, mariadb: MariaDB) -> None:
        url = make_url(mariadb.create_database()).set(password="wrong")
        with connected_to(url.render_as_string(hide_password=False)):
            for use in uses():
                with pytest.raises(UsersUnavailable):
                    use()

    def test_a_killed_database_is_unavailable_until_it_is_back(
        self, breakable_mariadb: MariaDB
    ) -> None:
        with migrated(breakable_mariadb.create_database()):
            breakable_mariadb.kill()
            for use in uses():
                with pytest.raises(UsersUnavailable):
                    use()
            breakable_mariadb.start()
            SqlUsers().add(new_user("bob"), "hash", nothing_more)

    def test_a_frozen_database_is_unavailable_within_its_time_outs(
        self, breakable_mariadb: MariaDB
    ) -> None:
        with migrated(breakable_mariadb.create_database(), HASTY) as app:
            breakable_mariadb.pause()
            watch = Stopwatch()
            with Crowd(app, 4) as crowd:
                frozen = [crowd.begin(use) for use in uses()]
                facts = [type(use.exception(10)) for use in frozen]
            breakable_mariadb.resume()
            assert facts == [UsersUnavailable] * len(frozen)
            assert watch.seconds < HASTY.read_timeout + HASTY.connect_timeout + 1
            assert wait_until(lambda: answers(SqlUsers().by_id), 1)
            SqlUsers().add(new_user("alice"), "hash", nothing_more)

    def test_nobody_else_waits_for_a_database_that_is_known_to_be_silent(
        self, breakable_mariadb: MariaDB
    ) -> None:
        with migrated(breakable_mariadb.create_database(), HASTY):
            breakable_mariadb.pause()
            assert not answers(SqlUsers().by_id)
            watch = Stopwatch()
            assert not any(answers(SqlUsers().by_id) for _ in range(50))
            waited = watch.seconds
            breakable_mariadb.resume()
            assert waited < HASTY.read_timeout / 2
            assert wait_until(lambda: answers(SqlUsers().by_id), 1)

    def test_a_database_that_comes_back_from_a_restart_costs_nobody_an_error(
        self, breakable_mariadb: MariaDB
    ) -> None:
        with migrated(breakable_mariadb.create_database()):
            user, _ = SqlUsers().add(new_user("bob"), "hash", nothing_more)
            breakable_mariadb.kill()
            breakable_mariadb.start()
            assert SqlUsers().by_id(user.id) == user
            SqlUsers().add(new_user("alice"), "hash", nothing_more)

    def test_a_database_frozen_at_the_commit_is_asked_again_before_anything_is_said(
        self, breakable_mariadb: MariaDB
    ) -> None:
        url = breakable_mariadb.create_database()
        with migrated(url, HASTY):
            watch = Stopwatch()

            def freeze(_: User) -> None:
                breakable_mariadb.pause()
                thaw.start()

            thaw = threading.Timer(HASTY.read_timeout + 0.5, breakable_mariadb.resume)
            try:
                SqlUsers().add(new_user("bob"), "hash", freeze)
            finally:
                thaw.join()
            assert watch.seconds < 10
        assert count(url, "bob") == 1

    def test_a_locked_sqlite_file_is_unavailable_within_its_time_out(self, tmp_path: Path) -> None:
        url = sqlite_url(tmp_path)
        with migrated(url, HASTY), other_connection(url) as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            watch = Stopwatch()
            with pytest.raises(UsersUnavailable):
                SqlUsers().add(new_user("bob"), "hash", nothing_more)
            assert HASTY.write_timeout * 0.5 < watch.seconds < HASTY.write_timeout + 1
            assert SqlUsers().by_username_key("bob") is None

    def test_a_full_disk_is_unavailable_leaves_nothing_half_made_and_is_got_over(
        self, tmp_path: Path
    ) -> None:
        url = sqlite_url(tmp_path)
        with migrated(url):
            pass
        with connected_to(url) as app:

            def fill(connection: Any, _: object) -> None:
                connection.execute("PRAGMA max_page_count = 100")

            event.listen(db.engine, "connect", fill)
            stored = [f"user{number}" for number in range(100) if is_added(f"user{number}")]
            assert 0 < len(stored) < 100
            assert [f"user{n}" for n in range(100) if count(url, f"user{n}")] == stored
            event.remove(db.engine, "connect", fill)
            connections.of(app).dispose()
            assert is_added("late")

    def test_a_sqlite_file_that_cannot_be_opened_is_unavailable(self, tmp_path: Path) -> None:
        with connected_to(sqlite_url(tmp_path / "missing")):
            for use in uses():
                with pytest.raises(UsersUnavailable):
                    use()

    def test_a_pool_without_a_free_connection_is_unavailable(self, tmp_path: Path) -> None:
        with (
            migrated(sqlite_url(tmp_path), HASTY) as app,
            Crowd(app, 1) as crowd,
            ExitStack() as held,
        ):
            for _ in range(HASTY.size):
                held.enter_context(connected())
            with pytest.raises(UsersUnavailable):
                crowd.begin(SqlUsers().by_id, 1).result(HASTY.wait + 2)


def is_added(name: str) -> bool:
    """Add a user of many bytes; tell whether that was answered with success."""
    try:
        SqlUsers().add(replace(new_user(name), data="x" * 16_000), "hash", nothing_more)
    except UsersUnavailable:
        return False
    return True


def answers(look: Callable[[int], object]) -> bool:
    """Tell whether the database answers a question."""
    try:
        look(1)
    except UsersUnavailable:
        return False
    return True


def uses() -> list[Callable[[], object]]:
    """Return one use of every method."""
    users = SqlUsers()
    nobody = User(id=1, username="bob", email=None, permission=0, data="{}", password_hash="hash")
    return [
        lambda: users.add(new_user("bob"), "hash", nothing_more),
        lambda: users.by_username_key("bob"),
        lambda: users.by_id(1),
        lambda: users.replace_hash(nobody, "another"),
    ]


@pytest.mark.mariadb
class TestLocks:
    """Another transaction stands in the way of a sign-up."""

    @pytest.fixture
    def url(self, mariadb: MariaDB) -> str:
        return mariadb.create_database()

    @pytest.fixture
    def app(self, url: str) -> Iterator[Flask]:
        with migrated(url, HASTY) as app:
            yield app

    @pytest.fixture
    def waits(self, mariadb: MariaDB) -> Callable[[], bool]:
        """Tells whether a transaction waits for a lock."""
        query = "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"

        def waits() -> bool:
            time.sleep(0.15)  # asked again within 0.1 s, the server tells what it told before
            return bool(mariadb.query(query)[0][0])

        return waits

    @pytest.mark.parametrize("stored", [True, False])
    def test_a_name_that_is_being_stored_is_waited_for(
        self, app: Flask, url: str, waits: Callable[[], bool], stored: bool
    ) -> None:
        with other_connection(url) as connection, Crowd(app, 1) as crowd:
            insert(connection, "bob")
            adding = crowd.begin(SqlUsers().add, new_user("bob"), "hash", nothing_more)
            assert wait_until(waits, 5)
            if stored:
                connection.commit()
            else:
                connection.rollback()
            fact = adding.exception(5)
        assert type(fact) is (UsernameTaken if stored else type(None))
        assert count(url, "bob") == 1

    def test_a_name_that_stays_locked_is_unavailable_in_the_end(self, app: Flask, url: str) -> None:
        with other_connection(url) as connection:
            insert(connection, "bob")
            watch = Stopwatch()
            with pytest.raises(UsersUnavailable):
                SqlUsers().add(new_user("bob"), "hash", nothing_more)
            assert watch.seconds < 6
        assert count(url, "bob") == 0

    @pytest.mark.parametrize("stored", [True, False])
    def test_a_sign_up_that_the_database_undid_to_end_a_deadlock_is_repeated(
        self, app: Flask, url: str, waits: Callable[[], bool], stored: bool
    ) -> None:
        """The other transaction has changed more rows, so ours is the one that is undone."""
        with other_connection(url) as connection, Crowd(app, 1) as crowd:
            insert(connection, "alice", "bob@example.com")
            for number in range(20):
                insert(connection, f"weight{number}")
            adding = crowd.begin(
                SqlUsers().add, new_user("bob", "bob@example.com"), "hash", nothing_more
            )
            assert wait_until(waits, 5)
            connection.execute(text("SELECT id FROM users WHERE username_key = 'bob' FOR UPDATE"))
            if stored:
                connection.commit()
            else:
                connection.rollback()
            fact = adding.exception(5)
        assert type(fact) is (EmailTaken if stored else type(None))
        assert count(url, "bob") == (0 if stored else 1)


def test_a_failure_tells_nothing_of_what_was_to_be_stored(url: str) -> None:
    with migrated(url):
        with db.engine.begin() as connection:
            connection.execute(text("ALTER TABLE users RENAME COLUMN totp_on TO away"))
        with pytest.raises(Exception) as failure:  # noqa: PT011
            SqlUsers().add(new_user("bob", "bob@secret.example"), "a hash", nothing_more)
    told = f"{failure.value!r} {failure.value.__cause__} {failure.getrepr()}"
    assert "away" in told or "totp_on" in told
    assert "bob@secret.example" not in str(failure.value.__cause__ or failure.value)
    assert "a hash" not in str(failure.value.__cause__ or failure.value)
