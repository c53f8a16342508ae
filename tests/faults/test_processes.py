"""Processes die, freeze or are restarted in the middle of sign-up traffic."""

from collections.abc import Callable

from tests.faults.process_faults import (
    Frozen,
    Killed,
    Restarted,
    RestartedEmpty,
    ServiceKilled,
    WorkerKilled,
)
from tests.faults.trial import Fault
from tests.faults.words import says_invalid_token
from tests.faults.world import Witness, World, witnesses
from tests.support.mariadb import MariaDB
from tests.support.redis import RedisServer

Trial = Callable[[World, Fault], None]


def assert_honoured(world: World, known: list[Witness]) -> None:
    for witness in known:
        answer = world.who_is(witness.token)
        assert answer.status == 200, answer.text


def assert_no_captcha_serves_twice(world: World, known: list[Witness]) -> None:
    for witness in known:
        entry, visitor = world.sign_up(witness.captcha_id)
        assert entry.answer is not None
        assert (entry.answer.status, entry.answer.json()["code"]) == (400, "captcha_rejected")
        assert visitor.name not in world.names()


def test_a_killed_mariadb_costs_no_user(world: World, mariadb: MariaDB, trial: Trial) -> None:
    known = witnesses(world)
    trial(world, Killed("MariaDB", mariadb))
    assert_honoured(world, known)


def test_a_killed_redis_costs_no_user_no_session_and_revives_no_captcha(
    world: World, redis_server: RedisServer, trial: Trial
) -> None:
    known = witnesses(world)
    trial(world, Killed("Redis", redis_server))
    assert_honoured(world, known)
    assert_no_captcha_serves_twice(world, known)


def test_a_killed_worker_costs_no_user(world: World, trial: Trial) -> None:
    known = witnesses(world)
    workers = world.service.children()
    trial(world, WorkerKilled(world.service))
    assert len(world.service.children()) == len(workers)
    assert world.service.children() != workers
    assert_honoured(world, known)


def test_a_killed_service_that_is_started_again_goes_on_where_it_was(
    world: World, trial: Trial
) -> None:
    known = witnesses(world)
    trial(world, ServiceKilled(world.service))
    assert_honoured(world, known)
    assert_no_captcha_serves_twice(world, known)


def test_a_frozen_mariadb_hangs_nobody_and_costs_no_user(
    world: World, mariadb: MariaDB, trial: Trial
) -> None:
    trial(world, Frozen("MariaDB", mariadb))


def test_a_frozen_redis_hangs_nobody_and_costs_no_user_and_no_session(
    world: World, redis_server: RedisServer, trial: Trial
) -> None:
    known = witnesses(world)
    trial(world, Frozen("Redis", redis_server))
    assert_honoured(world, known)
    assert_no_captcha_serves_twice(world, known)


def test_a_restarted_mariadb_costs_no_user(world: World, mariadb: MariaDB, trial: Trial) -> None:
    trial(world, Restarted("MariaDB", mariadb))


def test_a_restarted_redis_keeps_every_session(
    world: World, redis_server: RedisServer, trial: Trial
) -> None:
    known = witnesses(world)
    trial(world, Restarted("Redis", redis_server))
    assert_honoured(world, known)
    assert_no_captcha_serves_twice(world, known)


def test_a_redis_that_lost_its_file_honours_no_session_of_before_and_lets_all_log_in_again(
    world: World, redis_server: RedisServer, trial: Trial
) -> None:
    known = witnesses(world)
    trial(world, RestartedEmpty(redis_server))
    for witness in known:
        assert says_invalid_token(world.who_is(witness.token))
