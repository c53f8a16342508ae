"""Sessions and captchas in Redis where a fake cannot stand for it: outages and lifetimes."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from authsvc.core.errors import CaptchasUnavailable, SessionsUnavailable, Unavailable
from authsvc.core.ports import Session
from authsvc.infra.captcha_store import RedisCaptchaStore
from authsvc.infra.redis import Call, RedisClient, RedisOptions, connections_in_use
from authsvc.infra.redis_node import PROBE_EVERY
from authsvc.infra.redis_routes import OneServer
from authsvc.infra.sessions import RedisSessions
from tests.infra.databases import Crowd
from tests.infra.redis_kinds import client_of
from tests.support.processes import HOST, free_port
from tests.support.redis import RedisServer

ID = "A" * 22
SESSION = Session("one", 1, 0, 0, 0, "192.0.2.1", "a test")
OPTIONS = RedisOptions(pool_size=7, connect_timeout=0.8, timeout=0.8)


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[RedisClient]:
    """A client of the Redis of the whole run, emptied."""
    redis_server.flush()
    with client_of(redis_server.url, OPTIONS) as client:
        yield client


def uses(client: RedisClient) -> list[tuple[Callable[[], object], type[Unavailable]]]:
    """Return one use of every method, and what it says when Redis does not answer."""
    sessions, captchas = RedisSessions(client), RedisCaptchaStore(client)
    return [
        (sessions.check, SessionsUnavailable),
        (lambda: sessions.open(SESSION, 60, 60), SessionsUnavailable),
        (lambda: sessions.touch(1, "one"), SessionsUnavailable),
        (lambda: sessions.close(1, "one"), SessionsUnavailable),
        (lambda: captchas.put(ID, "ABCDE", "192.0.2.1", 60, 9), CaptchasUnavailable),
        (lambda: captchas.look(ID), CaptchasUnavailable),
        (lambda: captchas.keep_image(ID, b"png"), CaptchasUnavailable),
        (lambda: captchas.take(ID, "192.0.2.1"), CaptchasUnavailable),
    ]


def seconds_to_fail(client: RedisClient) -> float:
    """Return how long it took until every use, all at once, said what does not answer."""
    began = time.monotonic()
    with Crowd(None, len(uses(client))) as crowd:
        failing = [(crowd.begin(use), fact) for use, fact in uses(client)]
        for one, fact in failing:
            with pytest.raises(fact):
                one.result(10)
    return time.monotonic() - began


def lives(server: Any) -> dict[bytes, int]:
    """Return every key, and the milliseconds that it still lives."""
    return {key: server.pttl(key) for key in server.scan_iter()}


def test_a_redis_that_is_down_is_said_to_be_at_once() -> None:
    with client_of(f"redis://{HOST}:{free_port()}/0", OPTIONS) as client:
        assert seconds_to_fail(client) < OPTIONS.timeout


def test_a_socket_that_is_not_there_is_said_to_be_at_once() -> None:
    with client_of("unix:///nonexistent/redis.sock", OPTIONS) as client:
        assert seconds_to_fail(client) < OPTIONS.timeout


def test_a_killed_redis_is_unavailable_until_it_is_back(breakable_redis: RedisServer) -> None:
    with client_of(breakable_redis.url, OPTIONS) as client:
        for use, _ in uses(client):
            use()
        breakable_redis.kill()
        assert seconds_to_fail(client) < OPTIONS.timeout
        breakable_redis.start()
        for use, _ in uses(client):
            use()


def test_a_frozen_redis_is_unavailable_within_its_time_outs(breakable_redis: RedisServer) -> None:
    with client_of(breakable_redis.url, OPTIONS) as client:
        for use, _ in uses(client):
            use()
        breakable_redis.pause()
        took = seconds_to_fail(client)
        breakable_redis.resume()
        assert took < OPTIONS.connect_timeout + OPTIONS.timeout + 0.3
        time.sleep(PROBE_EVERY)
        for use, _ in uses(client):
            use()


def test_a_redis_that_is_still_loading_or_refuses_to_write_is_unavailable(
    redis_server: RedisServer, client: RedisClient
) -> None:
    redis_server.ask("CONFIG SET maxmemory 1")
    try:
        with pytest.raises(SessionsUnavailable):
            RedisSessions(client).open(SESSION, 60, 60)
        with pytest.raises(CaptchasUnavailable):
            RedisCaptchaStore(client).put(ID, "ABCDE", "192.0.2.1", 60, 9)
    finally:
        redis_server.ask("CONFIG SET maxmemory 0")


def test_a_pool_without_a_free_connection_is_unavailable_in_time(
    redis_server: RedisServer,
) -> None:
    routes = OneServer(redis_server.url, OPTIONS)
    client, [node] = RedisClient(routes), routes.nodes()
    asked = [Call(("PING",)) for _ in range(OPTIONS.pool_size)]
    held = [node.send([call]) for call in asked]
    assert connections_in_use(client) == OPTIONS.pool_size
    assert seconds_to_fail(client) < OPTIONS.timeout * 2 + 0.3
    for connection, call in zip(held, asked, strict=True):
        node.receive(connection, [call])
    assert connections_in_use(client) == 0
    for use, _ in uses(client):
        use()
    client.close()


def test_a_connection_closed_while_it_lay_in_the_pool_is_replaced_silently(
    redis_server: RedisServer, client: RedisClient
) -> None:
    for use, _ in uses(client):
        use()
        redis_server.ask("CLIENT KILL TYPE normal SKIPME yes")
        use()


def test_every_connection_of_the_pool_closed_by_a_restart_is_replaced_silently(
    breakable_redis: RedisServer,
) -> None:
    routes = OneServer(breakable_redis.url, OPTIONS)
    client, [node] = RedisClient(routes), routes.nodes()
    asked = [Call(("PING",)) for _ in range(OPTIONS.pool_size)]
    held = [node.send([call]) for call in asked]
    for connection, call in zip(held, asked, strict=True):
        node.receive(connection, [call])
    breakable_redis.restart()
    with Crowd(None, OPTIONS.pool_size) as crowd:
        for one in [crowd.begin(use) for use, _ in uses(client)]:
            one.result(5)
    client.close()


def test_a_script_that_redis_has_forgotten_is_loaded_again(
    redis_server: RedisServer, client: RedisClient
) -> None:
    captchas = RedisCaptchaStore(client)
    captchas.put(ID, "ABCDE", "192.0.2.1", 60, 9)
    redis_server.ask("SCRIPT FLUSH")
    captchas.keep_image(ID, b"png")
    assert captchas.look(ID) == ("ABCDE", b"png")


def test_an_image_is_kept_no_longer_than_its_answer(client: RedisClient, server: Any) -> None:
    captchas = RedisCaptchaStore(client)
    captchas.put(ID, "ABCDE", "192.0.2.1", 60, 9)
    captchas.keep_image(ID, b"png")
    [of_answer, of_image] = sorted(server.keys(f"*{ID}*"), key=len)
    image, answer = server.pipeline().pexpiretime(of_image).pexpiretime(of_answer).execute()
    now = time.time() * 1000
    assert now < image <= answer + 1 <= now + 60_001


def test_a_redeemed_captcha_leaves_nothing_in_redis(client: RedisClient, server: Any) -> None:
    captchas = RedisCaptchaStore(client)
    captchas.put(ID, "ABCDE", "192.0.2.1", 60, 9)
    captchas.keep_image(ID, b"png")
    captchas.take(ID, "192.0.2.1")
    captchas.keep_image(ID, b"png")
    assert lives(server) == {}


def test_everything_in_redis_ends_by_itself(client: RedisClient, server: Any) -> None:
    RedisSessions(client).open(SESSION, 7200, 7200)
    RedisCaptchaStore(client).put(ID, "ABCDE", "192.0.2.1", 300, 9)
    RedisCaptchaStore(client).keep_image(ID, b"png")
    assert all(0 < milliseconds <= 7_200_000 for milliseconds in lives(server).values())
    assert all(key.startswith(b"authsvc:") for key in lives(server))
