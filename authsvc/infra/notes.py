"""What is stored along with a change of a user: the audit log's entries, and letters."""

import json
import time

from sqlalchemy import ColumnElement, Connection, func, insert, literal, update

from authsvc.core.audit import Entry
from authsvc.core.letters import Letter
from authsvc.core.ports import Note
from authsvc.infra.database import AuditRow, LetterRow, MailTokenRow

_VOID = "x"
"""Stands in place of the first digit of a hash that was replaced: no token has such a hash."""


def store_note(connection: Connection, note: Note) -> list[int]:
    """Store a note in the transaction of the connection; return the ids of its entries."""
    ids = [store_entry(connection, entry) for entry in note.entries]
    for letter in note.letters:
        store_letter(connection, letter)
    return ids


def store_entry(connection: Connection, entry: Entry) -> int:
    """Store an entry of the audit log in the transaction of the connection; return its id."""
    stored = connection.execute(
        insert(AuditRow).values(
            at=int(time.time()),
            action=entry.action,
            actor_id=entry.actor.id if entry.actor else None,
            actor=entry.actor.username if entry.actor else "",
            target_id=entry.target.id if entry.target else None,
            target=entry.target.username if entry.target else "",
            address=entry.client.address,
            request_id=entry.client.request_id,
            details=json.dumps(entry.details, ensure_ascii=False),
        )
    )
    return int(stored.lastrowid)


def store_letter(connection: Connection, letter: Letter) -> None:
    """Store a letter in the transaction of the connection."""
    now = int(time.time())
    connection.execute(
        insert(LetterRow).values(
            kind=letter.kind,
            user_id=letter.user_id,
            address=letter.address,
            language=letter.language,
            created_at=now,
            next_try_at=now,
            tries=0,
        )
    )


def void_mail_tokens(connection: Connection, which: ColumnElement[bool]) -> None:
    """Make tokens of mails good for nothing in the transaction of the connection.

    They stay until they expire, under hashes that nothing has, so that they are still counted.
    """
    void = literal(_VOID) + func.substr(MailTokenRow.token_hash, 2)
    connection.execute(update(MailTokenRow).where(which).values(token_hash=void))
