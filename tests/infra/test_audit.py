"""The audit log in SQL: what is added, read in pages, and dropped when it is old."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import text

from authsvc.core.audit import DISABLED, EDITED, TOKEN_REPLAYED, AuditLog, Entry, Record
from authsvc.core.clients import OPERATOR, Client
from authsvc.core.errors import UsersUnavailable
from authsvc.core.users import User
from authsvc.infra.audit import SqlAuditLog
from authsvc.infra.database import db
from tests.infra.databases import HASTY, connected_to, migrated, sqlite_url

BOSS = User(1, "老板 😀", None, 1, "{}", "hash")
BOB = User(2, "bob", None, 0, "{}", "hash")
HERE = Client("192.0.2.7", "192.0.2.7", "browser", "request-1")

pytestmark = pytest.mark.usefixtures("app")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("sqlite", id="sqlite"),
        pytest.param("mariadb", id="mariadb", marks=pytest.mark.mariadb),
    ],
)
def app(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    if request.param == "sqlite":
        url = sqlite_url(tmp_path_factory.mktemp("audit"))
    else:
        url = request.getfixturevalue("mariadb").create_database()
    with migrated(url):
        yield


@pytest.fixture
def log() -> AuditLog:
    with db.engine.begin() as connection:
        connection.execute(text("DELETE FROM audit_log"))
    return SqlAuditLog()


def all_of(log: AuditLog) -> list[Record]:
    return log.page(before=None, limit=10_000, user_id=None, action=None)


def set_times(times: list[int]) -> None:
    """Give the entries these times, in the order of their ids."""
    with db.engine.begin() as connection:
        ids = connection.scalars(text("SELECT id FROM audit_log ORDER BY id")).all()
        for entry_id, at in zip(ids, times, strict=True):
            connection.execute(
                text("UPDATE audit_log SET at = :at WHERE id = :id"), {"at": at, "id": entry_id}
            )


def test_an_entry_is_read_as_it_was_added(log: AuditLog) -> None:
    log.append(Entry(EDITED, BOSS, BOB, HERE, {"fields": ["data"], "說": "é 😀"}))
    [record] = all_of(log)
    assert record == Record(
        id=record.id,
        at=record.at,
        action=EDITED,
        actor_id=1,
        actor="老板 😀",
        target_id=2,
        target="bob",
        address="192.0.2.7",
        request_id="request-1",
        details={"fields": ["data"], "說": "é 😀"},
    )


def test_nobody_known_is_nobody(log: AuditLog) -> None:
    log.append(Entry(TOKEN_REPLAYED, None, None, OPERATOR))
    [record] = all_of(log)
    assert (record.actor_id, record.actor, record.target_id, record.target) == (None, "", None, "")
    assert record.details == {}


def test_names_are_those_of_the_time(log: AuditLog) -> None:
    log.append(Entry(EDITED, BOSS, BOB, HERE))
    log.append(Entry(EDITED, BOSS, replace(BOB, username="robert"), HERE))
    assert [record.target for record in all_of(log)] == ["robert", "bob"]


def test_pages_go_from_the_newest_to_the_oldest_though_others_add(log: AuditLog) -> None:
    for number in range(25):
        log.append(Entry(EDITED, BOSS, BOB, HERE, {"n": number}))
    seen, before = [], None
    while page := log.page(before=before, limit=10, user_id=None, action=None):
        assert len(page) <= 10
        seen += [record.details["n"] for record in page]
        before = page[-1].id
        log.append(Entry(EDITED, BOSS, BOB, HERE, {"n": 99}))
    assert seen == list(reversed(range(25)))


def test_a_user_is_found_as_actor_and_as_target(log: AuditLog) -> None:
    other = replace(BOB, id=3, username="carol")
    log.append(Entry(EDITED, BOSS, BOB, HERE, {"n": 1}))
    log.append(Entry(EDITED, BOB, other, HERE, {"n": 2}))
    log.append(Entry(EDITED, BOSS, other, HERE, {"n": 3}))
    found = log.page(before=None, limit=10, user_id=BOB.id, action=None)
    assert [record.details["n"] for record in found] == [2, 1]


def test_an_action_is_found_alone_or_with_a_user(log: AuditLog) -> None:
    log.append(Entry(EDITED, BOSS, BOB, HERE))
    log.append(Entry(DISABLED, BOSS, BOB, HERE))
    log.append(Entry(DISABLED, BOSS, replace(BOB, id=3, username="carol"), HERE))
    by_action = log.page(before=None, limit=10, user_id=None, action=DISABLED)
    assert [record.target for record in by_action] == ["carol", "bob"]
    by_both = log.page(before=None, limit=10, user_id=2, action=DISABLED)
    assert [record.target for record in by_both] == ["bob"]


def test_what_is_old_is_forgotten_and_counted_and_the_rest_stays(log: AuditLog) -> None:
    for _ in range(5):
        log.append(Entry(EDITED, BOSS, BOB, HERE))
    set_times([100, 500, 199, 200, 100])
    assert log.forget_before(200) == 3
    assert sorted(record.at for record in all_of(log)) == [200, 500]
    assert log.forget_before(200) == 0


def test_more_than_one_batch_is_forgotten_at_once(log: AuditLog) -> None:
    with db.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO audit_log (at, action, actor, target, address, request_id, details)"
                " VALUES (:at, 'user.edited', '', '', '', '', '{}')"
            ),
            [{"at": number} for number in range(2501)],
        )
    assert log.forget_before(2500) == 2500
    assert [record.at for record in all_of(log)] == [2500]


def test_ids_of_forgotten_entries_are_not_given_again(log: AuditLog) -> None:
    log.append(Entry(EDITED, BOSS, BOB, HERE))
    [old] = all_of(log)
    set_times([1])
    log.forget_before(2)
    log.append(Entry(EDITED, BOSS, BOB, HERE))
    assert all_of(log)[0].id > old.id


def test_a_database_that_is_not_there_is_said_to_be_unavailable() -> None:
    nowhere = "mysql+pymysql://nobody:nothing@127.0.0.1:1/none"
    with connected_to(nowhere, HASTY):
        for use in (
            lambda: SqlAuditLog().append(Entry(EDITED, BOSS, BOB, HERE)),
            lambda: all_of(SqlAuditLog()),
            lambda: SqlAuditLog().forget_before(1),
        ):
            with pytest.raises(UsersUnavailable):
                use()
