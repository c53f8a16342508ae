"""The document 用户管理接口文档, session.md; without captcha, session-without-captcha.md."""

from dataclasses import replace
from typing import TypedDict

from flask import Blueprint, Response
from marshmallow import fields
from marshmallow.validate import Length

from authsvc.core.captchas import SIGN_UP
from authsvc.core.errors import (
    CaptchaRejected,
    CaptchasUnavailable,
    EmailTaken,
    InvalidCredentials,
    InvalidInput,
    Overloaded,
    SessionsUnavailable,
    TooManyAttempts,
    TooManyCaptchas,
    UsernameTaken,
)
from authsvc.web.admission import hashes
from authsvc.web.answers import Png
from authsvc.web.body import Body, read, takes
from authsvc.web.client import client, client_network
from authsvc.web.dialect import Dialect, ErrorTable, accounts, captchas
from authsvc.web.errors import (
    BadRequest,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
    TooManyRequests,
    UnsupportedMediaType,
)
from authsvc.web.limits import limited

login = Blueprint("login", __name__)
signup = Blueprint("signup", __name__)
captcha = Blueprint("captcha", __name__)


class LoginBody(Body):
    username = fields.String(required=True, validate=Length(min=1))
    password = fields.String(required=True, validate=Length(min=1))


class SignupBodyWithoutCaptcha(LoginBody):
    email = fields.String(required=True, validate=Length(min=1))


class SignupBody(SignupBodyWithoutCaptcha):
    captchaId = fields.String(required=True, validate=Length(min=1))
    value = fields.String(required=True, validate=Length(min=1))


class Session(TypedDict):
    message: str
    session_token: str


class CaptchaId(TypedDict):
    captchaId: str


class Failure(TypedDict):
    error: str


LOGIN, SIGNUP, SIGNUP_WITHOUT_CAPTCHA = LoginBody(), SignupBody(), SignupBodyWithoutCaptcha()

ERRORS = ErrorTable(
    {
        BadRequest: (400, "Invalid request"),
        InvalidInput: (400, "Invalid request"),
        UnsupportedMediaType: (415, "Invalid request"),
        InvalidCredentials: (401, "Invalid username or password"),
        UsernameTaken: (409, "Username already exists"),
        EmailTaken: (409, "Failed to create user"),
        CaptchaRejected: (400, "Invalid captcha"),
        NotFound: (404, "Not found"),
        MethodNotAllowed: (405, "Method not allowed"),
        RequestEntityTooLarge: (413, "Request too large"),
        TooManyRequests: (429, "Too many requests"),
        TooManyAttempts: (429, "Too many requests"),
        TooManyCaptchas: (429, "Too many requests"),
        Overloaded: (503, "Service unavailable"),
        Exception: (500, "Internal server error"),
    },
    {
        "log_in": {Exception: (500, "Failed to create session")},
        "sign_up": {
            SessionsUnavailable: (500, "Failed to create session"),
            CaptchasUnavailable: (500, "Failed to create session"),
            Exception: (500, "Failed to create user"),
        },
        "create_captcha_id": {Exception: (500, "Failed to generate captcha image")},
        "captcha_image": {Exception: (500, "Failed to generate captcha image")},
    },
)


def failure(_: BaseException, status: int, sentence: str) -> tuple[Failure, int]:
    return {"error": sentence}, status


@login.post("/login")
@hashes
@limited("login", name_field="username")
@takes(LOGIN)
def log_in() -> Session:
    """用户登录。"""
    body = read()
    _, token = accounts.log_in(body["username"], body["password"], client())
    return {"message": "Login successful", "session_token": token}


@signup.post("/signup")
@hashes
@limited("signup")
@takes(SIGNUP, without_captcha=SIGNUP_WITHOUT_CAPTCHA)
def sign_up() -> Session:
    """用户注册。"""
    body = read()
    new_user = accounts.new_user(body["username"], body["password"], body["email"])
    if captchas.is_required(SIGN_UP):
        captchas.redeem(body["captchaId"], body["value"], SIGN_UP, client_network())
    _, token = accounts.sign_up(new_user, client())
    return {"message": "User signup successfully", "session_token": token}


@captcha.get("/captcha")
@limited("captcha")
def create_captcha_id() -> CaptchaId:
    """生成验证码 ID。"""
    return {"captchaId": captchas.issue(SIGN_UP, client_network())}


@captcha.get("/captcha/<captcha_id>")
@limited("captcha", scope="captcha_image")
def captcha_image(captcha_id: str) -> Png:
    """获取验证码图片。"""
    return Response(captchas.image(captcha_id), mimetype="image/png")


DIALECT = Dialect(
    "session",
    (login, signup, captcha),
    ERRORS,
    failure,
    title="用户管理接口文档",
    language="zh",
    sign_up_captcha=True,
)

WITH_STATUS_200 = replace(DIALECT, errors=ERRORS.answering(200, "log_in", "sign_up"))
"""For clients that read the body alone: the document prints a status for captchas only."""
