"""E-mail verification and password recovery: `/email/verify` and `/password/…`."""

from typing import Literal, TypedDict

from flask import Blueprint

from authsvc.core.users import EMAIL_MAX_LENGTH, PASSWORD_MAX_BYTES
from authsvc.dialects.native.bodies import StrictBody, text
from authsvc.web.answers import NoContent
from authsvc.web.body import read, takes
from authsvc.web.client import client
from authsvc.web.dialect import recovery
from authsvc.web.limits import limited

TOKEN_MAX_LENGTH = 128

recovery_page = Blueprint("native_recovery", __name__)


class AddressBody(StrictBody):
    email = text(EMAIL_MAX_LENGTH)


class ConfirmBody(StrictBody):
    token = text(TOKEN_MAX_LENGTH)


class ResetBody(StrictBody):
    token = text(TOKEN_MAX_LENGTH)
    password = text(PASSWORD_MAX_BYTES)


class Accepted(TypedDict):
    accepted: Literal[True]


class Verified(TypedDict):
    email: str


ACCEPTED: Accepted = {"accepted": True}
ADDRESS, CONFIRM, RESET = AddressBody(), ConfirmBody(), ResetBody()


@recovery_page.post("/email/verify")
@limited("mail")
@takes(ADDRESS)
def ask_verification() -> tuple[Accepted, Literal[202]]:
    """Ask for a mail that verifies an address; whether anyone has it is not told."""
    body = read()
    recovery.ask_verification(body["email"], client())
    return ACCEPTED, 202


@recovery_page.post("/email/verify/confirm")
@limited("password")
@takes(CONFIRM)
def confirm_email() -> Verified:
    """Verify an address, with the token of a mail."""
    body = read()
    return {"email": recovery.confirm(body["token"], client())}


@recovery_page.post("/password/forgot")
@limited("mail")
@takes(ADDRESS)
def ask_reset() -> tuple[Accepted, Literal[202]]:
    """Ask for a mail that lets a password be set; whether anyone has the address is not told."""
    body = read()
    recovery.ask_reset(body["email"], client())
    return ACCEPTED, 202


@recovery_page.post("/password/reset")
@limited("password")
@takes(RESET)
def reset_password() -> NoContent:
    """Set a password, with the token of a mail."""
    body = read()
    recovery.reset(body["token"], body["password"], client())
    return "", 204
