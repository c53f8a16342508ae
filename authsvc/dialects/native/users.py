"""The users, for administrators, and the audit log: `/users…`, `/audit`."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypedDict, TypeVar

from flask import Blueprint
from marshmallow import ValidationError, fields
from marshmallow.validate import Length, Range

from authsvc.core.audit import Record
from authsvc.core.errors import UnknownUser
from authsvc.core.ports import UserQuery
from authsvc.core.users import EMAIL_MAX_LENGTH, PASSWORD_MAX_BYTES, USERNAME_MAX_LENGTH, User
from authsvc.dialects.native.bodies import FAULTS, Flag, StrictBody, choice, text
from authsvc.dialects.native.data import Json
from authsvc.dialects.native.shapes import UserShape, moment, user_shape
from authsvc.dialects.native.tokens import administrator
from authsvc.web.answers import NoContent
from authsvc.web.body import QUERY, read, read_query, takes
from authsvc.web.client import client
from authsvc.web.dialect import accounts, administration, audit

Shape = TypeVar("Shape")

users_page = Blueprint("native_users", __name__)

MOST, USUAL = 200, 50
GREATEST_PERMISSION = 2**31 - 1
_ACTION_MAX_LENGTH = 32
_NUMBER = re.compile("0|[1-9][0-9]{0,17}")


class Number(fields.Integer):
    """A number in a query string, in decimal digits."""

    default_error_messages = FAULTS

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        if not _NUMBER.fullmatch(value):
            raise self.make_error("invalid")
        return int(value)


class Cursor(fields.Field[int]):
    """Where the next page begins: an id that only the service reads."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        try:
            number = urlsafe_b64decode(value + "=" * (-len(value) % 4)).decode("ascii")
        except ValueError:
            raise ValidationError("malformed") from None
        if not _NUMBER.fullmatch(number) or cursor_of(int(number)) != value:
            raise ValidationError("malformed")
        return int(number)


def permission(field: type[fields.Field[int]], **options: Any) -> fields.Field[int]:
    within = Range(0, GREATEST_PERMISSION, error="out_of_range")
    return field(validate=within, error_messages=FAULTS, **options)


def limit() -> Number:
    return Number(load_default=USUAL, validate=Range(1, MOST, error="out_of_range"))


def cursor() -> Cursor:
    return Cursor(load_default=None, metadata={"type": "string"})


class UsersQuery(StrictBody):
    search = fields.String(load_default="", validate=Length(max=EMAIL_MAX_LENGTH, error="too_long"))
    permission = permission(Number, load_default=None)
    state = choice("enabled", "disabled", default=None)
    limit = limit()
    cursor = cursor()


class AuditQuery(StrictBody):
    user = Number(load_default=None)
    action = fields.String(
        load_default=None, validate=Length(max=_ACTION_MAX_LENGTH, error="too_long")
    )
    limit = limit()
    cursor = cursor()


class NewUserBody(StrictBody):
    username = text(USERNAME_MAX_LENGTH)
    password = text(PASSWORD_MAX_BYTES)
    email = text(EMAIL_MAX_LENGTH, required=False, allow_none=True)
    permission = permission(fields.Integer, strict=True)
    data = Json()


class UserBody(StrictBody):
    permission = permission(fields.Integer, strict=True)
    email = text(EMAIL_MAX_LENGTH, required=False, allow_none=True)
    data = Json()
    disabled = Flag()


class PasswordBody(StrictBody):
    password = text(PASSWORD_MAX_BYTES)


class NoBody(StrictBody):
    pass


class Users(TypedDict):
    users: list[UserShape]
    next: str | None


class PersonShape(TypedDict):
    id: int
    username: str


class EntryShape(TypedDict):
    id: int
    at: str
    action: str
    actor: PersonShape | None
    target: PersonShape | None
    address: str
    requestId: str
    details: dict[str, Any]


class Entries(TypedDict):
    entries: list[EntryShape]
    next: str | None


USERS, AUDIT, NEW_USER = UsersQuery(), AuditQuery(), NewUserBody()
USER, PASSWORD, NOTHING = UserBody(), PasswordBody(), NoBody()


def cursor_of(last_id: int) -> str:
    return urlsafe_b64encode(str(last_id).encode()).rstrip(b"=").decode()


def page_of(
    found: Sequence[Any], most: int, shape: Callable[[Any], Shape]
) -> tuple[list[Shape], str | None]:
    """Shape a page of which one more than `most` was asked for, to see whether there is another."""
    shown = found[:most]
    more = cursor_of(shown[-1].id) if len(found) > most else None
    return [shape(item) for item in shown], more


def person_shape(user_id: int | None, name: str) -> PersonShape | None:
    return None if user_id is None else {"id": user_id, "username": name}


def entry_shape(record: Record) -> EntryShape:
    return {
        "id": record.id,
        "at": moment(record.at),
        "action": record.action,
        "actor": person_shape(record.actor_id, record.actor),
        "target": person_shape(record.target_id, record.target),
        "address": record.address,
        "requestId": record.request_id,
        "details": dict(record.details),
    }


def disabled_of(state: str | None) -> bool | None:
    return None if state is None else state == "disabled"


def id_of(number: str) -> int:
    if not _NUMBER.fullmatch(number):
        raise UnknownUser
    return int(number)


def actor() -> User:
    return administrator().user


@users_page.get("/users")
@takes(USERS, QUERY)
def list_users() -> Users:
    """List users, by id."""
    actor()
    asked = read_query()
    disabled = disabled_of(asked["state"])
    query = UserQuery(
        asked["limit"] + 1, asked["cursor"] or 0, asked["search"], asked["permission"], disabled
    )
    users, more = page_of(administration.find(query), asked["limit"], user_shape)
    return {"users": users, "next": more}


@users_page.post("/users")
@takes(NEW_USER)
def create_user() -> tuple[UserShape, Literal[201]]:
    """Create a user."""
    creator, body = actor(), read()
    new_user = accounts.new_user(**body, strict=True)
    return user_shape(administration.create(creator, new_user, client())), 201


@users_page.get("/users/<user_id>")
def show_user(user_id: str) -> UserShape:
    """Show a user."""
    actor()
    return user_shape(administration.get(id_of(user_id)))


@users_page.patch("/users/<user_id>")
@takes(USER)
def edit_user(user_id: str) -> UserShape:
    """Change a user."""
    editor, body = actor(), read()
    return user_shape(administration.edit(editor, id_of(user_id), client(), **body))


@users_page.delete("/users/<user_id>")
def delete_user(user_id: str) -> NoContent:
    """Delete a user."""
    administration.delete(actor(), id_of(user_id), client())
    return "", 204


@users_page.post("/users/<user_id>/logout")
@takes(NOTHING, optional=True)
def log_user_out(user_id: str) -> NoContent:
    """End all sessions of a user."""
    editor = actor()
    read()
    administration.log_out(editor, id_of(user_id), client())
    return "", 204


@users_page.post("/users/<user_id>/password")
@takes(PASSWORD)
def set_password(user_id: str) -> NoContent:
    """Set a user's password; all sessions of the user end."""
    editor, body = actor(), read()
    administration.set_password(editor, id_of(user_id), body["password"], client())
    return "", 204


@users_page.delete("/users/<user_id>/totp")
def remove_second_factor(user_id: str) -> NoContent:
    """Turn one-time codes off for a user who lost the device."""
    administration.remove_second_factor(actor(), id_of(user_id), client())
    return "", 204


@users_page.get("/audit")
@takes(AUDIT, QUERY)
def list_audit() -> Entries:
    """List the audit log, the newest first."""
    actor()
    asked = read_query()
    found = audit.page(
        before=asked["cursor"],
        limit=asked["limit"] + 1,
        user_id=asked["user"],
        action=asked["action"],
    )
    entries, more = page_of(found, asked["limit"], entry_shape)
    return {"entries": entries, "next": more}
