"""Each client's own sequence of calls, from a page of another origin, on both pairs of stores."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.dialects.clients.admin import AdminClient, BareAdminClient
from tests.dialects.clients.browser import Blocked, Page, Reply
from tests.dialects.clients.envelope import EnvelopeClient
from tests.dialects.clients.native import NativeClient
from tests.dialects.clients.session import BodyReader, DigitsOnly, SessionClient, Unreadable
from tests.dialects.clients.token import TokenClient
from tests.dialects.conftest import Serve
from tests.dialects.pages import fresh_name
from tests.dialects.situations import GOLDEN, Situation, masked
from tests.dialects.stores import Stores
from tests.support.service import Service

PASSWORD = "Secret-pass-1"
ORIGIN = "http://localhost:5173"

Open = Callable[[Service, int], Page]


@pytest.fixture
def name() -> str:
    """A name that nobody has."""
    return fresh_name("client")


@pytest.fixture
def open_page() -> Iterator[Open]:
    """Opens a page before one of a service's two ports."""
    pages = []

    def opened(service: Service, port: int) -> Page:
        pages.append(Page((service.first, service.second)[port], ORIGIN))
        return pages[-1]

    yield opened
    for page in pages:
        page.close()


@pytest.fixture(scope="session")
def for_real_clients(serve: Serve) -> Service:
    """The service with all that public clients of the documents were found to need."""
    return serve(
        "for-real-clients",
        {
            "AUTHSVC_SESSION_STATUS": "200",
            "AUTHSVC_TOKEN_SCHEME": "any",
            "AUTHSVC_CAPTCHA_ALPHABET": "digits",
        },
    )


def assert_golden(reply: Reply, file: str, **changes: Any) -> None:
    """Hold an answer to a golden one, in which another name stands."""
    golden = Situation.read(GOLDEN / f"{file}.json").answer
    body = golden["body"] | changes
    assert (reply.status, masked(reply.json(), body)) == (golden["status"], body)


def assert_sent(page: Page, *expected: str) -> None:
    """Hold a page to these requests, in this order, over one connection."""
    assert page.sent == list(expected)
    assert page.connections == 1


class TestSession:
    def test_it_shows_a_captcha_signs_up_and_logs_in(
        self, service: Service, stores: Stores, open_page: Open, name: str
    ) -> None:
        seen: list[str] = []

        def look(captcha_id: str) -> str:
            seen.append(captcha_id)
            return stores.answer_of(captcha_id).lower()

        client = SessionClient(open_page(service, 0), look)
        assert client.sign_up(name, PASSWORD, f"{name}@example.com")
        assert client.said == "User signup successfully"
        assert client.log_in(name, PASSWORD)
        assert client.said == "Login successful"
        assert_golden(client.replies[0], "session/signup-succeeds")
        assert_golden(client.replies[1], "session/login-succeeds")
        assert_sent(
            client.page,
            "GET /captcha",
            f"GET /captcha/{seen[0]}",
            "OPTIONS /signup",
            "POST /signup",
            "OPTIONS /login",
            "POST /login",
        )

    def test_a_failed_try_takes_a_new_captcha_and_asks_no_leave_twice(
        self, service: Service, stores: Stores, open_page: Open, name: str
    ) -> None:
        answers = iter(["wrong"])
        client = SessionClient(
            open_page(service, 0), lambda one: next(answers, None) or stores.answer_of(one)
        )
        assert not client.sign_up(name, PASSWORD, f"{name}@example.com")
        assert client.said == "Invalid captcha"
        assert client.sign_up(name, PASSWORD, f"{name}@example.com")
        assert client.page.sent.count("OPTIONS /signup") == 1
        assert client.page.sent.count("POST /signup") == 2
        assert not client.sign_up(name, PASSWORD, f"{name}@example.com")
        assert client.said == "Username already exists"
        assert not client.log_in(name, "Wrong-pass-1")
        assert client.said == "Invalid username or password"
        assert [reply.status for reply in client.replies] == [400, 200, 409, 401]

    def test_without_captcha_it_asks_for_none(
        self, older_edition: Service, open_page: Open, name: str
    ) -> None:
        client = SessionClient(open_page(older_edition, 0))
        assert client.sign_up(name, PASSWORD, f"{name}@example.com")
        assert client.log_in(name, PASSWORD)
        assert_golden(client.replies[0], "session-without-captcha/signup-succeeds")
        assert_sent(client.page, "OPTIONS /signup", "POST /signup", "OPTIONS /login", "POST /login")

    def test_who_reads_the_body_alone_needs_the_status_200(
        self,
        service: Service,
        for_real_clients: Service,
        stores: Stores,
        open_page: Open,
        name: str,
    ) -> None:
        client = BodyReader(open_page(for_real_clients, 0), stores.answer_of)
        assert client.sign_up(name, PASSWORD, f"{name}@example.com")
        assert not client.sign_up(name, PASSWORD, f"{name}@example.com")
        assert client.said == "Username already exists"
        assert not client.log_in(name, "Wrong-pass-1")
        assert client.said == "Invalid username or password"
        assert not client.log_in(name, "")
        assert client.said == "Invalid request"
        assert client.log_in(name, PASSWORD)
        with pytest.raises(Unreadable, match="network error 401"):
            BodyReader(open_page(service, 0)).log_in(name, "Wrong-pass-1")

    def test_who_takes_digits_alone_needs_captchas_of_digits(
        self,
        service: Service,
        for_real_clients: Service,
        stores: Stores,
        open_page: Open,
    ) -> None:
        client = DigitsOnly(open_page(for_real_clients, 0), stores.answer_of)
        for _ in range(5):
            name = fresh_name("digits")
            assert client.sign_up(name, PASSWORD, f"{name}@example.com")
        other = DigitsOnly(open_page(service, 0), stores.answer_of)

        def sign_up_several() -> None:
            for _ in range(5):  # one captcha in some hundred has no letter by chance
                name = fresh_name("letters")
                other.sign_up(name, PASSWORD, f"{name}@example.com")

        with pytest.raises(Unreadable, match="is not a number"):
            sign_up_several()

    def test_a_captcha_of_digits_can_be_heard_too(
        self, for_real_clients: Service, open_page: Open
    ) -> None:
        page = open_page(for_real_clients, 0)
        captcha_id = SessionClient(page).new_captcha()
        for language in ("en", "zh"):
            sound = page.send("GET", f"/v1/captcha/{captcha_id}/audio?lang={language}")
            assert (sound.status, sound.body[:4]) == (200, b"RIFF")


class TestToken:
    def test_it_registers_and_logs_in_and_sends_its_token_ever_after(
        self, service: Service, open_page: Open, name: str
    ) -> None:
        client = TokenClient(open_page(service, 0))
        email = f"{name}@example.com"
        assert client.register(name, PASSWORD, email)
        assert client.user is not None
        assert list(client.user) == ["userId", "username", "email"]
        assert (client.user["username"], client.user["email"]) == (name, email)
        assert client.log_in(name, PASSWORD)
        assert client.reply is not None
        assert_golden(client.reply, "token/login-succeeds", username=name, email=email)
        assert client.request("GET", "/v1/me").json()["username"] == name
        assert_sent(
            client.page,
            "OPTIONS /api/register",
            "POST /api/register",
            "OPTIONS /api/login",
            "POST /api/login",
            "OPTIONS /v1/me",
            "GET /v1/me",
        )

    def test_it_shows_why_it_was_refused(
        self, service: Service, open_page: Open, name: str
    ) -> None:
        client = TokenClient(open_page(service, 0))
        assert not client.log_in(name, PASSWORD)
        assert client.reply is not None
        assert_golden(client.reply, "token/login-wrong-password")
        assert not client.register(name, PASSWORD, "")
        assert_golden(client.reply, "token/register-with-empty-email")
        assert client.token is None


class TestAdmin:
    def test_it_registers_logs_in_and_lets_an_administrator_make_users(
        self, service: Service, stores: Stores, open_page: Open, name: str
    ) -> None:
        client = AdminClient(open_page(service, 1))
        assert client.register(name, PASSWORD, f"{name}@example.com")
        assert client.said == "注册成功"
        made = f"{name}-made"
        form = {"username": made, "password": PASSWORD, "email": f"{made}@example.com"}
        assert client.create_user(0, **form).status == 403
        assert client.said == "权限不足"
        stores.promote(name)
        assert client.log_in(name, PASSWORD)
        assert client.said == "登录成功"
        assert client.create_user(1, **form).json()["user"] == {
            "id": client_id_of(stores, made),
            "username": made,
            "email": form["email"],
            "permission": 1,
            "data": "{}",
        }
        assert client.said == "用户创建成功"
        assert client.create_user(1, **form).status == 409
        assert_sent(
            client.page,
            "OPTIONS /api/auth/register",
            "POST /api/auth/register",
            "OPTIONS /api/auth/createUser",
            "POST /api/auth/createUser",
            "OPTIONS /api/auth/login",
            "POST /api/auth/login",
            "POST /api/auth/createUser",
            "POST /api/auth/createUser",
        )

    def test_who_sends_the_token_bare_needs_it_to_be_taken_so(
        self,
        service: Service,
        for_real_clients: Service,
        stores: Stores,
        open_page: Open,
        name: str,
    ) -> None:
        client = BareAdminClient(open_page(for_real_clients, 1))
        assert client.register(name, PASSWORD, f"{name}@example.com")
        stores.promote(name)
        made = {"password": PASSWORD, "username": f"{name}-1", "email": f"{name}-1@example.com"}
        assert client.create_user(0, **made).status == 201
        other = BareAdminClient(open_page(service, 1))
        assert other.log_in(name, PASSWORD)
        assert other.create_user(0, **made).status == 401
        assert other.said == "未授权访问"


class TestEnvelope:
    def test_it_registers_then_logs_in(self, service: Service, open_page: Open, name: str) -> None:
        client = EnvelopeClient(open_page(service, 1))
        assert client.register(name, PASSWORD) == {
            "success": True,
            "message": "注册成功",
            "statusCode": 200,
        }
        assert client.log_in(name, PASSWORD)["data"]["user"]["username"] == name
        assert client.token is not None
        assert_sent(
            client.page,
            "OPTIONS /api/register",
            "POST /api/register",
            "OPTIONS /api/login",
            "POST /api/login",
        )

    def test_every_failure_has_the_one_shape(
        self, service: Service, open_page: Open, name: str
    ) -> None:
        client = EnvelopeClient(open_page(service, 1))
        weak = client.register(name, "no capital")
        assert weak["details"] == {"min_length": 8, "requires_uppercase": True}
        assert client.register("", PASSWORD)["errorCode"] == "INVALID_INPUT"
        assert client.log_in(name, PASSWORD)["message"] == "用户名或密码不正确"


class TestNative:
    def test_it_signs_up_logs_in_renews_asks_who_it_is_and_logs_out(
        self, service: Service, stores: Stores, open_page: Open, name: str
    ) -> None:
        seen: list[str] = []

        def look(captcha_id: str) -> str:
            seen.append(captcha_id)
            return stores.answer_of(captcha_id)

        client = NativeClient(open_page(service, 0), look)
        assert client.sign_up(name, "Xk9-Longer-than-most").status == 201
        assert client.log_in(name, "Xk9-Longer-than-most").ok
        before = client.tokens["accessToken"]
        assert client.refresh().ok
        assert client.tokens["accessToken"] != before
        assert client.who_am_i().json()["username"] == name
        assert client.log_out().status == 204
        assert_golden(client.who_am_i(), "native/me-revoked-token")
        assert_sent(
            client.page,
            "GET /v1/captcha",
            f"GET /v1/captcha/{seen[0]}",
            "OPTIONS /v1/signup",
            "POST /v1/signup",
            "OPTIONS /v1/login",
            "POST /v1/login",
            "OPTIONS /v1/token/refresh",
            "POST /v1/token/refresh",
            "OPTIONS /v1/me",
            "GET /v1/me",
            "OPTIONS /v1/logout",
            "POST /v1/logout",
            "GET /v1/me",
            "POST /v1/token/refresh",
        )

    def test_it_renews_its_tokens_by_itself_when_they_have_expired(
        self, service: Service, stores: Stores, open_page: Open, name: str
    ) -> None:
        client = NativeClient(open_page(service, 0), stores.answer_of)
        assert client.sign_up(name, "Xk9-Longer-than-most").status == 201
        client.tokens["accessToken"] = stores.expire_token(client.tokens["accessToken"])
        assert client.who_am_i().json()["username"] == name
        assert client.page.sent[-4:] == [
            "GET /v1/me",
            "OPTIONS /v1/token/refresh",
            "POST /v1/token/refresh",
            "GET /v1/me",
        ]


def client_id_of(stores: Stores, name: str) -> int:
    """Return the id of a user."""
    [(user_id,)] = stores.sql("SELECT id FROM users WHERE username = ?", name)
    return int(user_id)


def test_one_account_is_known_to_every_client(
    service: Service, stores: Stores, open_page: Open, name: str
) -> None:
    assert AdminClient(open_page(service, 1)).register(name, PASSWORD, f"{name}@example.com")
    assert SessionClient(open_page(service, 0)).log_in(name, PASSWORD)
    assert TokenClient(open_page(service, 0)).log_in(name, PASSWORD)
    assert EnvelopeClient(open_page(service, 1)).log_in(name, PASSWORD)["success"] is True
    assert NativeClient(open_page(service, 0), stores.answer_of).log_in(name, PASSWORD).ok


def test_the_browser_keeps_from_a_page_what_it_may_not_read(service: Service, name: str) -> None:
    page = Page(service.first, "https://evil.example")
    with pytest.raises(Blocked, match="not for https://evil"):
        SessionClient(page).log_in(name, PASSWORD)
    assert page.sent == ["OPTIONS /login"]
    page.close()
