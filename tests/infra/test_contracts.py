"""What the core's ports promise, held over the unit tests' fakes and the real adapters alike."""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from authsvc.core.errors import EmailTaken, Overloaded, TooManyCaptchas, UsernameTaken
from authsvc.core.ports import CaptchaStore, Users
from authsvc.core.users import User
from authsvc.infra.captcha_store import RedisCaptchaStore
from authsvc.infra.database import db
from authsvc.infra.redis import RedisClient, connect
from authsvc.infra.users import SqlUsers
from tests.core.fakes import FakeCaptchaStore, FakeClock, FakeUsers
from tests.infra.databases import Crowd, migrated, new_user, nothing_more, sqlite_url
from tests.infra.redis_kinds import FAKE, PATIENT, REAL, emptied

ID = "A" * 22
CLIENT = "192.0.2.1"
MOST_LIVE = 64
SQLITE = pytest.param("sqlite", id="sqlite")
MARIADB = pytest.param("mariadb", id="mariadb", marks=pytest.mark.mariadb)


@pytest.fixture(scope="module", params=[FAKE, SQLITE, MARIADB])
def app(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Flask | None]:
    """The application whose database holds the users, or None where there is neither."""
    if request.param == "fake":
        yield None
        return
    if request.param == "sqlite":
        url = sqlite_url(tmp_path_factory.mktemp("contract"))
    else:
        url = request.getfixturevalue("mariadb").create_database()
    with migrated(url) as app:
        yield app


class TestUsers:
    @pytest.fixture
    def users(self, app: Flask | None) -> Users:
        if app is None:
            return FakeUsers()
        with db.engine.begin() as connection:
            connection.execute(text("DELETE FROM users"))
        return SqlUsers()

    def test_a_stored_user_is_found_by_its_key_and_its_id(self, users: Users) -> None:
        added, finished = users.add(
            new_user("Straße", "Bob@Example.com", permission=3), "hash", lambda user: user.id
        )
        assert added == User(
            id=finished,
            username="Straße",
            email="Bob@Example.com",
            permission=3,
            data="{}",
            password_hash="hash",
            created_at=added.created_at,
        )
        assert users.by_username_key("strasse") == added
        assert users.by_id(added.id) == added

    def test_nobody_is_found_who_was_not_stored(self, users: Users) -> None:
        added, _ = users.add(new_user("bob"), "hash", nothing_more)
        assert users.by_username_key("alice") is None
        assert users.by_id(added.id + 1) is None
        assert users.by_id(0) is None

    def test_every_user_has_an_id_of_its_own(self, users: Users) -> None:
        ids = [users.add(new_user(f"user{n}"), "hash", nothing_more)[0].id for n in range(5)]
        assert len(set(ids)) == 5
        assert all(type(user_id) is int and user_id > 0 for user_id in ids)

    def test_a_name_is_taken_in_every_spelling(self, users: Users) -> None:
        users.add(new_user("Straße"), "hash", nothing_more)
        with pytest.raises(UsernameTaken):
            users.add(new_user("STRASSE", "other@example.com"), "hash", nothing_more)

    def test_an_address_is_taken_in_every_spelling(self, users: Users) -> None:
        users.add(new_user("bob", "bob@example.com"), "hash", nothing_more)
        with pytest.raises(EmailTaken):
            users.add(new_user("alice", "BOB@Example.com"), "hash", nothing_more)

    def test_the_name_is_told_when_both_are_taken_by_one_user(self, users: Users) -> None:
        users.add(new_user("bob", "bob@example.com"), "hash", nothing_more)
        with pytest.raises(UsernameTaken):
            users.add(new_user("Bob", "Bob@example.com"), "hash", nothing_more)

    @pytest.mark.parametrize("names", [("bob", "alice"), ("alice", "bob")])
    def test_the_name_is_told_when_both_are_taken_by_two_users(
        self, users: Users, names: tuple[str, str]
    ) -> None:
        for name in names:
            users.add(new_user(name, f"{name}@example.com"), "hash", nothing_more)
        with pytest.raises(UsernameTaken):
            users.add(new_user(names[0], f"{names[1]}@example.com"), "hash", nothing_more)

    def test_any_number_of_users_have_no_address(self, users: Users) -> None:
        for name in ("a", "b", "c"):
            assert users.add(new_user(name), "hash", nothing_more)[0].email is None

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("resume", "résumé"),
            ("o", "ö"),
            ("n", "ñ"),
            ("l", "ł"),
            ("a", "ａ\u0301"),
            ("i", "ı"),
            ("a b", "ab"),
            ("a", "a\u034f"),
            ("😀", "😁"),
            ("か", "が"),
            ("か", "カ"),
            ("ά", "α"),
            ("ss", "s"),
            ("1", "l"),
            ("a\u2028b", "ab"),
        ],
    )
    def test_two_names_are_the_same_only_if_their_keys_are(
        self, users: Users, one: str, other: str
    ) -> None:
        first, _ = users.add(new_user(one, f"{one}@example.com"), "hash", nothing_more)
        second, _ = users.add(new_user(other, f"{other}@example.com"), "hash", nothing_more)
        assert users.by_id(first.id) == first
        assert users.by_id(second.id) == second

    @pytest.mark.parametrize(
        "name", ["😀", "张三", "e\u0323\u0301", "x" * 64, "𐐀" * 64, "\\'\"%_;--"]
    )
    def test_every_name_comes_back_as_it_was_stored(self, users: Users, name: str) -> None:
        added, _ = users.add(new_user(name, f"{name}@例子.中国"), "hash", nothing_more)
        found = users.by_id(added.id)
        assert found is not None
        assert (found.username, found.email) == (name, f"{name}@例子.中国")
        assert users.by_username_key(new_user(name).username_key) == added

    def test_the_longest_keys_fit(self, users: Users) -> None:
        name, email = "ΐ" * 64, "x" + "ΐ" * 253
        made_of = new_user(name, email)
        made_of = replace(
            made_of, username_key="ι\u0308\u0301" * 64, email_key="ι\u0308\u0301" * 254
        )
        users.add(made_of, "hash", nothing_more)
        assert users.by_username_key(made_of.username_key)
        with pytest.raises(UsernameTaken):
            users.add(made_of, "hash", nothing_more)

    def test_what_fails_before_the_commit_leaves_no_user(self, users: Users) -> None:
        def fail(_: User) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            users.add(new_user("bob", "bob@example.com"), "hash", fail)
        assert users.by_username_key("bob") is None
        users.add(new_user("bob", "bob@example.com"), "hash", nothing_more)

    def test_nobody_sees_a_user_before_the_commit(self, app: Flask | None, users: Users) -> None:
        with Crowd(app, 1) as crowd:
            added, before = users.add(
                new_user("bob"), "hash", lambda user: crowd.begin(users.by_id, user.id).result(5)
            )
        assert before is None
        assert users.by_id(added.id) == added

    def test_a_hash_is_replaced(self, users: Users) -> None:
        added, _ = users.add(new_user("bob"), "hash", nothing_more)
        users.replace_hash(added, "another")
        assert users.by_id(added.id) == replace(added, password_hash="another")

    def test_a_hash_that_changed_meanwhile_is_not_replaced(self, users: Users) -> None:
        added, _ = users.add(new_user("bob"), "hash", nothing_more)
        users.replace_hash(added, "another")
        users.replace_hash(added, "a third")
        found = users.by_id(added.id)
        assert found is not None
        assert found.password_hash == "another"

    def test_the_hash_of_a_user_who_is_gone_is_not_replaced(self, users: Users) -> None:
        added, _ = users.add(new_user("bob"), "hash", nothing_more)
        users.replace_hash(replace(added, id=added.id + 1), "another")
        assert users.by_id(added.id) == added

    def test_of_many_at_once_one_has_the_name(self, app: Flask | None, users: Users) -> None:
        with Crowd(app, 8) as crowd:
            tries: list[Future[Any]] = [
                crowd.begin(users.add, new_user(name, f"{n}@example.com"), "hash", nothing_more)
                for n, name in enumerate(["bob", "BOB"] * 8)
            ]
            facts = Counter(type(one.exception(20)) for one in tries)
        assert facts == {type(None): 1, UsernameTaken: 15}

    def test_of_many_at_once_one_has_the_address(self, app: Flask | None, users: Users) -> None:
        with Crowd(app, 8) as crowd:
            tries: list[Future[Any]] = [
                crowd.begin(users.add, new_user(f"u{n}", email), "hash", nothing_more)
                for n, email in enumerate(["bob@example.com", "BOB@example.com"] * 8)
            ]
            facts = Counter(type(one.exception(20)) for one in tries)
        assert facts == {type(None): 1, EmailTaken: 15}


@dataclass
class Time:
    """A second of the port's time: a step of the fake clock, or a second of the real one."""

    clock: FakeClock | None

    def pass_(self, seconds: float) -> None:
        if self.clock is None:
            time.sleep(seconds)
        else:
            self.clock.advance(seconds)


@pytest.fixture(params=[FAKE, *REAL])
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of Redis, or `fake`."""
    return str(request.param)


@pytest.fixture
def clock(kind: str) -> FakeClock | None:
    """The fake clock, or None where real time passes."""
    return FakeClock() if kind == "fake" else None


@pytest.fixture
def passing(clock: FakeClock | None) -> Time:
    """Lets time pass."""
    return Time(clock)


@pytest.fixture
def client(request: pytest.FixtureRequest, kind: str) -> Iterator[RedisClient | None]:
    """A client of an empty Redis, or None where there is none."""
    if kind == "fake":
        yield None
        return
    client = connect(emptied(request, kind).url, PATIENT)
    yield client
    client.close()


def wait_to_put(store: CaptchaStore, captcha_id: str, most: int = 2) -> int:
    """Return the seconds until the client may hold another captcha; 0 if it holds this one now."""
    try:
        store.put(captcha_id, "ABCDE", CLIENT, 60, most)
    except TooManyCaptchas as error:
        return error.retry_after
    return 0


def put_for_anyone(store: CaptchaStore, number: int) -> bool:
    """Put a captcha for a client of its own; tell whether it was refused."""
    try:
        store.put(f"{number:022}", "ABCDE", f"192.0.2.{number}", 60, 9)
    except Overloaded as error:
        return 1 <= error.retry_after <= 70
    return False


class TestCaptchaStore:
    @pytest.fixture
    def store(self, clock: FakeClock | None, client: RedisClient | None) -> CaptchaStore:
        if client is not None:
            return RedisCaptchaStore(client)
        assert clock is not None
        return FakeCaptchaStore(clock)

    @pytest.fixture
    def few(self, clock: FakeClock | None, client: RedisClient | None) -> CaptchaStore:
        """A store in which few captchas may live at a time."""
        if client is not None:
            return RedisCaptchaStore(client, MOST_LIVE)
        assert clock is not None
        return FakeCaptchaStore(clock, MOST_LIVE)

    def test_an_answer_is_looked_at_as_often_as_one_likes(self, store: CaptchaStore) -> None:
        store.put(ID, "ABCDE", CLIENT, 60, 9)
        assert store.look(ID) == ("ABCDE", None)
        assert store.look(ID) == ("ABCDE", None)
        assert store.look("B" * 22) == (None, None)

    def test_an_answer_is_taken_once(self, store: CaptchaStore) -> None:
        store.put(ID, "ABCDE", CLIENT, 60, 9)
        assert store.take(ID, CLIENT) == "ABCDE"
        assert store.take(ID, CLIENT) is None
        assert store.look(ID) == (None, None)

    def test_an_image_is_kept_beside_its_answer(self, store: CaptchaStore) -> None:
        store.put(ID, "ABCDE", CLIENT, 60, 9)
        store.keep_image(ID, b"\x89PNG\r\n\xff")
        assert store.look(ID) == ("ABCDE", b"\x89PNG\r\n\xff")

    def test_an_image_is_forgotten_with_its_answer(self, store: CaptchaStore) -> None:
        store.put(ID, "ABCDE", CLIENT, 60, 9)
        store.keep_image(ID, b"png")
        store.take(ID, CLIENT)
        assert store.look(ID) == (None, None)

    def test_an_image_without_an_answer_is_dropped(self, store: CaptchaStore) -> None:
        store.keep_image(ID, b"png")
        assert store.look(ID) == (None, None)
        store.put(ID, "ABCDE", CLIENT, 60, 9)
        assert store.look(ID) == ("ABCDE", None)

    def test_both_are_forgotten_when_the_lifetime_is_over(
        self, store: CaptchaStore, passing: Time
    ) -> None:
        store.put(ID, "ABCDE", CLIENT, 1, 9)
        store.put("B" * 22, "FGHIJ", CLIENT, 60, 9)
        store.keep_image(ID, b"png")
        passing.pass_(1.05)
        assert store.look(ID) == (None, None)
        assert store.take(ID, CLIENT) is None
        assert store.look("B" * 22) == ("FGHIJ", None)

    def test_of_many_at_once_one_takes_the_answer(self, store: CaptchaStore) -> None:
        store.put(ID, "ABCDE", CLIENT, 60, 9)
        with Crowd(None, 8) as crowd:
            takes = [crowd.begin(store.take, ID, CLIENT) for _ in range(40)]
            answers = Counter(take.result(20) for take in takes)
        assert answers == {"ABCDE": 1, None: 39}

    def test_a_client_holds_so_many_at_a_time(self, store: CaptchaStore) -> None:
        for number in (1, 2):
            store.put(f"{number}" * 22, "ABCDE", CLIENT, 60, 2)
        assert wait_to_put(store, "3" * 22) in (59, 60)
        assert store.look("3" * 22) == (None, None)
        store.put("3" * 22, "ABCDE", "192.0.2.2", 60, 2)

    def test_a_captcha_taken_or_ended_makes_room(self, store: CaptchaStore, passing: Time) -> None:
        store.put(ID, "ABCDE", CLIENT, 60, 2)
        store.put("B" * 22, "ABCDE", CLIENT, 1, 2)
        store.take(ID, CLIENT)
        assert wait_to_put(store, "C" * 22) == 0
        passing.pass_(1.05)
        assert wait_to_put(store, "D" * 22) == 0
        assert wait_to_put(store, "E" * 22) > 0

    def test_of_many_at_once_no_more_are_held_than_may_be(self, store: CaptchaStore) -> None:
        with Crowd(None, 8) as crowd:
            waits = [crowd.begin(wait_to_put, store, f"{number:022}", 5) for number in range(40)]
            held = [wait.result(20) for wait in waits].count(0)
        assert held == 5

    def test_all_clients_together_hold_so_many_at_a_time(self, few: CaptchaStore) -> None:
        refused = Counter(put_for_anyone(few, number) for number in range(4 * MOST_LIVE))
        assert MOST_LIVE / 2 <= refused[False] <= MOST_LIVE

    def test_of_many_at_once_no_more_live_than_may_be(self, few: CaptchaStore) -> None:
        with Crowd(None, 8) as crowd:
            puts = [crowd.begin(put_for_anyone, few, number) for number in range(4 * MOST_LIVE)]
            refused = Counter(put.result(20) for put in puts)
        assert MOST_LIVE / 2 <= refused[False] <= MOST_LIVE

    def test_a_captcha_that_was_refused_for_all_does_not_count_for_its_client(
        self, few: CaptchaStore
    ) -> None:
        numbers = range(4 * MOST_LIVE)
        refused = [number for number in numbers if put_for_anyone(few, number)]
        for number in numbers:
            few.take(f"{number:022}", f"192.0.2.{number}")
        for number in refused:
            few.put(f"{number:022}", "ABCDE", f"192.0.2.{number}", 60, 1)
            few.take(f"{number:022}", f"192.0.2.{number}")

    def test_what_is_taken_makes_room_for_all(self, few: CaptchaStore) -> None:
        for number in range(10 * MOST_LIVE):
            few.put(f"{number:022}", "ABCDE", CLIENT, 60, 9)
            few.take(f"{number:022}", CLIENT)

    def test_a_signature_is_used_once(self, store: CaptchaStore, passing: Time) -> None:
        assert store.use("signature", 1)
        assert not store.use("signature", 1)
        passing.pass_(1.05)
        assert store.use("signature", 1)
