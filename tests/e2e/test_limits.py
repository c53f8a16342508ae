"""How often who may do what, and who is counted."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from authsvc.web.client import CLIENT_ADDRESS, TrustedProxies, client_network
from tests.e2e.frontends import (
    ADMIN,
    DIALECTS,
    ENVELOPE,
    FAST,
    PASSWORD,
    SESSION,
    TOKEN,
    Dialect,
    Frontend,
    bases_of,
    fresh,
    new_address,
    said,
    token_in,
)
from tests.infra.databases import add_administrator, migrated
from tests.support.client import Answer, Client
from tests.support.nginx import Nginx
from tests.support.redis import RedisServer
from tests.support.service import Service

ONE, OTHER, THIRD = "127.0.0.2", "127.0.0.3", "127.0.0.4"
PROXY = "127.0.0.1"
FORGED = "X-Forwarded-For"


@pytest.fixture(scope="module")
def limited_service(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """The service with the limits that nobody has set, behind a proxy on 127.0.0.1."""
    settings = {
        **FAST,
        "AUTHSVC_REDIS_URL": redis_server.url,
        "AUTHSVC_TRUSTED_PROXIES": PROXY,
        # In memory, while Redis is down, each worker counts for itself.
        "AUTHSVC_WORKERS": "1",
    }
    with on_sqlite(tmp_path_factory.mktemp("limits"), settings) as service:
        yield service


@pytest.fixture
def service(limited_service: Service, redis_server: RedisServer) -> Service:
    """The service, with nothing counted yet."""
    redis_server.flush()
    return limited_service


def on_sqlite(folder: Path, settings: dict[str, str]) -> Service:
    """Return a service that has a schema and an administrator."""
    service = Service(folder, settings)
    service.prepare()
    with migrated(f"sqlite:///{service.data / 'authsvc.sqlite3'}"):
        add_administrator("root", PASSWORD)
    return service


def statuses(answers: list[Answer]) -> list[int]:
    """Return the statuses of answers."""
    return [answer.status for answer in answers]


def assert_refused(answer: Answer, dialect: Dialect) -> None:
    """Hold a refusal to the dialect's words, and to telling when to try again."""
    assert said(answer) == dialect.words["limited"]
    assert 0 < int(answer.headers["Retry-After"]) <= 3600


class TestLogIn:
    def test_one_name_can_be_tried_ten_times_a_minute_in_any_spelling_and_dialect(
        self, service: Service
    ) -> None:
        spellings = ("Bob", "BOB", "ｂｏｂ", " bob ")
        frontends = [Frontend(bases_of(service), dialect, ONE) for dialect in DIALECTS]
        tries = [frontends[n % 4].log_in(spellings[n % 4], "wrong") for n in range(10)]
        assert statuses(tries) == [401] * 10
        for frontend in frontends:
            assert_refused(frontend.log_in("bob", "wrong"), frontend.dialect)

    def test_one_client_cannot_lock_another_out_of_the_same_name(self, service: Service) -> None:
        owner, attacker = (Frontend(bases_of(service), TOKEN, source) for source in (ONE, OTHER))
        name = fresh()
        assert owner.sign_up(name).status == 201
        assert statuses([attacker.log_in(name, "wrong") for _ in range(11)])[-1] == 429
        assert attacker.log_in(name).status == 429
        assert owner.log_in(name).status == 200

    def test_a_client_that_used_one_name_up_may_still_use_another(self, service: Service) -> None:
        frontend = Frontend(bases_of(service), TOKEN, ONE)
        assert statuses([frontend.log_in("bob", "wrong") for _ in range(11)])[-1] == 429
        assert frontend.log_in("alice", "wrong").status == 401

    def test_one_address_can_try_sixty_times_a_minute_under_any_names(
        self, service: Service
    ) -> None:
        frontends = [Frontend(bases_of(service), dialect, ONE) for dialect in DIALECTS]
        tries = [frontends[n % 4].log_in(f"name{n}", "wrong") for n in range(60)]
        assert statuses(tries) == [401] * 60
        for frontend in frontends:
            assert_refused(frontend.log_in("another", "wrong"), frontend.dialect)
        assert Frontend(bases_of(service), TOKEN, OTHER).log_in("name1", "wrong").status == 401

    def test_requests_without_a_name_count_for_their_address(self, service: Service) -> None:
        client = Client(service.first, source=ONE)
        malformed: list[Any] = [None, [], {"username": 7}, {"username": "x" * 65, "password": "x"}]
        tries = [client.post("/api/login", malformed[n % 4]) for n in range(60)]
        assert set(statuses(tries)) == {400, 401}
        assert client.post("/api/login", None).status == 429


class TestSignUp:
    def test_one_address_can_sign_up_twenty_times_an_hour_over_all_dialects(
        self, service: Service
    ) -> None:
        frontends = [Frontend(bases_of(service), dialect, ONE) for dialect in DIALECTS]
        tries = [frontends[n % 4].sign_up(fresh()) for n in range(20)]
        assert statuses(tries) == [200, 201, 201, 200] * 5
        for frontend in frontends:
            assert_refused(frontend.sign_up(fresh()), frontend.dialect)
        other = Frontend(bases_of(service), ENVELOPE, OTHER)
        assert other.sign_up(fresh()).status == 200

    def test_a_user_made_by_an_administrator_is_no_sign_up(self, service: Service) -> None:
        root = Frontend(bases_of(service), ADMIN, THIRD)
        bearer = {"Authorization": f"Bearer {token_in(root.log_in('root'))}"}
        for _ in range(21):
            body = {"username": fresh(), "password": PASSWORD, "email": f"{fresh()}@b.com"}
            answer = root.client.post("/api/auth/createUser", body, headers=bearer)
            assert answer.status == 201


class TestCaptcha:
    def test_one_address_can_ask_for_sixty_ids_a_minute(self, service: Service) -> None:
        client = Client(service.first, source=ONE)
        assert statuses([client.get("/captcha") for _ in range(60)]) == [200] * 60
        assert_refused(client.get("/captcha"), SESSION)
        assert Client(service.first, source=OTHER).get("/captcha").status == 200

    def test_one_address_can_ask_for_sixty_images_a_minute(self, service: Service) -> None:
        captcha_id = Frontend(bases_of(service), SESSION, ONE).captcha_id()
        client = Client(service.first, source=ONE)
        tries = [client.get(f"/captcha/{captcha_id}") for _ in range(60)]
        assert statuses(tries) == [200] * 60
        assert_refused(client.get(f"/captcha/{captcha_id}"), SESSION)


class TestHeaders:
    def test_every_counted_answer_tells_what_is_left(self, service: Service) -> None:
        frontend = Frontend(bases_of(service), TOKEN, ONE)
        for left in (9, 8, 7):
            headers = frontend.log_in("bob", "wrong").headers
            assert headers["X-RateLimit-Limit"] == "10"
            assert headers["X-RateLimit-Remaining"] == str(left)
            assert 0 <= int(headers["X-RateLimit-Reset"]) - time.time() <= 61
            assert "Retry-After" not in headers

    def test_a_refusal_tells_when_to_try_again(self, service: Service) -> None:
        frontend = Frontend(bases_of(service), TOKEN, ONE)
        headers = [frontend.log_in("bob", "wrong") for _ in range(11)][-1].headers
        assert headers["X-RateLimit-Remaining"] == "0"
        assert 0 < int(headers["Retry-After"]) <= 61

    def test_a_sign_up_and_a_captcha_tell_their_own_limits(self, service: Service) -> None:
        frontend = Frontend(bases_of(service), SESSION, ONE)
        assert frontend.sign_up(fresh()).headers["X-RateLimit-Limit"] == "20"
        assert frontend.client.get("/captcha").headers["X-RateLimit-Limit"] == "60"

    def test_what_is_not_counted_tells_nothing(self, service: Service) -> None:
        for path in ("/version", "/nowhere"):
            headers = Client(service.first, source=ONE).get(path).headers
            assert not [name for name in headers if name.startswith("X-RateLimit")]


class TestForgedAddresses:
    def test_a_forged_address_does_not_escape_a_limit(self, service: Service) -> None:
        tries = [
            Frontend(bases_of(service), TOKEN, ONE, {FORGED: f"203.0.113.{n}"}).log_in("b", "x")
            for n in range(11)
        ]
        assert statuses(tries) == [401] * 10 + [429]

    def test_what_a_client_forged_before_a_trusted_proxy_does_not_escape_a_limit(
        self, service: Service
    ) -> None:
        def behind_proxy(forged: str, client: str) -> Answer:
            headers = {FORGED: f"{forged}, {client}"}
            return Frontend(bases_of(service), TOKEN, PROXY, headers).log_in("b", "x")

        tries = [behind_proxy(f"203.0.113.{n}", "198.51.100.7") for n in range(11)]
        assert statuses(tries) == [401] * 10 + [429]
        assert behind_proxy("203.0.113.1", "198.51.100.8").status == 401

    def test_many_addresses_of_one_ipv6_network_do_not_escape_a_limit(
        self, service: Service
    ) -> None:
        def behind_proxy(client: str) -> Answer:
            return Frontend(bases_of(service), TOKEN, PROXY, {FORGED: client}).log_in("b", "x")

        tries = [behind_proxy(f"2001:db8:0:1:{n:x}::7") for n in range(11)]
        assert statuses(tries) == [401] * 10 + [429]
        assert behind_proxy("2001:db8:0:2::7").status == 401

    @pytest.mark.parametrize("header", ["Forwarded", "X-Real-IP", "X-Client-IP", "Host"])
    def test_no_other_header_tells_an_address(self, service: Service, header: str) -> None:
        tries = [
            Frontend(bases_of(service), TOKEN, ONE, {header: f"203.0.113.{n}"}).log_in("b", "x")
            for n in range(11)
        ]
        assert statuses(tries) == [401] * 10 + [429]

    @pytest.mark.parametrize("dialect", [TOKEN, ENVELOPE], ids=lambda dialect: dialect.name)
    def test_behind_nginx_the_real_client_is_counted(
        self,
        service: Service,
        nginx_binary: str,
        dialect: Dialect,
        tmp_path_factory: pytest.TempPathFactory,
    ) -> None:
        with Nginx(tmp_path_factory.mktemp("nginx"), service.ports) as nginx:
            bases = (nginx.first, nginx.second)
            tries = [
                Frontend(bases, dialect, ONE, {FORGED: f"203.0.113.{n}"}).log_in("b", "x")
                for n in range(11)
            ]
            assert statuses(tries) == [401] * 10 + [429]
            assert_refused(tries[-1], dialect)
            assert Frontend(bases, dialect, OTHER).log_in("b", "x").status == 401
        directly = Frontend(bases_of(service), dialect, ONE)
        assert directly.log_in("b", "x").status == 429


def test_while_redis_is_down_sign_ups_go_on_and_are_counted_in_memory(
    service: Service, breakable_redis: RedisServer
) -> None:
    def sign_up(source: str) -> Answer:
        return Frontend(bases_of(service), ENVELOPE, source).sign_up(fresh())

    assert sign_up(new_address()).status == 200
    breakable_redis.kill()
    with ThreadPoolExecutor(16) as pool:
        at_that_moment = list(pool.map(sign_up, [new_address() for _ in range(16)]))
    assert statuses(at_that_moment) == [200] * 16

    source = new_address()
    tries = [sign_up(source) for _ in range(21)]
    assert statuses(tries) == [200] * 20 + [429]
    assert_refused(tries[-1], ENVELOPE)
    assert tries[0].headers["X-RateLimit-Limit"] == "20"
    assert sign_up(new_address()).status == 200


def test_nothing_is_counted_when_the_limits_are_off(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    settings = {
        **FAST,
        "AUTHSVC_REDIS_URL": redis_server.url,
        "AUTHSVC_RATELIMIT_ENABLED": "off",
        "AUTHSVC_WORKERS": "1",
    }
    with on_sqlite(tmp_path, settings) as service:
        frontend = Frontend(bases_of(service), ENVELOPE, ONE)
        assert statuses([frontend.sign_up(fresh()) for _ in range(21)]) == [200] * 21
        answers = [frontend.log_in("bob", "wrong") for _ in range(61)]
        assert statuses(answers) == [401] * 61
        assert not [name for name in answers[-1].headers if name.startswith("X-RateLimit")]


class TestClientAddress:
    """Whose request it is, for peers and headers of every sort."""

    PROXIES = TrustedProxies([ip_network("10.0.0.0/8"), ip_network("2001:db8:ffff::/48")])

    @pytest.mark.parametrize(
        ("peer", "forwarded_for", "client"),
        [
            # A peer that is not trusted speaks for itself.
            ("192.0.2.1", "", "192.0.2.1"),
            ("192.0.2.1", "203.0.113.9", "192.0.2.1"),
            ("2001:db8::1", "203.0.113.9", "2001:db8::1"),
            ("::ffff:192.0.2.1", "203.0.113.9", "192.0.2.1"),
            # A trusted one speaks for the rightmost address that is not.
            ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
            ("10.0.0.1", "198.51.100.1, 203.0.113.9", "203.0.113.9"),
            ("::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),
            ("2001:db8:ffff::1", "2001:db8::1", "2001:db8::1"),
            ("10.0.0.1", "::ffff:203.0.113.9", "203.0.113.9"),
            ("10.0.0.1", " 203.0.113.9 ", "203.0.113.9"),
            # Also over a chain of trusted ones.
            ("10.0.0.1", "198.51.100.1, 203.0.113.9, 10.0.0.2, 10.0.0.3", "203.0.113.9"),
            ("10.0.0.1", "203.0.113.9,2001:db8:ffff::2,::ffff:10.0.0.3", "203.0.113.9"),
            ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
            ("10.0.0.1", "", "10.0.0.1"),
            # What stands left of garbage is not believed.
            ("10.0.0.1", "garbage", "10.0.0.1"),
            ("10.0.0.1", "203.0.113.9, garbage", "10.0.0.1"),
            ("10.0.0.1", "203.0.113.9, garbage, 10.0.0.2", "10.0.0.2"),
            ("10.0.0.1", "203.0.113.9,", "10.0.0.1"),
            ("10.0.0.1", "203.0.113.9:4711", "10.0.0.1"),
            ("10.0.0.1", "[2001:db8::1]", "10.0.0.1"),
            ("10.0.0.1", "203.0.113.009", "10.0.0.1"),
            ("10.0.0.1", "203.0.113.0/24", "10.0.0.1"),
            ("10.0.0.1", "3405803785", "10.0.0.1"),
            ("10.0.0.1", "unknown, _hidden", "10.0.0.1"),
            ("10.0.0.1", "," * 10_000, "10.0.0.1"),
            # The peer of a unix socket has no address, and is not trusted.
            ("", "203.0.113.9", "unix"),
            ("unix", "203.0.113.9", "unix"),
        ],
    )
    def test_the_client_is_the_nearest_address_that_is_not_trusted(
        self, peer: str, forwarded_for: str, client: str
    ) -> None:
        assert self.PROXIES.client(peer, forwarded_for) == client

    @pytest.mark.parametrize(
        ("forwarded_for", "client"),
        [
            ("203.0.113.9", "203.0.113.9"),
            ("203.0.113.9, 10.0.0.1", "10.0.0.1"),
            ("garbage", "unix"),
            ("", "unix"),
        ],
    )
    def test_the_peer_of_a_unix_socket_can_be_trusted(
        self, forwarded_for: str, client: str
    ) -> None:
        assert TrustedProxies(unix_socket=True).client("", forwarded_for) == client

    @pytest.mark.parametrize(
        ("peer", "network"),
        [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::", "2001:db8:1:2::/64"),
            ("2001:db8:1:3::", "2001:db8:1:3::/64"),
            ("::1", "::/64"),
            ("fe80::1%eth0", "fe80::/64"),
            ("", "unix"),
        ],
    )
    def test_an_address_counts_by_itself_and_an_ipv6_address_by_its_network(
        self, peer: str, network: str
    ) -> None:
        app = Flask(__name__, static_folder=None)
        address = TrustedProxies().client(peer, "")
        with app.test_request_context(environ_base={CLIENT_ADDRESS: address}):
            assert client_network() == network
