"""Whole ways through the service that pass through a mailbox."""

import re
import time
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any, cast

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from authsvc.infra.outbox import LEASE
from tests.e2e.frontends import FAST, fresh
from tests.support.client import Answer, Client
from tests.support.family import kill_all
from tests.support.mariadb import MariaDB
from tests.support.processes import wait_until
from tests.support.redis import RedisServer
from tests.support.service import Service
from tests.support.smtp import Mode, SmtpServer

PUBLIC = "https://app.example.com"
PASSWORD, NEW_PASSWORD = "correct horse battery", "quite another staple"
SENT_WITHIN = 15.0


class Mailbox:
    """All that arrives, read by address."""

    def __init__(self, server: SmtpServer) -> None:
        self.server = server

    def of(self, address: str) -> list[EmailMessage]:
        return [mail for mail in self.server.mails() if mail["X-Recipient"] == address]

    def wait(self, address: str, count: int = 1) -> EmailMessage:
        """Return the newest mail to an address once there are that many."""
        arrived = wait_until(lambda: len(self.of(address)) >= count, SENT_WITHIN)
        assert arrived, f"{len(self.of(address))} mails instead of {count}"
        return self.of(address)[count - 1]


class World:
    """A running service, its mailbox, and its database."""

    def __init__(self, service: Service, smtp: SmtpServer, database_url: str) -> None:
        self.service = service
        self.mailbox = Mailbox(smtp)
        self._engine = create_engine(database_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        self.client = Client(f"{service.first}/v1")

    def sign_up(self, **headers: str) -> "Person":
        name = fresh("reader")
        person = Person(self, name, f"{name}@example.org")
        answer = self.client.post(
            "/signup",
            {"username": name, "password": PASSWORD, "email": person.address},
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )
        assert answer.status == 201, answer.text
        person.token = answer.json()["accessToken"]
        return person

    def sign_up_verified(self) -> "Person":
        person = self.sign_up()
        answer = self.post("/email/verify/confirm", token=person.link(1))
        assert answer.status == 200, answer.text
        return person

    def post(self, path: str, **body: Any) -> Answer:
        return self.client.post(path, body)

    def log_in(self, login: str, password: str) -> int:
        return self.post("/login", username=login, password=password).status

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        with self._engine.connect() as connection:
            result = connection.execute(text(statement))
            return [tuple(row) for row in result] if result.returns_rows else []

    def is_idle(self) -> bool:
        return self.sql("SELECT COUNT(*) FROM outbox") == [(0,)]

    def let_pauses_be_over(self) -> None:
        """Let the last mails to everyone be a minute old."""
        self.sql("UPDATE mail_tokens SET expires_at = expires_at - 60")


class Person:
    """A user, and who reads their mail."""

    def __init__(self, world: World, name: str, address: str) -> None:
        self.world, self.name, self.address = world, name, address
        self.token = ""

    def me(self) -> Answer:
        bearer = {"Authorization": f"Bearer {self.token}"}
        return self.world.client.get("/me", headers=bearer)

    def patch(self, **body: Any) -> Answer:
        bearer = {"Authorization": f"Bearer {self.token}"}
        return self.world.client.request("PATCH", "/me", json=body, headers=bearer)

    def link(self, count: int, address: str | None = None) -> str:
        """Return the token of the newest mail."""
        return token_in(self.world.mailbox.wait(address or self.address, count))


def text_of(mail: EmailMessage) -> str:
    plain = next(iter(mail.iter_parts()))
    return str(cast(EmailMessage, plain).get_content())


def link_in(mail: EmailMessage) -> str:
    [link] = re.findall(r"https?://\S+\?token=\S+", text_of(mail))
    return str(link)


def token_in(mail: EmailMessage) -> str:
    return link_in(mail).rpartition("=")[2]


def mariadb_and_redis(request: pytest.FixtureRequest) -> dict[str, str]:
    """Settings that name the servers of the whole run."""
    redis_server: RedisServer = request.getfixturevalue("redis_server")
    redis_server.flush()
    mariadb: MariaDB = request.getfixturevalue("mariadb")
    url = mariadb.create_database()
    return {"AUTHSVC_DATABASE_URL": url, "AUTHSVC_REDIS_URL": redis_server.url}


@pytest.fixture(
    scope="module",
    params=[
        "embedded",
        pytest.param("servers", marks=[pytest.mark.mariadb, pytest.mark.redis_server]),
    ],
)
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("mail")
    stores = {} if request.param == "embedded" else mariadb_and_redis(request)
    with SmtpServer(folder / "smtp") as smtp:
        service = Service(
            folder / "service",
            {
                **FAST,
                **stores,
                "AUTHSVC_WORKERS": "2",
                "AUTHSVC_RATELIMIT_ENABLED": "off",
                "AUTHSVC_SIGNUP_CAPTCHA": "off",
                "AUTHSVC_SMTP_URL": f"smtp://127.0.0.1:{smtp.port}",
                "AUTHSVC_MAIL_FROM": "noreply@example.com",
                "AUTHSVC_PUBLIC_URL": PUBLIC,
            },
        )
        service.migrate()
        embedded = f"sqlite:///{service.data / 'authsvc.sqlite3'}"
        with service:
            yield World(service, smtp, stores.get("AUTHSVC_DATABASE_URL", embedded))


@pytest.fixture(autouse=True)
def accepting(world: World) -> Iterator[None]:
    """Every test begins and ends with a server that takes mails, and nothing left to send."""
    world.mailbox.server.turn(Mode.ACCEPT)
    yield
    world.mailbox.server.ensure_running()
    world.mailbox.server.turn(Mode.ACCEPT)
    world.sql("DELETE FROM outbox")


def test_an_address_given_at_sign_up_is_confirmed_by_its_mail(world: World) -> None:
    person = world.sign_up()
    assert person.me().json()["emailVerified"] is False
    assert link_in(world.mailbox.wait(person.address)).startswith(f"{PUBLIC}/verify-email?token=")
    answer = world.post("/email/verify/confirm", token=person.link(1))
    assert (answer.status, answer.json()) == (200, {"email": person.address})
    assert person.me().json()["emailVerified"] is True
    assert world.log_in(person.address, PASSWORD) == 200


def test_a_link_is_good_once(world: World) -> None:
    person = world.sign_up()
    token = person.link(1)
    assert world.post("/email/verify/confirm", token=token).status == 200
    again = world.post("/email/verify/confirm", token=token)
    assert (again.status, again.json()["code"]) == (400, "invalid_mail_token")


def test_a_forgotten_password_is_replaced_and_all_sessions_end(world: World) -> None:
    person = world.sign_up_verified()
    answer = world.post("/password/forgot", email=person.address.upper())
    assert (answer.status, answer.json()) == (202, {"accepted": True})
    mail = world.mailbox.wait(person.address, 2)
    assert link_in(mail).startswith(f"{PUBLIC}/reset-password?token=")
    assert person.name in text_of(mail)

    token = token_in(mail)
    assert world.post("/password/reset", token=token, password=NEW_PASSWORD).status == 204
    assert person.me().status == 401
    assert world.log_in(person.name, PASSWORD) == 401
    assert world.log_in(person.name, NEW_PASSWORD) == 200
    again = world.post("/password/reset", token=token, password=PASSWORD)
    assert (again.status, again.json()["code"]) == (400, "invalid_mail_token")
    assert "password" in world.mailbox.wait(person.address, 3)["Subject"]


def test_a_weak_password_leaves_the_link_good(world: World) -> None:
    person = world.sign_up_verified()
    world.post("/password/forgot", email=person.address)
    token = person.link(2)
    weak = world.post("/password/reset", token=token, password="password123")
    assert (weak.status, weak.json()["code"]) == (400, "weak_password")
    assert world.post("/password/reset", token=token, password=NEW_PASSWORD).status == 204


def test_an_unknown_address_is_answered_alike_and_sent_nothing(world: World) -> None:
    person = world.sign_up_verified()
    unknown = f"{fresh('nobody')}@example.org"
    known_answer = world.post("/password/forgot", email=person.address)
    for path in ("/password/forgot", "/email/verify"):
        answer = world.post(path, email=unknown)
        assert (answer.status, answer.body) == (known_answer.status, known_answer.body)
        assert answer.headers.keys() == known_answer.headers.keys()
    person.link(2)
    assert wait_until(world.is_idle, SENT_WITHIN)
    assert world.mailbox.of(unknown) == []


@pytest.mark.parametrize("path", ["/password/forgot", "/email/verify"])
def test_what_is_no_address_is_refused(world: World, path: str) -> None:
    answer = world.post(path, email="a@example.org\r\nBcc: b@example.org")
    assert (answer.status, answer.json()["code"]) == (400, "invalid_email")


def test_a_forged_host_does_not_reach_a_mail(world: World) -> None:
    person = world.sign_up_verified()
    world.client.post(
        "/password/forgot",
        {"email": person.address},
        headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"},
    )
    mail = world.mailbox.wait(person.address, 2)
    assert link_in(mail).startswith(f"{PUBLIC}/")
    assert "evil" not in mail.as_string() + text_of(mail)


def test_who_reads_chinese_is_written_in_chinese(world: World) -> None:
    person = world.sign_up(Accept_Language="zh-CN,zh;q=0.9,en;q=0.5")
    mail = world.mailbox.wait(person.address)
    assert (mail["Subject"], mail["Content-Language"]) == ("请确认您的邮箱地址", "zh")


def test_another_address_counts_once_it_is_confirmed_and_the_old_one_is_told(
    world: World,
) -> None:
    person = world.sign_up_verified()
    new_address = f"{fresh('moved')}@example.org"
    answer = person.patch(email=new_address, password=PASSWORD)
    assert (answer.status, answer.json()["email"]) == (200, person.address)
    token = person.link(1, new_address)
    confirmed = world.post("/email/verify/confirm", token=token)
    assert (confirmed.status, confirmed.json()) == (200, {"email": new_address})
    assert person.me().json()["email"] == new_address
    assert "changed" in world.mailbox.wait(person.address, 2)["Subject"]


def test_a_flood_of_requests_is_one_mail(world: World) -> None:
    person = world.sign_up_verified()
    for _ in range(10):
        assert world.post("/password/forgot", email=person.address).status == 202
    person.link(2)
    assert wait_until(world.is_idle, SENT_WITHIN)
    assert len(world.mailbox.of(person.address)) == 2


def test_a_mail_is_sent_once_the_mail_server_is_back(world: World) -> None:
    person = world.sign_up_verified()
    world.mailbox.server.kill()
    assert world.post("/password/forgot", email=person.address).status == 202
    waits_again = "SELECT COUNT(*) FROM outbox WHERE tries = 1 AND next_try_at < {}"
    lease_end = int(time.time()) + LEASE - 20
    assert wait_until(lambda: world.sql(waits_again.format(lease_end)) == [(1,)], SENT_WITHIN)
    world.mailbox.server.start()
    world.sql("UPDATE outbox SET next_try_at = 0")
    person.link(2)
    assert len(world.mailbox.of(person.address)) == 2


def test_a_crash_of_the_service_loses_no_mail(world: World) -> None:
    person = world.sign_up_verified()
    world.mailbox.server.turn(Mode.HANG)
    assert world.post("/password/forgot", email=person.address).status == 202
    children = world.service.children()
    world.service.kill()
    kill_all(children)
    assert len(world.mailbox.of(person.address)) == 1
    assert world.sql("SELECT kind FROM outbox") == [("reset",)]
    world.mailbox.server.restart()
    world.mailbox.server.turn(Mode.ACCEPT)
    world.service.start()
    world.let_pauses_be_over()
    world.sql("UPDATE outbox SET next_try_at = 0")
    person.link(2)


def test_the_log_holds_no_address_and_no_token(world: World) -> None:
    person = world.sign_up()
    token = person.link(1)
    world.post("/email/verify/confirm", token=token)
    assert wait_until(world.is_idle, SENT_WITHIN)
    log = world.service.log_text()
    assert person.address not in log
    assert token not in log
