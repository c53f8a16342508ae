"""The account of whoever is logged in: `/me…`; and `/password/strength`."""

from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue
from marshmallow import ValidationError, validates_schema

from authsvc.core.second_factor import CODE_MAX_LENGTH
from authsvc.core.users import EMAIL_MAX_LENGTH, PASSWORD_MAX_BYTES, USERNAME_MAX_LENGTH
from authsvc.dialects.native.bodies import StrictBody, text
from authsvc.dialects.native.data import Json
from authsvc.dialects.native.shapes import user_shape
from authsvc.dialects.native.tokens import identity
from authsvc.web import cookies
from authsvc.web.body import read
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


PROFILE, PASSWORD, NEW_PASSWORD = ProfileBody(), PasswordBody(), NewPasswordBody()
STRENGTH, CODE, PASSWORD_AND_CODE = StrengthBody(), CodeBody(), PasswordAndCodeBody()


@account.get("/me")
def me() -> dict[str, Any]:
    return user_shape(identity().user)


@account.patch("/me")
@limited("password")
def update_me() -> dict[str, Any]:
    who = identity()
    return user_shape(profile.update(who, client(), **read(PROFILE)))


@account.put("/me/password")
@limited("password")
def change_password() -> ResponseReturnValue:
    who, body = identity(), read(NEW_PASSWORD)
    profile.change_password(who, body["old_password"], body["new_password"], client())
    return "", 204


@account.delete("/me")
@limited("password")
def delete_me() -> Response:
    who, body = identity(), read(PASSWORD)
    profile.delete(who, body["password"], client())
    response = Response(status=204)
    cookies.forget(response)
    return response


@account.post("/password/strength")
@limited("password")
def password_strength() -> dict[str, Any]:
    return asdict(passwords.strength(**read(STRENGTH)))


@account.post("/me/totp")
@limited("password")
def prepare_totp() -> dict[str, str]:
    who, body = identity(), read(PASSWORD)
    secret, uri = second_factor.prepare(who, body["password"], client())
    return {"secret": secret, "uri": uri}


@account.post("/me/totp/confirm")
@limited("password")
def confirm_totp() -> dict[str, list[str]]:
    who, body = identity(), read(CODE)
    return {"recoveryCodes": second_factor.confirm(who, body["code"], client())}


@account.delete("/me/totp")
@limited("password")
def remove_totp() -> ResponseReturnValue:
    who, body = identity(), read(PASSWORD_AND_CODE)
    second_factor.remove(who, body["password"], body["code"], client())
    return "", 204
