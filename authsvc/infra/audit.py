"""The audit log, in SQL."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select

from authsvc.core.audit import Entry, Record
from authsvc.infra.connections import commit, connected, fetch
from authsvc.infra.database import AuditRow
from authsvc.infra.notes import store_entry
from authsvc.infra.repeating import repeated

_BATCH = 1000
_SELECT = select(
    AuditRow.id,
    AuditRow.at,
    AuditRow.action,
    AuditRow.actor_id,
    AuditRow.actor,
    AuditRow.target_id,
    AuditRow.target,
    AuditRow.address,
    AuditRow.request_id,
    AuditRow.details,
)


class SqlAuditLog:
    """Meets `authsvc.core.audit.AuditLog`."""

    def append(self, entry: Entry) -> None:
        """Add an entry that belongs to no change of a user."""
        repeated(lambda: _append(entry))

    def page(
        self, *, before: int | None, limit: int, user_id: int | None, action: str | None
    ) -> list[Record]:
        """Return at most `limit` records, the newest first."""
        wanted = _SELECT
        if before is not None:
            wanted = wanted.where(AuditRow.id < before)
        if user_id is not None:
            wanted = wanted.where((AuditRow.actor_id == user_id) | (AuditRow.target_id == user_id))
        if action is not None:
            wanted = wanted.where(AuditRow.action == action)
        return [_record(row) for row in fetch(wanted.order_by(AuditRow.id.desc()).limit(limit))]

    def forget_before(self, at: int) -> int:
        """Drop the records of before this time, and return how many there were.

        They go in batches, so that nobody who adds an entry waits for long.
        """
        forgotten = 0
        while dropped := _drop_some(at):
            forgotten += dropped
        return forgotten


def _append(entry: Entry) -> None:
    with connected(writes=True) as connection:
        store_entry(connection, entry)
        commit(connection)


def _drop_some(at: int) -> int:
    old = select(AuditRow.id).where(AuditRow.at < at).order_by(AuditRow.at).limit(_BATCH)
    with connected(writes=True) as connection:
        ids = connection.scalars(old).all()
        dropped = connection.execute(delete(AuditRow).where(AuditRow.id.in_(ids))).rowcount
        connection.commit()
    return dropped


def _record(row: Sequence[Any]) -> Record:
    *fields, details = row
    return Record(*(*fields, json.loads(details)))
