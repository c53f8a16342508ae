"""Sessions under /v1: whole answers of the real service."""

import base64
import itertools
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import jwt
import pytest

from tests.dialects.pages import (
    ADMIN_CREATE_USER,
    LOGINS,
    Operation,
    client_of,
    fresh_name,
    send,
    token_of,
)
from tests.dialects.stores import TEST_VALUE, Stores
from tests.dialects.wire import JSON, chunked, exchange, message
from tests.support.client import NOTHING, Answer, Client
from tests.support.service import Service

Serve = Callable[..., Service]

PASSWORD = "Xk9-Longer-than-most"
ORIGIN = "https://app.example.com"
ACCESS, REFRESH = "__Host-authsvc-access", "__Host-authsvc-refresh"
CSRF = "__Host-authsvc-csrf"
CLIENT_ID, CLIENT_SECRET = "shop & co", "s3cret: +%2B ü of the shop"
MOMENT = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ")

_addresses = (f"127.78.{n // 250}.{n % 250 + 1}" for n in itertools.count())

TEXTS = {
    "invalid_fields": (400, "Invalid fields", "Some fields of the request are not valid."),
    "malformed_request": (400, "Malformed request", "The body is not a JSON object."),
    "captcha_rejected": (
        400,
        "Captcha rejected",
        "The answer is wrong, or the captcha has expired or was used.",
    ),
    "invalid_username": (
        400,
        "Invalid user name",
        "A name has 1 to 64 characters and no control characters.",
    ),
    "invalid_email": (400, "Invalid e-mail address", "This is not an e-mail address."),
    "invalid_password": (400, "Invalid password", "The password breaks the rule for passwords."),
    "weak_password": (400, "Weak password", "The password is too easy to guess."),
    "cookies_off": (400, "Cookies are off", "This service keeps no tokens in cookies."),
    "invalid_credentials": (
        401,
        "Invalid credentials",
        "The user name or the password is wrong.",
    ),
    "invalid_token": (401, "Invalid token", "The access token is missing, invalid or expired."),
    "invalid_refresh_token": (
        401,
        "Invalid refresh token",
        "The refresh token is missing, invalid, expired or revoked.",
    ),
    "csrf_rejected": (
        403,
        "CSRF token missing",
        "The X-CSRF-Token header does not fit the session's cookie.",
    ),
    "unknown_session": (404, "Unknown session", "You have no such session."),
    "username_taken": (409, "User name taken", "Another user has this name."),
    "email_taken": (409, "E-mail address taken", "Another user has this e-mail address."),
    "request_too_large": (413, "Request too large", "A body has at most 64 KiB."),
    "unsupported_media_type": (
        415,
        "Unsupported media type",
        "A body is sent as application/json.",
    ),
}
FAULTS = {
    "required": "This field is required.",
    "null": "This field must not be null.",
    "wrong_type": "This field has the wrong type.",
    "empty": "This field must not be empty.",
    "too_long": "This field is too long.",
    "not_a_choice": "This is none of the choices.",
    "unknown_field": "This field is not known.",
}


def assert_problem(answer: Answer, code: str, **more: Any) -> None:
    """The answer is this problem of RFC 9457, whole."""
    status, title, detail = TEXTS[code]
    assert answer.json() == {
        "type": f"urn:authsvc:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        **more,
    }
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Content-Language"] == "en"
    assert answer.headers["Cache-Control"] == "no-store"


def assert_faults(answer: Answer, faults: Mapping[str, str]) -> None:
    """The answer names these fields and what is wrong with each."""
    errors = [{"field": f, "code": c, "detail": FAULTS[c]} for f, c in faults.items()]
    assert sorted(answer.json()["errors"], key=str) == sorted(errors, key=str)
    assert_problem(answer, "invalid_fields", errors=answer.json()["errors"])


@dataclass
class Person:
    """Somebody who has signed up, from an address of their own."""

    client: Client
    name: str
    user: dict[str, Any]
    tokens: dict[str, Any]

    @property
    def access(self) -> str:
        return str(self.tokens["accessToken"])

    @property
    def refresh_token(self) -> str:
        return str(self.tokens["refreshToken"])

    @property
    def sid(self) -> str:
        return sid_of(self.access)

    def log_in(self, **more: Any) -> Answer:
        body = {"username": self.name, "password": PASSWORD, **more}
        return self.client.post("/v1/login", body)

    def another(self) -> "Person":
        """The same user in another session."""
        return Person(self.client, self.name, self.user, self.log_in().json())

    def ask(self, method: str, path: str, body: Any = NOTHING, token: str = "") -> Answer:
        headers = {"Authorization": f"Bearer {token or self.access}"}
        return self.client.request(method, f"/v1{path}", json=body, headers=headers)

    def refresh(self, token: Any = "") -> Answer:
        sent = {"refreshToken": token or self.refresh_token}
        return self.client.post("/v1/token/refresh", sent)

    def lives(self) -> bool:
        """Whether the access token is honoured."""
        return self.ask("GET", "/me").status == 200

    def listed(self) -> list[dict[str, Any]]:
        sessions: list[dict[str, Any]] = self.ask("GET", "/me/sessions").json()["sessions"]
        return sessions


def claims_of(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


def sid_of(token: str) -> str:
    return str(claims_of(token)["sid"])


def captcha_in(service: Service) -> dict[str, str]:
    """The two fields of a captcha that is solved."""
    captcha_id = client_of(service, 8080).get("/v1/captcha").json()["captchaId"]
    return {"captchaId": captcha_id, "value": TEST_VALUE}


def join(service: Service, name: str = "", **more: Any) -> Person:
    """Sign somebody up through /v1."""
    name = name or fresh_name("native")
    client = Client(service.first, source=next(_addresses))
    body = {"username": name, "password": PASSWORD, **captcha_in(service), **more}
    answer = client.post("/v1/signup", body)
    assert answer.status == 201, answer.text
    tokens = answer.json()
    return Person(client, name, tokens.pop("user"), tokens)


def verified(stores: Stores, person: Person) -> str:
    """Give a user a verified address, behind the service's back."""
    email = f"{person.name}@Example.com"
    stores.sql(
        "UPDATE users SET email = ?, email_key = ?, email_verified = 1 WHERE id = ?",
        email,
        email.lower(),
        person.user["id"],
    )
    return email


@pytest.fixture
def ann(service: Service) -> Person:
    return join(service)


@pytest.fixture(scope="session")
def browser_service(serve: Serve) -> Service:
    """The service that keeps tokens in cookies, and answers another service about them."""
    return serve(
        "browsers",
        {
            "AUTHSVC_COOKIES": "on",
            "AUTHSVC_CORS_ORIGINS": ORIGIN,
            "AUTHSVC_INTROSPECTION_CLIENTS": f"{CLIENT_ID}:{CLIENT_SECRET}, other:{'o' * 16}",
        },
    )


class TestSignUp:
    @pytest.mark.parametrize("email", [None, "given", "absent"])
    def test_a_sign_up_answers_with_tokens_and_the_user(
        self, service: Service, email: str | None
    ) -> None:
        name = fresh_name("native")
        address = f"{name}@example.com" if email == "given" else None
        body = {"username": f"  {name} ", "password": PASSWORD, **captcha_in(service)}
        if email != "absent":
            body["email"] = address  # type: ignore[assignment]
        answer = client_of(service, 8080).post("/v1/signup", body)
        assert answer.status == 201
        said = answer.json()
        user = said.pop("user")
        assert set(said) == {"accessToken", "tokenType", "expiresIn", "refreshToken"}
        assert (said["tokenType"], said["expiresIn"]) == ("Bearer", 7200)
        assert MOMENT.fullmatch(user.pop("createdAt"))
        assert user == {
            "id": int(claims_of(said["accessToken"])["sub"]),
            "username": name,
            "email": address,
            "emailVerified": False,
            "permission": 0,
            "disabled": False,
            "totp": False,
            "data": {},
        }
        assert "Set-Cookie" not in answer.headers
        assert answer.headers["Cache-Control"] == "no-store"

    def test_a_wrong_answer_burns_the_captcha(self, service: Service) -> None:
        captcha = captcha_in(service)
        body = {"username": fresh_name(), "password": PASSWORD, **captcha}
        client = client_of(service, 8080)
        assert_problem(client.post("/v1/signup", body | {"value": "no"}), "captcha_rejected")
        assert_problem(client.post("/v1/signup", body), "captcha_rejected")

    def test_an_unknown_captcha_is_rejected(self, service: Service) -> None:
        for captcha_id in ("x", "A" * 22, "\ud800", "\0", "é" * 64):
            body = {"username": fresh_name(), "password": PASSWORD, "captchaId": captcha_id}
            sent = escaped(body | {"value": TEST_VALUE})
            assert_problem(post_raw(service, "/v1/signup", sent), "captcha_rejected")

    def test_a_captcha_must_come_along(self, service: Service, stores: Stores) -> None:
        name = fresh_name()
        answer = client_of(service, 8080).post(
            "/v1/signup", {"username": name, "password": PASSWORD}
        )
        assert_faults(answer, {"captchaId": "required", "value": "required"})
        assert not stores.has_user(name)

    @pytest.mark.parametrize(
        ("change", "code", "more"),
        [
            ({"username": "a\u0000b"}, "invalid_username", {}),
            ({"username": "  "}, "invalid_username", {}),
            ({"username": "\ud800"}, "invalid_username", {}),
            ({"email": "nobody"}, "invalid_email", {}),
            ({"email": "\ud800@example.com"}, "invalid_email", {}),
            ({"password": "Short-1"}, "invalid_password", {"minLength": 8}),
            ({"password": "ü" * 1000}, "invalid_password", {"minLength": 8}),
            ({"password": "\ud800-long-enough"}, "invalid_password", {"minLength": 8}),
            ({"password": "Password123"}, "weak_password", {"reason": "common"}),
            ({"username": "Wolfgang-A", "password": "wolfgang-A"}, "weak_password", "username"),
            ({"email": "wolf@gang.example", "password": "wolf@gang.example"}, "weak_password", "e"),
            ({"cookies": True}, "cookies_off", {}),
        ],
    )
    def test_a_user_who_cannot_be_stored_burns_no_captcha(
        self, service: Service, stores: Stores, change: dict[str, Any], code: str, more: Any
    ) -> None:
        captcha = captcha_in(service)
        body = {"username": fresh_name(), "password": PASSWORD, **captcha, **change}
        if isinstance(more, str):
            more = {"reason": "username" if more == "username" else "email"}
        assert_problem(post_raw(service, "/v1/signup", escaped(body)), code, **more)
        assert stores.is_live(captcha["captchaId"])

    def test_a_name_or_an_address_that_is_taken_is_told(self, service: Service) -> None:
        name = fresh_name("Taken")
        join(service, name, email=f"{name}@example.com")
        body = {"password": PASSWORD}
        client = client_of(service, 8080)
        for changed, code in (
            ({"username": name.upper()}, "username_taken"),
            (
                {"username": fresh_name(), "email": f"{name.upper()}@EXAMPLE.com"},
                "email_taken",
            ),
            ({"username": name, "email": f"{name}@example.com"}, "username_taken"),
        ):
            answer = client.post("/v1/signup", body | captcha_in(service) | changed)
            assert_problem(answer, code)

    def test_the_edition_without_captcha_asks_for_none_and_has_no_place_for_one(
        self, older_edition: Service
    ) -> None:
        client = client_of(older_edition, 8080)
        body = {"username": fresh_name(), "password": PASSWORD}
        answer = client.post("/v1/signup", body | {"captchaId": "x", "value": "y"})
        assert_faults(answer, {"captchaId": "unknown_field", "value": "unknown_field"})
        assert client.post("/v1/signup", body).status == 201


class TestLogIn:
    def test_a_log_in_answers_with_tokens_and_the_user(self, ann: Person) -> None:
        said = ann.log_in().json()
        assert said.pop("user") == ann.user
        assert set(said) == {"accessToken", "tokenType", "expiresIn", "refreshToken"}
        assert ann.ask("GET", "/me", token=said["accessToken"]).json() == ann.user
        assert sid_of(said["accessToken"]) != ann.sid

    def test_a_verified_address_stands_for_the_name(self, ann: Person, stores: Stores) -> None:
        email = verified(stores, ann)
        for spelling in (email, email.upper(), email.lower()):
            answer = ann.log_in(username=spelling)
            assert answer.status == 200
            assert answer.json()["user"]["id"] == ann.user["id"]

    def test_an_address_that_is_not_verified_is_a_wrong_name(self, service: Service) -> None:
        email = f"{fresh_name()}@example.com"
        assert_problem(join(service, email=email).log_in(username=email), "invalid_credentials")

    def test_a_name_that_equals_someones_address_is_matched_as_a_name(
        self, ann: Person, service: Service, stores: Stores
    ) -> None:
        email = verified(stores, ann)
        squatter = join(service, email)
        answer = ann.log_in(username=email)
        assert answer.json()["user"]["id"] == squatter.user["id"]
        stores.sql("UPDATE users SET password_hash = '' WHERE id = ?", squatter.user["id"])
        assert_problem(ann.log_in(username=email), "invalid_credentials")

    @pytest.mark.parametrize(
        "change",
        [
            {"password": "wrong"},
            {"password": "ü" * 1000},
            {"password": "\ud800"},
            {"username": "nobody"},
            {"username": "\ud800"},
            {"username": "\0"},
            {"username": "x" * 254},
            {"username": "nobody@example.com"},
        ],
    )
    def test_wrong_credentials_are_told_alike(
        self, ann: Person, service: Service, change: dict[str, str]
    ) -> None:
        body = {"username": ann.name, "password": PASSWORD, **change}
        assert_problem(post_raw(service, "/v1/login", escaped(body)), "invalid_credentials")

    def test_a_disabled_user_is_a_wrong_password(self, ann: Person, stores: Stores) -> None:
        stores.sql("UPDATE users SET disabled = 1 WHERE id = ?", ann.user["id"])
        assert_problem(ann.log_in(), "invalid_credentials")
        assert_problem(ann.refresh(), "invalid_refresh_token")
        assert_problem(ann.ask("GET", "/me"), "invalid_token")

    def test_cookies_that_are_off_are_told(self, ann: Person) -> None:
        assert_problem(ann.log_in(cookies=True), "cookies_off")
        assert ann.log_in(cookies=False).status == 200


FORGERIES: dict[str, Callable[[list[str]], str]] = {
    "another user": lambda p: ".".join(["1", *p[1:]]),
    "a huge user": lambda p: ".".join(["9" * 19, *p[1:]]),
    "a far too large user": lambda p: ".".join(["9" * 1000, *p[1:]]),
    "another session": lambda p: ".".join([p[0], "A" * 22, *p[2:]]),
    "another generation": lambda p: ".".join([*p[:2], "1", p[3]]),
    "a huge generation": lambda p: ".".join([*p[:2], "9" * 15, p[3]]),
    "a far too large generation": lambda p: ".".join([*p[:2], "9" * 1000, p[3]]),
    "another mac": lambda p: ".".join([*p[:3], "A" * 43]),
    "no mac": lambda p: ".".join(p[:3]),
    "more": lambda p: ".".join([*p, "x"]),
    "a surrogate": lambda p: ".".join([*p[:3], "\ud800" * 43]),
    "a NUL": lambda p: "\0" + ".".join(p),
    "a word": lambda _: "x",
    "a full stop": lambda _: ".",
    "the longest": lambda _: "x" * 8192,
}


class TestRefresh:
    def test_a_refresh_answers_with_new_tokens_of_the_same_session(self, ann: Person) -> None:
        answer = ann.refresh()
        assert answer.status == 200
        said = answer.json()
        assert set(said) == {"accessToken", "tokenType", "expiresIn", "refreshToken"}
        assert said["accessToken"] != ann.access
        assert said["refreshToken"] != ann.refresh_token
        assert sid_of(said["accessToken"]) == ann.sid
        assert ann.refresh(said["refreshToken"]).status == 200

    @pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
    def test_a_forged_token_is_refused_and_harms_nothing(
        self, ann: Person, service: Service, forge: Callable[[list[str]], str]
    ) -> None:
        forged = {"refreshToken": forge(ann.refresh_token.split("."))}
        answer = post_raw(service, "/v1/token/refresh", escaped(forged))
        assert_problem(answer, "invalid_refresh_token")
        assert ann.refresh().status == 200

    def test_an_access_token_is_no_refresh_token_nor_the_other_way_round(self, ann: Person) -> None:
        assert_problem(ann.refresh(ann.access), "invalid_refresh_token")
        assert_problem(ann.ask("GET", "/me", token=ann.refresh_token), "invalid_token")

    def test_a_token_of_a_megabyte_is_too_large(self, ann: Person) -> None:
        assert_problem(ann.refresh("x" * 1_000_000), "request_too_large")
        assert_faults(ann.refresh("x" * 8193), {"refreshToken": "too_long"})

    @pytest.mark.parametrize("body", [NOTHING, {}])
    def test_no_token_at_all_is_an_invalid_one(self, service: Service, body: Any) -> None:
        answer = client_of(service, 8080).post("/v1/token/refresh", body)
        assert_problem(answer, "invalid_refresh_token")

    def test_the_session_that_a_document_opened_has_no_refresh_token(
        self, ann: Person, service: Service
    ) -> None:
        body = {"username": ann.name, "password": PASSWORD}
        token = token_of(send(service, LOGINS[0], body))
        assert_problem(ann.refresh(token), "invalid_refresh_token")


class TestLogOut:
    @pytest.mark.parametrize("body", [NOTHING, {}, {"scope": "local"}])
    def test_a_log_out_ends_this_session_at_once(self, ann: Person, body: Any) -> None:
        other = ann.another()
        answer = ann.ask("POST", "/logout", body)
        assert (answer.status, answer.body) == (204, b"")
        assert "Set-Cookie" not in answer.headers
        assert_problem(ann.ask("GET", "/me"), "invalid_token")
        assert_problem(ann.refresh(), "invalid_refresh_token")
        assert_problem(ann.ask("POST", "/logout"), "invalid_token")
        assert other.lives()

    def test_all_others_are_ended(self, ann: Person, service: Service) -> None:
        others, stranger = [ann.another(), ann.another()], join(service)
        assert ann.ask("POST", "/logout", {"scope": "others"}).status == 204
        assert [one.lives() for one in (ann, *others, stranger)] == [True, False, False, True]
        assert ann.refresh().status == 200
        assert_problem(others[0].refresh(), "invalid_refresh_token")

    def test_all_are_ended(self, ann: Person, service: Service) -> None:
        others, stranger = [ann.another(), ann.another()], join(service)
        assert ann.ask("POST", "/logout", {"scope": "global"}).status == 204
        assert [one.lives() for one in (ann, *others, stranger)] == [False, False, False, True]

    @pytest.mark.parametrize(
        ("scope", "fault"),
        [("all", "not_a_choice"), ("", "not_a_choice"), (1, "wrong_type"), ([], "wrong_type")],
    )
    def test_an_unknown_scope_ends_nothing(self, ann: Person, scope: Any, fault: str) -> None:
        assert_faults(ann.ask("POST", "/logout", {"scope": scope}), {"scope": fault})
        assert_faults(ann.ask("POST", "/logout", {"Scope": "local"}), {"Scope": "unknown_field"})
        assert ann.lives()


class TestListing:
    def test_the_sessions_are_listed_the_newest_first(self, ann: Person) -> None:
        second, third = ann.another(), ann.another()
        listed = second.listed()
        assert [one["id"] for one in listed] == [third.sid, second.sid, ann.sid]
        assert [one["current"] for one in listed] == [False, True, False]
        for one in listed:
            assert set(one) == {
                *("id", "createdAt", "lastUsedAt", "address", "userAgent", "current"),
            }
            assert MOMENT.fullmatch(one["createdAt"])
            assert MOMENT.fullmatch(one["lastUsedAt"])
            assert one["address"].startswith("127.78.")

    def test_a_session_says_with_what_it_was_opened(self, ann: Person) -> None:
        body = {"username": ann.name, "password": PASSWORD}
        for agent, shown in (("Firefox 5", "Firefox 5"), ("x" * 5000, "x" * 256), ("", "")):
            ann.client.post("/v1/login", body, headers={"User-Agent": agent})
            assert ann.listed()[0]["userAgent"] == shown

    def test_sessions_of_documents_are_listed_too(self, ann: Person, service: Service) -> None:
        opened = [
            sid_of(token_of(send(service, login, {"username": ann.name, "password": PASSWORD})))
            for login in LOGINS
        ]
        assert [one["id"] for one in ann.listed()] == [*opened[::-1], ann.sid]

    def test_one_session_is_ended(self, ann: Person) -> None:
        other = ann.another()
        answer = ann.ask("DELETE", f"/me/sessions/{other.sid}")
        assert (answer.status, answer.body) == (204, b"")
        assert (ann.lives(), other.lives()) == (True, False)
        assert_problem(ann.ask("DELETE", f"/me/sessions/{other.sid}"), "unknown_session")

    def test_the_current_session_can_be_ended(self, ann: Person) -> None:
        assert ann.ask("DELETE", f"/me/sessions/{ann.sid}").status == 204
        assert not ann.lives()

    @pytest.mark.parametrize(
        "sid", ["x", "A" * 22, "%00", "%ff%fe", "..%2e", "x" * 2000, "*", "{1}:x", "%F0%9F%98%80"]
    )
    def test_an_unknown_session_is_told(self, ann: Person, sid: str) -> None:
        assert_problem(ann.ask("DELETE", f"/me/sessions/{sid}"), "unknown_session")
        assert ann.lives()

    def test_nobody_ends_the_session_of_another(self, ann: Person, service: Service) -> None:
        other = join(service)
        assert_problem(ann.ask("DELETE", f"/me/sessions/{other.sid}"), "unknown_session")
        assert other.lives()

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("POST", "/logout"),
            ("GET", "/me/sessions"),
            ("DELETE", "/me/sessions/x"),
            ("GET", "/me"),
        ],
    )
    @pytest.mark.parametrize(
        "header", [None, "", "Bearer", "Bearer x", "Basic eDp5", "Bearer a b", "bearer", "x" * 5000]
    )
    def test_nobody_is_let_in_without_a_token(
        self, service: Service, method: str, path: str, header: str | None
    ) -> None:
        headers = {} if header is None else {"Authorization": header}
        answer = client_of(service, 8080).request(
            method, f"/v1{path}", json={"nonsense": 1}, headers=headers
        )
        assert_problem(answer, "invalid_token")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


class TestEveryDialect:
    @pytest.mark.parametrize("login", LOGINS, ids=str)
    def test_a_token_of_any_document_is_good_here_and_can_be_ended_here(
        self, ann: Person, service: Service, login: Operation
    ) -> None:
        body = {"username": ann.name, "password": PASSWORD}
        token = token_of(send(service, login, body))
        assert ann.ask("GET", "/me", token=token).json() == ann.user
        assert ann.ask("DELETE", f"/me/sessions/{sid_of(token)}").status == 204
        assert_problem(ann.ask("GET", "/me", token=token), "invalid_token")
        assert create_user(service, token).status == 401

    @pytest.mark.parametrize("scope", ["local", "global"])
    def test_a_token_of_v1_is_good_in_the_documents_until_it_is_revoked(
        self, service: Service, stores: Stores, scope: str
    ) -> None:
        boss = join(service)
        stores.promote(boss.name)
        renewed = boss.refresh().json()["accessToken"]
        for token in (boss.access, renewed):
            assert create_user(service, token).status == 201
        assert boss.ask("POST", "/logout", {"scope": scope}).status == 204
        for token in (boss.access, renewed):
            assert create_user(service, token).status == 401
            assert_problem(boss.ask("GET", "/me", token=token), "invalid_token")

    def test_an_expired_token_is_refused(self, ann: Person, stores: Stores) -> None:
        expired = stores.expire_token(ann.access)
        assert_problem(ann.ask("GET", "/me", token=expired), "invalid_token")


def create_user(service: Service, token: str) -> Answer:
    name = fresh_name("made")
    body = {"username": name, "password": PASSWORD, "email": f"{name}@example.com"}
    return send(service, ADMIN_CREATE_USER, body, token)


def basic(client_id: str = CLIENT_ID, secret: str = CLIENT_SECRET) -> dict[str, str]:
    """HTTP Basic as RFC 6749, section 2.3.1, has it: both parts form-encoded first."""
    both = f"{quote(client_id, safe='')}:{quote(secret, safe='')}"
    return {"Authorization": f"Basic {base64.b64encode(both.encode()).decode()}"}


def introspect(
    service: Service,
    form: Any,
    headers: Mapping[str, str] | None = None,
    content_type: str = "application/x-www-form-urlencoded",
) -> Answer:
    """Ask about a token; with the client's credentials in the header unless others are given."""
    body = form if isinstance(form, bytes) else urlencode(form).encode()
    sent = {"Content-Type": content_type, **(basic() if headers is None else headers)}
    return client_of(service, 8080).request("POST", "/v1/introspect", body=body, headers=sent)


def assert_refused_client(answer: Answer) -> None:
    assert (answer.status, answer.json()) == (401, {"error": "invalid_client"})
    assert answer.headers["WWW-Authenticate"].startswith("Basic")
    assert answer.headers["Content-Type"] == "application/json"


class TestIntrospection:
    @pytest.fixture
    def eve(self, browser_service: Service) -> Person:
        return join(browser_service)

    @pytest.mark.parametrize(
        "more",
        [b"&client_id=other&client_secret=wrong", b"&token_type_hint=a&token_type_hint=b"],
        ids=["two proofs", "a field twice"],
    )
    def test_what_rfc_6749_forbids_to_repeat_is_an_invalid_request(
        self, browser_service: Service, eve: Person, more: bytes
    ) -> None:
        answer = introspect(browser_service, f"token={eve.access}".encode() + more)
        assert (answer.status, answer.json()) == (400, {"error": "invalid_request"})

    @pytest.mark.parametrize("hint", [None, "access_token", "refresh_token", "nonsense"])
    def test_an_access_token_is_told_of(
        self, browser_service: Service, eve: Person, hint: str | None
    ) -> None:
        form = {"token": eve.access} | ({"token_type_hint": hint} if hint else {})
        answer = introspect(browser_service, form)
        claims = claims_of(eve.access)
        assert answer.status == 200
        assert answer.json() == {
            "active": True,
            "sub": str(eve.user["id"]),
            "username": eve.name,
            "token_type": "Bearer",
            **{name: claims[name] for name in ("exp", "iat", "iss", "jti", "sid")},
        }
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Cache-Control"] == "no-store"

    def test_a_refresh_token_is_told_of_and_not_used(
        self, browser_service: Service, eve: Person
    ) -> None:
        for _ in range(2):
            said = introspect(browser_service, {"token": eve.refresh_token}).json()
            assert (said["active"], said["sub"]) == (True, str(eve.user["id"]))
            assert said["sid"] == eve.sid
            assert abs(said["exp"] - time.time() - 30 * 86400) < 60
        assert eve.refresh().status == 200
        assert introspect(browser_service, {"token": eve.refresh_token}).json() == {"active": False}

    def test_credentials_may_stand_in_the_form(self, browser_service: Service, eve: Person) -> None:
        form = {"token": eve.access, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        assert introspect(browser_service, form, {}).json()["active"] is True
        assert_refused_client(introspect(browser_service, form | {"client_secret": "wrong"}, {}))

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            basic(secret="wrong"),
            basic(secret=""),
            basic("", ""),
            basic("nobody"),
            basic("other"),
            basic(secret="\ufffd" * 30),
            {"Authorization": "Basic"},
            {"Authorization": "Basic ????"},
            {"Authorization": "Basic /zr/"},
            {"Authorization": "Bearer x"},
            {"Authorization": "Digest username=x"},
            {"Authorization": "Basic Zm9vYmFy"},
        ],
    )
    def test_a_client_that_is_not_known_is_refused(
        self, browser_service: Service, eve: Person, headers: dict[str, str]
    ) -> None:
        assert_refused_client(introspect(browser_service, {"token": eve.access}, headers))

    def test_without_clients_nobody_is_answered(self, service: Service, ann: Person) -> None:
        assert_refused_client(introspect(service, {"token": ann.access}))
        assert_refused_client(introspect(service, {"token": ann.access}, {}))
        form = {"token": ann.access, "client_id": "", "client_secret": ""}
        assert_refused_client(introspect(service, form, {}))

    @pytest.mark.parametrize(
        ("form", "content_type"),
        [
            (b"", "application/x-www-form-urlencoded"),
            (b"toke=x", "application/x-www-form-urlencoded"),
            (b"token=x&token=x", "application/x-www-form-urlencoded"),
            (b"token=x", "text/plain"),
            (b"token=\xff", "application/x-www-form-urlencoded"),
            (b"token=x", ""),
            (b'{"token": "x"}', "application/json"),
            (
                b"--x\r\nContent-Disposition: form-data; name=token\r\n\r\nx\r\n--x--\r\n",
                "multipart/form-data; boundary=x",
            ),
            (b"--x\r\n", "multipart/form-data"),
        ],
    )
    def test_a_request_without_one_token_in_a_form_is_invalid(
        self, browser_service: Service, form: bytes, content_type: str
    ) -> None:
        answer = introspect(browser_service, form, content_type=content_type)
        assert (answer.status, answer.json()) == (400, {"error": "invalid_request"})

    @pytest.mark.parametrize(
        "token",
        ["", "x", "a.b.c", "ü", "\0", "1.2.3.4", "x" * 20_000, ".".join(["e30"] * 3), "é" * 9000],
    )
    def test_garbage_is_not_active(self, browser_service: Service, token: str) -> None:
        answer = introspect(browser_service, {"token": token})
        assert (answer.status, answer.json()) == (200, {"active": False})

    @pytest.mark.parametrize("form", [b"token=%ff%fe", b"token=%ed%a0%80", b"token=%zz"])
    def test_bytes_that_are_no_text_are_not_active(
        self, browser_service: Service, form: bytes
    ) -> None:
        assert introspect(browser_service, form).json() == {"active": False}

    def test_a_form_that_is_too_large_is_refused(self, browser_service: Service) -> None:
        answer = introspect(browser_service, {"token": "x" * 70_000})
        assert 400 <= answer.status < 500
        answer = introspect(browser_service, b"a&" * 30_000 + b"token=x")
        assert answer.status < 500

    def test_a_form_that_is_framed_wrongly_is_no_crash(self, browser_service: Service) -> None:
        headers = [f"{name}: {value}" for name, value in basic().items()]
        form = "Content-Type: application/x-www-form-urlencoded"
        for body in (b"zz\r\ntoken=x\r\n", b"7\r\ntoken=x", b"-1\r\n\r\n"):
            wire = message(
                "POST",
                "/v1/introspect",
                ["Host: x", form, "Transfer-Encoding: chunked", *headers],
            )
            answer = exchange(browser_service.ports[0], wire + body)
            assert answer.status < 500, (body, answer.text)
        wire = message("POST", "/v1/introspect", ["Host: x", form, "Content-Length: 50", *headers])
        assert exchange(browser_service.ports[0], wire + b"token=x").status < 500
        whole = message(
            "POST", "/v1/introspect", ["Host: x", form, "Transfer-Encoding: chunked", *headers]
        )
        answer = exchange(browser_service.ports[0], whole + chunked(b"token=x"))
        assert answer.json() == {"active": False}

    def test_an_ended_token_is_not_active(
        self, browser_service: Service, eve: Person, stores: Stores
    ) -> None:
        expired = stores.expire_token(eve.access)
        assert introspect(browser_service, {"token": expired}).json() == {"active": False}
        eve.ask("POST", "/logout")
        for token in (eve.access, eve.refresh_token):
            assert introspect(browser_service, {"token": token}).json() == {"active": False}

    def test_tokens_of_a_disabled_user_are_not_active(
        self, browser_service: Service, eve: Person, stores: Stores
    ) -> None:
        stores.sql("UPDATE users SET disabled = 1 WHERE id = ?", eve.user["id"])
        for token in (eve.access, eve.refresh_token):
            assert introspect(browser_service, {"token": token}).json() == {"active": False}


class Browser:
    """Keeps cookies, and sends them with whatever it is asked to send."""

    def __init__(self, service: Service, name: str) -> None:
        self.client = Client(service.first, source=next(_addresses))
        self.name = name
        self.jar: dict[str, str] = {}
        self.set: dict[str, Any] = {}

    def log_in(self) -> Answer:
        body = {"username": self.name, "password": PASSWORD, "cookies": True}
        return self.kept(self.client.post("/v1/login", body))

    def send(self, method: str, path: str, body: Any = NOTHING, **headers: str | None) -> Answer:
        """Send with all cookies and the CSRF header; `X_CSRF_Token=None` leaves it out."""
        sent = {"X-CSRF-Token": self.jar.get(CSRF, ""), "Cookie": self.cookie()}
        for name, value in headers.items():
            sent[name.replace("_", "-")] = value  # type: ignore[assignment]
        given = {name: value for name, value in sent.items() if value is not None}
        return self.kept(self.client.request(method, f"/v1{path}", json=body, headers=given))

    def cookie(self, *left_out: str) -> str:
        return "; ".join(f"{n}={v}" for n, v in self.jar.items() if n not in left_out)

    def kept(self, answer: Answer) -> Answer:
        self.set = {}
        for line in answer.headers.get_all("Set-Cookie") or ():
            for name, morsel in SimpleCookie(line).items():
                self.set[name] = morsel
                if morsel["max-age"] == "0":
                    self.jar.pop(name, None)
                else:
                    self.jar[name] = morsel.value
        return answer


class TestCookies:
    @pytest.fixture
    def browser(self, browser_service: Service) -> Browser:
        browser = Browser(browser_service, join(browser_service).name)
        assert browser.log_in().status == 200
        return browser

    def assert_flags(self, browser: Browser, lives: dict[str, int]) -> None:
        assert {name: int(m["max-age"]) for name, m in browser.set.items()} == lives
        for name, morsel in browser.set.items():
            assert name.startswith("__Host-")
            assert morsel["secure"] is True
            assert bool(morsel["httponly"]) == (name != CSRF)
            assert (morsel["samesite"], morsel["path"], morsel["domain"]) == ("Lax", "/", "")

    def test_tokens_are_kept_in_cookies_and_left_out_of_the_body(
        self, browser_service: Service
    ) -> None:
        browser = Browser(browser_service, join(browser_service).name)
        answer = browser.log_in()
        assert set(answer.json()) == {"tokenType", "expiresIn", "user"}
        self.assert_flags(browser, {ACCESS: 7200, REFRESH: 2_592_000, CSRF: 2_592_000})
        assert browser.send("GET", "/me", X_CSRF_Token=None).json() == answer.json()["user"]

    def test_a_sign_up_can_keep_them_too(self, browser_service: Service) -> None:
        body = {"username": fresh_name(), "password": PASSWORD, "cookies": True}
        browser = Browser(browser_service, body["username"])  # type: ignore[arg-type]
        answer = browser.send("POST", "/signup", body | captcha_in(browser_service))
        assert answer.status == 201
        assert set(answer.json()) == {"tokenType", "expiresIn", "user"}
        assert set(browser.jar) == {ACCESS, REFRESH, CSRF}

    def test_what_changes_nothing_asks_for_no_proof(self, browser: Browser) -> None:
        for path in ("/me", "/me/sessions"):
            assert browser.send("GET", path, X_CSRF_Token=None).status == 200

    @pytest.mark.parametrize(
        ("method", "path"), [("POST", "/logout"), ("DELETE", "/me/sessions/x"), ("PATCH", "/me")]
    )
    @pytest.mark.parametrize("shown", [None, "", "x", "\xff\xfe", "x" * 5000])
    def test_what_changes_something_asks_for_the_proof(
        self, browser: Browser, method: str, path: str, shown: str | None
    ) -> None:
        answer = browser.send(method, path, {}, X_CSRF_Token=shown)
        assert_problem(answer, "csrf_rejected")
        assert browser.send("GET", "/me").status == 200

    def test_the_proof_of_another_session_is_none(
        self, browser: Browser, browser_service: Service
    ) -> None:
        for name in (browser.name, join(browser_service).name):
            other = Browser(browser_service, name)
            other.log_in()
            mixed = f"{browser.cookie(CSRF)}; {CSRF}={other.jar[CSRF]}"
            for cookie in (mixed, browser.cookie(), browser.cookie(CSRF)):
                answer = browser.send(
                    "POST", "/logout", X_CSRF_Token=other.jar[CSRF], Cookie=cookie
                )
                assert_problem(answer, "csrf_rejected")
        assert_problem(
            browser.send("POST", "/logout", Cookie=browser.cookie(CSRF)), "csrf_rejected"
        )

    def test_a_refresh_by_cookie_gives_new_cookies(self, browser: Browser) -> None:
        before = dict(browser.jar)
        answer = browser.send("POST", "/token/refresh")
        assert (answer.status, set(answer.json())) == (200, {"tokenType", "expiresIn"})
        self.assert_flags(browser, {ACCESS: 7200, REFRESH: 2_592_000, CSRF: 2_592_000})
        assert browser.jar[REFRESH] != before[REFRESH]
        assert browser.jar[CSRF] == before[CSRF]
        assert browser.send("GET", "/me").status == 200

    @pytest.mark.parametrize("shown", [None, "", "x"])
    def test_a_refresh_by_cookie_asks_for_the_proof_and_uses_nothing_up_without(
        self, browser: Browser, shown: str | None
    ) -> None:
        kept = browser.jar[REFRESH]
        assert_problem(browser.send("POST", "/token/refresh", X_CSRF_Token=shown), "csrf_rejected")
        assert browser.jar[REFRESH] == kept
        assert browser.send("POST", "/token/refresh", {}).status == 200

    def test_a_forged_refresh_cookie_is_an_invalid_token(self, browser: Browser) -> None:
        for forged in ("x", "", "1." + browser.jar[REFRESH].partition(".")[2] + "x"):
            answer = browser.send("POST", "/token/refresh", Cookie=f"{REFRESH}={forged}")
            assert_problem(answer, "invalid_refresh_token")

    @pytest.mark.parametrize("scope", ["local", "global"])
    def test_a_log_out_takes_the_cookies_back(self, browser: Browser, scope: str) -> None:
        taken = browser.cookie()
        assert browser.send("POST", "/logout", {"scope": scope}).status == 204
        self.assert_flags(browser, {ACCESS: 0, REFRESH: 0, CSRF: 0})
        assert all(morsel.value == "" for morsel in browser.set.values())
        assert browser.jar == {}
        assert_problem(browser.send("GET", "/me", Cookie=taken), "invalid_token")
        assert_problem(browser.send("POST", "/logout"), "invalid_token")

    def test_a_log_out_elsewhere_leaves_the_cookies(self, browser: Browser) -> None:
        assert browser.send("POST", "/logout", {"scope": "others"}).status == 204
        assert browser.set == {}
        assert browser.send("GET", "/me").status == 200

    def test_a_header_wins_over_the_cookie_and_asks_for_no_proof(
        self, browser: Browser, browser_service: Service
    ) -> None:
        other = join(browser_service)
        bearer = f"Bearer {other.access}"
        told = browser.send("GET", "/me", Authorization=bearer)
        assert told.json() == other.user
        answer = browser.send("PATCH", "/me", {"data": 1}, Authorization=bearer, X_CSRF_Token=None)
        assert answer.json()["id"] == other.user["id"]
        for wrong in ("Bearer x", "Bearer", "", "Basic eDp5"):
            assert_problem(browser.send("GET", "/me", Authorization=wrong), "invalid_token")

    def test_a_token_in_the_body_wins_over_the_cookie(
        self, browser: Browser, browser_service: Service
    ) -> None:
        other = join(browser_service)
        body = {"refreshToken": other.refresh_token}
        answer = browser.send("POST", "/token/refresh", body, X_CSRF_Token=None)
        assert sid_of(answer.json()["accessToken"]) == other.sid
        assert browser.set == {}

    def test_where_cookies_are_off_they_are_not_looked_at(
        self, browser: Browser, service: Service
    ) -> None:
        client = client_of(service, 8080)
        headers = {"Cookie": browser.cookie(), "X-CSRF-Token": browser.jar[CSRF]}
        assert_problem(client.get("/v1/me", headers=headers), "invalid_token")
        answer = client.post("/v1/token/refresh", headers=headers)
        assert_problem(answer, "invalid_refresh_token")

    def test_the_documents_look_at_no_cookie(
        self, browser: Browser, browser_service: Service
    ) -> None:
        body = {"username": fresh_name(), "password": PASSWORD, "email": "x@y.example"}
        headers = {"Cookie": browser.cookie(), "X-CSRF-Token": browser.jar[CSRF]}
        client = client_of(browser_service, 3000)
        assert client.post("/api/auth/createUser", body, headers=headers).status == 401

    def test_a_page_of_an_allowed_origin_may_send_them(
        self, browser: Browser, browser_service: Service
    ) -> None:
        client = client_of(browser_service, 8080)
        asked = {
            "Origin": ORIGIN,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type, x-csrf-token",
        }
        allowed = client.request("OPTIONS", "/v1/logout", headers=asked)
        assert allowed.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert allowed.headers["Access-Control-Allow-Credentials"] == "true"
        assert "x-csrf-token" in allowed.headers["Access-Control-Allow-Headers"].lower()
        answer = browser.send("GET", "/me", Origin=ORIGIN)
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"

    @pytest.mark.parametrize("origin", ["https://evil.example", "null", f"{ORIGIN}.evil.example"])
    def test_a_page_of_another_origin_may_not(self, browser: Browser, origin: str) -> None:
        answer = browser.send("GET", "/me", Origin=origin)
        assert "Access-Control-Allow-Origin" not in answer.headers

    def test_without_cookies_no_origin_is_allowed_to_send_credentials(
        self, service: Service
    ) -> None:
        headers = {"Origin": "http://localhost:5173"}
        answer = client_of(service, 8080).get("/v1/me", headers=headers)
        assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:5173"
        assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.fixture(scope="module")
def key_stores(server_folder: Path) -> Iterator[Stores]:
    """Stores of their own, in which no key was ever made."""
    stores = Stores(server_folder / "native-keys")
    stores.open()
    yield stores
    stores.close()


class TestPublishedKeys:
    def test_a_service_that_signs_with_a_secret_publishes_nothing(self, key_stores: Stores) -> None:
        with key_stores.service("hs256") as service:
            for port in (8080, 3000):
                answer = client_of(service, port).get("/.well-known/jwks.json")
                assert (answer.status, answer.json()) == (200, {"keys": []})
                assert answer.headers["Content-Type"] == "application/json"

    @pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
    def test_anybody_can_check_a_token_with_the_published_keys(
        self, key_stores: Stores, algorithm: str
    ) -> None:
        with key_stores.service(f"before-{algorithm}") as service:
            before = join(service)
        settings = {"AUTHSVC_JWT_ALGORITHM": algorithm}
        with key_stores.service(f"with-{algorithm}", settings) as service:
            before.client = client_of(service, 8080)
            assert before.lives()
            renewed = before.refresh().json()["accessToken"]
            person = join(service)
            documented = token_of(
                send(service, LOGINS[0], {"username": person.name, "password": PASSWORD})
            )
            answer = client_of(service, 8080).get("/.well-known/jwks.json")
            keys = jwt.PyJWKSet.from_dict(answer.json())
            for key in answer.json()["keys"]:
                assert not {"d", "p", "q", "k"} & key.keys()
            for token in (person.access, documented, renewed):
                header = jwt.get_unverified_header(token)
                assert header["alg"] == algorithm
                claims = jwt.decode(
                    token, keys[header["kid"]], algorithms=[algorithm], issuer="authsvc"
                )
                assert claims["sid"] == sid_of(token)
            assert person.lives()
            forged = jwt.encode(
                claims_of(person.access),
                "x" * 32,
                "HS256",
                headers={"kid": jwt.get_unverified_header(person.access)["kid"]},
            )
            assert_problem(person.ask("GET", "/me", token=forged), "invalid_token")
        with key_stores.service(f"after-{algorithm}") as service:
            person.client = client_of(service, 8080)
            assert person.lives()


WELL_FORMED: dict[str, dict[str, Any]] = {
    "/signup": {
        "username": "x",
        "password": PASSWORD,
        "email": "x@y.example",
        "captchaId": "x",
        "value": "x",
    },
    "/login": {"username": "x", "password": PASSWORD, "code": "1"},
    "/token/refresh": {"refreshToken": "x"},
}
FIELDS = [(path, field) for path, body in WELL_FORMED.items() for field in body]
LONGEST = {
    ("/signup", "username"): 64,
    ("/login", "username"): 254,
    "password": 1024,
    "email": 254,
    "captchaId": 64,
    "value": 4096,
    "code": 64,
    "refreshToken": 8192,
}
MAY_BE_NULL = {("/signup", "email"), ("/login", "code"), ("/token/refresh", "refreshToken")}
NULLABLE = [place for place in FIELDS if place not in MAY_BE_NULL]


class TestFields:
    @pytest.mark.parametrize(("path", "field"), FIELDS)
    @pytest.mark.parametrize(
        ("value", "fault"),
        [
            (1, "wrong_type"),
            (True, "wrong_type"),
            ([], "wrong_type"),
            ({}, "wrong_type"),
            (0.5, "wrong_type"),
            ("", "empty"),
        ],
    )
    def test_a_field_of_the_wrong_kind_is_named(
        self, service: Service, path: str, field: str, value: Any, fault: str
    ) -> None:
        body = WELL_FORMED[path] | {field: value}
        assert_faults(client_of(service, 8080).post(f"/v1{path}", body), {field: fault})

    @pytest.mark.parametrize(("path", "field"), FIELDS)
    def test_a_field_that_is_too_long_is_named(
        self, service: Service, path: str, field: str
    ) -> None:
        longest = LONGEST.get((path, field)) or LONGEST[field]
        client = client_of(service, 8080)
        body = WELL_FORMED[path] | {field: "x" * (longest + 1)}
        assert_faults(client.post(f"/v1{path}", body), {field: "too_long"})
        answer = client.post(f"/v1{path}", WELL_FORMED[path] | {field: "x" * longest})
        assert answer.json()["code"] != "invalid_fields"

    @pytest.mark.parametrize(("path", "field"), NULLABLE)
    def test_a_field_that_must_be_there_is_named(
        self, service: Service, path: str, field: str
    ) -> None:
        client = client_of(service, 8080)
        without = {name: value for name, value in WELL_FORMED[path].items() if name != field}
        assert_faults(client.post(f"/v1{path}", without), {field: "required"})
        assert_faults(client.post(f"/v1{path}", without | {field: None}), {field: "null"})

    @pytest.mark.parametrize("path", WELL_FORMED)
    def test_an_unknown_field_is_refused_by_its_name(self, service: Service, path: str) -> None:
        for name in ("Username", "", "__proto__", "字段", "x" * 5000):
            answer = client_of(service, 8080).post(f"/v1{path}", WELL_FORMED[path] | {name: 1})
            assert_faults(answer, {name: "unknown_field"})

    @pytest.mark.parametrize("path", ["/signup", "/login"])
    @pytest.mark.parametrize("value", [1, 0, "true", "on", [], None])
    def test_whether_to_keep_cookies_is_true_or_false(
        self, service: Service, path: str, value: Any
    ) -> None:
        answer = client_of(service, 8080).post(f"/v1{path}", WELL_FORMED[path] | {"cookies": value})
        assert_faults(answer, {"cookies": "null" if value is None else "wrong_type"})

    @pytest.mark.parametrize("path", [*WELL_FORMED, "/logout"])
    @pytest.mark.parametrize(
        "body",
        [
            b"{",
            b"[]",
            b"null",
            b'"x"',
            b"1",
            b"NaN",
            b'{"a": NaN}',
            b"\xff",
            b"[" * 60_000,
            b'{"a":' * 10_000,
            b"{}x",
            b"1" * 60_000,
        ],
        ids=range(12),
    )
    def test_what_is_no_json_object_is_malformed(
        self, ann: Person, service: Service, path: str, body: bytes
    ) -> None:
        headers = {"Authorization": f"Bearer {ann.access}"}
        answer = post_raw(service, f"/v1{path}", body, headers)
        assert_problem(answer, "malformed_request")

    @pytest.mark.parametrize("path", [*WELL_FORMED, "/logout"])
    def test_another_content_type_is_not_supported(
        self, ann: Person, service: Service, path: str
    ) -> None:
        for kind in ("text/plain", "application/x-www-form-urlencoded", "nonsense"):
            headers = {"Authorization": f"Bearer {ann.access}", "Content-Type": kind}
            answer = post_raw(service, f"/v1{path}", b"{}", headers)
            assert_problem(answer, "unsupported_media_type")


STRANGE = [b"\xff\xfe", b"\x80", "密码".encode(), b"\xc3\x28", b"=", b";;;", b'"', b"a=\xff; b"]


class TestHeaders:
    @pytest.mark.parametrize("name", ["User-Agent", "Cookie", "Authorization", "X-CSRF-Token"])
    @pytest.mark.parametrize("value", STRANGE)
    @pytest.mark.parametrize("prefix", [b"", b"Bearer ", b"Basic ", b"__Host-authsvc-access="])
    def test_a_header_of_strange_bytes_is_no_crash(
        self, browser_service: Service, name: str, value: bytes, prefix: bytes
    ) -> None:
        body = escaped({"username": "x", "password": "y"})
        form = b"token=x"
        for path, sent, kind in (
            ("POST /v1/login", body, JSON),
            ("POST /v1/token/refresh", b"", JSON),
            ("POST /v1/logout", b"{}", JSON),
            ("GET /v1/me", b"", JSON),
            ("POST /v1/introspect", form, "Content-Type: application/x-www-form-urlencoded"),
        ):
            head = f"{path} HTTP/1.1\r\nHost: x\r\n{kind}\r\nContent-Length: {len(sent)}\r\n"
            line = name.encode() + b": " + prefix + value + b"\r\n"
            wire = head.encode() + line + b"Connection: close\r\n\r\n" + sent
            answer = exchange(browser_service.ports[0], wire)
            assert answer.status < 500, (path, answer.text)

    def test_a_user_agent_of_any_bytes_can_be_listed(self, ann: Person, service: Service) -> None:
        body = escaped({"username": ann.name, "password": PASSWORD})
        for value in STRANGE:
            head = (
                f"POST /v1/login HTTP/1.1\r\nHost: x\r\n{JSON}\r\nContent-Length: {len(body)}\r\n"
            )
            wire = head.encode() + b"User-Agent: " + value + b"\r\nConnection: close\r\n\r\n" + body
            assert exchange(service.ports[0], wire).status == 200
        assert len(ann.listed()) == len(STRANGE) + 1


def escaped(body: dict[str, Any]) -> bytes:
    """JSON in ASCII, so that it can say what no UTF-8 can."""
    return json.dumps(body).encode()


def post_raw(
    service: Service, path: str, body: bytes, headers: Mapping[str, str] | None = None
) -> Answer:
    sent = {"Content-Type": "application/json", **(headers or {})}
    return client_of(service, 8080).request("POST", path, body=body, headers=sent)
