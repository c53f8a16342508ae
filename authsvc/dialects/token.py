"""The document API Documentation (Token 认证), token.md."""

from typing import Literal, TypedDict

from flask import Blueprint
from marshmallow import fields
from marshmallow.validate import Length

from authsvc.core.errors import (
    EmailTaken,
    InvalidCredentials,
    InvalidEmail,
    InvalidPassword,
    InvalidUsername,
    Overloaded,
    TooManyAttempts,
    UsernameTaken,
)
from authsvc.core.users import User
from authsvc.web.admission import hashes
from authsvc.web.body import Body, read, takes
from authsvc.web.client import client
from authsvc.web.dialect import Dialect, ErrorTable, accounts
from authsvc.web.errors import (
    BadRequest,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
    TooManyRequests,
    UnsupportedMediaType,
)
from authsvc.web.limits import limited

token = Blueprint("token", __name__)


class LoginBody(Body):
    username = fields.String(required=True, validate=Length(min=1))
    password = fields.String(required=True, validate=Length(min=1))


class RegisterBody(LoginBody):
    email = fields.String(required=True, validate=Length(min=1))


class Success(TypedDict):
    userId: str
    username: str
    email: str
    token: str


class Failure(TypedDict):
    error: str


REGISTER, LOGIN = RegisterBody(), LoginBody()

ERRORS = ErrorTable(
    {
        BadRequest: (400, "Missing parameters"),
        UnsupportedMediaType: (415, "Missing parameters"),
        InvalidUsername: (400, "Invalid username"),
        InvalidEmail: (400, "Invalid email"),
        InvalidPassword: (400, "Invalid password"),
        UsernameTaken: (409, "User already exists"),
        EmailTaken: (409, "User already exists"),
        InvalidCredentials: (401, "Invalid credentials"),
        NotFound: (404, "Not found"),
        MethodNotAllowed: (405, "Method not allowed"),
        RequestEntityTooLarge: (413, "Request too large"),
        TooManyRequests: (429, "Too many requests"),
        TooManyAttempts: (429, "Too many requests"),
        Exception: (500, "Internal server error"),
        Overloaded: (503, "Service unavailable"),
    },
    {},
)


def failure(_: BaseException, status: int, sentence: str) -> tuple[Failure, int]:
    return {"error": sentence}, status


def success(user: User, access_token: str) -> Success:
    return {
        "userId": str(user.id),
        "username": user.username,
        "email": user.email or "",
        "token": access_token,
    }


@token.post("/register")
@hashes
@limited("signup")
@takes(REGISTER)
def register() -> tuple[Success, Literal[201]]:
    """注册新用户，成功后返回用户信息和认证 Token。"""
    body = read()
    new_user = accounts.new_user(body["username"], body["password"], body["email"])
    return success(*accounts.sign_up(new_user, client())), 201


@token.post("/login")
@hashes
@limited("login", name_field="username")
@takes(LOGIN)
def log_in() -> Success:
    """用户登录，成功后返回用户信息和认证 Token。"""
    body = read()
    return success(*accounts.log_in(body["username"], body["password"], client()))


DIALECT = Dialect("token", (token,), ERRORS, failure, title="API Documentation", language="zh")
