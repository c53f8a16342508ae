"""Text stays text, in the database, in Redis, in sessions and in answers."""

import jwt
import pytest

from tests.dialects.pages import (
    PASSWORD,
    TOKEN_LOGIN,
    TOKEN_REGISTER,
    fresh_name,
    new_captcha,
    send,
    token_of,
)
from tests.dialects.stores import Stores
from tests.support.client import Client
from tests.support.service import Service

SQL = [
    "' OR '1'='1",
    "'; DROP TABLE users; --",
    '" OR ""="',
    "\\' OR 1=1 #",
    "admin'/*",
    ":username",
    "?",
    "%(name)s",
]


@pytest.mark.parametrize("text", SQL)
def test_text_is_never_read_as_sql(text: str, service: Service, stores: Stores) -> None:
    name = f"{fresh_name()} {text}"
    body = {"username": name, "password": PASSWORD, "email": f"{fresh_name()}@example.com"}
    assert send(service, TOKEN_REGISTER, body).json()["username"] == name
    assert stores.has_user(name)
    assert send(service, TOKEN_LOGIN, body).json()["username"] == name
    for wrong in ({"username": text}, {"password": f"{PASSWORD}{text}"}):
        answer = send(service, TOKEN_LOGIN, body | wrong)
        assert (answer.status, answer.json()) == (401, {"error": "Invalid credentials"})


@pytest.mark.parametrize("search", ["%25", "_", "%25%25", "\\", "%27%20OR%201=1", "[a-z]"])
def test_a_search_finds_no_more_than_its_letters(
    search: str, service: Service, stores: Stores
) -> None:
    name = fresh_name("boss")
    body = {"username": name, "password": PASSWORD, "email": f"{name}@example.com"}
    assert send(service, TOKEN_REGISTER, body).status == 201
    stores.promote(name)
    token = token_of(send(service, TOKEN_LOGIN, body))
    headers = {"Authorization": f"Bearer {token}"}
    answer = Client(service.first).get(f"/v1/users?search={search}", headers=headers)
    assert (answer.status, answer.json()["users"]) == (200, [])


@pytest.mark.parametrize("text", ["*", "?" * 22, "[a-z]", "x\r\nFLUSHALL\r\n", "\0", "a:b", "{a}"])
def test_text_is_never_read_as_a_redis_key_or_command(
    text: str, service: Service, stores: Stores
) -> None:
    live = new_captcha(service)
    before = set(stores.client.scan_iter("*"))
    name = fresh_name()
    body = {"username": name, "password": PASSWORD, "email": f"{name}@example.com"}
    answer = Client(service.first).post("/signup", body | {"captchaId": text, "value": text})
    assert (answer.status, answer.json()) == (400, {"error": "Invalid captcha"})
    assert stores.is_live(live)
    assert before <= set(stores.client.scan_iter("*"))


def test_a_log_in_opens_another_session_whatever_token_came_along(service: Service) -> None:
    name = fresh_name()
    body = {"username": name, "password": PASSWORD, "email": f"{name}@example.com"}
    brought = token_of(send(service, TOKEN_REGISTER, body))
    client = Client(service.first)
    carried = {
        "Authorization": f"Bearer {brought}",
        "Cookie": f"__Host-authsvc-access={brought}; session={brought}; sid={brought}",
    }
    for path in ("/login", "/api/login", "/v1/login"):
        given = {"username": name, "password": PASSWORD}
        answer = client.post(path, given, headers=carried).json()
        token = answer.get("session_token") or answer.get("token") or answer["accessToken"]
        assert _claims(token)["sid"] != _claims(brought)["sid"]
        assert _claims(token)["jti"] != _claims(brought)["jti"]


def _claims(token: str) -> dict[str, str]:
    claims: dict[str, str] = jwt.decode(token, options={"verify_signature": False})
    return claims


SCRIPT = "<script>alert(1)</script>"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/%3Cscript%3Ealert(1)%3C/script%3E"),
        ("GET", "/captcha/%3Cscript%3E"),
        ("GET", "/v1/captcha/x/audio?lang=%3Cscript%3E"),
        ("POST", "/login"),
        ("POST", "/api/register"),
        ("POST", "/v1/login"),
    ],
)
def test_what_was_sent_never_comes_back_as_a_page(method: str, path: str, service: Service) -> None:
    name = f"{SCRIPT}{fresh_name()}"
    body = {
        "username": name,
        "password": PASSWORD,
        "email": f"{fresh_name()}@example.com",
        SCRIPT: 1,
    }
    answer = Client(service.first).request(method, path, json=body, headers={"Referer": SCRIPT})
    assert answer.headers["Content-Type"] in ("application/json", "application/problem+json")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    allowed = answer.headers["Content-Security-Policy"]
    assert allowed == "default-src 'none'; frame-ancestors 'none'"


def test_a_picture_is_named_as_one(service: Service) -> None:
    answer = Client(service.first).get(f"/captcha/{new_captcha(service)}")
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
