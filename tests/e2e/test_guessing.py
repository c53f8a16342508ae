"""Guesses at passwords and codes, through the front door: counted, slowed, and told nothing."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import log2
from pathlib import Path
from threading import Barrier
from typing import Any

import bcrypt
import pyotp
import pytest
from redis import Redis

from authsvc import settings
from authsvc.app import create_app
from authsvc.infra import redis
from authsvc.infra.database import db
from authsvc.infra.embedded import EmbeddedRedis
from authsvc.infra.hashing import Argon2Hasher
from tests.e2e.frontends import (
    DIALECTS,
    ENVELOPE,
    FAST,
    PASSWORD,
    SESSION,
    SOLUTION,
    TOKEN,
    Dialect,
    Frontend,
    Words,
    bases_of,
    fresh,
    new_address,
    said,
)
from tests.infra.test_guesses import grow_older
from tests.support.client import Answer, Client
from tests.support.nginx import Nginx
from tests.support.processes import wait_until
from tests.support.redis import RedisServer
from tests.support.service import Service

WRONG = "Wrong-Password1"
FORGED = "X-Forwarded-For"
GUESSED = {**FAST, "AUTHSVC_GUESS_LIMIT": "on", "AUTHSVC_RATELIMIT_ENABLED": "off"}
FEW = {"AUTHSVC_GUESS_ADDRESS": "8", "AUTHSVC_GUESS_NAME": "10"}


def _problem(status: int, code: str, title: str, detail: str) -> Words:
    kind = f"urn:authsvc:problem:{code}"
    return status, {"type": kind, "title": title, "status": status, "detail": detail, "code": code}


TOO_MANY_ATTEMPTS = _problem(
    429, "too_many_attempts", "Too many attempts", "Too many attempts failed; try later."
)
NATIVE = Dialect(
    "native",
    0,
    "/v1/signup",
    "/v1/login",
    201,
    {
        "wrong": _problem(
            401,
            "invalid_credentials",
            "Invalid credentials",
            "The user name or the password is wrong.",
        ),
        "limited": TOO_MANY_ATTEMPTS,
        "log-in failed": _problem(
            503,
            "sessions_unavailable",
            "Sessions unavailable",
            "The store of sessions does not answer; try later.",
        ),
    },
)
ALL = (*DIALECTS, NATIVE)
each_dialect = pytest.mark.parametrize("dialect", ALL, ids=lambda dialect: dialect.name)


@dataclass(frozen=True)
class Stores:
    """What a service stands on: the settings that say so, and where its counters are."""

    settings: dict[str, str]
    redis_url: str | None

    def service(self, folder: Path, **more: str) -> Service:
        """Return a service that counts guesses and nothing else, with a schema."""
        service = Service(folder, {**GUESSED, **self.settings, **more})
        service.migrate()
        return service


@dataclass(frozen=True)
class World:
    """A running service, and where its counters are."""

    service: Service
    redis_url: str

    def frontend(self, dialect: Dialect = TOKEN, source: str | None = None) -> Frontend:
        """Somebody who speaks a dialect, from an address of their own."""
        return Frontend(bases_of(self.service), dialect, source or new_address())

    def user(self) -> str:
        """Sign somebody up; return the name."""
        name = fresh("guessed")
        assert self.frontend().sign_up(name).status == 201
        return name

    def pass_time(self, seconds: float) -> None:
        """Make all that is counted so much older."""
        with Redis.from_url(self.redis_url) as server:
            grow_older(server, round(seconds * 1000))

    def slow(self, guess: Callable[[], Answer], refusal: int) -> None:
        """Guess five times for nothing, and on until eight seconds must be waited."""
        for _ in range(5):
            assert guess().status == refusal
        for wait in (1, 2, 4):
            self.pass_time(wait)
            assert guess().status == refusal

    def slow_log_in(self, name: str, source: str, dialect: Dialect = TOKEN) -> None:
        """Have a pair of name and address wait for eight seconds."""
        frontend = self.frontend(dialect, source)
        self.slow(lambda: frontend.log_in(name, WRONG), 401)

    def account(self) -> "Account":
        """Sign somebody up and log them in, natively."""
        name, source = self.user(), new_address()
        return Account(self, name, source, log_in(self.frontend(NATIVE, source), name))


@dataclass
class Account:
    """Somebody who is logged in, and does things at the native dialect."""

    world: World
    name: str
    source: str
    token: str

    def ask(self, method: str, path: str, **body: Any) -> Answer:
        client = Client(self.world.service.first, source=self.source)
        bearer = {"Authorization": f"Bearer {self.token}"}
        return client.request(method, path, json=body, headers=bearer)

    def prepare(self) -> str:
        """Begin to set up one-time codes; return their secret."""
        answer = self.ask("POST", "/v1/me/totp", password=PASSWORD)
        assert answer.status == 200, answer.text
        secret: str = answer.json()["secret"]
        return secret

    def turn_on(self) -> tuple[str, list[str]]:
        """Turn one-time codes on; return their secret, and the recovery codes."""
        secret = self.prepare()
        answer = self.ask("POST", "/v1/me/totp/confirm", code=right_code(secret))
        assert answer.status == 200, answer.text
        return secret, answer.json()["recoveryCodes"]

    def log_in_with(self, code: str | None, password: str = PASSWORD) -> Answer:
        """Log in with a code."""
        body = {"username": self.name, "password": password}
        if code is not None:
            body["code"] = code
        return Client(self.world.service.first, source=self.source).post("/v1/login", body)


def log_in(frontend: Frontend, name: str) -> str:
    """Log in natively; return the access token."""
    answer = frontend.log_in(name)
    assert answer.status == 200, answer.text
    token: str = answer.json()["accessToken"]
    return token


def right_code(secret: str, steps: int = 0) -> str:
    """Return the one-time code of now, or of some steps later."""
    return pyotp.TOTP(secret).at(int(time.time()), counter_offset=steps)


def wrong_code(secret: str) -> str:
    """Return six digits that are no code of about now."""
    near = {right_code(secret, steps) for steps in range(-5, 6)}
    return next(code for code in (f"{number:06}" for number in range(20)) if code not in near)


def assert_slowed(answer: Answer, words: Words = TOO_MANY_ATTEMPTS, longest: int = 8) -> None:
    """Hold a refusal to its words, and to saying when to try again."""
    assert said(answer) == words
    assert 1 <= int(answer.headers["Retry-After"]) <= longest


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("sqlite", id="sqlite+embedded"),
        pytest.param(
            "mariadb", id="mariadb+redis", marks=[pytest.mark.mariadb, pytest.mark.redis_server]
        ),
    ],
)
def stores(request: pytest.FixtureRequest) -> Stores:
    """SQLite and the embedded Redis, or MariaDB and Redis."""
    if request.param == "sqlite":
        return Stores({}, None)
    url: str = request.getfixturevalue("redis_server").url
    database = request.getfixturevalue("mariadb").create_database()
    return Stores({"AUTHSVC_DATABASE_URL": database, "AUTHSVC_REDIS_URL": url}, url)


def running(stores: Stores, folder: Path, **more: str) -> Iterator[World]:
    with stores.service(folder, **more) as service:
        yield World(service, stores.redis_url or EmbeddedRedis(service.data).url)


@pytest.fixture(scope="module")
def world(stores: Stores, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A service with the limits that nobody has set, behind a proxy on 127.0.0.1."""
    folder = tmp_path_factory.mktemp("guessing")
    yield from running(stores, folder, AUTHSVC_TRUSTED_PROXIES="127.0.0.1")


@pytest.fixture(scope="module")
def strict(stores: Stores, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A service on which eight failures of an address are free, and ten of a name."""
    yield from running(stores, tmp_path_factory.mktemp("strict"), **FEW)


class TestPairs:
    @each_dialect
    def test_after_five_failures_the_right_password_waits_too(
        self, world: World, dialect: Dialect
    ) -> None:
        name, source = world.user(), new_address()
        frontend = world.frontend(dialect, source)
        for _ in range(5):
            assert said(frontend.log_in(name, WRONG)) == dialect.words["wrong"]
        assert_slowed(frontend.log_in(name, WRONG), dialect.words["limited"], longest=1)
        for wait in (1, 2, 4):
            world.pass_time(wait)
            assert said(frontend.log_in(name, WRONG)) == dialect.words["wrong"]
        assert_slowed(frontend.log_in(name, WRONG), dialect.words["limited"])
        assert_slowed(frontend.log_in(name, PASSWORD), dialect.words["limited"])

    @each_dialect
    def test_a_user_who_does_not_exist_is_answered_byte_by_byte_the_same(
        self, world: World, dialect: Dialect
    ) -> None:
        def heard(name: str) -> list[tuple[int, bytes, list[str]]]:
            frontend = world.frontend(dialect)
            answers = [frontend.log_in(name, WRONG) for _ in range(6)]
            return [(one.status, one.body, sorted(one.headers)) for one in answers]

        known = heard(world.user())
        assert [status for status, _, _ in known] == [401] * 5 + [429]
        assert heard(fresh("nobody")) == known

    def test_all_dialects_and_spellings_count_together(self, world: World) -> None:
        name, source = world.user(), new_address()
        spellings = (name, name.upper(), f" {name} ", name.replace("g", "ｇ"), name.title())
        for dialect, spelling in zip(ALL, spellings, strict=True):
            assert world.frontend(dialect, source).log_in(spelling, WRONG).status == 401
        for dialect, spelling in zip(reversed(ALL), spellings, strict=True):
            refused = world.frontend(dialect, source).log_in(spelling)
            assert_slowed(refused, dialect.words["limited"], longest=1)

    def test_another_address_logs_in_unhindered(self, world: World) -> None:
        name, source = world.user(), new_address()
        world.slow_log_in(name, source)
        assert world.frontend().log_in(name).status == 200
        assert_slowed(world.frontend(TOKEN, source).log_in(name), TOKEN.words["limited"])

    def test_another_name_is_tried_unhindered(self, world: World) -> None:
        source = new_address()
        world.slow_log_in(world.user(), source)
        assert world.frontend(TOKEN, source).log_in(world.user()).status == 200

    def test_a_wait_that_is_over_lets_the_right_password_in_and_forgets(self, world: World) -> None:
        frontend, name = world.frontend(), world.user()
        for _ in range(2):
            for _ in range(5):
                assert frontend.log_in(name, WRONG).status == 401
            refused = frontend.log_in(name)
            assert_slowed(refused, TOKEN.words["limited"], longest=1)
            time.sleep(int(refused.headers["Retry-After"]))
            assert frontend.log_in(name).status == 200

    def test_a_failure_after_the_wait_doubles_it(self, world: World) -> None:
        name, source = world.user(), new_address()
        world.slow_log_in(name, source)
        world.pass_time(8)
        frontend = world.frontend(TOKEN, source)
        assert frontend.log_in(name, WRONG).status == 401
        assert 9 <= int(frontend.log_in(name).headers["Retry-After"]) <= 16

    def test_of_a_hundred_guesses_at_one_moment_five_cost_a_hash(self, world: World) -> None:
        name, source = world.user(), new_address()
        together = Barrier(100)

        def guess(number: int) -> Words:
            frontend = world.frontend(ALL[number % 5], source)
            together.wait(30)
            answer = frontend.log_in(name, WRONG)
            situation = {401: "wrong", 429: "limited"}.get(answer.status, "")
            assert said(answer) == frontend.dialect.words[situation]
            return said(answer)

        began = time.monotonic()
        with ThreadPoolExecutor(100) as pool:
            statuses = [status for status, _ in pool.map(guess, range(100))]
        # On a machine so slow that waits are over meanwhile, so many more may be made.
        waits_over = int(log2(1 + time.monotonic() - began))
        print(f"{statuses.count(401)} hashes, {statuses.count(429)} refused, {waits_over} waits")
        assert 5 <= statuses.count(401) <= 5 + waits_over
        assert statuses.count(401) + statuses.count(429) == 100


@pytest.mark.redis_server
def test_of_a_hundred_guesses_in_one_process_each_that_is_refused_costs_no_hash(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Stores({"AUTHSVC_REDIS_URL": redis_server.url}, None).service(tmp_path)
    for variable, value in service.environment().items():
        monkeypatch.setenv(variable, value)
    clients: list[redis.RedisClient] = []
    connect = redis.connect

    def kept(url: str, options: redis.RedisOptions) -> redis.RedisClient:
        clients.append(connect(url, options))
        return clients[-1]

    monkeypatch.setattr(redis, "connect", kept)
    app = create_app(settings.load())
    hashes: list[str] = []
    verify = Argon2Hasher.verify

    def counted(hasher: Argon2Hasher, password_hash: str, password: str) -> bool:
        hashes.append(password_hash)
        return verify(hasher, password_hash, password)

    monkeypatch.setattr(Argon2Hasher, "verify", counted)
    body, caller = {"username": fresh("nobody"), "password": WRONG}, {"REMOTE_ADDR": new_address()}
    together = Barrier(50)

    def guess(_: int) -> int:
        together.wait(30)
        return app.test_client().post("/v1/login", json=body, environ_base=caller).status_code

    began = time.monotonic()
    with ThreadPoolExecutor(50) as pool:
        statuses = list(pool.map(guess, range(100)))
    waits_over = int(log2(1 + time.monotonic() - began))
    assert len(hashes) == statuses.count(401)
    assert 5 <= len(hashes) <= 5 + waits_over
    assert statuses.count(429) == 100 - len(hashes)
    with app.app_context():
        db.engine.dispose()
    for client in clients:
        client.close()


class TestAddresses:
    def test_eight_failures_of_an_address_over_any_names_slow_it_for_all(
        self, strict: World
    ) -> None:
        source, name = new_address(), strict.user()
        for number in range(8):
            frontend = strict.frontend(ALL[number % 5], source)
            assert frontend.log_in(fresh("nobody"), WRONG).status == 401
        for dialect in ALL:
            refused = strict.frontend(dialect, source).log_in(name)
            assert_slowed(refused, dialect.words["limited"], longest=1)
        assert strict.frontend().log_in(name).status == 200

    def test_logging_in_costs_an_address_nothing(self, strict: World) -> None:
        frontend, name = strict.frontend(), strict.user()
        assert {frontend.log_in(name).status for _ in range(20)} == {200}


class TestNames:
    def test_a_name_guessed_from_everywhere_waits_only_where_it_never_logged_in(
        self, strict: World
    ) -> None:
        name, home = strict.user(), new_address()
        assert strict.frontend(ENVELOPE, home).log_in(name).status == 200
        for number in range(10):
            attacker = strict.frontend(ALL[number % 5])
            assert attacker.log_in(name, WRONG).status == 401
        assert_slowed(strict.frontend().log_in(name), TOKEN.words["limited"], longest=1)
        for wait in (1, 2, 4):
            strict.pass_time(wait)
            assert strict.frontend().log_in(name, WRONG).status == 401
        for dialect in ALL:
            assert_slowed(strict.frontend(dialect).log_in(name), dialect.words["limited"])
            assert strict.frontend(dialect, home).log_in(name).status == 200

    def test_where_it_logged_in_before_a_name_has_a_counter_of_its_own(self, strict: World) -> None:
        name, home = strict.user(), new_address()
        assert strict.frontend(TOKEN, home).log_in(name).status == 200
        strict.slow_log_in(name, home)
        assert_slowed(strict.frontend(TOKEN, home).log_in(name), TOKEN.words["limited"])

    def test_a_name_that_nobody_has_is_slowed_likewise(self, strict: World) -> None:
        name = fresh("nobody")
        statuses = [strict.frontend().log_in(name, WRONG).status for _ in range(11)]
        assert statuses == [401] * 10 + [429]


class TestWhatLiftsNothing:
    def test_a_captcha_that_was_solved(self, world: World) -> None:
        name, source = world.user(), new_address()
        world.slow_log_in(name, source, SESSION)
        frontend = world.frontend(SESSION, source)
        assert frontend.sign_up(fresh()).status == 200
        assert_slowed(frontend.log_in(name), SESSION.words["limited"])
        body = {
            "username": name,
            "password": PASSWORD,
            "captchaId": frontend.captcha_id(),
            "value": SOLUTION,
        }
        assert_slowed(frontend.client.post("/login", body), SESSION.words["limited"])

    @pytest.mark.parametrize("header", [FORGED, "Forwarded", "X-Real-IP", "X-Client-IP"])
    def test_a_forged_address(self, world: World, header: str) -> None:
        name, source = world.user(), new_address()
        statuses = [
            Frontend(bases_of(world.service), TOKEN, source, {header: f"203.0.113.{number}"})
            .log_in(name, WRONG)
            .status
            for number in range(6)
        ]
        assert statuses == [401] * 5 + [429]

    @each_dialect
    def test_behind_nginx_the_real_client_is_counted(
        self, world: World, dialect: Dialect, nginx_binary: str, tmp_path: Path
    ) -> None:
        name, source = world.user(), new_address()
        with Nginx(tmp_path, world.service.ports) as nginx:
            bases = (nginx.first, nginx.second)
            for number in range(5):
                forged = {FORGED: f"203.0.113.{number}"}
                answer = Frontend(bases, dialect, source, forged).log_in(name, WRONG)
                assert said(answer) == dialect.words["wrong"]
            refused = Frontend(bases, dialect, source).log_in(name)
            assert_slowed(refused, dialect.words["limited"], longest=1)
            assert Frontend(bases, dialect, new_address()).log_in(name).status == 200

    def test_a_name_that_is_none_or_a_password_that_is_none(self, world: World) -> None:
        for name, password in (("no\0body", WRONG), (fresh("nobody"), "\0"), ("x" * 64, WRONG)):
            for dialect in ALL:
                frontend = world.frontend(dialect)
                statuses = [frontend.log_in(name, password).status for _ in range(6)]
                assert statuses == [401] * 5 + [429]


class TestCodes:
    @pytest.mark.parametrize("kind", ["one-time", "recovery"])
    def test_codes_guessed_when_logging_in(self, world: World, kind: str) -> None:
        account = world.account()
        secret, recovery_codes = account.turn_on()
        guess = wrong_code(secret) if kind == "one-time" else "00000-00000"
        world.slow(lambda: account.log_in_with(guess), 401)
        assert_slowed(account.log_in_with(recovery_codes[0]))
        assert_slowed(account.log_in_with(right_code(secret, 1)))
        world.pass_time(8)
        assert account.log_in_with(recovery_codes[0]).status == 200

    def test_being_asked_for_a_code_is_no_failure_and_forgets_none(self, world: World) -> None:
        account = world.account()
        secret, _ = account.turn_on()
        for _ in range(5):
            assert account.log_in_with(None).json()["code"] == "totp_required"
            answer = account.log_in_with(wrong_code(secret))
            assert answer.json()["code"] == "invalid_code"
        assert_slowed(account.log_in_with(None), longest=1)

    def test_a_right_password_elsewhere_does_not_free_guesses_at_codes(self, world: World) -> None:
        account = world.account()
        secret, _ = account.turn_on()
        for _ in range(4):
            assert account.log_in_with(wrong_code(secret)).status == 401
            answer = account.ask("PATCH", "/v1/me", email=None, password=PASSWORD)
            assert answer.status == 200, answer.text
        assert account.log_in_with(wrong_code(secret)).status == 401
        assert_slowed(account.log_in_with(wrong_code(secret)), longest=1)

    def test_codes_guessed_when_confirming(self, world: World) -> None:
        account = world.account()
        secret = account.prepare()

        def confirm(code: str) -> Answer:
            return account.ask("POST", "/v1/me/totp/confirm", code=code)

        world.slow(lambda: confirm(wrong_code(secret)), 403)
        assert_slowed(confirm(right_code(secret)))
        world.pass_time(8)
        assert confirm(right_code(secret)).status == 200

    @pytest.mark.parametrize("kind", ["one-time", "recovery", "password"])
    def test_codes_and_passwords_guessed_when_turning_codes_off(
        self, world: World, kind: str
    ) -> None:
        account = world.account()
        secret, recovery_codes = account.turn_on()
        right = {"password": PASSWORD, "code": recovery_codes[0]}
        wrong = {
            "one-time": {"code": wrong_code(secret)},
            "recovery": {"code": "00000-00000"},
            "password": {"password": WRONG},
        }[kind]
        world.slow(lambda: account.ask("DELETE", "/v1/me/totp", **{**right, **wrong}), 403)
        assert_slowed(account.ask("DELETE", "/v1/me/totp", **right))
        world.pass_time(8)
        assert account.ask("DELETE", "/v1/me/totp", **right).status == 204


class TestOldPasswords:
    OPERATIONS: tuple[tuple[str, str, str, dict[str, Any], int], ...] = (
        ("PUT", "/v1/me/password", "oldPassword", {"newPassword": "otter 4 fish"}, 204),
        ("PATCH", "/v1/me", "password", {"email": None}, 200),
        ("DELETE", "/v1/me", "password", {}, 204),
        ("POST", "/v1/me/totp", "password", {}, 200),
    )

    @pytest.mark.parametrize(("method", "path", "field", "body", "done"), OPERATIONS)
    def test_guessed_while_logged_in(
        self, world: World, method: str, path: str, field: str, body: dict[str, Any], done: int
    ) -> None:
        account = world.account()

        def ask(password: str) -> Answer:
            return account.ask(method, path, **{field: password}, **body)

        world.slow(lambda: ask(WRONG), 403)
        assert_slowed(ask(PASSWORD))
        world.pass_time(8)
        assert ask(PASSWORD).status == done

    def test_count_together_with_those_of_log_ins(self, world: World) -> None:
        account = world.account()
        for method, path, field, body, _ in self.OPERATIONS:
            assert account.ask(method, path, **{field: WRONG}, **body).status == 403
        frontend = world.frontend(ENVELOPE, account.source)
        assert frontend.log_in(account.name, WRONG).status == 401
        assert_slowed(frontend.log_in(account.name), ENVELOPE.words["limited"], longest=1)


def test_no_reason_to_refuse_is_told_from_another(world: World, tmp_path: Path) -> None:
    disabled, imported = world.user(), fresh("imported")
    assert world.service.flask("users", "disable", disabled).returncode == 0
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    (tmp_path / "users.jsonl").write_text(
        json.dumps({"username": imported, "passwordHash": hashed}) + "\n"
    )
    run = world.service.flask("users", "import", str(tmp_path / "users.jsonl"))
    assert run.returncode == 0, run.stderr
    with_codes = world.account()
    with_codes.turn_on()
    reasons = [
        (world.user(), WRONG),
        (fresh("nobody"), WRONG),
        (disabled, PASSWORD),
        (disabled, WRONG),
        (imported, WRONG),
        (with_codes.name, WRONG),
        ("no\0body", PASSWORD),
    ]
    for dialect in ALL:
        asks_no_code = [] if dialect is NATIVE else [(with_codes.name, PASSWORD)]
        answers = [world.frontend(dialect).log_in(*reason) for reason in reasons + asks_no_code]
        heard = {(answer.status, answer.body, tuple(sorted(answer.headers))) for answer in answers}
        assert len(heard) == 1
        assert said(answers[0]) == dialect.words["wrong"]
    assert world.frontend().log_in(imported, PASSWORD).status == 200


def test_guesses_count_beside_the_rate_limits_whose_windows_lengthen_no_wait(
    stores: Stores, tmp_path: Path
) -> None:
    with stores.service(tmp_path, AUTHSVC_RATELIMIT_ENABLED="on") as service:
        for dialect in ALL:
            frontend, name = Frontend(bases_of(service), dialect, new_address()), fresh("nobody")
            assert [frontend.log_in(name, WRONG).status for _ in range(5)] == [401] * 5
            refused = frontend.log_in(name, WRONG)
            assert_slowed(refused, dialect.words["limited"], longest=1)
            assert refused.headers["X-RateLimit-Remaining"] == "4"
            assert "Retry-After" not in frontend.log_in(fresh("nobody"), WRONG).headers


def test_a_switch_of_its_own_turns_the_counting_off(stores: Stores, tmp_path: Path) -> None:
    with stores.service(tmp_path, AUTHSVC_GUESS_LIMIT="off") as service:
        frontends = [Frontend(bases_of(service), dialect, new_address()) for dialect in ALL]
        for frontend in frontends:
            name = fresh("nobody")
            assert {frontend.log_in(name, WRONG).status for _ in range(60)} == {401}


@pytest.fixture(scope="module")
def broken(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A service on SQLite, which stays up, and a Redis that can be broken."""
    stores = Stores({"AUTHSVC_REDIS_URL": redis_server.url}, redis_server.url)
    yield from running(stores, tmp_path_factory.mktemp("broken"))


def all_answers(world: World, name: str, password: str) -> tuple[list[Words], float]:
    """Log in through every dialect at once; return what is said, and the longest time."""

    def timed(dialect: Dialect) -> tuple[Words, float]:
        began = time.monotonic()
        answer = world.frontend(dialect).log_in(name, password)
        return said(answer), time.monotonic() - began

    with ThreadPoolExecutor(len(ALL)) as pool:
        heard = list(pool.map(timed, ALL))
    return [words for words, _ in heard], max(took for _, took in heard)


@pytest.mark.parametrize("outage", ["kill", "pause"])
def test_without_redis_every_dialect_says_so_whatever_the_password_and_nothing_hangs(
    broken: World, breakable_redis: RedisServer, outage: str
) -> None:
    name = broken.user()
    getattr(breakable_redis, outage)()
    for who, password in ((name, PASSWORD), (name, WRONG), (fresh("nobody"), WRONG)):
        words, took = all_answers(broken, who, password)
        assert words == [dialect.words["log-in failed"] for dialect in ALL]
        assert took < 10
    breakable_redis.ensure_running()
    frontend = broken.frontend()
    assert wait_until(lambda: frontend.log_in(name).status == 200, 5)
