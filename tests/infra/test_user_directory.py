"""The stored users as administrators see and change them, on SQLite and MariaDB."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from functools import partial

import pytest
from flask import Flask
from sqlalchemy import text

from authsvc.core.audit import DELETED, EDITED, Entry
from authsvc.core.clients import OPERATOR
from authsvc.core.errors import (
    AuthError,
    EmailTaken,
    LastAdministrator,
    PermissionDenied,
    UnknownUser,
)
from authsvc.core.ports import Change, Note, UserQuery
from authsvc.core.users import User, fold
from authsvc.infra.audit import SqlAuditLog
from authsvc.infra.database import db
from authsvc.infra.users import SqlUsers
from tests.infra.databases import Crowd, migrated, new_user, nothing_more, sqlite_url

ROUNDS = 25


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("sqlite", id="sqlite"),
        pytest.param("mariadb", id="mariadb", marks=pytest.mark.mariadb),
    ],
)
def app(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Flask]:
    if request.param == "sqlite":
        url = sqlite_url(tmp_path_factory.mktemp("directory"))
    else:
        url = request.getfixturevalue("mariadb").create_database()
    with migrated(url) as app:
        yield app


@pytest.fixture
def users(app: Flask) -> SqlUsers:
    with db.engine.begin() as connection:
        connection.execute(text("DELETE FROM users"))
        connection.execute(text("DELETE FROM audit_log"))
    return SqlUsers()


def add(users: SqlUsers, name: str, email: str | None = None, permission: int = 0) -> User:
    user, _ = users.add(new_user(name, email, permission), "hash", nothing_more)
    return user


def names(found: list[User]) -> list[str]:
    return [user.username for user in found]


def search(users: SqlUsers, prefix: str) -> list[str]:
    return names(users.find(UserQuery(50, prefix=fold(prefix))))


def disable(user: User, _: User | None) -> Change:
    return Change(replace(user, disabled=True), leaves_administrator=1)


def demote(user: User, _: User | None) -> Change:
    return Change(replace(user, permission=0), leaves_administrator=1)


def delete(user: User, _: User | None) -> Change:
    entry = Entry(DELETED, user, user, OPERATOR)
    return Change(None, Note((entry,)), leaves_administrator=1)


class TestFinding:
    def test_users_come_in_the_order_of_their_ids_a_page_at_a_time(self, users: SqlUsers) -> None:
        added = [add(users, name) for name in ("d", "b", "a", "c")]
        first = users.find(UserQuery(3))
        assert first == added[:3]
        assert users.find(UserQuery(3, after_id=first[-1].id)) == added[3:]
        assert users.find(UserQuery(3, after_id=added[-1].id)) == []

    def test_the_beginning_of_a_name_or_an_address_is_searched_for(self, users: SqlUsers) -> None:
        add(users, "alice", "wonder@example.com")
        add(users, "bob", "alicia@example.com")
        add(users, "malice")
        assert search(users, "ali") == ["alice", "bob"]
        assert search(users, "alice") == ["alice"]
        assert search(users, "wonder@EXAMPLE") == ["alice"]
        assert search(users, "zoe") == []

    def test_wildcards_stand_for_themselves(self, users: SqlUsers) -> None:
        for name in ("100%", "100 percent", "a_b", "axb", "a/b", "a\\b"):
            add(users, name)
        assert search(users, "100%") == ["100%"]
        assert search(users, "%") == []
        assert search(users, "_") == []
        assert search(users, "a_") == ["a_b"]
        assert search(users, "a/") == ["a/b"]
        assert search(users, "a\\") == ["a\\b"]

    def test_a_search_ignores_case_and_width_as_names_do(self, users: SqlUsers) -> None:
        for name in ("Straße", "王小明", "王大", "Ａｌｉｃｅ", "résumé"):
            add(users, name)
        assert search(users, "STRASS") == ["Straße"]
        assert search(users, "王") == ["王小明", "王大"]
        assert search(users, "王小") == ["王小明"]
        assert search(users, "aLI") == ["Ａｌｉｃｅ"]
        assert search(users, "resume") == []

    def test_users_are_filtered_by_permission_and_state_together(self, users: SqlUsers) -> None:
        add(users, "boss", permission=1)
        for name in ("on", "off"):
            add(users, name)
        off = users.by_username_key("off")
        assert off is not None
        users.edit(off.id, lambda user, _: Change(replace(user, disabled=True)))
        assert names(users.find(UserQuery(9, permission=1))) == ["boss"]
        assert names(users.find(UserQuery(9, disabled=True))) == ["off"]
        assert names(users.find(UserQuery(9, permission=0, disabled=False))) == ["on"]
        assert names(users.find(UserQuery(9, prefix="o", disabled=True))) == ["off"]


class TestEditing:
    def test_a_change_and_its_note_are_stored_together(self, users: SqlUsers) -> None:
        bob = add(users, "bob")

        def decide(user: User, _: User | None) -> Change:
            after = replace(user, data="[1]", epoch=user.epoch + 1)
            return Change(after, Note((Entry(EDITED, None, user, OPERATOR),)))

        changed = users.edit(bob.id, decide)
        assert changed == replace(bob, data="[1]", epoch=1)
        assert users.by_id(bob.id) == changed
        [record] = SqlAuditLog().page(before=None, limit=9, user_id=None, action=None)
        assert (record.action, record.target_id) == (EDITED, bob.id)

    def test_what_decide_refuses_changes_nothing(self, users: SqlUsers) -> None:
        bob = add(users, "bob")

        def refuse(_: User, __: User | None) -> Change:
            raise PermissionDenied

        with pytest.raises(PermissionDenied):
            users.edit(bob.id, refuse)
        assert users.by_id(bob.id) == bob

    def test_a_taken_address_changes_nothing_and_is_not_in_the_log(self, users: SqlUsers) -> None:
        add(users, "alice", "alice@example.com")
        bob = add(users, "bob", "bob@example.com")

        def decide(user: User, _: User | None) -> Change:
            after = replace(user, email="ALICE@example.com", permission=1)
            return Change(after, Note((Entry(EDITED, None, user, OPERATOR),)))

        with pytest.raises(EmailTaken):
            users.edit(bob.id, decide)
        assert users.by_id(bob.id) == bob
        assert SqlAuditLog().page(before=None, limit=9, user_id=None, action=None) == []

    def test_of_many_who_take_one_address_at_once_one_has_it(
        self, app: Flask, users: SqlUsers
    ) -> None:
        people = [add(users, f"user{number}") for number in range(8)]

        def take(user: User, _: User | None) -> Change:
            return Change(replace(user, email="one@example.com"))

        outcomes = race(app, [partial(users.edit, who.id, take) for who in people])
        assert Counter(outcomes) == {None: 1, EmailTaken: 7}
        assert len(users.find(UserQuery(9, prefix="one@"))) == 1

    def test_nobody_is_edited_who_is_not_there(self, users: SqlUsers) -> None:
        bob = add(users, "bob")
        with pytest.raises(UnknownUser):
            users.edit(bob.id + 1, disable)

    def test_who_asks_for_a_change_is_given_as_stored_now(self, users: SqlUsers) -> None:
        boss, bob = add(users, "boss", permission=2), add(users, "bob")
        users.edit(boss.id, lambda user, _: Change(replace(user, permission=1)))
        seen: list[User | None] = []

        def decide(user: User, by: User | None) -> Change:
            seen.append(by)
            return Change(user)

        users.edit(bob.id, decide, boss.id)
        users.edit(boss.id, lambda *_: Change(None))
        users.edit(bob.id, decide, boss.id)
        users.edit(bob.id, decide)
        assert seen == [replace(boss, permission=1), None, None]


class TestLastAdministrator:
    @pytest.mark.parametrize("remove", [disable, demote, delete])
    def test_the_last_enabled_administrator_stays(
        self, users: SqlUsers, remove: Callable[[User, User | None], Change]
    ) -> None:
        boss, other = (add(users, name, permission=1) for name in ("boss", "other"))
        add(users, "ordinary")
        users.edit(other.id, lambda user, _: Change(replace(user, disabled=True)))
        with pytest.raises(LastAdministrator):
            users.edit(boss.id, remove)
        assert users.by_id(boss.id) == boss
        users.edit(other.id, lambda user, _: Change(replace(user, disabled=False)))
        users.edit(boss.id, remove)
        assert names(users.find(UserQuery(9, permission=1, disabled=False))) == ["other"]

    @pytest.mark.parametrize("remove", [disable, demote, delete])
    def test_of_two_who_remove_each_other_at_the_same_moment_one_stays(
        self, app: Flask, users: SqlUsers, remove: Callable[[User, User | None], Change]
    ) -> None:
        for number in range(ROUNDS):
            pair = [add(users, f"boss{number}-{which}", permission=1) for which in (1, 2)]
            outcomes = race(app, [partial(users.edit, who.id, remove) for who in pair])
            assert Counter(outcomes) == {None: 1, LastAdministrator: 1}
            left = users.find(UserQuery(9, permission=1, disabled=False))
            assert len(left) == 1
            users.edit(left[0].id, lambda *_: Change(None))

    def test_of_eight_who_go_in_all_ways_at_the_same_moment_one_stays(
        self, app: Flask, users: SqlUsers
    ) -> None:
        for number in range(5):
            crowd = [add(users, f"boss{number}-{which}", permission=1) for which in range(8)]
            ways = [disable, demote, delete, delete, demote, disable, delete, demote]
            outcomes = race(
                app,
                [partial(users.edit, who.id, way) for who, way in zip(crowd, ways, strict=True)],
            )
            assert Counter(outcomes) == {None: 7, LastAdministrator: 1}
            left = users.find(UserQuery(9, permission=1, disabled=False))
            assert len(left) == 1
            users.edit(left[0].id, lambda *_: Change(None))


def race(app: Flask, runners: list[Callable[[], object]]) -> list[type[AuthError] | None]:
    """Let all run at one moment, and return the fact that each met, or None for success."""
    start = threading.Barrier(len(runners))

    def run(runner: Callable[[], object]) -> type[AuthError] | None:
        start.wait(10)
        try:
            runner()
        except AuthError as error:
            return type(error)
        return None

    with Crowd(app, len(runners)) as crowd:
        begun: list[Future[type[AuthError] | None]] = [
            crowd.begin(run, runner) for runner in runners
        ]
        return [future.result(30) for future in begun]
