"""The account of a user under /v1: whole answers of the real service."""

import itertools
import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pyotp
import pytest

from tests.dialects.conftest import Serve
from tests.dialects.pages import (
    LOGINS,
    PASSWORD,
    TOKEN_LOGIN,
    TOKEN_REGISTER,
    Operation,
    client_of,
    fresh_name,
    send,
    token_of,
)
from tests.dialects.stores import Stores
from tests.support.client import NOTHING, Answer, Client
from tests.support.service import Service

NEW_PASSWORD = "Another-pass-2"
WRONG = "Wrong-pass-3"
EN, ZH = "en", "zh"

_addresses = (f"127.77.{n // 250}.{n % 250 + 1}" for n in itertools.count())


@dataclass(frozen=True)
class Person:
    """A user who is logged in, from an address of their own.

    Args:
        client: sends from the address.
        name: the user name.
        id: the user's id.
        token: an access token.
        created_at: when the user was made, as the service says it.
    """

    client: Client
    name: str
    id: int
    token: str
    created_at: str

    @property
    def email(self) -> str:
        """The address that the user signed up with."""
        return f"{self.name}@example.com"

    def ask(
        self, method: str, path: str, body: Any = NOTHING, language: str = EN, token: str = ""
    ) -> Answer:
        """Sends a request to a path under /v1, as the user."""
        headers = {"Authorization": f"Bearer {token or self.token}", "Accept-Language": language}
        return self.client.request(method, f"/v1{path}", json=body, headers=headers)

    def log_in(self, password: str = PASSWORD, **more: Any) -> Answer:
        """Logs in through the native dialect."""
        body = {"username": self.name, "password": password, **more}
        return self.client.request("POST", "/v1/login", json=body)

    def turn_on(self) -> tuple[pyotp.TOTP, list[str]]:
        """Turns one-time codes on, with the code of the step before; returns recovery codes too."""
        codes = pyotp.TOTP(self.ask("POST", "/me/totp", {"password": PASSWORD}).json()["secret"])
        confirmed = self.ask("POST", "/me/totp/confirm", {"code": code_of(codes, -1)})
        return codes, confirmed.json()["recoveryCodes"]

    def shape(self, **changed: Any) -> dict[str, Any]:
        """The user object, as it was made or with what has changed."""
        made = {
            "id": self.id,
            "username": self.name,
            "email": self.email,
            "emailVerified": False,
            "permission": 0,
            "disabled": False,
            "totp": False,
            "data": {},
            "createdAt": self.created_at,
        }
        return made | changed


def code_of(codes: pyotp.TOTP, steps: int = 0) -> str:
    """The one-time code of now, or of some steps away; not in the last second of a step."""
    if time.time() % 30 > 28.5:
        time.sleep(1.6)
    return codes.at(time.time(), counter_offset=steps)


def join(service: Service) -> Person:
    """Signs a user up and in."""
    name = fresh_name("me")
    client = Client(service.first, source=next(_addresses))
    body = {"username": name, "password": PASSWORD, "email": f"{name}@example.com"}
    assert send(service, TOKEN_REGISTER, body).status == 201
    token = token_of(send(service, TOKEN_LOGIN, body))
    me = client.get("/v1/me", headers={"Authorization": f"Bearer {token}"}).json()
    return Person(client, name, me["id"], token, me["createdAt"])


@pytest.fixture(scope="module")
def guarded(serve: Serve) -> Service:
    """A service that counts wrong guesses."""
    return serve("guarded", {"AUTHSVC_GUESS_LIMIT": "on"})


@pytest.fixture
def ann(service: Service) -> Person:
    return join(service)


def actions(stores: Stores, person: Person) -> list[str]:
    """What the audit log says that was done to a user, after the sign-up."""
    wanted = "SELECT action FROM audit_log WHERE target_id = ? ORDER BY id"
    return [action for (action,) in stores.sql(wanted, person.id)][1:]


def assert_problem(
    answer: Answer, status: int, code: str, texts: tuple[str, str], language: str = EN, **more: Any
) -> None:
    """The answer is this problem of RFC 9457, whole."""
    title, detail = texts
    assert answer.json() == {
        "type": f"urn:authsvc:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        **more,
    }
    assert list(answer.json())[:5] == ["type", "title", "status", "detail", "code"]
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Content-Language"] == language
    assert "Accept-Language" in answer.headers["Vary"]


# Code and language → title and detail.
TEXTS = {
    ("invalid_fields", EN): ("Invalid fields", "Some fields of the request are not valid."),
    ("invalid_fields", ZH): ("字段无效", "请求中的部分字段无效。"),
    ("invalid_token", EN): ("Invalid token", "The access token is missing, invalid or expired."),
    ("invalid_token", ZH): ("令牌无效", "访问令牌缺失、无效或已过期。"),
    ("invalid_data", EN): ("Invalid data", "The data are not JSON of at most 16 KiB."),
    ("invalid_data", ZH): ("数据无效", "数据不是不超过 16 KiB 的 JSON。"),
    ("invalid_email", EN): ("Invalid e-mail address", "This is not an e-mail address."),
    ("invalid_email", ZH): ("邮箱无效", "这不是有效的邮箱地址。"),
    ("invalid_password", EN): ("Invalid password", "The password breaks the rule for passwords."),
    ("invalid_password", ZH): ("密码不符合要求", "密码不符合密码规则。"),
    ("weak_password", EN): ("Weak password", "The password is too easy to guess."),
    ("weak_password", ZH): ("密码太弱", "密码太容易被猜到。"),
    ("wrong_password", EN): ("Wrong password", "The password is wrong."),
    ("wrong_password", ZH): ("密码错误", "密码错误。"),
    ("wrong_code", EN): ("Wrong code", "The code is wrong or was used before."),
    ("wrong_code", ZH): ("验证码错误", "验证码错误或已被使用。"),
    ("totp_on", EN): ("One-time codes are on", "One-time codes are on already."),
    ("totp_on", ZH): ("已启用动态验证码", "动态验证码已经启用。"),
    ("totp_off", EN): ("One-time codes are off", "One-time codes are not on."),
    ("totp_off", ZH): ("未启用动态验证码", "动态验证码尚未启用。"),
    ("totp_required", EN): ("Code required", "A one-time or recovery code is required."),
    ("invalid_code", EN): ("Invalid code", "The code is wrong or was used before."),
    ("too_many_attempts", EN): ("Too many attempts", "Too many attempts failed; try later."),
    ("last_administrator", EN): ("Last administrator", "No other administrator would be left."),
    ("last_administrator", ZH): ("最后一名管理员", "将没有其他管理员。"),
}
FAULTS = {
    ("required", EN): "This field is required.",
    ("null", EN): "This field must not be null.",
    ("wrong_type", EN): "This field has the wrong type.",
    ("empty", EN): "This field must not be empty.",
    ("too_long", EN): "This field is too long.",
    ("unknown_field", EN): "This field is not known.",
    ("unknown_field", ZH): "未知字段。",
}


def assert_known_problem(answer: Answer, status: int, code: str, language: str = EN) -> None:
    """The answer is a problem without members of its own, in this language."""
    assert_problem(answer, status, code, TEXTS[code, language], language)


def assert_fault(answer: Answer, field: str, fault: str, language: str = EN) -> None:
    """The answer names one field and what is wrong with it."""
    error = {"field": field, "code": fault, "detail": FAULTS[fault, language]}
    texts = TEXTS["invalid_fields", language]
    assert_problem(answer, 400, "invalid_fields", texts, language, errors=[error])


# Every operation of this section, with a body that is well formed.
OPERATIONS: dict[tuple[str, str], dict[str, Any] | None] = {
    ("GET", "/me"): None,
    ("PATCH", "/me"): {"data": 1, "email": "new@example.com", "password": PASSWORD},
    ("PUT", "/me/password"): {"oldPassword": PASSWORD, "newPassword": NEW_PASSWORD},
    ("DELETE", "/me"): {"password": PASSWORD},
    ("POST", "/password/strength"): {"password": PASSWORD, "username": "x", "email": "x@y.zz"},
    ("POST", "/me/totp"): {"password": PASSWORD},
    ("POST", "/me/totp/confirm"): {"code": "123456"},
    ("DELETE", "/me/totp"): {"password": PASSWORD, "code": "123456"},
}
WITH_BODY = [(*where, body) for where, body in OPERATIONS.items() if body is not None]
LONGEST = {
    "password": 1024,
    "oldPassword": 1024,
    "newPassword": 1024,
    "email": 254,
    "username": 64,
    "code": 64,
}
FIELDS = [(*where, field) for *where, body in WITH_BODY for field in body if field != "data"]
OPTIONAL = {("PATCH", "/me", "email"), ("PATCH", "/me", "password")} | {
    ("POST", "/password/strength", field) for field in ("username", "email")
}
CONFIRMED = {
    ("PATCH", "/me"): {"email": None, "password": WRONG},
    ("PUT", "/me/password"): {"oldPassword": WRONG, "newPassword": NEW_PASSWORD},
    ("DELETE", "/me"): {"password": WRONG},
    ("POST", "/me/totp"): {"password": WRONG},
}


class TestEveryOperation:
    @pytest.mark.parametrize(("method", "path"), [o for o in OPERATIONS if "strength" not in o[1]])
    @pytest.mark.parametrize("token", ["", "no-token", "a.b.c"])
    @pytest.mark.parametrize("language", [EN, ZH])
    def test_nobody_is_let_in_without_a_token_whatever_the_body(
        self, service: Service, method: str, path: str, token: str, language: str
    ) -> None:
        headers = {"Accept-Language": language}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        answer = client_of(service, 8080).request(
            method, f"/v1{path}", json={"nonsense": 1}, headers=headers
        )
        assert_known_problem(answer, 401, "invalid_token", language)

    @pytest.mark.parametrize(("method", "path", "body"), WITH_BODY)
    @pytest.mark.parametrize("language", [EN, ZH])
    def test_an_unknown_field_is_refused_by_its_name(
        self, ann: Person, method: str, path: str, body: dict[str, Any], language: str
    ) -> None:
        answer = ann.ask(method, path, body | {"passwort": "x"}, language)
        assert_fault(answer, "passwort", "unknown_field", language)

    @pytest.mark.parametrize(("method", "path", "field"), FIELDS)
    @pytest.mark.parametrize(
        ("value", "fault"),
        [
            (1, "wrong_type"),
            (True, "wrong_type"),
            (["x"], "wrong_type"),
            ({}, "wrong_type"),
            ("", "empty"),
        ],
    )
    def test_a_field_of_the_wrong_kind_is_named(
        self, ann: Person, method: str, path: str, field: str, value: Any, fault: str
    ) -> None:
        body = dict(OPERATIONS[method, path] or {}) | {field: value}
        assert_fault(ann.ask(method, path, body), field, fault)

    @pytest.mark.parametrize(("method", "path", "field"), FIELDS)
    def test_a_field_that_is_too_long_is_named(
        self, ann: Person, method: str, path: str, field: str
    ) -> None:
        body = dict(OPERATIONS[method, path] or {}) | {field: "x" * (LONGEST[field] + 1)}
        assert_fault(ann.ask(method, path, body), field, "too_long")

    @pytest.mark.parametrize(("method", "path", "field"), [f for f in FIELDS if f not in OPTIONAL])
    def test_a_field_that_is_missing_is_named(
        self, ann: Person, method: str, path: str, field: str
    ) -> None:
        body = {k: v for k, v in (OPERATIONS[method, path] or {}).items() if k != field}
        assert_fault(ann.ask(method, path, body), field, "required")

    @pytest.mark.parametrize(
        ("method", "path", "field"), [f for f in FIELDS if f != ("PATCH", "/me", "email")]
    )
    def test_a_field_that_is_null_is_named(
        self, ann: Person, method: str, path: str, field: str
    ) -> None:
        body = dict(OPERATIONS[method, path] or {}) | {field: None}
        assert_fault(ann.ask(method, path, body), field, "null")

    @pytest.mark.parametrize(("method", "path", "body"), WITH_BODY)
    @pytest.mark.parametrize("value", ["\ud800" * 8, "\x00" * 8, "\u202e" * 8, "é" * 64])
    def test_odd_characters_never_break_the_service(
        self, ann: Person, method: str, path: str, body: dict[str, Any], value: str
    ) -> None:
        odd = dict.fromkeys(body, value)
        assert ann.ask(method, path, odd).status < 500

    @pytest.mark.parametrize(("where", "body"), CONFIRMED.items())
    @pytest.mark.parametrize("language", [EN, ZH])
    def test_a_wrong_password_is_told(
        self, ann: Person, where: tuple[str, str], body: dict[str, Any], language: str
    ) -> None:
        assert_known_problem(ann.ask(*where, body, language), 403, "wrong_password", language)
        assert ann.ask("GET", "/me").json() == ann.shape()

    @pytest.mark.parametrize(("where", "body"), CONFIRMED.items())
    def test_the_sixth_guess_must_wait(
        self, guarded: Service, where: tuple[str, str], body: dict[str, Any]
    ) -> None:
        ann = join(guarded)
        for _ in range(5):
            assert ann.ask(*where, body).status == 403
        answer = ann.ask(*where, body)
        assert_known_problem(answer, 429, "too_many_attempts")
        assert int(answer.headers["Retry-After"]) >= 1


class TestMe:
    def test_a_user_sees_who_they_are(self, ann: Person) -> None:
        answer = ann.ask("GET", "/me")
        assert (answer.status, answer.json()) == (200, ann.shape())
        assert list(answer.json()) == list(ann.shape())
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", ann.created_at)

    @pytest.mark.parametrize("operation", LOGINS, ids=str)
    def test_a_token_of_every_document_is_honoured(
        self, service: Service, ann: Person, operation: Operation
    ) -> None:
        token = token_of(send(service, operation, {"username": ann.name, "password": PASSWORD}))
        assert ann.ask("GET", "/me", token=token).json() == ann.shape()

    @pytest.mark.parametrize(
        "data",
        [None, True, 0, -1.5, "文 \u0000 😀", [], [1, [2]], {"a": {"b": None}}, "x" * 16_382],
        ids=repr,
    )
    def test_data_may_be_any_json_of_16_kib(self, ann: Person, data: Any) -> None:
        answer = ann.ask("PATCH", "/me", {"data": data})
        assert (answer.status, answer.json()) == (200, ann.shape(data=data))
        assert ann.ask("GET", "/me").json() == ann.shape(data=data)

    @pytest.mark.parametrize("language", [EN, ZH])
    def test_more_data_are_refused(self, ann: Person, language: str) -> None:
        answer = ann.ask("PATCH", "/me", {"data": "x" * 16_383}, language)
        assert_known_problem(answer, 400, "invalid_data", language)

    @pytest.mark.parametrize(
        "raw", ["1e999", "[" * 65 + "1" + "]" * 65, '{"a":' * 65 + "1" + "}" * 65, '"\\ud800"']
    )
    def test_data_that_could_not_be_read_again_are_refused(self, ann: Person, raw: str) -> None:
        headers = {"Authorization": f"Bearer {ann.token}", "Content-Type": "application/json"}
        body = f'{{"data": {raw}}}'.encode()
        answer = ann.client.request("PATCH", "/v1/me", body=body, headers=headers)
        assert_known_problem(answer, 400, "invalid_data")
        assert ann.ask("GET", "/me").json() == ann.shape()

    def test_64_levels_of_data_are_stored(self, ann: Person) -> None:
        data: Any = 1
        for _ in range(64):
            data = [data]
        assert ann.ask("PATCH", "/me", {"data": data}).json() == ann.shape(data=data)

    def test_nothing_asked_is_nothing_changed(self, stores: Stores, ann: Person) -> None:
        answer = ann.ask("PATCH", "/me", {})
        assert (answer.status, answer.json()) == (200, ann.shape())
        assert actions(stores, ann) == []

    def test_no_address_takes_effect_at_once(self, stores: Stores, ann: Person) -> None:
        answer = ann.ask("PATCH", "/me", {"email": None, "password": PASSWORD})
        assert (answer.status, answer.json()) == (200, ann.shape(email=None))
        assert actions(stores, ann) == ["email.changed"]

    @pytest.mark.parametrize("email", [None, "new@example.com"])
    def test_another_address_asks_for_the_password(self, ann: Person, email: str | None) -> None:
        answer = ann.ask("PATCH", "/me", {"email": email})
        assert_fault(answer, "password", "required")

    @pytest.mark.parametrize("language", [EN, ZH])
    def test_what_is_no_address_is_refused(self, ann: Person, language: str) -> None:
        answer = ann.ask("PATCH", "/me", {"email": "nowhere", "password": PASSWORD}, language)
        assert_known_problem(answer, 400, "invalid_email", language)


class TestPassword:
    def test_a_new_password_ends_all_other_sessions_and_keeps_this_one(
        self, service: Service, stores: Stores, ann: Person
    ) -> None:
        other = token_of(send(service, TOKEN_LOGIN, {"username": ann.name, "password": PASSWORD}))
        body = {"oldPassword": PASSWORD, "newPassword": NEW_PASSWORD}
        answer = ann.ask("PUT", "/me/password", body)
        assert (answer.status, answer.body) == (204, b"")
        assert ann.ask("GET", "/me").status == 200
        assert_known_problem(ann.ask("GET", "/me", token=other), 401, "invalid_token")
        assert ann.log_in(PASSWORD).status == 401
        assert ann.log_in(NEW_PASSWORD).status == 200
        assert actions(stores, ann) == ["password.changed"]

    @pytest.mark.parametrize("language", [EN, ZH])
    def test_a_password_that_is_too_short_is_refused(self, ann: Person, language: str) -> None:
        body = {"oldPassword": PASSWORD, "newPassword": "short"}
        answer = ann.ask("PUT", "/me/password", body, language)
        texts = TEXTS["invalid_password", language]
        assert_problem(answer, 400, "invalid_password", texts, language, minLength=8)

    @pytest.mark.parametrize("language", [EN, ZH])
    @pytest.mark.parametrize("reason", ["common", "username", "email"])
    def test_a_password_that_others_guess_first_is_refused(
        self, stores: Stores, ann: Person, reason: str, language: str
    ) -> None:
        stores.sql("UPDATE users SET email = 'marianne@example.com' WHERE id = ?", ann.id)
        weak = {"common": "password123", "username": f"{ann.name}!!!!", "email": "marianne99"}
        body = {"oldPassword": PASSWORD, "newPassword": weak[reason]}
        answer = ann.ask("PUT", "/me/password", body, language)
        texts = TEXTS["weak_password", language]
        assert_problem(answer, 400, "weak_password", texts, language, reason=reason)

    @pytest.mark.parametrize(
        ("body", "accepted", "reason"),
        [
            ({"password": "abc"}, False, "too_short"),
            ({"password": "é" * 1024}, False, "too_long"),
            ({"password": "password123"}, False, "common"),
            ({"password": "marianne99", "username": "marianne"}, False, "username"),
            ({"password": "marianne99", "email": "marianne@example.com"}, False, "email"),
            ({"password": "unlikely pear umbrella 7"}, True, None),
        ],
    )
    def test_the_strength_of_a_password_is_told_to_anybody(
        self, service: Service, body: dict[str, str], accepted: bool, reason: str | None
    ) -> None:
        answer = client_of(service, 8080).post("/v1/password/strength", body)
        told = answer.json()
        assert answer.status == 200
        assert list(told) == ["score", "accepted", "reason"]
        assert (told["accepted"], told["reason"]) == (accepted, reason)
        assert told["score"] == 4 if accepted else told["score"] in range(5)


class TestDeletion:
    def test_a_deleted_user_is_gone_with_all_sessions(self, stores: Stores, ann: Person) -> None:
        answer = ann.ask("DELETE", "/me", {"password": PASSWORD})
        assert (answer.status, answer.body) == (204, b"")
        assert_known_problem(ann.ask("GET", "/me"), 401, "invalid_token")
        assert ann.log_in().status == 401
        assert not stores.has_user(ann.name)
        assert actions(stores, ann) == ["user.deleted"]

    @pytest.mark.parametrize("language", [EN, ZH])
    def test_the_last_administrator_stays(self, stores: Stores, ann: Person, language: str) -> None:
        stores.sql("UPDATE users SET permission = 0")
        stores.promote(ann.name)
        answer = ann.ask("DELETE", "/me", {"password": PASSWORD}, language)
        assert_known_problem(answer, 409, "last_administrator", language)
        assert stores.has_user(ann.name)


class TestOneTimeCodes:
    def test_codes_live_from_the_secret_to_the_last_log_in(
        self, stores: Stores, ann: Person
    ) -> None:
        prepared = ann.ask("POST", "/me/totp", {"password": PASSWORD})
        assert (prepared.status, list(prepared.json())) == (200, ["secret", "uri"])
        assert re.fullmatch("[A-Z2-7]{32}", prepared.json()["secret"])
        assert quote(ann.name) in prepared.json()["uri"]
        assert ann.ask("GET", "/me").json() == ann.shape()
        assert ann.log_in().status == 200

        codes = pyotp.TOTP(prepared.json()["secret"])
        first = code_of(codes, -1)
        confirmed = ann.ask("POST", "/me/totp/confirm", {"code": first})
        assert (confirmed.status, list(confirmed.json())) == (200, ["recoveryCodes"])
        recovery_codes = confirmed.json()["recoveryCodes"]
        assert len(set(recovery_codes)) == 10
        assert ann.ask("GET", "/me").json() == ann.shape(totp=True)

        assert_known_problem(ann.log_in(), 401, "totp_required")
        assert_known_problem(ann.log_in(code=first), 401, "invalid_code")
        assert ann.log_in(code=code_of(codes)).status == 200
        assert_known_problem(ann.log_in(code=code_of(codes)), 401, "invalid_code")
        assert ann.log_in(code=recovery_codes[0].upper()).status == 200
        assert_known_problem(ann.log_in(code=recovery_codes[0]), 401, "invalid_code")

        body = {"password": PASSWORD, "code": recovery_codes[1]}
        removed = ann.ask("DELETE", "/me/totp", body)
        assert (removed.status, removed.body) == (204, b"")
        assert ann.ask("GET", "/me").json() == ann.shape()
        assert ann.log_in().status == 200
        used = "totp.recovery_code_used"
        assert actions(stores, ann) == ["totp.on", used, used, "totp.off"]

    @pytest.mark.parametrize("operation", LOGINS, ids=str)
    def test_a_document_without_a_place_for_a_code_refuses_as_it_refuses_a_wrong_password(
        self, service: Service, ann: Person, operation: Operation
    ) -> None:
        ann.turn_on()
        refused = send(service, operation, {"username": ann.name, "password": WRONG})
        answer = send(service, operation, {"username": ann.name, "password": PASSWORD})
        assert (answer.status, answer.body) == (refused.status, refused.body)
        assert answer.status == 401

    def test_of_twenty_log_ins_at_once_with_one_code_one_succeeds(self, ann: Person) -> None:
        _, recovery_codes = ann.turn_on()
        with ThreadPoolExecutor(20) as pool:
            tries = [pool.submit(ann.log_in, code=recovery_codes[0]) for _ in range(20)]
        assert Counter(t.result().status for t in tries)[200] == 1
        assert {t.result().status for t in tries} <= {200, 401, 429, 503}

    @pytest.mark.parametrize("language", [EN, ZH])
    def test_each_refusal_is_told(self, ann: Person, language: str) -> None:
        wrong, right = {"code": "00000-00000"}, {"password": PASSWORD}
        answer = ann.ask("POST", "/me/totp/confirm", wrong, language)
        assert_known_problem(answer, 409, "totp_off", language)
        answer = ann.ask("DELETE", "/me/totp", right | wrong, language)
        assert_known_problem(answer, 409, "totp_off", language)
        ann.ask("POST", "/me/totp", right)
        answer = ann.ask("POST", "/me/totp/confirm", wrong, language)
        assert_known_problem(answer, 403, "wrong_code", language)
        codes, _ = ann.turn_on()
        answer = ann.ask("POST", "/me/totp", right, language)
        assert_known_problem(answer, 409, "totp_on", language)
        answer = ann.ask("POST", "/me/totp/confirm", {"code": code_of(codes)}, language)
        assert_known_problem(answer, 409, "totp_on", language)
        answer = ann.ask("DELETE", "/me/totp", right | wrong, language)
        assert_known_problem(answer, 403, "wrong_code", language)
        body = {"password": WRONG, "code": code_of(codes)}
        answer = ann.ask("DELETE", "/me/totp", body, language)
        assert_known_problem(answer, 403, "wrong_password", language)
        assert ann.ask("GET", "/me").json() == ann.shape(totp=True)
