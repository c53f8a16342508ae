"""Every operation of every dialect, at log level debug: nothing secret is in the log."""

import json
import re
import socket
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pyotp
import pytest

from authsvc import settings
from authsvc.app import create_app
from authsvc.infra.captcha_store import RedisCaptchaStore
from authsvc.infra.database import db
from authsvc.infra.redis import RedisClient, RedisOptions, connect
from tests.e2e.frontends import FAST
from tests.infra.databases import add_administrator, migrated
from tests.support.client import NOTHING, Answer, Client
from tests.support.mariadb import MariaDB
from tests.support.processes import HOST, free_ports, wait_until
from tests.support.redis import RedisServer
from tests.support.service import Service

PASSWORD, NEXT_PASSWORD = "Marked-Pass-0ne-quail", "Marked-Pass-Two-heron"
SHORT_PASSWORD = "Marked-Pass-magpie"
WRONG_PASSWORD, WRONG_ANSWER = "Marked-Wrong-Pass-egret", "Marked-Wrong-Answer-stork"
CLIENT_SECRET, WRONG_SECRET = "marked-client-secret-crane", "marked-wrong-secret-finch"
FORGED = "marked.forged.token-robin"
ADMIN = "overseer"
MOUNTS = "session=/, token=/api, admin=/api/auth, native=/v1, ruoyi=/ruoyi"
RUOYI_READS = ("/ruoyi/getInfo", "/ruoyi/getRouters", "/ruoyi/system/notice/listTop")
WHAT_IS_SECRET = {"accesstoken", "refreshtoken", "session_token", "token", "secret", "uri"}
SENT_WITHIN = 15.0


@dataclass
class World:
    """A running service, what it stands on, and every secret that went in or came out."""

    service: Service
    redis: RedisClient
    secrets: set[str] = field(
        default_factory=lambda: {
            PASSWORD,
            NEXT_PASSWORD,
            SHORT_PASSWORD,
            WRONG_PASSWORD,
            WRONG_ANSWER,
            CLIENT_SECRET,
            WRONG_SECRET,
            FORGED,
        }
    )

    def ask(
        self,
        method: str,
        path: str,
        body: Any = NOTHING,
        *,
        token: str | None = None,
        port: int = 0,
        headers: dict[str, str] | None = None,
        raw: bytes | None = None,
    ) -> Answer:
        """Send a request; keep in mind what secrets the answer holds."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        client = Client((self.service.first, self.service.second)[port])
        answer = client.request(method, path, json=body, headers=sent, body=raw)
        if answer.headers.get_content_type() == "application/json" and answer.body:
            self._remember(answer.json())
        for cookie in answer.headers.get_all("Set-Cookie") or ():
            self.secrets.add(cookie.partition("=")[2].partition(";")[0])
        self.secrets.discard("")
        return answer

    def email(self, name: str) -> str:
        """Return a user's e-mail address, which is a secret."""
        address = f"Marked-{name}@example.com"
        self.secrets |= {address, address.lower()}
        return address

    def solved(self) -> dict[str, str]:
        """Return a new captcha with its right answer."""
        captcha_id = self.ask("GET", "/captcha").json()["captchaId"]
        return {"captchaId": captcha_id, "value": self._answer(captcha_id)}

    def solved_for_ruoyi(self) -> dict[str, str]:
        """Return a new captcha of this document with its right answer."""
        uuid = self.ask("GET", "/ruoyi/captchaImage").json()["uuid"]
        return {"uuid": uuid, "code": self._answer(uuid)}

    def _answer(self, captcha_id: str) -> str:
        record, _ = RedisCaptchaStore(self.redis).look(captcha_id)
        answer = str(record).partition(":")[2]
        self.secrets.add(answer)
        return answer

    def mailed(self, address: str) -> str:
        """Return a token that was mailed to an address and not returned before, once there is."""
        found: list[str] = []

        def is_there() -> bool:
            found[:] = [token for token in self._tokens(address) if token not in self.secrets]
            return bool(found)

        assert wait_until(is_there, SENT_WITHIN)
        self.secrets |= set(found)
        return found[-1]

    def _tokens(self, address: str) -> Iterator[str]:
        for file in sorted((self.service.data / "mail").glob("*.eml")):
            mail = message_from_bytes(file.read_bytes(), policy=policy.default)
            body = mail.get_body(("plain",))
            if mail["To"] == address and body is not None:
                yield from re.findall(r"[?]token=([\w-]+)", body.get_content())

    def _remember(self, value: Any, name: str = "") -> None:
        if isinstance(value, dict):
            for key, part in value.items():
                self._remember(part, key.lower())
        elif isinstance(value, list):
            for part in value:
                self._remember(part, "secret" if name == "recoverycodes" else name)
        elif isinstance(value, str) and name in WHAT_IS_SECRET:
            self.secrets.add(value)


def let_all_succeed(world: World) -> str:
    """Lead every operation to success; return the administrator's token."""
    ask, email = world.ask, world.email
    one = {"username": "one", "password": PASSWORD}
    ask("POST", "/signup", {**one, "email": email("one"), **world.solved()})
    ask("POST", "/login", one)
    captcha_id = world.solved()["captchaId"]
    ask("GET", f"/captcha/{captcha_id}")
    two, three = one | {"username": "two"}, one | {"username": "three"}
    ask("POST", "/api/register", two | {"email": email("two")})
    ask("POST", "/api/login", two)
    ask("POST", "/api/auth/register", three | {"email": email("three")})
    ask("POST", "/api/auth/login", three)
    ask("POST", "/api/register", one | {"username": "four"}, port=1)
    ask("POST", "/api/login", one | {"username": "four"}, port=1)
    admin = ask("POST", "/v1/login", one | {"username": ADMIN}).json()["accessToken"]
    five = {"username": "five", "password": PASSWORD, "email": email("five")}
    ask("POST", "/api/auth/createUser", five, token=admin)
    administer(world, admin)
    live_natively(world)
    live_in_ruoyi(world)
    return str(admin)


def live_in_ruoyi(world: World) -> None:
    """Do all that a RuoYi-Vue3 frontend does."""
    ask = world.ask
    person = {"username": "ruoyi", "password": SHORT_PASSWORD}
    repeated = {"confirmPassword": SHORT_PASSWORD}
    ask("POST", "/ruoyi/register", person | repeated | world.solved_for_ruoyi())
    token = ask("POST", "/ruoyi/login", person | world.solved_for_ruoyi()).json()["token"]
    for path in RUOYI_READS:
        ask("GET", path, token=token)
    ask("POST", "/ruoyi/unlockscreen", {"password": SHORT_PASSWORD}, token=token)
    ask("POST", "/ruoyi/logout", token=token)


def administer(world: World, admin: str) -> None:
    """Do all that an administrator can do in the native dialect."""
    ask, email = world.ask, world.email
    six = {"username": "six", "password": PASSWORD, "email": email("six")}
    user = ask("POST", "/v1/users", six, token=admin).json()["id"]
    ask("GET", f"/v1/users?search={email('six').lower()[:9]}", token=admin)
    ask("GET", f"/v1/users/{user}", token=admin)
    ask("PATCH", f"/v1/users/{user}", {"email": email("seven")}, token=admin)
    ask("POST", f"/v1/users/{user}/password", {"password": NEXT_PASSWORD}, token=admin)
    login = {"username": "six", "password": NEXT_PASSWORD}
    turn_codes_on(world, login, ask("POST", "/v1/login", login).json()["accessToken"])
    ask("POST", f"/v1/users/{user}/logout", token=admin)
    ask("DELETE", f"/v1/users/{user}/totp", token=admin)
    ask("GET", "/v1/audit", token=admin)
    ask("DELETE", f"/v1/users/{user}", token=admin)


def live_natively(world: World) -> None:
    """Live a user's whole life in the native dialect."""
    ask, email = world.ask, world.email
    captcha_id = ask("GET", "/v1/captcha").json()["captchaId"]
    ask("GET", f"/v1/captcha/{captcha_id}")
    ask("GET", f"/v1/captcha/{captcha_id}/audio?lang=en")
    ask("GET", "/v1/captcha/pow")
    address = email("native")
    born = {"username": "native", "password": PASSWORD, "email": address}
    tokens = ask("POST", "/v1/signup", born | world.solved()).json()
    ask("POST", "/v1/email/verify/confirm", {"token": world.mailed(address)})
    ask("POST", "/v1/email/verify", {"email": address})
    login = {"username": "native", "password": PASSWORD}
    kept = ask("POST", "/v1/login", login | {"cookies": True})
    cookies = [cookie.partition(";")[0] for cookie in kept.headers.get_all("Set-Cookie") or ()]
    csrf = cookies[-1].partition("=")[2]
    ask("POST", "/v1/token/refresh", headers={"Cookie": "; ".join(cookies), "X-CSRF-Token": csrf})
    tokens = ask("POST", "/v1/token/refresh", {"refreshToken": tokens["refreshToken"]}).json()
    token = tokens["accessToken"]
    form = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Authorization": "Basic " + base64_of(f"asker:{CLIENT_SECRET}"),
    }
    ask("POST", "/v1/introspect", raw=f"token={token}".encode(), headers=form)
    ask("GET", "/v1/me", token=token)
    ask("PATCH", "/v1/me", {"data": {"colour": "green"}}, token=token)
    ask("POST", "/v1/password/strength", {"password": PASSWORD, "email": address})
    sessions = ask("GET", "/v1/me/sessions", token=token).json()["sessions"]
    other = next(session["id"] for session in sessions if not session["current"])
    ask("DELETE", f"/v1/me/sessions/{other}", token=token)
    first, second = turn_codes_on(world, login, token)
    ask("POST", "/v1/login", login | {"code": first})
    ask("DELETE", "/v1/me/totp", {"password": PASSWORD, "code": second}, token=token)
    ask("POST", "/v1/password/forgot", {"email": address})
    reset = {"token": world.mailed(address), "password": NEXT_PASSWORD}
    ask("POST", "/v1/password/reset", reset)
    login["password"] = NEXT_PASSWORD
    token = ask("POST", "/v1/login", login).json()["accessToken"]
    change = {"oldPassword": NEXT_PASSWORD, "newPassword": PASSWORD}
    ask("PUT", "/v1/me/password", change, token=token)
    ask("POST", "/v1/logout", token=token)
    login["password"] = PASSWORD
    token = ask("POST", "/v1/login", login).json()["accessToken"]
    ask("DELETE", "/v1/me", {"password": PASSWORD}, token=token)


def turn_codes_on(world: World, login: dict[str, str], token: str) -> tuple[str, str]:
    """Turn one-time codes on, use one twice, and return two recovery codes."""
    password = {"password": login["password"]}
    secret = world.ask("POST", "/v1/me/totp", password, token=token).json()["secret"]
    code = {"code": pyotp.TOTP(secret).now()}
    world.secrets.add(code["code"])
    answer = world.ask("POST", "/v1/me/totp/confirm", code, token=token)
    world.ask("POST", "/v1/login", login | code)
    first, second, *_ = answer.json()["recoveryCodes"]
    return first, second


def base64_of(text: str) -> str:
    return b64encode(text.encode()).decode()


def let_all_fail(world: World, token: str) -> None:
    """Ask for everything with what is wrong, or with what would be right if the stores answered."""
    ask = world.ask
    wrong = {"username": "one", "password": WRONG_PASSWORD}
    unsolved = {"captchaId": "A" * 22, "value": WRONG_ANSWER}
    new = wrong | {"email": world.email("nobody")}
    native = new | unsolved
    for path, body in (
        ("/signup", native),
        ("/login", wrong),
        ("/api/register", new),
        ("/api/login", wrong),
        ("/api/auth/register", new),
        ("/api/auth/login", wrong),
        ("/v1/signup", native),
        ("/v1/login", wrong | {"code": "Marked-code"}),
        ("/ruoyi/register", wrong | {"uuid": "A" * 22, "code": WRONG_ANSWER}),
        ("/ruoyi/login", wrong | {"uuid": "A" * 22, "code": WRONG_ANSWER}),
        ("/ruoyi/unlockscreen", wrong),
    ):
        ask("POST", path, body)
        ask("POST", path, body | {"password": [WRONG_PASSWORD]})
        ask("POST", path, raw=json.dumps(body).encode()[:-3], headers={"Content-Type": "text/json"})
    for path in ("/api/register", "/api/login"):
        ask("POST", path, {"username": "\x00", "password": WRONG_PASSWORD}, port=1)
    for bearer in (token, FORGED):
        ask("POST", "/api/auth/createUser", new | {"permission": "x"}, token=bearer)
        fail_natively(world, bearer)
    for path in RUOYI_READS:
        ask("GET", path, token=FORGED)
    ask("POST", "/ruoyi/logout", token=FORGED)
    for path in (f"/captcha/{'A' * 22}", "/captcha", "/ruoyi/captchaImage"):
        ask("GET", path)


def fail_natively(world: World, token: str) -> None:
    """Ask for all that the native dialect knows, of which little can be had."""
    password, code, nobody = {"password": WRONG_PASSWORD}, {"code": WRONG_ANSWER}, world.email("x")
    pair = {"oldPassword": WRONG_PASSWORD, "newPassword": NEXT_PASSWORD}
    unknown: dict[str, Any] = {"token": FORGED}
    for method, path, body in (
        ("GET", "/v1/captcha", NOTHING),
        ("GET", f"/v1/captcha/{'A' * 22}", NOTHING),
        ("GET", f"/v1/captcha/{'A' * 22}/audio", NOTHING),
        ("GET", "/v1/captcha/pow", NOTHING),
        ("POST", "/v1/token/refresh", {"refreshToken": FORGED}),
        ("GET", "/v1/me", NOTHING),
        ("PATCH", "/v1/me", password | {"email": nobody}),
        ("PUT", "/v1/me/password", pair),
        ("DELETE", "/v1/me", password),
        ("POST", "/v1/password/strength", password | {"email": 7}),
        ("POST", "/v1/me/totp", password),
        ("POST", "/v1/me/totp/confirm", code),
        ("DELETE", "/v1/me/totp", password | code),
        ("POST", "/v1/email/verify", {"email": nobody}),
        ("POST", "/v1/email/verify/confirm", unknown),
        ("POST", "/v1/password/forgot", {"email": nobody}),
        ("POST", "/v1/password/reset", unknown | password),
        ("POST", "/v1/logout", {"scope": FORGED}),
        ("GET", "/v1/me/sessions", NOTHING),
        ("DELETE", "/v1/me/sessions/none", NOTHING),
        ("POST", "/v1/introspect", unknown),
        ("GET", f"/v1/users?search={nobody}&limit=0", NOTHING),
        ("POST", "/v1/users", password | {"username": "", "email": nobody}),
        ("GET", "/v1/users/99999", NOTHING),
        ("PATCH", "/v1/users/99999", {"email": nobody}),
        ("DELETE", "/v1/users/99999", NOTHING),
        ("POST", "/v1/users/99999/logout", NOTHING),
        ("POST", "/v1/users/99999/password", password),
        ("DELETE", "/v1/users/99999/totp", NOTHING),
        ("GET", "/v1/audit?limit=0", NOTHING),
    ):
        world.ask(method, path, body, token=token)
    secret = {"Authorization": "Basic " + base64_of(f"asker:{WRONG_SECRET}")}
    world.ask("POST", "/v1/introspect", raw=f"token={FORGED}".encode(), headers=secret)


def break_http(world: World) -> None:
    """Send what is not HTTP, with secrets where they do not belong."""
    for message in (
        f"GET /v1/me?token={FORGED} HTTP/9.9\r\n\r\n",
        f"GET /v1/me HTTP/1.1\r\nAuthorization Bearer {FORGED}\r\n\r\n",
        f"GET /v1/me HTTP/1.1\r\nBad Name: {FORGED}\r\n\r\n",
        f"GET /v1/me HTTP/1.1\r\nAuthorization: Bearer {FORGED}\x00\r\n\r\n",
        f"POST /v1/login HTTP/1.1\r\nContent-Length: {WRONG_PASSWORD}\r\n\r\n",
        "POST /login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        f"{WRONG_PASSWORD}\r\n\r\n",
        f"{WRONG_PASSWORD}\r\n\r\n",
    ):
        with socket.create_connection((HOST, world.service.ports[0]), timeout=5) as connection:
            connection.sendall(message.encode())
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass


@pytest.fixture(scope="module")
def world(
    mariadb: MariaDB, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """A service to which everything has happened."""
    url = mariadb.create_database()
    with migrated(url):
        add_administrator(ADMIN, PASSWORD)
    environment = {
        **FAST,
        "AUTHSVC_DATABASE_URL": url,
        "AUTHSVC_REDIS_URL": redis_server.url,
        "AUTHSVC_LOG_LEVEL": "debug",
        "AUTHSVC_LOG_FORMAT": "json",
        "AUTHSVC_RATELIMIT_ENABLED": "off",
        "AUTHSVC_COOKIES": "on",
        "AUTHSVC_CAPTCHA_POW": "on",
        "AUTHSVC_INTROSPECTION_CLIENTS": f"asker:{CLIENT_SECRET}",
        "AUTHSVC_PUBLIC_URL": "https://app.example.com",
    }
    ports = free_ports(2)
    environment["AUTHSVC_MOUNTS"] = f"{MOUNTS}, envelope=:{ports[1]}/api"
    service = Service(tmp_path_factory.mktemp("secrets"), environment, ports=(ports[0], ports[1]))
    with service:
        world = World(service, connect(redis_server.url, RedisOptions(4, 1.0, 1.0)))
        token = let_all_succeed(world)
        let_all_fail(world, token)
        break_http(world)
        redis_server.kill()
        let_all_fail(world, token)
        mariadb.kill()
        let_all_fail(world, token)
        redis_server.start()
        let_all_fail(world, token)
        mariadb.start()
        time.sleep(0.2)
        yield world


def entries(world: World) -> list[dict[str, Any]]:
    """Return the lines of the log, read as JSON."""
    lines = world.service.log_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def test_every_operation_of_every_dialect_succeeded_and_failed(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTHSVC_DATA", str(tmp_path))
    monkeypatch.setenv("AUTHSVC_MOUNTS", f"{MOUNTS}, envelope=:3000/api")
    app = create_app(settings.load())
    with app.app_context():
        db.engine.dispose()
    mounted = [rule for rule in app.url_map.iter_rules() if rule.subdomain]
    operations = {rule.endpoint.rpartition(".")[2] for rule in mounted}
    answered = [entry for entry in entries(world) if entry["event"] == "request"]
    succeeded = {entry["operation"] for entry in answered if entry["outcome"] == "ok"}
    failed = {entry["operation"] for entry in answered if entry["outcome"] != "ok"}
    assert operations - succeeded == set()
    assert operations - failed - {"proof_of_work"} == set()
    assert {entry["dialect"] for entry in answered} >= {
        "session",
        "token",
        "admin",
        "envelope",
        "native",
        "ruoyi",
    }


def test_no_password_token_answer_code_or_address_is_in_the_log(world: World) -> None:
    log = world.service.log_text()
    assert len(world.secrets) > 60
    # A code has six digits, as the fraction of a duration has.
    found = {
        secret
        for secret in world.secrets
        if re.search(rf"(?<![\w.]){re.escape(secret)}(?![\w])", log, re.IGNORECASE)
    }
    assert found == set()


def test_every_line_that_the_service_writes_is_one_event(world: World) -> None:
    started = [line for line in world.service.log_text().splitlines() if not line.startswith("{")]
    assert not [line for line in started if "Traceback" in line or "gunicorn" in line]
    assert {"timestamp", "level", "logger", "event"} <= set.intersection(
        *(set(entry) for entry in entries(world))
    )


def test_the_lines_of_a_request_carry_its_id(world: World) -> None:
    failures = [entry for entry in entries(world) if entry["logger"] == "authsvc.web.errors"]
    named = {entry["request_id"] for entry in entries(world) if entry["event"] == "request"}
    assert len(failures) > 20
    assert {entry["request_id"] for entry in failures} <= named
