"""Two nodes behind nginx are one service, whichever of them is asked."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from tests.cluster.world import DATABASE, ORDERS, STRONG, World, log_in, me, sign_up
from tests.e2e.frontends import DIALECTS, SESSION, SOLUTION, Frontend, fresh, said
from tests.support.client import Answer, Client

AT_ONCE = 100
CONTENDERS = 32
RACES = 3
ROUNDS = 30
LAGGING_ROUNDS = 4


def at_once(requests: list[Callable[[], Answer]]) -> list[Answer]:
    """Send requests at one moment."""
    start = Barrier(len(requests))

    def run(request: Callable[[], Answer]) -> Answer:
        start.wait(10)
        return request()

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(run, requests, timeout=60))


def frontends(world: World, count: int) -> list[Frontend]:
    """Return frontends at both nodes in turn, in all dialects, each at an address of its own."""
    bases = [(node.first, node.second) for node in world.nodes]
    return [
        Frontend(bases[n % 2], DIALECTS[n // 2 % len(DIALECTS)], f"127.3.0.{n + 1}")
        for n in range(count)
    ]


def test_who_signs_up_at_one_node_logs_in_at_the_other_and_both_honour_both_tokens(
    world: World,
) -> None:
    one, other = world.clients()
    name = fresh("everywhere")
    signed_up = sign_up(one, name)
    assert signed_up.status == 201, signed_up.text
    logged_in = log_in(other, name)
    assert logged_in.status == 200, logged_in.text
    for answer in (signed_up, logged_in):
        for client in (one, other):
            assert me(client, answer.json()["accessToken"]).json()["username"] == name


def test_a_log_out_at_one_node_ends_the_session_at_both_at_once(world: World) -> None:
    one, other = world.clients()
    name = fresh("leaver")
    assert sign_up(one, name).status == 201
    for node in (one, other) * 10:
        token = log_in(one, name).json()["accessToken"]
        assert me(other, token).status == 200
        left = node.post("/v1/logout", headers={"Authorization": f"Bearer {token}"})
        assert left.status == 204
        assert [me(client, token).status for client in (one, other)] == [401, 401]


def test_a_captcha_of_one_node_is_redeemed_at_the_other_once(world: World) -> None:
    one, other = world.clients()
    captcha_id = one.get("/v1/captcha").json()["captchaId"]
    stem = fresh("racer")

    def redeem(n: int) -> Callable[[], Answer]:
        body = {"username": f"{stem}-{n}", "password": STRONG}
        answer = {"captchaId": captcha_id, "value": SOLUTION}
        return lambda: (one, other)[n % 2].post("/v1/signup", {**body, **answer})

    answers = at_once([redeem(n) for n in range(AT_ONCE)])

    assert Counter(answer.status for answer in answers) == {201: 1, 400: AT_ONCE - 1}
    codes = {answer.json().get("code") for answer in answers if answer.status == 400}
    assert codes == {"captcha_rejected"}
    assert all(
        world.rows(node, f"username_key LIKE '{stem}-%'") == 1 for node in world.galera.nodes
    )


def race_for(world: World, name: str) -> None:
    """Let many sign up under one name at both nodes: one gets it, and the others hear why not."""
    contenders = frontends(world, CONTENDERS)
    captchas = [
        contender.captcha_id() if contender.dialect is SESSION else None for contender in contenders
    ]

    def sign_up_as(n: int) -> Callable[[], Answer]:
        return lambda: contenders[n].sign_up(name, captcha_id=captchas[n])

    answers = at_once([sign_up_as(n) for n in range(CONTENDERS)])

    winners = [n for n, answer in enumerate(answers) if answer.status < 300]
    assert len(winners) == 1, Counter((answer.status, answer.text) for answer in answers)
    for n in set(range(CONTENDERS)) - set(winners):
        assert said(answers[n]) == contenders[n].dialect.words["taken"]
    assert {world.rows(node, f"username_key = '{name}'") for node in world.galera.nodes} == {1}


def test_of_sign_ups_of_one_name_at_both_nodes_one_succeeds_and_the_others_hear_it_is_taken(
    world: World,
) -> None:
    for _ in range(RACES):
        race_for(world, fresh("wanted"))


def test_sign_ups_that_collide_at_commit_are_told_the_same_as_those_that_collide_at_once(
    world: World,
) -> None:
    # The nodes write to different nodes of Galera: where the second's lags, it finds the name
    # free, and learns at COMMIT alone that it is not.
    ahead = world.galera.nodes[ORDERS[0][0]]
    conflicts = certification_failures(world)
    for _ in range(RACES):
        name = fresh("wanted")
        ahead.give_the_others_work(DATABASE)
        race_for(world, name)
    assert certification_failures(world) > conflicts, "nothing collided"


def test_a_log_in_at_one_node_always_sees_the_password_just_set_at_the_other(
    world: World,
) -> None:
    clients = world.clients()
    name, old = fresh("changer"), STRONG
    assert sign_up(clients[0], name).status == 201
    for round_number in range(ROUNDS):
        here, there = clients[round_number % 2], clients[(round_number + 1) % 2]
        token = log_in(here, name, old).json()["accessToken"]
        new = f"{STRONG}-{round_number}"
        assert change_password(here, token, old, new).status == 204
        assert log_in(there, name, new).status == 200, f"round {round_number}"
        assert log_in(there, name, old).status == 401, f"round {round_number}"
        old = new


def test_a_log_in_sees_the_latest_password_also_where_the_database_node_lags_behind(
    world: World,
) -> None:
    here, there = world.clients()
    ahead, behind = (world.galera.nodes[order[0]] for order in ORDERS)
    name, old = fresh("changer"), STRONG
    assert sign_up(here, name).status == 201
    token = log_in(here, name, old).json()["accessToken"]
    stored = f"SELECT password_hash FROM users WHERE username_key = '{name}'"
    for round_number in range(LAGGING_ROUNDS):
        new = f"{STRONG}-{round_number}"
        ahead.give_the_others_work(DATABASE)
        assert change_password(here, token, old, new).status == 204
        lagged = ahead.query(stored, DATABASE) != behind.query(stored, DATABASE)
        assert lagged, "nothing lagged, so nothing was proved"
        assert log_in(there, name, new).status == 200, f"round {round_number}"
        assert log_in(there, name, old).status == 401, f"round {round_number}"
        old = new


def test_a_user_deleted_at_one_node_is_gone_at_the_other_and_the_name_is_free(
    world: World,
) -> None:
    clients = world.clients()
    name = fresh("phoenix")
    for round_number in range(ROUNDS):
        here, there = clients[round_number % 2], clients[(round_number + 1) % 2]
        signed_up = sign_up(here, name)
        assert signed_up.status == 201, f"round {round_number}: {signed_up.text}"
        assert delete(there, signed_up, STRONG).status == 204
        assert log_in(here, name).status == 401, f"round {round_number}"


def change_password(client: Client, token: str, old: str, new: str) -> Answer:
    """Let somebody change their own password."""
    headers = {"Authorization": f"Bearer {token}"}
    body = {"oldPassword": old, "newPassword": new}
    return client.request("PUT", "/v1/me/password", json=body, headers=headers)


def delete(client: Client, signed_up: Answer, password: str) -> Answer:
    """Let somebody delete their own user."""
    token = signed_up.json()["accessToken"]
    headers = {"Authorization": f"Bearer {token}"}
    return client.request("DELETE", "/v1/me", json={"password": password}, headers=headers)


def certification_failures(world: World) -> int:
    """Return how many transactions Galera undid because another node had been first."""
    nodes = world.galera.nodes
    lost = [node.status("wsrep_local_cert_failures") for node in nodes]
    aborted = [node.status("wsrep_local_bf_aborts") for node in nodes]
    return sum(int(count) for count in lost + aborted)
