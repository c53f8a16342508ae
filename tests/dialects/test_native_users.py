"""Users and the audit log over HTTP, as administrators of the native dialect have them."""

import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier
from typing import Any
from urllib.parse import quote, urlencode

import pyotp
import pytest

from tests.dialects.pages import LOGINS, PASSWORD, TOKEN_LOGIN, fresh_name, send, token_of
from tests.dialects.stores import Stores
from tests.support.client import NOTHING, Answer, Client
from tests.support.service import Service

NEW_PASSWORD = "Another-pass-2"
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@dataclass(frozen=True)
class Api:
    """The native dialect as someone with a token sees it."""

    base: str
    token: str | None = None

    def send(self, method: str, path: str, body: Any = NOTHING, **options: Any) -> Answer:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return Client(self.base).request(
            method, f"/v1{path}", json=body, headers=headers | options.pop("headers", {}), **options
        )

    def get(self, path: str, **query: object) -> Answer:
        return self.send("GET", f"{path}?{urlencode(query)}" if query else path)

    def create(self, name: str, **fields: Any) -> dict[str, Any]:
        answer = self.send("POST", "/users", {"username": name, "password": PASSWORD, **fields})
        assert answer.status == 201, answer.text
        user: dict[str, Any] = answer.json()
        return user

    def edit(self, user: dict[str, Any], **fields: Any) -> Answer:
        return self.send("PATCH", f"/users/{user['id']}", fields)


@pytest.fixture
def boss(service: Service, stores: Stores) -> Api:
    """An administrator with permission 5, so that there is somebody above and below."""
    return Api(service.first, promoted(service, stores, "chief", 5)[1])


@pytest.fixture
def user(boss: Api) -> dict[str, Any]:
    """An ordinary user."""
    name = fresh_name()
    return boss.create(name, email=f"{name}@example.com")


def promoted(service: Service, stores: Stores, stem: str, permission: int) -> tuple[str, str]:
    """Return the name and a token of a new user who has this permission."""
    name = fresh_name(stem)
    client = Client(service.first)
    body = {"username": name, "password": PASSWORD, "email": f"{name}@example.com"}
    assert client.post("/api/register", body).status == 201
    stores.promote(name, permission)
    return name, log_in(service, name)


def log_in(service: Service, name: str, password: str = PASSWORD) -> str:
    return token_of(send(service, TOKEN_LOGIN, {"username": name, "password": password}))


def assert_problem(answer: Answer, status: int, code: str) -> None:
    assert (answer.status, answer.json()["code"]) == (status, code), answer.text
    body = answer.json()
    assert list(body)[:5] == ["type", "title", "status", "detail", "code"]
    assert (body["type"], body["status"]) == (f"urn:authsvc:problem:{code}", status)
    assert answer.headers["Content-Type"].split(";")[0] == "application/problem+json"


def assert_fault(answer: Answer, field: str, code: str) -> None:
    assert_problem(answer, 400, "invalid_fields")
    faults = [(fault["field"], fault["code"]) for fault in answer.json()["errors"]]
    assert faults == [(field, code)]


OPERATIONS = [
    ("GET", "/users"),
    ("POST", "/users"),
    ("GET", "/users/1"),
    ("PATCH", "/users/1"),
    ("DELETE", "/users/1"),
    ("POST", "/users/1/logout"),
    ("POST", "/users/1/password"),
    ("DELETE", "/users/1/totp"),
    ("GET", "/audit"),
]


class TestWhoMay:
    @pytest.mark.parametrize(("method", "path"), OPERATIONS)
    def test_nobody_without_a_token(self, service: Service, method: str, path: str) -> None:
        for token in (None, "nonsense"):
            assert_problem(Api(service.first, token).send(method, path), 401, "invalid_token")

    @pytest.mark.parametrize(("method", "path"), OPERATIONS)
    def test_nobody_who_is_ordinary(
        self, service: Service, user: dict[str, Any], method: str, path: str
    ) -> None:
        api = Api(service.first, log_in(service, user["username"]))
        assert_problem(api.send(method, path), 403, "permission_denied")

    def test_administrators_with_a_token_of_any_dialect(
        self, service: Service, stores: Stores
    ) -> None:
        name, _ = promoted(service, stores, "boss", 1)
        for operation in LOGINS:
            answer = send(service, operation, {"username": name, "password": PASSWORD})
            assert Api(service.first, token_of(answer)).get("/users").status == 200


class TestOneUser:
    def test_a_user_is_created_as_given(self, boss: Api) -> None:
        name = fresh_name("王")
        created = boss.create(name, email="Wang@例子.com", permission=5, data={"a": [None, "é"]})
        assert created == {
            "id": created["id"],
            "username": name,
            "email": "Wang@例子.com",
            "emailVerified": False,
            "permission": 5,
            "disabled": False,
            "totp": False,
            "data": {"a": [None, "é"]},
            "createdAt": created["createdAt"],
        }
        assert type(created["id"]) is int
        assert MOMENT.fullmatch(created["createdAt"])
        assert boss.get(f"/users/{created['id']}").json() == created
        boss.send("DELETE", f"/users/{created['id']}")

    def test_what_is_taken_or_too_much_is_refused(self, boss: Api, user: dict[str, Any]) -> None:
        body = {"username": user["username"].upper(), "password": PASSWORD}
        assert_problem(boss.send("POST", "/users", body), 409, "username_taken")
        body = {"username": fresh_name(), "password": PASSWORD, "email": user["email"].upper()}
        assert_problem(boss.send("POST", "/users", body), 409, "email_taken")
        body = {"username": fresh_name(), "password": PASSWORD, "permission": 6}
        assert_problem(boss.send("POST", "/users", body), 403, "permission_denied")
        body = {"username": fresh_name(), "password": "password1"}
        assert_problem(boss.send("POST", "/users", body), 400, "weak_password")

    def test_each_field_that_is_given_changes(self, boss: Api, user: dict[str, Any]) -> None:
        answer = boss.edit(user, permission=4, data=[1, 2], email="new-" + user["email"])
        expected = user | {"permission": 4, "data": [1, 2], "email": "new-" + user["email"]}
        assert (answer.status, answer.json()) == (200, expected)
        assert boss.edit(user, email=None, data=None).json() == expected | {
            "email": None,
            "data": None,
        }
        assert boss.edit(user).json() == expected | {"email": None, "data": None}

    def test_another_address_is_not_verified(
        self, boss: Api, stores: Stores, user: dict[str, Any]
    ) -> None:
        stores.sql("UPDATE users SET email_verified = 1 WHERE id = ?", user["id"])
        assert boss.get(f"/users/{user['id']}").json()["emailVerified"] is True
        assert boss.edit(user, email="other-" + user["email"]).json()["emailVerified"] is False

    def test_another_user_s_address_is_taken(self, boss: Api, user: dict[str, Any]) -> None:
        other = boss.create(fresh_name())
        assert_problem(boss.edit(other, email=user["email"].upper()), 409, "email_taken")

    def test_a_deleted_user_is_unknown(self, boss: Api, user: dict[str, Any]) -> None:
        path = f"/users/{user['id']}"
        answer = boss.send("DELETE", path)
        assert (answer.status, answer.body) == (204, b"")
        assert_problem(boss.get(path), 404, "unknown_user")
        assert_problem(boss.send("DELETE", path), 404, "unknown_user")
        assert_problem(boss.edit(user, data=1), 404, "unknown_user")
        assert_problem(boss.send("POST", f"{path}/logout"), 404, "unknown_user")
        body = {"password": NEW_PASSWORD}
        assert_problem(boss.send("POST", f"{path}/password", body), 404, "unknown_user")

    @pytest.mark.parametrize("number", ["0", "x", "-1", "1.0", "01", "１", "9" * 18, "9" * 3000])
    def test_what_is_no_id_is_an_unknown_user(self, boss: Api, number: str) -> None:
        assert_problem(boss.get(f"/users/{quote(number)}"), 404, "unknown_user")


class TestRank:
    def test_nobody_touches_a_peer_anyone_above_or_themselves(
        self, service: Service, stores: Stores, boss: Api
    ) -> None:
        names = [promoted(service, stores, "rank", permission)[0] for permission in (5, 6)]
        own = stores.sql("SELECT max(id) FROM users WHERE username LIKE 'chief%'")[0][0]
        ids = [stores.sql("SELECT id FROM users WHERE username = ?", n)[0][0] for n in names]
        for user_id in (*ids, own):
            for answer in (
                boss.send("PATCH", f"/users/{user_id}", {"data": 1}),
                boss.send("PATCH", f"/users/{user_id}", {}),
                boss.send("DELETE", f"/users/{user_id}"),
                boss.send("POST", f"/users/{user_id}/logout"),
                boss.send("DELETE", f"/users/{user_id}/totp"),
                boss.send("POST", f"/users/{user_id}/password", {"password": NEW_PASSWORD}),
            ):
                assert_problem(answer, 403, "permission_denied")
            assert boss.get(f"/users/{user_id}").status == 200

    def test_nobody_grants_more_than_they_hold(self, boss: Api, user: dict[str, Any]) -> None:
        assert_problem(boss.edit(user, permission=6), 403, "permission_denied")
        assert boss.edit(user, permission=5).status == 200
        assert_problem(boss.edit(user, permission=0), 403, "permission_denied")


def test_a_parameter_that_is_given_twice_is_named(boss: Api) -> None:
    answer = boss.send("GET", "/users?search=a&limit=1&search=b")
    assert_problem(answer, 400, "invalid_fields")
    assert [fault["field"] for fault in answer.json()["errors"]] == ["search"]


class TestSecondFactor:
    def test_who_lost_what_makes_their_codes_is_asked_for_none_any_more(
        self, service: Service, stores: Stores, boss: Api, user: dict[str, Any]
    ) -> None:
        path = f"/users/{user['id']}/totp"
        assert_problem(boss.send("DELETE", path), 409, "totp_off")
        me = Api(service.first, log_in(service, user["username"]))
        secret = me.send("POST", "/me/totp", {"password": PASSWORD}).json()["secret"]
        code = pyotp.TOTP(secret).now()
        codes = me.send("POST", "/me/totp/confirm", {"code": code}).json()["recoveryCodes"]
        credentials = {"username": user["username"], "password": PASSWORD}
        assert_problem(me.send("POST", "/login", credentials), 401, "totp_required")
        assert boss.send("DELETE", path).status == 204
        assert me.send("POST", "/login", credentials).status == 200
        left = "SELECT count(*) FROM recovery_codes WHERE user_id = ?"
        assert len(codes) == 10
        assert stores.sql(left, user["id"]) == [(0,)]
        entries = boss.get("/audit", user=user["id"], action="totp.off").json()["entries"]
        assert [entry["target"]["id"] for entry in entries] == [user["id"]]


class TestEndingSessions:
    @pytest.fixture
    def tokens(self, service: Service, user: dict[str, Any]) -> list[str]:
        """A live token of every dialect."""
        body = {"username": user["username"], "password": PASSWORD}
        tokens = [token_of(send(service, operation, body)) for operation in LOGINS]
        native = Client(service.first).post("/v1/login", body)
        tokens.append(native.json()["accessToken"])
        assert [Api(service.first, token).get("/me").status for token in tokens] == [200] * 5
        return tokens

    def test_who_is_disabled_is_refused_at_once_and_cannot_log_in(
        self, service: Service, boss: Api, user: dict[str, Any], tokens: list[str]
    ) -> None:
        assert boss.edit(user, disabled=True).json() == user | {"disabled": True}
        for token in tokens:
            assert_problem(Api(service.first, token).get("/me"), 401, "invalid_token")
        body = {"username": user["username"], "password": PASSWORD}
        assert {send(service, operation, body).status for operation in LOGINS} == {401}
        assert boss.edit(user, disabled=False).json() == user
        for token in tokens:
            assert_problem(Api(service.first, token).get("/me"), 401, "invalid_token")
        assert log_in(service, user["username"])

    def test_who_is_logged_out_can_log_in_again(
        self, service: Service, boss: Api, user: dict[str, Any], tokens: list[str]
    ) -> None:
        answer = boss.send("POST", f"/users/{user['id']}/logout")
        assert (answer.status, answer.body) == (204, b"")
        for token in tokens:
            assert_problem(Api(service.first, token).get("/me"), 401, "invalid_token")
        token = log_in(service, user["username"])
        assert Api(service.first, token).get("/me").status == 200

    def test_a_password_that_is_set_ends_all_sessions(
        self, service: Service, boss: Api, user: dict[str, Any], tokens: list[str]
    ) -> None:
        path = f"/users/{user['id']}/password"
        answer = boss.send("POST", path, {"password": NEW_PASSWORD})
        assert (answer.status, answer.body) == (204, b"")
        for token in tokens:
            assert_problem(Api(service.first, token).get("/me"), 401, "invalid_token")
        old = {"username": user["username"], "password": PASSWORD}
        assert send(service, TOKEN_LOGIN, old).status == 401
        assert log_in(service, user["username"], NEW_PASSWORD)
        assert_problem(boss.send("POST", path, {"password": "short"}), 400, "invalid_password")
        weak = {"password": user["username"] + "123"}
        assert_problem(boss.send("POST", path, weak), 400, "weak_password")

    def test_a_deleted_user_s_tokens_are_good_for_nothing(
        self, service: Service, boss: Api, user: dict[str, Any], tokens: list[str]
    ) -> None:
        boss.send("DELETE", f"/users/{user['id']}")
        for token in tokens:
            assert_problem(Api(service.first, token).get("/me"), 401, "invalid_token")


class TestPages:
    def test_one_hundred_and_twenty_users_are_paged_once_each_while_others_come(
        self, service: Service, stores: Stores, boss: Api
    ) -> None:
        stem = fresh_name("paged")
        expected = [f"{stem}-{number:03}" for number in range(120)]
        for name in expected:
            insert(stores, name)
        seen: list[str] = []
        for number, page in enumerate(pages(boss, search=f"{stem}-", limit=17)):
            assert len(page) <= 17
            seen += page
            insert(stores, f"{stem}-late{number}")
        assert seen[:120] == expected
        assert set(seen[120:]) <= {f"{stem}-late{number}" for number in range(20)}
        assert len(seen) == len(set(seen))

    def test_a_page_has_fifty_users_by_default_and_two_hundred_at_the_most(
        self, stores: Stores, boss: Api
    ) -> None:
        stem = fresh_name("many")
        for number in range(60):
            insert(stores, f"{stem}-{number}")
        body = boss.get("/users", search=f"{stem}-").json()
        assert list(body) == ["users", "next"]
        assert len(body["users"]) == 50
        assert body["next"] is not None
        whole = boss.get("/users", search=f"{stem}-", limit=200).json()
        assert (len(whole["users"]), whole["next"]) == (60, None)

    def test_a_page_that_is_just_full_has_no_next(self, stores: Stores, boss: Api) -> None:
        stem = fresh_name("full")
        for number in range(3):
            insert(stores, f"{stem}-{number}")
        assert boss.get("/users", search=f"{stem}-", limit=3).json()["next"] is None
        assert boss.get("/users", search=f"{stem}-", limit=2).json()["next"] is not None

    def test_a_user_who_is_deleted_between_two_pages_moves_no_other(
        self, stores: Stores, boss: Api
    ) -> None:
        stem = fresh_name("gone")
        for number in range(6):
            insert(stores, f"{stem}-{number}")
        reader = pages(boss, search=f"{stem}-", limit=3)
        first = next(reader)
        for name in first:
            stores.sql("DELETE FROM users WHERE username = ?", name)
        assert next(reader) == [f"{stem}-3", f"{stem}-4", f"{stem}-5"]

    @pytest.mark.parametrize(
        ("name", "search", "found"),
        [
            ("100%{}", "100%{}", True),
            ("100a{}", "100%{}", False),
            ("a_b{}", "a_b{}", True),
            ("axb{}", "a_b{}", False),
            ("王小明{}", "王小明{}", True),
            ("王小明{}", "王大", False),
            ("Straße{}", "STRASSE{}", True),
            ("ＡＢＣ{}", "abc{}", True),
            ("back\\slash{}", "back\\slash{}", True),
            ("sl/ash{}", "sl/ash{}", True),
            ("inner{}", "nner{}", False),
        ],
    )
    def test_a_search_is_for_the_beginning_in_any_spelling(
        self, stores: Stores, boss: Api, name: str, search: str, found: bool
    ) -> None:
        number = fresh_name("")
        created = boss.create(name.format(number))
        shown = boss.get("/users", search=search.format(number), limit=200).json()["users"]
        assert (created in shown) is found

    def test_an_address_is_searched_too(self, boss: Api, user: dict[str, Any]) -> None:
        body = boss.get("/users", search=user["email"].upper()).json()
        assert body == {"users": [user], "next": None}

    def test_filters_are_joined(self, boss: Api) -> None:
        stem = fresh_name("state")
        on, off = (boss.create(f"{stem}-{which}", permission=2) for which in ("on", "off"))
        boss.edit(off, disabled=True)

        def names(**query: object) -> list[str]:
            body = boss.get("/users", search=f"{stem}-", **query).json()
            return [user["username"] for user in body["users"]]

        assert names() == [on["username"], off["username"]]
        assert names(state="disabled") == [off["username"]]
        assert names(state="enabled", permission=2) == [on["username"]]
        assert names(permission=1) == []


class TestBadInput:
    @pytest.mark.parametrize(
        ("query", "field", "code"),
        [
            ({"limit": "0"}, "limit", "out_of_range"),
            ({"limit": "201"}, "limit", "out_of_range"),
            ({"limit": "x"}, "limit", "wrong_type"),
            ({"limit": ""}, "limit", "wrong_type"),
            ({"limit": "１"}, "limit", "wrong_type"),
            ({"limit": "1_0"}, "limit", "wrong_type"),
            ({"permission": "-1"}, "permission", "wrong_type"),
            ({"permission": str(2**31)}, "permission", "out_of_range"),
            ({"permission": "9" * 30}, "permission", "wrong_type"),
            ({"state": "asleep"}, "state", "not_a_choice"),
            ({"search": "x" * 255}, "search", "too_long"),
            ({"cursor": "!"}, "cursor", "malformed"),
            ({"cursor": ""}, "cursor", "malformed"),
            ({"cursor": "MQ=="}, "cursor", "malformed"),
            ({"cursor": "MR"}, "cursor", "malformed"),
            ({"cursor": "LTE"}, "cursor", "malformed"),
            ({"cursor": "é"}, "cursor", "malformed"),
            ({"cursor": "OTk5OTk5OTk5OTk5OTk5OTk5OTk5"}, "cursor", "malformed"),
            ({"page": "2"}, "page", "unknown_field"),
        ],
    )
    def test_each_parameter_of_a_list_is_held_to_its_form(
        self, boss: Api, query: dict[str, str], field: str, code: str
    ) -> None:
        assert_fault(boss.get("/users", **query), field, code)

    @pytest.mark.parametrize(
        ("query", "field", "code"),
        [
            ({"user": "bob"}, "user", "wrong_type"),
            ({"action": "x" * 33}, "action", "too_long"),
            ({"limit": "201"}, "limit", "out_of_range"),
            ({"cursor": "x"}, "cursor", "malformed"),
            ({"from": "1"}, "from", "unknown_field"),
        ],
    )
    def test_each_parameter_of_the_log_is_held_to_its_form(
        self, boss: Api, query: dict[str, str], field: str, code: str
    ) -> None:
        assert_fault(boss.get("/audit", **query), field, code)

    @pytest.mark.parametrize(
        ("field", "value", "code"),
        [
            ("username", None, "null"),
            ("username", 1, "wrong_type"),
            ("username", "", "empty"),
            ("username", "x" * 65, "too_long"),
            ("username", NOTHING, "required"),
            ("password", None, "null"),
            ("password", ["x"], "wrong_type"),
            ("password", "", "empty"),
            ("password", "x" * 1025, "too_long"),
            ("password", NOTHING, "required"),
            ("email", 1, "wrong_type"),
            ("email", "", "empty"),
            ("email", "x" * 255, "too_long"),
            ("permission", None, "null"),
            ("permission", True, "wrong_type"),
            ("permission", 1.0, "wrong_type"),
            ("permission", "1", "wrong_type"),
            ("permission", -1, "out_of_range"),
            ("permission", 2**31, "out_of_range"),
            ("disabled", True, "unknown_field"),
            ("id", 1, "unknown_field"),
        ],
    )
    def test_each_field_of_a_new_user_is_held_to_its_form(
        self, boss: Api, field: str, value: Any, code: str
    ) -> None:
        body = {"username": fresh_name(), "password": PASSWORD, field: value}
        given = {name: content for name, content in body.items() if content is not NOTHING}
        assert_fault(boss.send("POST", "/users", given), field, code)

    @pytest.mark.parametrize(
        ("field", "value", "code"),
        [
            ("permission", None, "null"),
            ("permission", False, "wrong_type"),
            ("permission", -1, "out_of_range"),
            ("email", [], "wrong_type"),
            ("email", "x" * 255, "too_long"),
            ("disabled", None, "null"),
            ("disabled", 1, "wrong_type"),
            ("disabled", "true", "wrong_type"),
            ("username", "other", "unknown_field"),
            ("password", PASSWORD, "unknown_field"),
        ],
    )
    def test_each_field_of_a_change_is_held_to_its_form(
        self, boss: Api, user: dict[str, Any], field: str, value: Any, code: str
    ) -> None:
        assert_fault(boss.edit(user, **{field: value}), field, code)
        assert boss.get(f"/users/{user['id']}").json() == user

    def test_what_the_core_can_never_store_is_refused(
        self, boss: Api, user: dict[str, Any]
    ) -> None:
        assert_problem(boss.edit(user, email="nothing"), 400, "invalid_email")
        assert_problem(boss.edit(user, data="x" * 16384), 400, "invalid_data")
        body = {"username": "a\u0000b", "password": PASSWORD}
        assert_problem(boss.send("POST", "/users", body), 400, "invalid_username")

    def test_a_log_out_takes_no_field(self, boss: Api, user: dict[str, Any]) -> None:
        path = f"/users/{user['id']}/logout"
        assert_fault(boss.send("POST", path, {"scope": "global"}), "scope", "unknown_field")
        assert boss.send("POST", path, {}).status == 204


class TestAudit:
    def test_every_change_is_told_whole_and_no_secret(
        self, service: Service, stores: Stores, boss: Api, user: dict[str, Any]
    ) -> None:
        boss.send(
            "PATCH",
            f"/users/{user['id']}",
            {"permission": 2, "email": f"hidden-{user['email']}", "disabled": True},
        )
        boss.send("POST", f"/users/{user['id']}/password", {"password": NEW_PASSWORD})
        boss.send("POST", f"/users/{user['id']}/logout")
        boss.send("DELETE", f"/users/{user['id']}")
        answer = boss.get("/audit", user=user["id"])
        body = answer.json()
        assert list(body) == ["entries", "next"]
        entries = body["entries"]
        assert [entry["action"] for entry in entries] == [
            "user.deleted",
            "user.logged_out",
            "password.set",
            "user.disabled",
            "user.edited",
            "user.created",
        ]
        edited = entries[4]
        assert edited == {
            "id": edited["id"],
            "at": edited["at"],
            "action": "user.edited",
            "actor": edited["actor"],
            "target": {"id": user["id"], "username": user["username"]},
            "address": "127.0.0.1",
            "requestId": edited["requestId"],
            "details": {"fields": ["permission", "email"], "permission": {"old": 0, "new": 2}},
        }
        assert list(edited["actor"]) == ["id", "username"]
        assert MOMENT.fullmatch(edited["at"])
        assert edited["requestId"]
        for secret in (NEW_PASSWORD, PASSWORD, "hidden-", "argon2"):
            assert secret not in answer.text

    def test_what_is_refused_is_not_told(self, boss: Api, user: dict[str, Any]) -> None:
        boss.edit(user, permission=6)
        boss.edit(user)
        entries = boss.get("/audit", user=user["id"]).json()["entries"]
        assert [entry["action"] for entry in entries] == ["user.created"]

    def test_pages_go_to_the_oldest_and_an_action_is_filtered(
        self, boss: Api, user: dict[str, Any]
    ) -> None:
        for number in range(5):
            boss.edit(user, data=number)
        seen: list[int] = []
        cursor: dict[str, str] = {}
        while True:
            body = boss.get(
                "/audit", user=user["id"], action="user.edited", limit=2, **cursor
            ).json()
            seen += [entry["id"] for entry in body["entries"]]
            if body["next"] is None:
                break
            cursor = {"cursor": body["next"]}
            boss.edit(user, data=f"later {len(seen)}")
        assert len(seen) == 5
        assert seen == sorted(seen, reverse=True)


def test_of_two_administrators_who_delete_themselves_at_the_same_moment_one_stays(
    service: Service, stores: Stores
) -> None:
    others = stores.sql("SELECT id FROM users WHERE permission > 0 AND NOT disabled")
    stores.sql("UPDATE users SET disabled = 1 WHERE permission > 0")
    try:
        for _ in range(8):
            pair = [promoted(service, stores, "twin", 1) for _ in range(2)]
            start = Barrier(2)

            def leave(token: str, start: Barrier = start) -> int:
                start.wait(10)
                body = {"password": PASSWORD}
                return Api(service.first, token).send("DELETE", "/me", body).status

            with ThreadPoolExecutor(2) as pool:
                statuses = Counter(pool.map(leave, [token for _, token in pair]))
            assert statuses == {204: 1, 409: 1}
            able = stores.sql("SELECT id FROM users WHERE permission > 0 AND NOT disabled")
            assert len(able) == 1
            stores.sql("UPDATE users SET disabled = 1 WHERE permission > 0")
    finally:
        for (user_id,) in others:
            stores.sql("UPDATE users SET disabled = 0 WHERE id = ?", user_id)


def pages(api: Api, **query: object) -> Iterator[list[str]]:
    """Yield the names of each page, read one after the other."""
    cursor: dict[str, object] = {}
    while True:
        body = api.get("/users", **query, **cursor).json()
        yield [user["username"] for user in body["users"]]
        if body["next"] is None:
            return
        cursor = {"cursor": body["next"]}


def insert(stores: Stores, name: str) -> None:
    """Store a user behind the service's back."""
    stores.sql(
        "INSERT INTO users (username, username_key, permission, data, password_hash, created_at)"
        " VALUES (?, ?, 0, '{}', 'none', '2026-01-01 00:00:00')",
        name,
        name.casefold(),
    )
