"""The stored keys: nodes that share a database honour one another's tokens, whatever rotates."""

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from flask import Flask, current_app
from sqlalchemy import Engine, delete, event, insert, select, update

import authsvc.infra.signing_keys as signing_keys
from authsvc.core.errors import InvalidToken, UsersUnavailable
from authsvc.core.users import User
from authsvc.infra.connections import connected, fetch
from authsvc.infra.database import SigningKeyRow
from authsvc.infra.jwt import CLOCK_SKEW_SECONDS, JwtIssuer, SigningKey
from authsvc.infra.signing_keys import CACHE_SECONDS, NothingToRotate, SigningKeys
from authsvc.infra.vault import Vault
from tests.core.fakes import START, FakeClock
from tests.infra.databases import HASTY, Crowd, connected_to, migrated, sqlite_url
from tests.support.mariadb import MariaDB

SECRET = "a key of more than thirty-two bytes"
ANOTHER_SECRET = "another key of more than thirty-two bytes"
LIFETIME = 7200
PUBLISH = 600
MARGIN = CLOCK_SKEW_SECONDS + CACHE_SECONDS
ALGORITHMS = ("EdDSA", "ES256", "RS256")
BOB = User(id=7, username="bob", email=None, permission=0, data="{}", password_hash="hash")
UNKNOWN = "A" * 43
SQLITE = pytest.param("sqlite", id="sqlite")
MARIADB = pytest.param("mariadb", id="mariadb", marks=pytest.mark.mariadb)


class Node:
    """A process of the service."""

    def __init__(self, clock: FakeClock, algorithm: str = "EdDSA", secret: str = SECRET) -> None:
        self.clock = clock
        self.keys = SigningKeys(
            Vault(secret), algorithm, clock, token_lifetime=LIFETIME, publish_seconds=PUBLISH
        )
        app = current_app._get_current_object()  # type: ignore[attr-defined]
        self._issuer = JwtIssuer(app, secret, "authsvc", clock, self.keys)

    def issue(self) -> str:
        """Return a token that lives from now on."""
        now = int(self.clock())
        return self._issuer.issue(BOB, "session", "token", now, now + LIFETIME)

    def honours(self, token: str) -> bool:
        """Tell whether the node takes the token."""
        try:
            return self._issuer.decode(token).user_id == BOB.id
        except InvalidToken:
            return False

    def prepare(self) -> None:
        self._issuer.prepare()

    @property
    def signing(self) -> SigningKey:
        """The key that signs, where one does."""
        key = self.keys.signing_key()
        assert key is not None
        return key

    @property
    def published(self) -> set[str]:
        """The ids that others see."""
        return {key["kid"] for key in self.keys.public_keys()}

    def states(self) -> dict[str, str]:
        """What an operator sees."""
        return {status.kid: status.state for status in self.keys.statuses()}


@pytest.fixture(scope="module", params=[SQLITE, MARIADB])
def database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Flask]:
    """An application with a database of the newest schema."""
    if request.param == "sqlite":
        url = sqlite_url(tmp_path_factory.mktemp("keys"))
    else:
        url = request.getfixturevalue("mariadb").create_database()
    with migrated(url) as app:
        yield app


@pytest.fixture
def app(database: Flask) -> Flask:
    """The application, whose database has no keys."""
    with connected(writes=True) as connection:
        connection.execute(delete(SigningKeyRow))
        connection.commit()
    return database


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def node(app: Flask, clock: FakeClock) -> Node:
    return Node(clock)


@pytest.fixture
def other(app: Flask, clock: FakeClock) -> Node:
    """Another node of the same settings."""
    return Node(clock)


def stored(column: Any = SigningKeyRow.kid) -> list[Any]:
    """Return a column of all keys, in the order of signing."""
    ordered = select(column).order_by(SigningKeyRow.signs_from, SigningKeyRow.kid)
    with connected() as connection:
        return list(connection.scalars(ordered))


def change(kid: str, **values: Any) -> None:
    """Change a stored key, as only someone at the database can."""
    with connected(writes=True) as connection:
        this = update(SigningKeyRow).where(SigningKeyRow.kid == kid)
        connection.execute(this.values(**values))
        connection.commit()


def drop(kid: str) -> None:
    """Drop a stored key, as only someone at the database can."""
    with connected(writes=True) as connection:
        connection.execute(delete(SigningKeyRow).where(SigningKeyRow.kid == kid))
        connection.commit()


@contextmanager
def counted_queries() -> Iterator[list[str]]:
    """Collect what is asked of the database meanwhile."""
    queries: list[str] = []

    def note(*arguments: Any) -> None:
        queries.append(arguments[2])

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield queries
    finally:
        event.remove(Engine, "before_cursor_execute", note)


class TestFirstKey:
    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    def test_the_first_key_is_made_when_it_is_needed_and_signs_at_once(
        self, app: Flask, clock: FakeClock, algorithm: str
    ) -> None:
        node, other = Node(clock, algorithm), Node(clock, algorithm)
        assert (node.published, stored()) == (set(), [])
        token = node.issue()
        assert node.signing.algorithm == algorithm
        assert stored() == [node.signing.kid] == [other.signing.kid]
        assert stored(SigningKeyRow.signs_from) == [int(START)]
        assert stored(SigningKeyRow.created_at) == [int(START)]
        assert node.honours(token)
        assert other.honours(token)
        assert other.honours(other.issue())
        assert node.published == other.published == set(stored())

    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    def test_only_the_public_half_of_a_key_can_be_read_in_the_database(
        self, app: Flask, clock: FakeClock, algorithm: str
    ) -> None:
        key = Node(clock, algorithm).signing
        [public_key], [private_key] = (
            stored(SigningKeyRow.public_key),
            stored(SigningKeyRow.private_key),
        )
        assert json.loads(public_key) == key.jwk
        secret = key.private_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        purpose = f"signing key {key.kid} {algorithm}"
        assert Vault(SECRET).open(private_key, purpose) == secret

    def test_with_hs256_nothing_is_made_and_nothing_published(
        self, app: Flask, clock: FakeClock
    ) -> None:
        node = Node(clock, "HS256")
        assert node.honours(node.issue())
        assert node.keys.signing_key() is None
        assert node.keys.public_keys() == []
        assert stored() == []

    def test_with_hs256_the_database_is_not_asked(self, app: Flask, clock: FakeClock) -> None:
        node = Node(clock, "HS256")
        with counted_queries() as queries:
            assert node.honours(node.issue())
        assert queries == []

    def test_with_hs256_there_is_nothing_to_rotate(self, app: Flask, clock: FakeClock) -> None:
        with pytest.raises(NothingToRotate):
            Node(clock, "HS256").keys.rotate(clock())
        assert stored() == []

    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    def test_twenty_nodes_that_make_the_first_key_at_once_honour_all_their_tokens(
        self, app: Flask, clock: FakeClock, algorithm: str
    ) -> None:
        nodes = [Node(clock, algorithm) for _ in range(20)]
        start = threading.Barrier(len(nodes))

        def issue(node: Node) -> str:
            start.wait(10)
            return node.issue()

        with Crowd(app, len(nodes)) as crowd:
            begun = [crowd.begin(issue, node) for node in nodes]
            tokens = [future.result(60) for future in begun]
            judged = [
                crowd.begin(lambda node=node: [node.honours(token) for token in tokens])
                for node in nodes
            ]
            assert all(all(future.result(60)) for future in judged)
        assert 1 <= len(stored()) <= len(nodes)
        clock.advance(CACHE_SECONDS + 1)
        assert {node.signing.kid for node in nodes} == {stored()[-1]}
        assert all(node.honours(token) for node in nodes for token in tokens)

    def test_twenty_threads_of_a_node_make_one_key(self, app: Flask, node: Node) -> None:
        start = threading.Barrier(20)

        def issue() -> str:
            start.wait(10)
            return node.issue()

        with Crowd(app, 20) as crowd:
            begun = [crowd.begin(issue) for _ in range(20)]
            tokens = [future.result(60) for future in begun]
        assert len(stored()) == 1
        assert all(node.honours(token) for token in tokens)

    def test_a_prepared_node_signs_inside_a_transaction_that_writes(
        self, app: Flask, node: Node
    ) -> None:
        node.prepare()
        with connected(writes=True) as connection:
            values = {"kid": UNKNOWN, "algorithm": "?", "private_key": "", "public_key": ""}
            connection.execute(insert(SigningKeyRow).values(**values, created_at=0, signs_from=0))
            with counted_queries() as queries:
                token = node.issue()
        assert queries == []
        assert node.honours(token)


class TestRotation:
    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    def test_a_new_key_is_published_before_it_signs(
        self, app: Flask, clock: FakeClock, algorithm: str
    ) -> None:
        node, other = Node(clock, algorithm), Node(clock, algorithm)
        old = node.signing
        clock.advance(1000)
        new = node.keys.rotate(clock())
        assert (new.created_at, new.signs_from) == (START + 1000, START + 1000 + PUBLISH)
        assert node.states() == {old.kid: "signing", new.kid: "published"}
        assert other.published == {old.kid, new.kid}
        clock.advance(CACHE_SECONDS + 1)
        assert node.published == {old.kid, new.kid}
        for clock.now in (new.signs_from - PUBLISH, new.signs_from - 1):
            assert node.signing.kid == other.signing.kid == old.kid
        clock.now = new.signs_from
        assert node.signing.kid == other.signing.kid == new.kid
        assert node.states() == {old.kid: "retired", new.kid: "signing"}
        assert node.honours(other.issue())

    def test_a_key_made_ahead_of_the_first_waits_for_its_time_too(
        self, app: Flask, clock: FakeClock, node: Node
    ) -> None:
        ahead = node.keys.rotate(clock())
        first = node.signing
        assert first.kid != ahead.kid
        assert node.states() == {first.kid: "signing", ahead.kid: "published"}

    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    def test_a_token_is_good_to_its_last_second_whatever_rotates(
        self, app: Flask, clock: FakeClock, algorithm: str
    ) -> None:
        node, other = Node(clock, algorithm), Node(clock, algorithm)
        first = node.issue()
        new = node.keys.rotate(clock())
        clock.now = new.signs_from - 1
        last, signed_by = node.issue(), node.signing.kid
        assert signed_by != new.kid
        assert other.honours(first)
        clock.now = new.signs_from
        node.keys.rotate(clock())
        clock.now = START + LIFETIME - 1
        assert node.honours(first)
        clock.now = new.signs_from + LIFETIME - 2
        node.keys.rotate(clock())
        for honouring in (node, other, Node(clock, algorithm), Node(clock, "HS256")):
            assert honouring.honours(last)
        clock.advance(1)
        assert not node.honours(last)

    def test_a_key_goes_when_its_last_token_has_expired_everywhere_and_not_before(
        self, clock: FakeClock, node: Node
    ) -> None:
        old = node.signing.kid
        new = node.keys.rotate(clock())
        ends_at = new.signs_from + LIFETIME + MARGIN
        assert {s.kid: s.ends_at for s in node.keys.statuses()} == {old: ends_at, new.kid: None}
        clock.now = ends_at - 1
        node.keys.rotate(clock())
        assert old in stored()
        assert old in node.published
        clock.now = ends_at
        assert old not in node.published
        assert old in stored()
        node.keys.rotate(clock())
        assert old not in stored()
        assert new.kid in stored()

    def test_a_key_that_signs_is_never_dropped_however_old(
        self, clock: FakeClock, node: Node
    ) -> None:
        token_free = node.signing.kid
        clock.advance(400 * 86400)
        token = node.issue()
        new = node.keys.rotate(clock())
        assert stored() == [token_free, new.kid]
        assert node.honours(token)

    def test_rotations_at_once_lose_no_key(self, app: Flask, clock: FakeClock, node: Node) -> None:
        token, old = node.issue(), node.signing.kid
        with Crowd(app, 8) as crowd:
            begun = [crowd.begin(node.keys.rotate, clock()) for _ in range(8)]
            made = {future.result(60).kid for future in begun}
        assert set(stored()) == {old} | made
        assert len(made) == 8
        clock.advance(PUBLISH)
        assert node.signing.kid == max(made)
        assert node.honours(token)


class TestNodes:
    def test_a_key_that_another_node_just_made_is_known_at_once(
        self, clock: FakeClock, node: Node, other: Node
    ) -> None:
        assert other.published == set()
        assert other.honours(node.issue())

    def test_keys_that_are_found_are_sought_as_often_as_needed(
        self, clock: FakeClock, node: Node
    ) -> None:
        for algorithm in ALGORITHMS:
            assert node.honours(Node(clock, algorithm).issue())

    def test_a_key_is_sought_in_vain_at_most_once_a_second(
        self, clock: FakeClock, node: Node
    ) -> None:
        node.prepare()
        with counted_queries() as queries:
            for number in range(100):
                assert node.keys.find(f"{number:043}") is None
        assert len([query for query in queries if "signing_keys" in query]) == 1
        for _ in range(3):
            clock.advance(1)
            with counted_queries() as queries:
                for number in range(100):
                    assert node.keys.find(f"{number:043}") is None
            assert len([query for query in queries if "signing_keys" in query]) == 1

    def test_a_flood_of_unknown_ids_hides_a_new_key_for_a_second_at_most(
        self, clock: FakeClock, node: Node, other: Node
    ) -> None:
        assert node.keys.find(UNKNOWN) is None
        token = other.issue()
        assert not node.honours(token)
        clock.advance(1)
        assert node.honours(token)

    def test_a_copy_serves_for_half_a_minute_without_any_query(
        self, clock: FakeClock, node: Node
    ) -> None:
        token = node.issue()
        clock.advance(CACHE_SECONDS)
        with counted_queries() as queries:
            for _ in range(10):
                node.issue()
                assert node.honours(token)
                assert len(node.published) == 1
        assert queries == []

    def test_a_key_that_was_dropped_is_forgotten_after_half_a_minute(
        self, clock: FakeClock, node: Node, other: Node
    ) -> None:
        token, kid = node.issue(), node.signing.kid
        assert other.honours(token)
        drop(kid)
        clock.advance(CACHE_SECONDS + 1)
        assert not other.honours(token)
        assert other.published == set()
        assert other.signing.kid != kid

    def test_a_clock_that_is_set_back_leaves_no_copy_in_use_for_ever(
        self, clock: FakeClock, node: Node
    ) -> None:
        kid = node.signing.kid
        drop(kid)
        clock.advance(-86400)
        assert node.keys.find(kid) is None

    def test_a_node_whose_clock_is_behind_signs_with_a_key_that_all_honour(
        self, app: Flask, clock: FakeClock, node: Node
    ) -> None:
        late = Node(FakeClock(START - CLOCK_SKEW_SECONDS))
        early_token, late_token = node.issue(), late.issue()
        for honouring in (node, late, Node(clock)):
            assert honouring.honours(early_token)
            assert honouring.honours(late_token)


class TestAlgorithms:
    @pytest.mark.parametrize("after", ["HS256", *ALGORITHMS])
    @pytest.mark.parametrize("before", ["HS256", *ALGORITHMS])
    def test_what_was_signed_with_one_algorithm_is_good_after_it_is_set_to_another(
        self, app: Flask, clock: FakeClock, before: str, after: str
    ) -> None:
        token = Node(clock, before).issue()
        clock.advance(LIFETIME - 1)
        node = Node(clock, after)
        assert node.honours(node.issue())
        assert node.honours(token)

    def test_keys_of_all_algorithms_are_published_while_they_have_live_tokens(
        self, app: Flask, clock: FakeClock
    ) -> None:
        first = Node(clock, "EdDSA").signing
        clock.advance(100)
        node = Node(clock, "ES256")
        second = node.signing
        assert node.states() == {first.kid: "retired", second.kid: "signing"}
        assert node.published == {first.kid, second.kid}
        assert Node(clock, "HS256").published == {first.kid, second.kid}
        clock.now = START + 100 + LIFETIME + MARGIN
        assert node.published == {second.kid}
        node.keys.rotate(clock())
        assert first.kid not in stored()

    def test_a_key_that_signs_again_after_another_algorithm_counts_as_new(
        self, app: Flask, clock: FakeClock
    ) -> None:
        first = Node(clock, "EdDSA").signing
        clock.advance(100)
        second = Node(clock, "ES256").signing
        clock.advance(10 * LIFETIME)
        again = Node(clock, "EdDSA")
        token = again.issue()
        assert again.signing.kid == first.kid
        assert again.states() == {second.kid: "retired", first.kid: "signing"}
        clock.advance(1)
        last = Node(clock, "ES256")
        last.prepare()
        last.keys.rotate(clock())
        clock.advance(LIFETIME - 2)
        last.keys.rotate(clock())
        assert last.honours(token)

    def test_a_key_prepared_for_another_algorithm_takes_nothing_from_the_one_that_signs(
        self, app: Flask, clock: FakeClock
    ) -> None:
        node = Node(clock, "EdDSA")
        signing, prepared = node.signing, Node(clock, "ES256").keys.rotate(clock())
        clock.advance(PUBLISH + 10 * LIFETIME)
        token = node.issue()
        assert node.signing.kid == signing.kid
        changed = Node(clock, "ES256")
        changed.keys.rotate(clock())
        assert changed.signing.kid == prepared.kid
        clock.advance(LIFETIME - 1)
        assert changed.honours(token)

    def test_a_key_goes_on_signing_as_soon_as_a_prepared_one_could(
        self, app: Flask, clock: FakeClock
    ) -> None:
        node, prepared = Node(clock, "EdDSA"), Node(clock, "ES256").keys.rotate(clock())
        clock.now = prepared.signs_from - 1
        node.prepare()
        assert stored() == [node.signing.kid, prepared.kid]
        clock.advance(2)
        node.issue()
        assert stored() == [prepared.kid, node.signing.kid]

    def test_nodes_of_two_algorithms_make_no_more_keys_than_two(
        self, app: Flask, clock: FakeClock
    ) -> None:
        nodes = [Node(clock, "EdDSA"), Node(clock, "ES256")]
        for _ in range(20):
            tokens = [node.issue() for node in nodes]
            assert all(node.honours(token) for node in nodes for token in tokens)
            clock.advance(CACHE_SECONDS / 3)
        assert len(stored()) == 2


class TestSeals:
    def test_a_key_of_another_secret_is_reported_once_and_stands_in_no_way(
        self, app: Flask, clock: FakeClock, node: Node, caplog: pytest.LogCaptureFixture
    ) -> None:
        token, kid = node.issue(), node.signing.kid
        stranger = Node(clock, secret=ANOTHER_SECRET)
        with caplog.at_level(logging.ERROR):
            own = stranger.issue()
            clock.advance(CACHE_SECONDS + 1)
            assert stranger.honours(own)
            assert not stranger.honours(token)
        [record] = caplog.records
        assert kid in record.message
        assert "AUTHSVC_JWT_SECRET" in record.message
        assert stranger.published == {stranger.signing.kid}
        assert stranger.states()[kid] == "unreadable"
        assert node.honours(token)
        assert not node.honours(own)

    def test_a_key_of_another_secret_neither_replaces_one_nor_is_dropped(
        self, app: Flask, clock: FakeClock, node: Node
    ) -> None:
        kid = node.signing.kid
        clock.advance(1)
        strange = Node(clock, secret=ANOTHER_SECRET).signing.kid
        clock.advance(10 * LIFETIME)
        token = node.issue()
        assert node.states() == {kid: "signing", strange: "unreadable"}
        node.keys.rotate(clock())
        clock.advance(CACHE_SECONDS + 1)
        assert node.honours(token)
        assert {kid, strange} <= set(stored())

    def test_a_key_that_was_written_by_someone_without_the_secret_is_not_trusted(
        self, app: Flask, clock: FakeClock, node: Node
    ) -> None:
        token, kid = node.issue(), node.signing.kid
        forger = Node(clock, secret=ANOTHER_SECRET)
        forged, strange = forger.issue(), forger.signing
        clock.advance(CACHE_SECONDS + 1)
        assert not node.honours(forged)
        change(kid, public_key=json.dumps(strange.jwk | {"kid": kid}))
        clock.advance(CACHE_SECONDS + 1)
        assert node.honours(token)
        assert node.keys.public_keys() == [node.signing.jwk]
        assert node.signing.jwk["x"] != strange.jwk["x"]

    def test_a_sealed_key_is_bound_to_its_id_and_its_algorithm(
        self, app: Flask, clock: FakeClock, node: Node
    ) -> None:
        first, second = node.signing.kid, node.keys.rotate(clock()).kid
        mine = stored(SigningKeyRow.private_key)[stored().index(first)]
        change(second, private_key=mine)
        assert node.states() == {first: "signing", second: "unreadable"}
        change(first, algorithm="RS256")
        assert node.states() == {first: "unreadable", second: "unreadable"}


class TestDatabaseDown:
    def test_keys_that_were_never_read_are_not_an_invalid_token(
        self, mariadb: MariaDB, clock: FakeClock
    ) -> None:
        with migrated(mariadb.create_database()):
            token = Node(clock).issue()
        with connected_to("mysql+pymysql://root@127.0.0.1:1/nothing", HASTY):
            node = Node(clock)
            for call in (
                lambda: node.honours(token),
                lambda: node.published,
                node.issue,
                node.prepare,
                node.keys.statuses,
                lambda: node.keys.rotate(clock()),
            ):
                with pytest.raises(UsersUnavailable):
                    call()

    def test_an_old_copy_still_checks_but_does_not_sign(
        self, breakable_mariadb: MariaDB, clock: FakeClock
    ) -> None:
        with migrated(breakable_mariadb.create_database(), HASTY):
            node, other = Node(clock), Node(clock)
            token, strange = node.issue(), UNKNOWN
            breakable_mariadb.kill()
            assert node.honours(node.issue())
            clock.advance(10 * CACHE_SECONDS)
            assert node.honours(token)
            assert len(node.published) == 1
            with pytest.raises(UsersUnavailable):
                node.issue()
            with pytest.raises(UsersUnavailable):
                node.keys.find(strange)
            with pytest.raises(UsersUnavailable):
                other.honours(token)
            breakable_mariadb.start()
            clock.advance(1)
            assert node.honours(node.issue())
            assert other.honours(token)

    def test_a_database_that_hangs_is_asked_once_a_second(
        self, breakable_mariadb: MariaDB, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[float] = []

        def counted(wanted: Any) -> Any:
            asked.append(clock())
            return fetch(wanted)

        with migrated(breakable_mariadb.create_database(), HASTY) as app:
            node = Node(clock)
            token = node.issue()
            clock.advance(CACHE_SECONDS + 1)
            monkeypatch.setattr(signing_keys, "fetch", counted)
            breakable_mariadb.pause()
            try:
                with Crowd(app, 8) as crowd:
                    begun = [crowd.begin(node.honours, token) for _ in range(8)]
                    assert all(future.result(30) for future in begun)
            finally:
                breakable_mariadb.resume()
        assert len(asked) == 1
