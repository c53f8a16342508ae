"""E-mail verification and password recovery: `/email/verify` and `/password/…`."""

from flask import Blueprint
from flask.typing import ResponseReturnValue

from authsvc.core.users import EMAIL_MAX_LENGTH, PASSWORD_MAX_BYTES
from authsvc.dialects.native.bodies import StrictBody, text
from authsvc.web.body import read
from authsvc.web.client import client
from authsvc.web.dialect import recovery
from authsvc.web.limits import limited

TOKEN_MAX_LENGTH = 128
ACCEPTED = {"accepted": True}

recovery_page = Blueprint("native_recovery", __name__)


class AddressBody(StrictBody):
    email = text(EMAIL_MAX_LENGTH)


class ConfirmBody(StrictBody):
    token = text(TOKEN_MAX_LENGTH)


class ResetBody(StrictBody):
    token = text(TOKEN_MAX_LENGTH)
    password = text(PASSWORD_MAX_BYTES)


ADDRESS, CONFIRM, RESET = AddressBody(), ConfirmBody(), ResetBody()


@recovery_page.post("/email/verify")
@limited("mail")
def ask_verification() -> ResponseReturnValue:
    body = read(ADDRESS)
    recovery.ask_verification(body["email"], client())
    return ACCEPTED, 202


@recovery_page.post("/email/verify/confirm")
@limited("password")
def confirm_email() -> ResponseReturnValue:
    body = read(CONFIRM)
    return {"email": recovery.confirm(body["token"], client())}


@recovery_page.post("/password/forgot")
@limited("mail")
def ask_reset() -> ResponseReturnValue:
    body = read(ADDRESS)
    recovery.ask_reset(body["email"], client())
    return ACCEPTED, 202


@recovery_page.post("/password/reset")
@limited("password")
def reset_password() -> ResponseReturnValue:
    body = read(RESET)
    recovery.reset(body["token"], body["password"], client())
    return "", 204
