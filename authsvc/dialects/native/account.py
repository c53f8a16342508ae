"""The account of whoever is logged in: `/me…`; and `/password/strength`."""

from dataclasses import asdict
from typing import Any, TypedDict, cast

from flask import Blueprint, Response
from marshmallow import ValidationError, validates_schema

from authsvc.core.second_factor import CODE_MAX_LENGTH
from authsvc.core.users import EMAIL_MAX_LENGTH, PASSWORD_MAX_BYTES, USERNAME_MAX_LENGTH
from authsvc.dialects.native.bodies import StrictBody, text
from authsvc.dialects.native.data import Json
from authsvc.dialects.native.shapes import UserShape, user_shape
from authsvc.dialects.native.tokens import identity
from authsvc.web import cookies
from authsvc.web.answers import NoContent, Nothing
from authsvc.web.body import read, takes
from authsvc.web.client import client
from authsvc.web.dialect import passwords, profile, second_factor
from authsvc.web.limits import limited

account = Blueprint("native_account", __name__)


class ProfileBody(StrictBody):
    data = Json()
    email = text(EMAIL_MAX_LENGTH, required=False, allow_none=True)
    password = text(PASSWORD_MAX_BYTES, required=False)

    @validates_schema
    def an_address_asks_for_the_password(self, body: dict[str, Any], **_: Any) -> None:
        if "email" in body and "password" not in body:
            raise ValidationError("required", "password")


class PasswordBody(StrictBody):
    password = text(PASSWORD_MAX_BYTES)


class NewPasswordBody(StrictBody):
    old_password = text(PASSWORD_MAX_BYTES, data_key="oldPassword")
    new_password = text(PASSWORD_MAX_BYTES, data_key="newPassword")


class StrengthBody(PasswordBody):
    username = text(USERNAME_MAX_LENGTH, required=False)
    email = text(EMAIL_MAX_LENGTH, required=False)


class CodeBody(StrictBody):
    code = text(CODE_MAX_LENGTH)


class PasswordAndCodeBody(PasswordBody, CodeBody):
    pass


class Strength(TypedDict):
    score: int
    accepted: bool
    reason: str | None


class TotpKey(TypedDict):
    secret: str
    uri: str


class RecoveryCodes(TypedDict):
    recoveryCodes: list[str]


PROFILE, PASSWORD, NEW_PASSWORD = ProfileBody(), PasswordBody(), NewPasswordBody()
STRENGTH, CODE, PASSWORD_AND_CODE = StrengthBody(), CodeBody(), PasswordAndCodeBody()


@account.get("/me")
def me() -> UserShape:
    """Show who is logged in."""
    return user_shape(identity().user)


@account.patch("/me")
@limited("password")
@takes(PROFILE)
def update_me() -> UserShape:
    """Change the application's data, or the e-mail address."""
    who = identity()
    return user_shape(profile.update(who, client(), **read()))


@account.put("/me/password")
@limited("password")
@takes(NEW_PASSWORD)
def change_password() -> NoContent:
    """Change the password; all other sessions end."""
    who, body = identity(), read()
    profile.change_password(who, body["old_password"], body["new_password"], client())
    return "", 204


@account.delete("/me")
@limited("password")
@takes(PASSWORD)
def delete_me() -> Nothing:
    """Delete the account."""
    who, body = identity(), read()
    profile.delete(who, body["password"], client())
    response = Response(status=204)
    cookies.forget(response)
    return response


@account.post("/password/strength")
@limited("password")
@takes(STRENGTH)
def password_strength() -> Strength:
    """Tell how hard a password is to guess."""
    return cast(Strength, asdict(passwords.strength(**read())))


@account.post("/me/totp")
@limited("password")
@takes(PASSWORD)
def prepare_totp() -> TotpKey:
    """Make a secret for one-time codes, which are not asked for yet."""
    who, body = identity(), read()
    secret, uri = second_factor.prepare(who, body["password"], client())
    return {"secret": secret, "uri": uri}


@account.post("/me/totp/confirm")
@limited("password")
@takes(CODE)
def confirm_totp() -> RecoveryCodes:
    """Turn one-time codes on, and give out the recovery codes."""
    who, body = identity(), read()
    return {"recoveryCodes": second_factor.confirm(who, body["code"], client())}


@account.delete("/me/totp")
@limited("password")
@takes(PASSWORD_AND_CODE)
def remove_totp() -> NoContent:
    """Turn one-time codes off."""
    who, body = identity(), read()
    second_factor.remove(who, body["password"], body["code"], client())
    return "", 204
