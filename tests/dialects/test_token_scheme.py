"""AUTHSVC_TOKEN_SCHEME=any: `Authorization: <token>` is taken, and nothing else is let in by it."""

import base64
from collections.abc import Callable
from http.cookies import SimpleCookie
from urllib.parse import urlencode

import pytest

from tests.dialects.conftest import Serve
from tests.dialects.pages import PASSWORD, TOKEN_LOGIN, TOKEN_REGISTER, fresh_name, send, token_of
from tests.dialects.stores import Stores
from tests.support.client import Answer, Client
from tests.support.service import Service

ASKER, ASKER_SECRET = "shop", "a secret of the shop"


@pytest.fixture(scope="session")
def any_scheme(serve: Serve) -> Service:
    """The service for clients that send the bare token."""
    return serve(
        "any-scheme",
        {
            "AUTHSVC_TOKEN_SCHEME": "any",
            "AUTHSVC_COOKIES": "on",
            "AUTHSVC_CORS_ORIGINS": "https://app.example.com",
            "AUTHSVC_INTROSPECTION_CLIENTS": f"{ASKER}:{ASKER_SECRET}",
        },
    )


@pytest.fixture
def boss(service: Service, stores: Stores) -> str:
    """The name of an administrator."""
    name = fresh_name("boss")
    body = {"username": name, "password": PASSWORD, "email": f"{name}@example.com"}
    assert send(service, TOKEN_REGISTER, body).status == 201
    stores.promote(name)
    return name


@pytest.fixture
def token(any_scheme: Service, boss: str) -> str:
    """The administrator's access token."""
    return token_of(send(any_scheme, TOKEN_LOGIN, {"username": boss, "password": PASSWORD}))


def create_user(service: Service, authorization: str) -> Answer:
    name = fresh_name("made")
    body = {"username": name, "password": PASSWORD, "email": f"{name}@example.com"}
    headers = {"Authorization": authorization}
    return Client(service.second).post("/api/auth/createUser", body, headers=headers)


def who(service: Service, authorization: str, **headers: str) -> Answer:
    sent = {"Authorization": authorization, **headers}
    return Client(service.first).get("/v1/me", headers=sent)


FORMS: list[Callable[[str], str]] = ["{}".format, " {} ".format, "Bearer {}".format]


@pytest.mark.parametrize("form", FORMS, ids=["bare", "bare, in spaces", "Bearer"])
def test_a_token_is_taken_with_and_without_its_scheme(
    any_scheme: Service, token: str, boss: str, form: Callable[[str], str]
) -> None:
    assert create_user(any_scheme, form(token)).status == 201
    assert who(any_scheme, form(token)).json()["username"] == boss


def test_by_default_a_bare_token_is_refused(service: Service, token: str) -> None:
    assert create_user(service, f"Bearer {token}").status == 201
    assert create_user(service, token).status == 401
    assert who(service, token).status == 401


WRONG = {
    "empty": "",
    "spaces": "   ",
    "the scheme alone": "Bearer",
    "no token at all": "nonsense",
    "another scheme": "Basic {token}",
    "another scheme, Token": "Token {token}",
    "the token first": "{token} Bearer",
    "the token twice": "{token} {token}",
    "a tab between": "Bearer\t{token}",
    "a list": "{token}, Bearer {token}",
    "a list without spaces": "{token},{token}",
    "quoted": '"{token}"',
    "not ASCII": "{token}\xe9",
    "a space of Latin-1": "Basic\xa0{token}",
}


@pytest.mark.parametrize("pattern", WRONG.values(), ids=WRONG)
def test_whatever_else_stands_there_is_401(any_scheme: Service, token: str, pattern: str) -> None:
    value = pattern.format(token=token)
    for answer in (create_user(any_scheme, value), who(any_scheme, value)):
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_bare_token_that_was_revoked_or_has_expired_is_401(
    any_scheme: Service, token: str, stores: Stores
) -> None:
    assert who(any_scheme, stores.expire_token(token)).status == 401
    stores.revoke(token)
    assert who(any_scheme, token).status == 401


class TestCookies:
    """A request that relies on a cookie needs its proof, whatever form a header may have."""

    @pytest.fixture
    def cookies(self, any_scheme: Service, boss: str) -> str:
        body = {"username": boss, "password": PASSWORD, "cookies": True}
        answer = Client(any_scheme.first).post("/v1/login", body)
        kept = SimpleCookie("; ".join(answer.headers.get_all("Set-Cookie") or ()))
        return "; ".join(f"{name}={morsel.value}" for name, morsel in kept.items() if morsel.value)

    def test_the_proof_is_asked_for(self, any_scheme: Service, cookies: str) -> None:
        client = Client(any_scheme.first, headers={"Cookie": cookies})
        assert client.get("/v1/me").status == 200
        assert client.request("PATCH", "/v1/me", json={"data": 1}).status == 403

    @pytest.mark.parametrize("value", ["", "nonsense", "Bearer", "Basic eDp5"])
    def test_a_header_that_holds_no_token_is_not_made_good_by_a_cookie(
        self, any_scheme: Service, cookies: str, value: str
    ) -> None:
        assert who(any_scheme, value, Cookie=cookies).status == 401


class TestIntrospection:
    """Who may introspect proves it as before: a token is no proof, bare or not."""

    def ask(self, service: Service, token: str, authorization: str) -> Answer:
        headers = {
            "Authorization": authorization,
            "Content-Type": "application/x-www-form-urlencoded",
        }
        body = urlencode({"token": token}).encode()
        return Client(service.first).request("POST", "/v1/introspect", body=body, headers=headers)

    def test_a_known_client_is_answered(self, any_scheme: Service, token: str) -> None:
        both = base64.b64encode(f"{ASKER}:{ASKER_SECRET}".replace(" ", "+").encode()).decode()
        assert self.ask(any_scheme, token, f"Basic {both}").json()["active"] is True
        assert self.ask(any_scheme, token, both).status == 401

    def test_a_token_is_no_proof(self, any_scheme: Service, token: str) -> None:
        for value in (token, f"Bearer {token}", ASKER_SECRET.replace(" ", "+"), ASKER):
            assert self.ask(any_scheme, token, value).json() == {"error": "invalid_client"}
