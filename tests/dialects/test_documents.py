"""Every request that a document prints is answered as it prints: keys, JSON types, words.

The requests and answers below are the documents' own, character for character, so that each can be
laid beside its document. Where a document prints a token, an id or a captcha, its type is held to,
and its form; everything else must be the same.
"""

import json
import re
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import jwt
import pytest
from PIL import Image

from tests.dialects.pages import client_of, new_captcha
from tests.dialects.stores import Stores
from tests.support.client import Answer
from tests.support.service import Service

CHANGING = {
    "token": r"[\w-]+\.[\w-]+\.[\w-]+",
    "session_token": r"[\w-]+\.[\w-]+\.[\w-]+",
    "captchaId": r"[\w-]{22}",
    "userId": r"[1-9][0-9]*",
    "id": r"[1-9][0-9]*",
}


@dataclass(frozen=True)
class Printed:
    """A printed request and its printed answer.

    Args:
        document: the file that prints it.
        place: the port and the path.
        request: the body as printed.
        status: as printed, or settled where the document prints none.
        answer: the body as printed.
        known: whose account is there already: (username, password, e-mail address or None).
    """

    document: str
    place: tuple[int, str]
    request: str
    status: int
    answer: str
    known: tuple[str, str, str | None] | None = None

    def __str__(self) -> str:
        return f"{self.document.removesuffix('.md')}:{self.place[1]}:{self.status}"


WITHOUT_CAPTCHA = [
    Printed(
        "session-without-captcha.md",
        (8080, "/login"),
        '{"username": "testuser", "password": "testpassword"}',
        200,
        """
        {
            "message": "Login successful",
            "session_token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9..."
        }
        """,
        known=("testuser", "testpassword", "testuser@example.com"),
    ),
    Printed(
        "session-without-captcha.md",
        (8080, "/signup"),
        '{"username": "newuser", "password": "newpassword", "email": "newuser@example.com"}',
        200,
        """
        {
            "message": "User signup successfully",
            "session_token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9..."
        }
        """,
    ),
    Printed(
        "session-without-captcha.md",
        (8080, "/login"),
        '{"username": "testuser", "password": "testpassword"}',
        401,
        '{"error": "Invalid username or password"}',
    ),
    Printed(
        "session-without-captcha.md",
        (8080, "/signup"),
        '{"username": "newuser", "password": "newpassword", "email": "newuser@example.com"}',
        409,
        '{"error": "Username already exists"}',
        known=("newuser", "newpassword", "newuser@example.com"),
    ),
]

PRINTED = [
    Printed(
        "session.md",
        (8080, "/login"),
        '{"username": "testuser", "password": "testpassword"}',
        200,
        """
        {
            "message": "Login successful",
            "session_token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9..."
        }
        """,
        known=("testuser", "testpassword", "testuser@example.com"),
    ),
    Printed(
        "session.md",
        (8080, "/signup"),
        '{"username": "newuser", "password": "newpassword", "email": "newuser@example.com"}',
        400,
        '{"error": "Invalid request"}',
    ),
    Printed(
        "token.md",
        (8080, "/api/register"),
        """
        {
          "username": "exampleUser",
          "password": "examplePassword",
          "email": "example@example.com"
        }
        """,
        201,
        """
        {
          "userId": "12345",
          "username": "exampleUser",
          "email": "example@example.com",
          "token": "eyJhbGciOiJIUzI1NiIsInR5cCI..."
        }
        """,
    ),
    Printed(
        "token.md",
        (8080, "/api/register"),
        """
        {
          "username": "exampleUser",
          "password": "examplePassword",
          "email": "example@example.com"
        }
        """,
        409,
        '{ "error": "User already exists" }',
        known=("somebody", "password", "example@example.com"),
    ),
    Printed(
        "token.md",
        (8080, "/api/login"),
        '{ "username": "exampleUser" }',
        400,
        '{ "error": "Missing parameters" }',
    ),
    Printed(
        "token.md",
        (8080, "/api/login"),
        '{ "username": "exampleUser", "password": "examplePassword" }',
        200,
        """
        {
          "userId": "12345",
          "username": "exampleUser",
          "email": "example@example.com",
          "token": "eyJhbGciOiJIUzI1NiIsInR5cCI..."
        }
        """,
        known=("exampleUser", "examplePassword", "example@example.com"),
    ),
    Printed(
        "token.md",
        (8080, "/api/login"),
        '{ "username": "exampleUser", "password": "examplePassword" }',
        401,
        '{ "error": "Invalid credentials" }',
    ),
    Printed(
        "admin.md",
        (3000, "/api/auth/login"),
        """
        {
          "username": "your_username",
          "password": "your_password"
        }
        """,
        200,
        """
        {
          "message": "登录成功",
          "token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9...",
          "user": {
            "id": 1,
            "username": "your_username",
            "email": "user@example.com"
          }
        }
        """,
        known=("your_username", "your_password", "user@example.com"),
    ),
    Printed(
        "admin.md",
        (3000, "/api/auth/login"),
        """
        {
          "username": "your_username",
          "password": "your_password"
        }
        """,
        401,
        """
        {
          "message": "用户名或密码错误"
        }
        """,
    ),
    Printed(
        "admin.md",
        (3000, "/api/auth/register"),
        """{
    "username": "new_user",
    "password": "secure_password",
    "email": "user@example.com"
  }""",
        201,
        """
        {
          "message": "注册成功",
          "token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9...",
          "user": {
            "id": 1,
            "username": "new_user",
            "email": "user@example.com"
          }
        }
        """,
    ),
    Printed(
        "admin.md",
        (3000, "/api/auth/register"),
        """{
    "username": "new_user",
    "password": "secure_password",
    "email": "user@example.com"
  }""",
        409,
        """
        {
          "message": "用户名已存在"
        }
        """,
        known=("new_user", "secure_password", "user@example.com"),
    ),
    Printed(
        "admin.md",
        (3000, "/api/auth/register"),
        """{
    "username": "new_user",
    "password": "secure_password"
  }""",
        400,
        """
        {
          "message": "请填写所有必需字段"
        }
        """,
    ),
    Printed(
        "admin.md",
        (3000, "/api/auth/createUser"),
        """{
    "username": "new_user",
    "password": "secure_password",
    "email": "user@example.com",
    "permission": 0
  }""",
        201,
        """
        {
          "message": "用户创建成功",
          "user": {
            "id": 3,
            "username": "new_user",
            "email": "user@example.com",
            "permission": 0,
            "data": "{}"
          }
        }
        """,
    ),
    Printed(
        "admin.md",
        (3000, "/api/auth/createUser"),
        """
        {
          "username": "new_user",
          "password": "secure_password",
          "email": "user@example.com",
          "permission": 1
        }
        """,
        201,
        """
        {
          "message": "用户创建成功",
          "user": {
            "id": 3,
            "username": "new_user",
            "email": "user@example.com",
            "permission": 1,
            "data": "{}"
          }
        }
        """,
    ),
    Printed(
        "envelope.md",
        (3000, "/api/register"),
        '{"username": "newbieUser", "password": "securePwd#123"}',
        200,
        """
        {
          "success": true,
          "message": "注册成功",
          "statusCode": 200
        }
        """,
    ),
    Printed(
        "envelope.md",
        (3000, "/api/register"),
        '{"username": "newbieUser", "password": "securePwd#123"}',
        409,
        """
        {
          "success": false,
          "message": "用户名已存在",
          "statusCode": 409,
          "errorCode": "USERNAME_ALREADY_EXISTS"
        }
        """,
        known=("newbieUser", "securePwd#123", None),
    ),
    Printed(
        "envelope.md",
        (3000, "/api/register"),
        '{"username": "newbieUser", "password": "securepwd#123"}',
        400,
        """
        {
          "success": false,
          "message": "密码不符合要求",
          "statusCode": 400,
          "errorCode": "INVALID_PASSWORD",
          "details": {
            "min_length": 8,
            "requires_uppercase": true
          }
        }
        """,
    ),
    Printed(
        "envelope.md",
        (3000, "/api/login"),
        "",
        400,
        """
        {
          "success": false,
          "message": "请求参数无效",
          "statusCode": 400,
          "errorCode": "INVALID_INPUT"
        }
        """,
    ),
    Printed(
        "envelope.md",
        (3000, "/api/login"),
        '{"username": "user123", "password": "mySecret123"}',
        200,
        """
        {
          "success": true,
          "message": "登录成功",
          "data": {
            "token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ1c2VySWQiOiJhYmMxMjMi.signature",
            "user": {
                "id": "user_id_123",
                "username": "user123"
            }
          },
          "statusCode": 200
        }
        """,
        known=("user123", "mySecret123", None),
    ),
    Printed(
        "envelope.md",
        (3000, "/api/login"),
        '{"username": "user123", "password": "mySecret123"}',
        401,
        """
        {
          "success": false,
          "message": "用户名或密码不正确",
          "statusCode": 401,
          "errorCode": "INVALID_CREDENTIALS"
        }
        """,
    ),
]


@pytest.fixture(autouse=True)
def _nobody(stores: Stores) -> None:
    stores.forget_users()


def send_as_printed(
    service: Service, place: tuple[int, str], body: str, token: str | None = None
) -> Answer:
    """Sends a body as curl would send it."""
    port, path = place
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return client_of(service, port).request("POST", path, body=body.encode(), headers=headers)


def make_known(service: Service, known: tuple[str, str, str | None]) -> None:
    """Makes the account that is there already."""
    username, password, email = known
    body = {"username": username, "password": password}
    path = (3000, "/api/register") if email is None else (8080, "/api/register")
    body |= {"email": email} if email else {}
    assert send_as_printed(service, path, json.dumps(body)).status < 300


def administrators_token(service: Service, stores: Stores) -> str:
    """Returns the token of an administrator, whose e-mail address no example uses."""
    body = {"username": "admin", "password": "admin password", "email": "admin@example.org"}
    token: str = client_of(service, 8080).post("/api/register", body).json()["token"]
    stores.promote("admin")
    return token


def assert_as_printed(printed: Any, answered: Any, key: str = "") -> None:
    """Holds an answer to a printed one: exactly its keys in its order, its types, its words."""
    assert type(answered) is type(printed), key
    if isinstance(printed, dict):
        assert list(answered) == list(printed)
        for name in printed:
            assert_as_printed(printed[name], answered[name], name)
    elif key in CHANGING:
        assert re.fullmatch(CHANGING[key], str(answered)), key
    else:
        assert answered == printed, key


@pytest.mark.parametrize("printed", PRINTED, ids=str)
def test_a_printed_request_is_answered_as_printed(
    printed: Printed, service: Service, stores: Stores
) -> None:
    _ask(printed, service, stores)


@pytest.mark.parametrize("printed", WITHOUT_CAPTCHA, ids=str)
def test_the_older_edition_is_answered_as_printed(
    printed: Printed, older_edition: Service, stores: Stores
) -> None:
    _ask(printed, older_edition, stores)


def _ask(printed: Printed, service: Service, stores: Stores) -> None:
    token = None
    if printed.known:
        make_known(service, printed.known)
    if printed.place[1].endswith("createUser"):
        token = administrators_token(service, stores)
    answer = send_as_printed(service, printed.place, printed.request, token)
    assert answer.status == printed.status
    assert answer.headers["Content-Type"] == "application/json"
    assert_as_printed(json.loads(printed.answer), answer.json())


def test_the_captcha_of_the_session_document_is_made_shown_and_redeemed(
    service: Service, stores: Stores
) -> None:
    client = client_of(service, 8080)
    made = client.get("/captcha")
    assert made.status == 200
    assert_as_printed({"captchaId": "some-valid-captcha-id"}, made.json())
    captcha_id = made.json()["captchaId"]

    image = client.get(f"/captcha/{captcha_id}")
    assert (image.status, image.headers["Content-Type"]) == (200, "image/png")
    with Image.open(BytesIO(image.body)) as picture:
        assert (picture.format, picture.size) == ("PNG", (300, 110))

    body = {
        "username": "newuser",
        "password": "newpassword",
        "email": "newuser@example.com",
        "captchaId": captcha_id,
        "value": stores.answer_of(captcha_id),
    }
    signed_up = client.post("/signup", body)
    assert signed_up.status == 200
    assert_as_printed(
        {"message": "User signup successfully", "session_token": "string"}, signed_up.json()
    )


def test_a_captcha_that_was_never_made_is_the_session_documents_500(service: Service) -> None:
    answer = client_of(service, 8080).get("/captcha/abc123")
    assert answer.status == 500
    assert_as_printed({"error": "Failed to generate captcha image"}, answer.json())


def test_every_error_code_of_the_session_document_can_be_had(
    service: Service, stores: Stores
) -> None:
    def sign_up(**changes: str) -> tuple[int, str | None]:
        captcha_id = new_captcha(service)
        body = {
            "username": "newuser",
            "password": "newpassword",
            "email": "newuser@example.com",
            "captchaId": captcha_id,
            "value": stores.answer_of(captcha_id),
        }
        answer = client_of(service, 8080).post("/signup", body | changes)
        return answer.status, answer.json().get("error")

    assert sign_up() == (200, None)
    assert sign_up() == (409, "Username already exists")
    assert sign_up(value="wrong") == (400, "Invalid captcha")
    assert sign_up(email="") == (400, "Invalid request")
    assert sign_up(username="somebody") == (409, "Failed to create user")
    body = {"username": "newuser", "password": "wrongpassword"}
    answer = client_of(service, 8080).post("/login", body)
    assert answer.json() == {"error": "Invalid username or password"}
    with stores.redis_full():
        answer = client_of(service, 8080).post("/login", body | {"password": "newpassword"})
    assert answer.json() == {"error": "Failed to create session"}


def test_user_ids_have_the_types_that_their_documents_print(service: Service) -> None:
    make_known(service, ("user123", "mySecret123", "user123@example.com"))
    login = {"username": "user123", "password": "mySecret123"}
    token = client_of(service, 8080).post("/api/login", login).json()
    admin = client_of(service, 3000).post("/api/auth/login", login).json()
    envelope = client_of(service, 3000).post("/api/login", login).json()
    number = admin["user"]["id"]
    assert type(number) is int
    assert token["userId"] == envelope["data"]["user"]["id"] == str(number)


def test_the_claims_of_the_printed_token_are_in_ours(service: Service) -> None:
    make_known(service, ("user123", "mySecret123", None))
    login = {"username": "user123", "password": "mySecret123"}
    data = client_of(service, 3000).post("/api/login", login).json()["data"]
    claims = jwt.decode(data["token"], options={"verify_signature": False})
    assert claims["userId"] == claims["sub"] == data["user"]["id"]
    assert claims["username"] == "user123"
    assert claims["exp"] - claims["iat"] == 1704074400 - 1704067200
    assert claims.keys() >= {"jti", "iss"}
