"""What administrators and operators may do to other users, and what follows from it."""

import itertools
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, TypeVar, cast

import pytest

from authsvc.core.accounts import Accounts, Policy
from authsvc.core.administration import Administration
from authsvc.core.audit import (
    CREATED,
    DELETED,
    DISABLED,
    EDITED,
    ENABLED,
    LOGGED_OUT,
    PASSWORD_SET,
    Entry,
)
from authsvc.core.clients import OPERATOR, Client
from authsvc.core.errors import (
    InvalidData,
    InvalidEmail,
    InvalidPassword,
    InvalidPasswordHash,
    InvalidPermission,
    InvalidUsername,
    LastAdministrator,
    PermissionDenied,
    SessionsUnavailable,
    UnknownUser,
    WeakPassword,
)
from authsvc.core.guessing import Guard
from authsvc.core.newcomers import Newcomer
from authsvc.core.passwords import PasswordRule
from authsvc.core.ports import Change, Note, UserQuery, no_note
from authsvc.core.sessions import Sessions
from authsvc.core.users import NewUser, User, fold
from tests.core.fakes import FakeHasher

T = TypeVar("T")
GOOD = "correct horse battery"
HERE = Client("192.0.2.1", "192.0.2.1", request_id="request-1")


class Directory:
    """The stored users, and every change and note that reached them."""

    def __init__(self) -> None:
        self.users: dict[int, User] = {}
        self.changes: list[Change] = []
        self.entries: list[Entry] = []
        self.queries: list[UserQuery] = []
        self.just_before: Callable[[], object] = lambda: None
        self._ids = itertools.count(1)

    def add(
        self,
        new_user: NewUser,
        password_hash: str,
        finish: Callable[[User], T],
        note: Callable[[User, User | None], Note] = no_note,
        by: int | None = None,
    ) -> tuple[User, T]:
        kept = {"username", "email", "permission", "data", "email_verified", "disabled"}
        shown: dict[str, Any] = {
            item.name: getattr(new_user, item.name)
            for item in fields(new_user)
            if item.name in kept
        }
        user = User(id=next(self._ids), password_hash=password_hash, **shown)
        self.users[user.id] = user
        self.entries += note(user, None if by is None else self.users.get(by)).entries
        return user, finish(user)

    def by_id(self, user_id: int) -> User | None:
        return self.users.get(user_id)

    def by_username_key(self, key: str) -> User | None:
        return next((user for user in self.users.values() if fold(user.username) == key), None)

    def find(self, query: UserQuery) -> list[User]:
        self.queries.append(query)
        return list(self.users.values())

    def edit(
        self, user_id: int, decide: Callable[[User, User | None], Change], by: int | None = None
    ) -> User | None:
        self.just_before()
        if user_id not in self.users:
            raise UnknownUser
        change = decide(self.users[user_id], None if by is None else self.users.get(by))
        if change.leaves_administrator is not None:
            self._require_another(user_id, change.leaves_administrator)
        if change.after is None:
            del self.users[user_id]
        else:
            self.users[user_id] = change.after
        self.changes.append(change)
        self.entries += change.note.entries
        return change.after

    def put(self, user: User) -> None:
        self.users[user.id] = user

    def _require_another(self, user_id: int, permission: int) -> None:
        others = (user for user in self.users.values() if user.id != user_id)
        if not any(user.permission >= permission and not user.disabled for user in others):
            raise LastAdministrator


class Closed:
    """Sessions of which it is only known whose were ended."""

    def __init__(self) -> None:
        self.user_ids: list[int] = []
        self.down = False

    def close_all(self, user_id: int) -> None:
        if self.down:
            raise SessionsUnavailable
        self.user_ids.append(user_id)


class Hasher(FakeHasher):
    def is_known(self, password_hash: str) -> bool:
        return password_hash.startswith("$known$")


class World:
    """An administration, and what lies around it: a boss, a chief below, and bob."""

    def __init__(self, admin_permission: int = 1) -> None:
        self.directory, self.closed, self.hasher = Directory(), Closed(), Hasher()
        sessions = cast(Sessions, self.closed)
        rule = PasswordRule(8, frozenset({"password1"}))
        policy = Policy(admin_permission=admin_permission)
        self.accounts = Accounts(
            cast(Any, self.directory),
            self.hasher,
            rule,
            sessions,
            cast(Guard, None),
            cast(Any, None),
            policy,
        )
        self.administration = Administration(
            cast(Any, self.directory), self.hasher, rule, self.accounts, sessions, policy
        )
        self.boss = self.add("boss", 5)
        self.chief = self.add("chief", 3)
        self.bob = self.add("bob", 0, "bob@example.com")
        self.directory.entries.clear()

    def add(self, name: str, permission: int, email: str | None = None) -> User:
        new_user = self.accounts.new_user(name, GOOD, email, permission)
        user = self.administration.create(None, new_user, OPERATOR)
        if email is not None:
            self.directory.put(replace(user, email_verified=True))
        return self.administration.get(user.id)


@pytest.fixture
def world() -> World:
    return World()


Deed = Callable[[World, User | None, User], object]
DEEDS: dict[str, Deed] = {
    "permission": lambda w, by, of: w.administration.edit(by, of.id, HERE, permission=0),
    "email": lambda w, by, of: w.administration.edit(by, of.id, HERE, email="x@example.com"),
    "data": lambda w, by, of: w.administration.edit(by, of.id, HERE, data="[]"),
    "disabled": lambda w, by, of: w.administration.edit(by, of.id, HERE, disabled=True),
    "nothing": lambda w, by, of: w.administration.edit(by, of.id, HERE),
    "delete": lambda w, by, of: w.administration.delete(by, of.id, HERE),
    "log out": lambda w, by, of: w.administration.log_out(by, of.id, HERE),
    "password": lambda w, by, of: w.administration.set_password(by, of.id, "otter 4 fish", HERE),
}
every_deed = pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS.keys())


class TestRank:
    @every_deed
    def test_nothing_is_done_to_a_peer_to_anyone_above_or_to_oneself(
        self, world: World, deed: Deed
    ) -> None:
        peer = world.add("peer", 3)
        before = dict(world.directory.users)
        for target in (peer, world.boss, world.chief):
            with pytest.raises(PermissionDenied):
                deed(world, world.chief, target)
        assert world.directory.users == before
        assert world.closed.user_ids == []

    @every_deed
    def test_what_is_below_can_be_changed(self, world: World, deed: Deed) -> None:
        deed(world, world.boss, world.chief)
        deed(world, world.boss, world.bob)

    @every_deed
    def test_an_actor_who_lost_their_rank_in_the_meantime_is_refused(
        self, world: World, deed: Deed
    ) -> None:
        fallen: list[Callable[[], object]] = [
            lambda: world.directory.put(replace(world.chief, permission=0)),
            lambda: world.directory.put(replace(world.chief, disabled=True)),
            lambda: world.directory.users.pop(world.chief.id),
        ]
        for fall in fallen:
            world.directory.put(world.chief)
            world.directory.just_before = fall
            with pytest.raises(PermissionDenied):
                deed(world, world.chief, world.bob)
            assert world.directory.users[world.bob.id] == world.bob

    @every_deed
    def test_a_target_who_rose_in_the_meantime_is_out_of_reach(
        self, world: World, deed: Deed
    ) -> None:
        risen = replace(world.bob, permission=3)
        world.directory.just_before = lambda: world.directory.put(risen)
        with pytest.raises(PermissionDenied):
            deed(world, world.chief, world.bob)
        assert world.directory.users[world.bob.id] == risen

    @every_deed
    def test_below_the_threshold_nobody_administers(self, deed: Deed) -> None:
        world = World(admin_permission=4)
        with pytest.raises(PermissionDenied):
            deed(world, world.chief, world.bob)

    @every_deed
    def test_an_operator_does_it_to_anyone(self, world: World, deed: Deed) -> None:
        deed(world, None, world.boss)
        deed(world, None, world.bob)

    @every_deed
    def test_nobody_is_there_to_be_changed(self, world: World, deed: Deed) -> None:
        for actor in (world.boss, None):
            with pytest.raises(UnknownUser):
                deed(world, actor, replace(world.bob, id=99))

    def test_nobody_grants_more_than_they_hold_now(self, world: World) -> None:
        edit = world.administration.edit
        with pytest.raises(PermissionDenied):
            edit(world.chief, world.bob.id, HERE, permission=4)
        assert edit(world.boss, world.bob.id, HERE, permission=3).permission == 3
        world.directory.put(world.bob)
        world.directory.put(replace(world.boss, permission=2))
        with pytest.raises(PermissionDenied):
            edit(world.boss, world.bob.id, HERE, permission=3)

    def test_nobody_creates_a_user_who_holds_more(self, world: World) -> None:
        above = world.accounts.new_user("carol", GOOD, None, 4)
        with pytest.raises(PermissionDenied):
            world.administration.create(world.chief, above, HERE)
        equal = world.accounts.new_user("carol", GOOD, None, 3)
        user = world.administration.create(world.chief, equal, HERE)
        assert world.directory.entries == [
            Entry(CREATED, world.chief, user, HERE, {"permission": 3})
        ]


class TestLastAdministrator:
    @pytest.mark.parametrize("way", ["permission", "disabled", "delete"])
    def test_an_operator_cannot_remove_the_last_one(self, world: World, way: str) -> None:
        world.administration.edit(None, world.chief.id, OPERATOR, disabled=True)
        with pytest.raises(LastAdministrator):
            DEEDS[way](world, None, world.boss)
        assert world.directory.users[world.boss.id] == world.boss

    def test_a_change_that_leaves_an_administrator_one_asks_for_no_other(
        self, world: World
    ) -> None:
        world.administration.delete(None, world.chief.id, OPERATOR)
        world.administration.edit(None, world.boss.id, OPERATOR, permission=1, data="[]")
        assert [change.leaves_administrator for change in world.directory.changes] == [1, None]

    def test_who_is_disabled_administers_nothing_and_can_go(self, world: World) -> None:
        world.administration.edit(None, world.chief.id, OPERATOR, disabled=True)
        world.administration.delete(None, world.chief.id, OPERATOR)
        assert world.directory.changes[-1].leaves_administrator is None


class TestEditing:
    def test_only_the_fields_that_are_given_change(self, world: World) -> None:
        edited = world.administration.edit(world.boss, world.bob.id, HERE, data='{"a":1}')
        assert edited == replace(world.bob, data='{"a":1}')

    def test_another_address_is_not_verified_and_voids_mail_tokens(self, world: World) -> None:
        edited = world.administration.edit(world.boss, world.bob.id, HERE, email="b@example.com")
        assert (edited.email, edited.email_verified) == ("b@example.com", False)
        assert world.directory.changes[-1].drops_mail_tokens

    def test_an_address_can_be_removed(self, world: World) -> None:
        edited = world.administration.edit(world.boss, world.bob.id, HERE, email=None)
        assert (edited.email, edited.email_verified) == (None, False)

    def test_the_same_address_stays_verified(self, world: World) -> None:
        edited = world.administration.edit(world.boss, world.bob.id, HERE, email=world.bob.email)
        assert edited == world.bob
        assert not world.directory.changes[-1].drops_mail_tokens
        assert world.directory.entries == []

    def test_fields_that_can_never_be_stored_are_refused(self, world: World) -> None:
        edit, bob_id = world.administration.edit, world.bob.id
        with pytest.raises(InvalidPermission):
            edit(world.boss, bob_id, HERE, permission=-1)
        with pytest.raises(InvalidEmail):
            edit(world.boss, bob_id, HERE, email="nothing")
        with pytest.raises(InvalidData):
            edit(world.boss, bob_id, HERE, data='"' + "x" * 16384 + '"')
        assert world.directory.users[bob_id] == world.bob

    def test_the_log_tells_which_fields_changed_and_no_address(self, world: World) -> None:
        world.administration.edit(
            world.boss, world.bob.id, HERE, permission=2, email="secret@example.com", data="[]"
        )
        details = {"fields": ["permission", "email", "data"], "permission": {"old": 0, "new": 2}}
        assert world.directory.entries == [Entry(EDITED, world.boss, world.bob, HERE, details)]

    def test_an_operator_has_no_name_in_the_log(self, world: World) -> None:
        world.administration.edit(None, world.bob.id, OPERATOR, data="[]")
        [entry] = world.directory.entries
        assert (entry.actor, entry.client, entry.details) == (None, OPERATOR, {"fields": ["data"]})


class TestEndingSessions:
    def test_disabling_ends_all_sessions_and_enabling_none(self, world: World) -> None:
        disabled = world.administration.edit(world.boss, world.bob.id, HERE, disabled=True)
        assert (disabled.disabled, disabled.epoch) == (True, 1)
        assert world.closed.user_ids == [world.bob.id]
        enabled = world.administration.edit(world.boss, world.bob.id, HERE, disabled=False)
        assert (enabled.disabled, enabled.epoch) == (False, 1)
        assert world.closed.user_ids == [world.bob.id]
        assert [entry.action for entry in world.directory.entries] == [DISABLED, ENABLED]

    def test_who_is_disabled_already_is_not_disabled_again(self, world: World) -> None:
        for _ in range(2):
            world.administration.edit(world.boss, world.bob.id, HERE, disabled=True)
        assert world.directory.users[world.bob.id].epoch == 1
        assert len(world.directory.entries) == 1

    def test_logging_out_ends_all_sessions_and_nothing_else(self, world: World) -> None:
        world.administration.log_out(world.boss, world.bob.id, HERE)
        assert world.directory.users[world.bob.id] == replace(world.bob, epoch=1)
        assert world.closed.user_ids == [world.bob.id]
        assert world.directory.entries == [Entry(LOGGED_OUT, world.boss, world.bob, HERE)]

    def test_deleting_removes_the_user_and_the_sessions(self, world: World) -> None:
        world.administration.delete(world.boss, world.bob.id, HERE)
        assert world.bob.id not in world.directory.users
        assert world.closed.user_ids == [world.bob.id]
        assert world.directory.entries == [Entry(DELETED, world.boss, world.bob, HERE)]

    @pytest.mark.parametrize("way", ["disabled", "delete", "log out", "password"])
    def test_sessions_that_cannot_be_dropped_now_are_over_anyway(
        self, world: World, way: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        world.closed.down = True
        DEEDS[way](world, world.boss, world.bob)
        after = world.directory.users.get(world.bob.id)
        assert after is None or after.epoch == world.bob.epoch + 1
        assert "could not be dropped" in caplog.text


class TestSettingAPassword:
    def test_the_hash_is_another_and_all_sessions_end(self, world: World) -> None:
        world.administration.set_password(world.boss, world.bob.id, "otter 4 fish", HERE)
        after = world.directory.users[world.bob.id]
        assert world.hasher.verify(after.password_hash, "otter 4 fish")
        assert after == replace(world.bob, password_hash=after.password_hash, epoch=1)
        assert world.closed.user_ids == [world.bob.id]
        assert world.directory.changes[-1].drops_mail_tokens
        assert world.directory.entries == [Entry(PASSWORD_SET, world.boss, world.bob, HERE)]

    def test_a_weak_password_is_refused_whatever_the_policy(self, world: World) -> None:
        set_password = world.administration.set_password
        with pytest.raises(InvalidPassword):
            set_password(world.boss, world.bob.id, "short", HERE)
        for weak in ("password1", "bob@example.com"):
            with pytest.raises(WeakPassword):
                set_password(world.boss, world.bob.id, weak, HERE)
        assert world.directory.users[world.bob.id] == world.bob

    def test_nothing_is_hashed_for_whom_the_actor_cannot_reach(self, world: World) -> None:
        world.hasher.overloaded_at = "hash"
        with pytest.raises(PermissionDenied):
            world.administration.set_password(world.chief, world.boss.id, "otter 4 fish", HERE)


class TestFinding:
    def test_a_user_is_found_by_id_and_by_any_spelling_of_the_name(self, world: World) -> None:
        assert world.administration.get(world.bob.id) == world.bob
        assert world.administration.named("  ＢＯＢ ") == world.bob
        with pytest.raises(UnknownUser):
            world.administration.get(99)
        with pytest.raises(UnknownUser):
            world.administration.named("nobody")
        with pytest.raises(InvalidUsername):
            world.administration.named("a\x00b")

    def test_a_search_is_folded_as_names_are(self, world: World) -> None:
        world.administration.find(UserQuery(5, prefix="ＳＴＲＡß"))
        assert world.directory.queries == [UserQuery(5, prefix="strass")]


class TestAdmitting:
    def test_a_known_hash_is_stored_as_it_is(self, world: World) -> None:
        newcomer = Newcomer(
            "Zoë",
            password_hash="$known$1",
            email="zoe@example.com",
            email_verified=True,
            permission=2,
            data="[1]",
            disabled=True,
        )
        user = world.administration.admit(newcomer)
        assert user == User(
            id=user.id,
            username="Zoë",
            email="zoe@example.com",
            permission=2,
            data="[1]",
            password_hash="$known$1",
            email_verified=True,
            disabled=True,
        )
        assert world.directory.entries == [Entry(CREATED, None, user, OPERATOR, {"permission": 2})]

    def test_a_password_is_hashed(self, world: World) -> None:
        user = world.administration.admit(Newcomer("zoe", password=GOOD))
        assert world.hasher.verify(user.password_hash, GOOD)

    def test_nobody_without_an_address_has_a_verified_one(self, world: World) -> None:
        user = world.administration.admit(
            Newcomer("zoe", password_hash="$known$1", email_verified=True)
        )
        assert not user.email_verified

    @pytest.mark.parametrize(
        ("newcomer", "fact"),
        [
            (Newcomer("zoe", password_hash="$other$1"), InvalidPasswordHash),
            (Newcomer("zoe", password_hash=""), InvalidPasswordHash),
            (Newcomer("zoe"), InvalidPasswordHash),
            (Newcomer("zoe", password="short"), InvalidPassword),
            (Newcomer("zoe", password=""), InvalidPassword),
            (Newcomer("", password_hash="$known$1"), InvalidUsername),
            (Newcomer("zoe", password_hash="$known$1", email="@"), InvalidEmail),
            (Newcomer("zoe", password_hash="$known$1", permission=-1), InvalidPermission),
            (Newcomer("zoe", password_hash="$known$1", data="x" * 16385), InvalidData),
            (Newcomer("zoe", password=GOOD, data="x" * 16385), InvalidData),
        ],
    )
    def test_what_can_never_be_stored_is_refused(
        self, world: World, newcomer: Newcomer, fact: type[Exception]
    ) -> None:
        count = len(world.directory.users)
        with pytest.raises(fact):
            world.administration.admit(newcomer)
        assert len(world.directory.users) == count
