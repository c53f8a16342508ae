"""Sign-ups whose outcome nobody could tell: what is undone, what never is, after which crash."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from authsvc.core.audit import SIGNED_UP, Entry
from authsvc.core.clients import OPERATOR
from authsvc.core.errors import UsersUnavailable
from authsvc.core.letters import VERIFY, Letter
from authsvc.core.ports import Change, Note
from authsvc.core.users import User
from authsvc.infra.journal import Doubt, Journal
from authsvc.infra.undo import Undoer, journal, undo
from authsvc.infra.users import SqlUsers
from tests.infra.databases import HASTY, connected_to, migrated, new_user, nothing_more, sqlite_url
from tests.infra.proxy import Fate, LossyProxy
from tests.support.mariadb import MariaDB
from tests.support.processes import wait_until

TABLES = ("users", "audit_log", "outbox")
LONGER_THAN_ANYBODY_WAITS = 4.0
REQUEST_SECONDS = 10.0


@pytest.fixture(params=["sqlite", pytest.param("mariadb", marks=pytest.mark.mariadb)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database with the newest schema."""
    url = sqlite_url(tmp_path)
    if request.param == "mariadb":
        url = request.getfixturevalue("mariadb").create_database()
    with migrated(url):
        return url


@pytest.fixture
def app(url: str, tmp_path: Path) -> Iterator[Flask]:
    """An application on the database, with a journal in the test's folder."""
    with connected_to(url, HASTY, tmp_path) as app:
        yield app


def counts(url: str) -> list[int]:
    """Return how many users, entries of the audit log and letters are stored."""
    with create_engine(url, poolclass=NullPool).connect() as connection:
        return [count_in(connection, table) for table in TABLES]


def count_in(connection: Connection, table: str) -> int:
    return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def with_note(user: User, _: User | None) -> Note:
    """Return what a sign-up stores along."""
    letter = Letter(VERIFY, user.id, user.email, "en")
    return Note((Entry(SIGNED_UP, user, user, OPERATOR),), (letter,))


def through(proxy: LossyProxy, url: str) -> str:
    return make_url(url).set(port=proxy.port).render_as_string(hide_password=False)


def port_of(url: str) -> int:
    port = make_url(url).port
    assert port is not None
    return port


class TestUndo:
    def test_everything_that_was_stored_along_goes_with_the_user(
        self, app: Flask, url: str
    ) -> None:
        SqlUsers().add(new_user("alice", "a@example.com"), "hash", nothing_more, with_note)
        user, _ = SqlUsers().add(new_user("bob", "b@example.com"), "other", nothing_more, with_note)
        assert undo(Doubt(user.id, "other"))
        assert counts(url) == [1, 1, 1]
        assert SqlUsers().by_username_key("alice") is not None

    def test_another_user_of_that_id_or_hash_stays(self, app: Flask, url: str) -> None:
        user, _ = SqlUsers().add(new_user("bob"), "hash", nothing_more)
        assert not undo(Doubt(user.id, "another"))
        assert not undo(Doubt(user.id + 1, "hash"))
        assert counts(url)[0] == 1

    def test_two_who_undo_the_same_do_no_harm(self, app: Flask, url: str) -> None:
        user, _ = SqlUsers().add(new_user("bob"), "hash", nothing_more)
        assert [undo(Doubt(user.id, "hash")), undo(Doubt(user.id, "hash"))] == [True, False]
        assert counts(url)[0] == 0

    def test_a_sign_up_that_was_answered_leaves_nothing_to_undo(self, app: Flask, url: str) -> None:
        SqlUsers().add(new_user("bob"), "hash", nothing_more)
        undoer = Undoer(app)
        undoer.work_through()
        assert journal().due() == []
        assert counts(url)[0] == 1


@pytest.mark.mariadb
class TestTransactionUnderWay:
    @pytest.fixture
    def url(self, mariadb: MariaDB) -> str:
        with migrated(url := mariadb.create_database()):
            return url

    @pytest.mark.parametrize("stored", [True, False])
    def test_it_is_waited_for_before_anything_is_final(
        self, app: Flask, url: str, stored: bool
    ) -> None:
        with create_engine(url, poolclass=NullPool).connect() as other:
            query = text(
                "INSERT INTO users (username, username_key, permission, data, password_hash,"
                " created_at) VALUES ('bob', 'bob', 0, '', 'hash', '2026-01-01')"
            )
            doubt = Doubt(int(other.execute(query).lastrowid), "hash")
            with pytest.raises(UsersUnavailable):
                undo(doubt)
            if stored:
                other.commit()
            else:
                other.rollback()
            assert undo(doubt) is stored
        assert counts(url)[0] == 0

    def test_a_user_whose_commit_nobody_can_look_up_in_time_is_undone(
        self, url: str, tmp_path: Path
    ) -> None:
        proxy = LossyProxy(port_of(url), Fate.ANSWER_LOST, down=LONGER_THAN_ANYBODY_WAITS)
        with proxy, connected_to(through(proxy, url), HASTY, tmp_path) as app:
            began = time.monotonic()
            with pytest.raises(UsersUnavailable):
                SqlUsers().add(
                    new_user("bob", "b@example.com"), "hash", lambda _: proxy.arm(), with_note
                )
            assert time.monotonic() - began < REQUEST_SECONDS
            assert counts(url) == [1, 1, 1]
            undoer = Undoer(app)
            undoer.start()
            undone = wait_until(lambda: counts(url) == [0, 0, 0], LONGER_THAN_ANYBODY_WAITS)
            undoer.stop()
            assert undone

    def test_a_frozen_database_undoes_what_it_committed_too_late(
        self, breakable_mariadb: MariaDB, tmp_path: Path
    ) -> None:
        url = breakable_mariadb.create_database()
        with migrated(url), connected_to(url, HASTY, tmp_path) as app:
            began = time.monotonic()
            with pytest.raises(UsersUnavailable):
                SqlUsers().add(new_user("bob"), "hash", lambda _: breakable_mariadb.pause())
            assert time.monotonic() - began < REQUEST_SECONDS
            undoer = Undoer(app)
            undoer.start()
            breakable_mariadb.resume()
            undone = wait_until(lambda: counts(url)[0] == 0, 5)
            time.sleep(1)
            assert undone
            assert counts(url)[0] == 0
            undoer.stop()

    def test_a_network_that_swallows_the_commit_leaves_nobody_behind(
        self, url: str, tmp_path: Path
    ) -> None:
        with (
            LossyProxy(port_of(url), Fate.LOST) as proxy,
            connected_to(through(proxy, url), HASTY, tmp_path) as app,
        ):
            began = time.monotonic()
            with pytest.raises(UsersUnavailable):
                SqlUsers().add(new_user("bob"), "hash", lambda _: proxy.go_dark())
            assert time.monotonic() - began < REQUEST_SECONDS
            proxy.come_back()
            assert wait_until(lambda: not Undoer(app).work_through(), 15)
            assert counts(url)[0] == 0


@pytest.mark.mariadb
class TestEdits:
    @pytest.fixture
    def url(self, mariadb: MariaDB) -> str:
        with migrated(url := mariadb.create_database()):
            return url

    @pytest.mark.parametrize("noted", [True, False])
    @pytest.mark.parametrize("fate", [Fate.ANSWER_LOST, Fate.LOST])
    def test_a_change_is_answered_as_what_became_of_it(
        self, url: str, fate: Fate, noted: bool
    ) -> None:
        with LossyProxy(port_of(url), fate) as proxy, connected_to(through(proxy, url)):
            user, _ = SqlUsers().add(new_user("bob"), "hash", nothing_more)

            def decide(now: User, _: User | None) -> Change:
                proxy.arm()
                after = replace(now, permission=5)
                entry = Entry(SIGNED_UP, now, now, OPERATOR)
                return Change(after, Note((entry,)) if noted else Note())

            try:
                SqlUsers().edit(user.id, decide)
                answered = True
            except UsersUnavailable:
                answered = False
            assert proxy.has_cut
            found = SqlUsers().by_id(user.id)
            assert found is not None
            assert answered == (found.permission == 5) == (fate is Fate.ANSWER_LOST)


PROCESS = """
import os, signal, sys
from pathlib import Path
from authsvc.core.errors import UsersUnavailable
from authsvc.core.ports import Note
from authsvc.infra.users import SqlUsers
from tests.infra.databases import HASTY, connected_to, new_user, nothing_more

url, folder, when = sys.argv[1:]

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

with connected_to(url, HASTY, Path(folder)) as app:
    SqlUsers().add(new_user("answered"), "hash", nothing_more)
    if when == "after":
        from authsvc.infra import users
        users._decide = die
    print("ready", flush=True)
    if when == "idle":
        sys.stdin.read()
    SqlUsers().add(new_user("cut short"), "hash", nothing_more)
"""


def process(url: str, folder: Path, when: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", PROCESS, url, str(folder), when]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )


class TestCrash:
    def test_a_process_killed_after_its_commit_has_that_sign_up_undone_and_no_other(
        self, app: Flask, url: str, tmp_path: Path
    ) -> None:
        with process(url, tmp_path, "after") as killed:
            assert killed.wait(30) == -signal.SIGKILL
        assert counts(url)[0] == 2
        Undoer(app).work_through()
        assert SqlUsers().by_username_key("answered") is not None
        assert SqlUsers().by_username_key("cut short") is None
        assert journal().due() != []

    def test_what_a_living_process_notes_is_left_to_it(
        self, app: Flask, url: str, tmp_path: Path
    ) -> None:
        with process(url, tmp_path, "idle") as living:
            assert living.stdout is not None
            assert living.stdout.readline() == "ready\n"
            journal_file = next(tmp_path.glob("*.undo"))
            journal_file.write_bytes(b'\n["?", 1, "hash"]')
            Undoer(app).work_through()
            assert SqlUsers().by_username_key("answered") is not None
            living.kill()
            living.wait(10)
            Undoer(app).work_through()
            assert SqlUsers().by_username_key("answered") is None


class TestJournal:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return tmp_path

    def test_another_journal_takes_over_what_was_left(self, folder: Path) -> None:
        left, heir = Journal(lambda: folder, "db"), Journal(lambda: folder, "db")
        for number in (1, 2, 3):
            left.begin(Doubt(number, "hash"))
        left.settle(Doubt(2, "hash"))
        left.give_up(Doubt(3, "hash"))
        heir.adopt()
        assert heir.due() == []
        left.close()
        heir.adopt()
        assert heir.due() == [Doubt(1, "hash"), Doubt(3, "hash")]
        assert len(list(folder.iterdir())) == 1
        heir.close()

    def test_a_journal_of_another_database_is_left_alone(self, folder: Path) -> None:
        left, heir = Journal(lambda: folder, "db"), Journal(lambda: folder, "other")
        left.give_up(Doubt(1, "hash"))
        left.close()
        heir.adopt()
        assert heir.due() == []

    def test_of_an_earlier_start_of_the_machine_only_what_was_given_up_is_undone(
        self, folder: Path
    ) -> None:
        earlier = b'\n["?", 1, "hash"]\n["!", 2, "hash"]\n["?", 3, "ha'
        (folder / "db.an-earlier-start.x.undo").write_bytes(earlier)
        heir = Journal(lambda: folder, "db")
        heir.adopt()
        assert heir.due() == [Doubt(2, "hash")]
        heir.close()

    def test_without_a_folder_it_remembers_in_memory(self, folder: Path) -> None:
        forgetful = Journal(lambda: folder / "missing", "db")
        forgetful.begin(Doubt(1, "hash"))
        forgetful.give_up(Doubt(2, "hash"))
        forgetful.adopt()
        assert forgetful.due() == [Doubt(2, "hash")]
        forgetful.close()

    def test_a_long_life_leaves_a_small_file(self, folder: Path) -> None:
        busy, heir = Journal(lambda: folder, "db"), Journal(lambda: folder, "db")
        busy.begin(Doubt(0, "hash"))
        for number in range(1, 2000):
            busy.begin(Doubt(number, "h" * 1000))
            busy.settle(Doubt(number, "h" * 1000))
        assert sum(file.stat().st_size for file in folder.iterdir()) < 1_100_000
        busy.close()
        heir.adopt()
        assert heir.due() == [Doubt(0, "hash")]
        heir.close()
