"""The users, for administrators, and the audit log: `/users…`, `/audit`."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import Any

from flask import Blueprint
from flask.typing import ResponseReturnValue
from marshmallow import ValidationError, fields
from marshmallow.validate import Length, Range

from authsvc.core.audit import Record
from authsvc.core.errors import UnknownUser
from authsvc.core.ports import UserQuery
from authsvc.core.users import EMAIL_MAX_LENGTH, PASSWORD_MAX_BYTES, USERNAME_MAX_LENGTH, User
from authsvc.dialects.native.bodies import FAULTS, Flag, StrictBody, choice, text
from authsvc.dialects.native.data import Json
from authsvc.dialects.native.shapes import moment, user_shape
from authsvc.dialects.native.tokens import administrator
from authsvc.web.body import read, read_query
from authsvc.web.client import client
from authsvc.web.dialect import accounts, administration, audit

users_page = Blueprint("native_users", __name__)

MOST, USUAL = 200, 50
GREATEST_PERMISSION = 2**31 - 1
_ACTION_MAX_LENGTH = 32
_NUMBER = re.compile("0|[1-9][0-9]{0,17}")


class Number(fields.Field[int]):
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


class UsersQuery(StrictBody):
    search = fields.String(load_default="", validate=Length(max=EMAIL_MAX_LENGTH, error="too_long"))
    permission = permission(Number, load_default=None)
    state = choice("enabled", "disabled", default=None)
    limit = limit()
    cursor = Cursor(load_default=0)


class AuditQuery(StrictBody):
    user = Number(load_default=None)
    action = fields.String(
        load_default=None, validate=Length(max=_ACTION_MAX_LENGTH, error="too_long")
    )
    limit = limit()
    cursor = Cursor(load_default=None)


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


USERS, AUDIT, NEW_USER = UsersQuery(), AuditQuery(), NewUserBody()
USER, PASSWORD, NOTHING = UserBody(), PasswordBody(), NoBody()


def cursor_of(last_id: int) -> str:
    return urlsafe_b64encode(str(last_id).encode()).rstrip(b"=").decode()


def page_of(
    name: str, found: Sequence[Any], most: int, shape: Callable[[Any], Any]
) -> dict[str, Any]:
    """Shape a page of which one more than `most` was asked for, to see whether there is another."""
    shown = found[:most]
    more = cursor_of(shown[-1].id) if len(found) > most else None
    return {name: [shape(item) for item in shown], "next": more}


def person_shape(user_id: int | None, name: str) -> dict[str, Any] | None:
    return None if user_id is None else {"id": user_id, "username": name}


def entry_shape(record: Record) -> dict[str, Any]:
    return {
        "id": record.id,
        "at": moment(record.at),
        "action": record.action,
        "actor": person_shape(record.actor_id, record.actor),
        "target": person_shape(record.target_id, record.target),
        "address": record.address,
        "requestId": record.request_id,
        "details": record.details,
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
def list_users() -> dict[str, Any]:
    actor()
    asked = read_query(USERS)
    disabled = disabled_of(asked["state"])
    query = UserQuery(
        asked["limit"] + 1, asked["cursor"], asked["search"], asked["permission"], disabled
    )
    return page_of("users", administration.find(query), asked["limit"], user_shape)


@users_page.post("/users")
def create_user() -> ResponseReturnValue:
    creator, body = actor(), read(NEW_USER)
    new_user = accounts.new_user(**body, strict=True)
    return user_shape(administration.create(creator, new_user, client())), 201


@users_page.get("/users/<user_id>")
def show_user(user_id: str) -> dict[str, Any]:
    actor()
    return user_shape(administration.get(id_of(user_id)))


@users_page.patch("/users/<user_id>")
def edit_user(user_id: str) -> dict[str, Any]:
    editor, body = actor(), read(USER)
    return user_shape(administration.edit(editor, id_of(user_id), client(), **body))


@users_page.delete("/users/<user_id>")
def delete_user(user_id: str) -> ResponseReturnValue:
    administration.delete(actor(), id_of(user_id), client())
    return "", 204


@users_page.post("/users/<user_id>/logout")
def log_user_out(user_id: str) -> ResponseReturnValue:
    editor = actor()
    read(NOTHING, optional=True)
    administration.log_out(editor, id_of(user_id), client())
    return "", 204


@users_page.post("/users/<user_id>/password")
def set_password(user_id: str) -> ResponseReturnValue:
    editor, body = actor(), read(PASSWORD)
    administration.set_password(editor, id_of(user_id), body["password"], client())
    return "", 204


@users_page.delete("/users/<user_id>/totp")
def remove_second_factor(user_id: str) -> ResponseReturnValue:
    administration.remove_second_factor(actor(), id_of(user_id), client())
    return "", 204


@users_page.get("/audit")
def list_audit() -> dict[str, Any]:
    actor()
    asked = read_query(AUDIT)
    found = audit.page(
        before=asked["cursor"],
        limit=asked["limit"] + 1,
        user_id=asked["user"],
        action=asked["action"],
    )
    return page_of("entries", found, asked["limit"], entry_shape)
